//! Who is at the other end: address and scheme, as the connection or a trusted proxy tells them.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use ipnet::IpNet;

/// Headers a proxy adds. One of them present means that somebody stands between.
const FORWARDING: [&str; 6] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "via",
];

/// On connections by TLS to us.
pub(crate) struct Encrypted;

/// The other end of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's address; the proxy's own unless it is trusted.
    pub address: IpAddr,
    /// True when the client came by TLS, to us or to a trusted proxy.
    pub secure: bool,
    /// True when the connection itself comes from this machine.
    pub loopback_peer: bool,
    /// True when any forwarding header is present, trusted or not.
    pub forwarded: bool,
}

impl Client {
    /// Reads the connection, and the forwarding headers only if its peer is one of `trusted`.
    pub fn of(request: &HttpRequest, trusted: &[IpNet]) -> Self {
        let peer = request
            .peer_addr()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip().to_canonical());
        let mut client = Self {
            address: peer,
            secure: request.conn_data::<Encrypted>().is_some(),
            loopback_peer: peer.is_loopback(),
            forwarded: FORWARDING.iter().any(|name| request.headers().contains_key(*name)),
        };
        if !trusted.is_empty() && is_trusted(peer, trusted) {
            if let Some(address) = forwarded_for(request.headers(), trusted) {
                client.address = address;
            }
            if let Some(scheme) = last(request.headers(), "x-forwarded-proto") {
                client.secure = scheme.eq_ignore_ascii_case("https");
            }
        }
        client
    }

    /// The key of address limits: IPv6 customers get whole networks, so those count as one. This machine stays itself.
    pub fn network(&self) -> IpAddr {
        match self.address.to_canonical() {
            IpAddr::V6(v6) if !v6.is_loopback() => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
            address @ (IpAddr::V4(_) | IpAddr::V6(_)) => address,
        }
    }
}

pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// The last address of the chain that is not a trusted proxy: what is left of it, the client wrote itself.
fn forwarded_for(headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let lines: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .collect();
    let mut furthest = None;
    for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
        let Some(address) = hop_address(hop.trim()) else {
            break;
        };
        furthest = Some(address);
        if !is_trusted(address, trusted) {
            break;
        }
    }
    furthest
}

/// An address, perhaps with a port or in brackets.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = hop.trim_start_matches('[');
    let address = bare
        .parse::<IpAddr>()
        .ok()
        .or_else(|| hop.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()))
        .or_else(|| bare.trim_end_matches(']').parse().ok())?;
    Some(address.to_canonical())
}

fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let line = headers.get_all(name).last()?.to_str().ok()?;
    line.rsplit(',').next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn check(peer: &str, headers: &[(&'static str, &'static str)], address: &str, secure: bool) {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let mut request = TestRequest::get().peer_addr(peer.parse().unwrap());
        for header in headers {
            request = request.append_header(*header);
        }
        let client = Client::of(&request.to_http_request(), &trusted);
        assert_eq!(
            (client.address.to_string().as_str(), client.secure),
            (address, secure),
            "{headers:?}"
        );
    }

    #[test]
    fn only_trusted_proxies_name_the_client() {
        let https = ("x-forwarded-proto", "https");
        check(
            "203.0.113.9:1",
            &[("x-forwarded-for", "1.2.3.4"), https],
            "203.0.113.9",
            false,
        );
        check("10.0.0.1:1", &[], "10.0.0.1", false);
        check("10.0.0.1:1", &[("x-forwarded-for", "1.2.3.4"), https], "1.2.3.4", true);
        // The client wrote 6.6.6.6 itself; the proxies added the rest.
        check(
            "10.0.0.1:1",
            &[("x-forwarded-for", "6.6.6.6, 1.2.3.4, 10.0.0.2")],
            "1.2.3.4",
            false,
        );
        check(
            "10.0.0.1:1",
            &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "1.2.3.4")],
            "1.2.3.4",
            false,
        );
        check(
            "10.0.0.1:1",
            &[("x-forwarded-for", "1.2.3.4, nonsense")],
            "10.0.0.1",
            false,
        );
        check(
            "[fd00::1]:1",
            &[("x-forwarded-for", "[2001:db8::7]:443")],
            "2001:db8::7",
            false,
        );
        check("10.0.0.1:1", &[("x-forwarded-proto", "https, http")], "10.0.0.1", false);
    }

    #[test]
    fn networks_count_as_one_and_this_machine_stays_itself() {
        for (peer, network) in [
            ("203.0.113.9:1", "203.0.113.9"),
            ("[2001:db8:1:2:3:4:5:6]:1", "2001:db8:1:2::"),
            ("[::ffff:203.0.113.9]:1", "203.0.113.9"),
            ("127.0.0.1:1", "127.0.0.1"),
            ("[::1]:1", "::1"),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1"),
        ] {
            let request = TestRequest::get().peer_addr(peer.parse().unwrap()).to_http_request();
            let client = Client::of(&request, &[]);
            assert_eq!(client.network().to_string(), network, "{peer}");
            assert_eq!(client.network().is_loopback(), client.loopback_peer, "{peer}");
            let written = Client {
                address: peer.parse::<std::net::SocketAddr>().unwrap().ip(),
                ..client
            };
            assert_eq!(written.network().to_string(), network, "{peer}");
        }
    }

    #[test]
    fn a_forwarding_header_is_noticed_whoever_sent_it() {
        let request = TestRequest::get()
            .peer_addr("127.0.0.1:5".parse().unwrap())
            .insert_header(("x-real-ip", "127.0.0.1"))
            .to_http_request();
        let client = Client::of(&request, &[]);
        assert!(client.loopback_peer && client.forwarded);
    }
}
