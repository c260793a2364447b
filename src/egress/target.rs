//! Reading a URL strictly: what a lenient parser would quietly repair is refused, because checks and servers may
//! repair differently.

use std::net::{IpAddr, Ipv6Addr};

use reqwest::Url;

use super::EgressError;

/// Longest URL we ask for, bytes.
const MAX_URL_BYTES: usize = 8 * 1024;

/// Ports of services that must not be spoken to by accident. Everything below 80 counts as listed.
const REFUSED_PORTS: &[u16] = &[110, 143, 465, 587, 993, 995, 3306, 5432, 6379, 9200, 11211, 27017];

const REFUSED_NAMES: &[&str] = &["localhost", "localhost.localdomain"];
const REFUSED_SUFFIXES: &[&str] = &[
    ".localhost",
    ".localdomain",
    ".local",
    ".internal",
    ".svc",
    ".home.arpa",
];
const METADATA_NAMES: &[&str] = &["metadata.google.internal", "metadata", "instance-data"];

/// A URL whose form is sound. Where it leads is not judged yet, except for ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) url: Url,
    pub(super) host: TargetHost,
    pub(super) port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TargetHost {
    /// Lower case, no dot at the end.
    Name(String),
    Address(IpAddr),
}

impl Target {
    pub(super) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// A name that stands for this machine or a private network.
    pub(super) fn is_local_name(&self) -> bool {
        match &self.host {
            TargetHost::Address(_) => false,
            TargetHost::Name(name) => {
                !name.contains('.')
                    || REFUSED_NAMES.contains(&name.as_str())
                    || REFUSED_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
            }
        }
    }

    /// A name of a cloud's metadata service: refused whatever is allowed.
    pub(super) fn is_metadata_name(&self) -> bool {
        matches!(&self.host, TargetHost::Name(name) if METADATA_NAMES.contains(&name.as_str()))
    }

    /// Same scheme, host and port.
    pub(super) fn same_origin(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port && self.url.scheme() == other.url.scheme()
    }

    /// Where a `Location` header leads from here.
    pub(super) fn join(&self, location: &str) -> Result<Self, EgressError> {
        let location = location.trim_matches(' ');
        if location.starts_with("//") {
            return check(&format!("{}:{location}", self.url.scheme()));
        }
        let first = location.split(['/', '?', '#']).next().unwrap_or_default();
        if first.contains(':') {
            return check(location);
        }
        check_form(location)?;
        let joined = self.url.join(location).map_err(|_| EgressError::Redirect)?;
        check(joined.as_str())
    }
}

fn check_form(raw: &str) -> Result<(), EgressError> {
    if raw.len() > MAX_URL_BYTES {
        return Err(EgressError::refused("the URL is too long"));
    }
    if raw
        .chars()
        .any(|char| char.is_control() || char.is_whitespace() || char == '\\')
    {
        return Err(EgressError::refused("the URL is malformed"));
    }
    Ok(())
}

/// Parses `raw`. The error says what is wrong with it in general terms.
pub(super) fn check(raw: &str) -> Result<Target, EgressError> {
    check_form(raw)?;
    let malformed = EgressError::refused("the URL is malformed");
    let (scheme, rest) = raw.split_once("://").ok_or(malformed)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(EgressError::refused("only http and https URLs are allowed"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(EgressError::refused("credentials in a URL are not allowed"));
    }
    let raw_host = raw_host(authority).ok_or(malformed)?;
    let url = Url::parse(raw).map_err(|_| malformed)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(EgressError::refused("credentials in a URL are not allowed"));
    }
    let host = match url.host().ok_or(malformed)? {
        url::Host::Ipv4(address) => {
            if raw_host != address.to_string() {
                return Err(EgressError::refused("write an IPv4 address as four decimal numbers"));
            }
            TargetHost::Address(IpAddr::V4(address))
        }
        url::Host::Ipv6(address) => {
            let inner = raw_host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            if inner.and_then(|inner| inner.parse::<Ipv6Addr>().ok()) != Some(address) {
                return Err(malformed);
            }
            TargetHost::Address(IpAddr::V6(address))
        }
        url::Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            if name.is_empty() || name.ends_with('.') || name.starts_with('.') {
                return Err(malformed);
            }
            TargetHost::Name(name)
        }
    };
    let port = url.port_or_known_default().ok_or(malformed)?;
    if port < 80 || REFUSED_PORTS.contains(&port) {
        return Err(EgressError::refused("this port is not allowed"));
    }
    Ok(Target { url, host, port })
}

/// The host as written, brackets included; `None` when the authority has a form no honest URL has.
fn raw_host(authority: &str) -> Option<&str> {
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        (&authority[..end], &authority[end..])
    } else {
        match authority.find(':') {
            Some(colon) => authority.split_at(colon),
            None => (authority, ""),
        }
    };
    if let Some(digits) = port.strip_prefix(':') {
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
    } else if !port.is_empty() {
        return None;
    }
    // A percent sign is an escape or a zone id; neither belongs into a host.
    if host.is_empty() || host.contains('%') {
        None
    } else {
        Some(host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_urls() {
        for (raw, host, port) in [
            ("https://example.com", "example.com", 443),
            ("HTTPS://Example.COM./a?b#c", "example.com", 443),
            (
                "http://example.com:8080/x y".replace(' ', "%20").as_str(),
                "example.com",
                8080,
            ),
            ("https://8.8.8.8/", "8.8.8.8", 443),
            ("https://[2606:4700::1111]:8443/", "2606:4700::1111", 8443),
            ("https://bücher.example/", "xn--bcher-kva.example", 443),
            ("http://127.0.0.1:8080/", "127.0.0.1", 8080),
        ] {
            let target = check(raw).unwrap_or_else(|error| panic!("{raw}: {error}"));
            let found = match &target.host {
                TargetHost::Name(name) => name.clone(),
                TargetHost::Address(address) => address.to_string(),
            };
            assert_eq!((found.as_str(), target.port), (host, port), "{raw}");
        }
    }

    #[test]
    fn refused_urls() {
        for raw in [
            "",
            "example.com",
            "ftp://example.com/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "javascript://example.com/%0a",
            "http:/example.com",
            "http:example.com",
            "http:///example.com",
            "http://",
            "http://\\example.com",
            "http://example.com\\@127.0.0.1/",
            "http://a\tb.com/",
            "http://exa\nmple.com/",
            " http://example.com/",
            "http://user@example.com/",
            "http://user:pass@example.com/",
            "http://@example.com/",
            "http://example.com@127.0.0.1/",
            // Addresses in disguise.
            "http://0177.0.0.1/",
            "http://0x7f.0.0.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://017700000001/",
            "http://127.1/",
            "http://127.0.1/",
            "http://127.0.0.1./",
            "http://127.0.0.01/",
            "http://00.0.0.0/",
            "http://0/",
            "http://127.0.0.1.:80/",
            "http://%31%32%37.0.0.1/",
            "http://127%2e0.0.1/",
            "http://１２７.0.0.1/",
            "http://127。0。0。1/",
            "http://①②⑦.0.0.1/",
            "http://256.256.256.256/",
            "http://1.2.3.4.5/",
            "http://[::1%25eth0]/",
            "http://[fe80::1%eth0]/",
            "http://[::1/",
            "http://::1/",
            "http://[::ffff:0x7f.1]/",
            "http://[::1]extra/",
            // Ports.
            "http://example.com:/",
            "http://example.com:0/",
            "http://example.com:22/",
            "http://example.com:25/",
            "http://example.com:79/",
            "http://example.com:110/",
            "http://example.com:143/",
            "http://example.com:465/",
            "http://example.com:587/",
            "http://example.com:993/",
            "http://example.com:995/",
            "http://example.com:3306/",
            "http://example.com:5432/",
            "http://example.com:6379/",
            "http://example.com:9200/",
            "http://example.com:11211/",
            "http://example.com:27017/",
            "http://example.com:65536/",
            "http://example.com:8o/",
            "http://.example.com/",
            "http://example.com../",
        ] {
            assert!(
                matches!(check(raw), Err(EgressError::Refused { .. })),
                "{raw:?} is refused"
            );
        }
        assert!(check(&format!("https://example.com/{}", "a".repeat(9000))).is_err());
    }

    #[test]
    fn local_names() {
        for name in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "ｌｏｃａｌｈｏｓｔ",
            "a.localhost",
            "localhost.localdomain",
            "printer.local",
            "vault.internal",
            "db.default.svc",
            "db.default.svc.cluster.local",
            "redis",
        ] {
            assert!(check(&format!("http://{name}/")).unwrap().is_local_name(), "{name}");
        }
        for name in ["example.com", "local.example.com", "internal.example"] {
            assert!(!check(&format!("http://{name}/")).unwrap().is_local_name(), "{name}");
        }
        assert!(check("http://metadata.google.internal/").unwrap().is_metadata_name());
        assert!(check("http://metadata/").unwrap().is_metadata_name());
    }

    #[test]
    fn redirect_targets() {
        let base = check("https://example.com/a/b?c").unwrap();
        for (location, expected) in [
            ("/x", "https://example.com/x"),
            ("d", "https://example.com/a/d"),
            (
                "?e=http://other.example/",
                "https://example.com/a/b?e=http://other.example/",
            ),
            ("//other.example/y", "https://other.example/y"),
            ("https://other.example", "https://other.example/"),
        ] {
            assert_eq!(base.join(location).unwrap().url.as_str(), expected, "{location}");
        }
        for location in [
            "//0x7f.1/",
            "http://2130706433/",
            "ftp://example.com/",
            "//user@example.com/",
            "http:/x",
            "\\\\x",
        ] {
            assert!(base.join(location).is_err(), "{location}");
        }
    }
}
