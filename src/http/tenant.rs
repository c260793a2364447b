//! `Host` → tenant: one label below the base domain, or the default tenant for this machine's own names.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header::HOST;
use claw_actors::Error;
use claw_actors::config::identity::Tenant;

use super::state::AppState;
use crate::error::{ApiError, ApiResult};
use crate::settings::{Http, is_label};

/// The tenant the request is for. Unknown hosts and tenants are *not found* and nothing else; a suspended one is not
/// served, and says so.
pub(crate) async fn of(request: &HttpRequest, state: &AppState) -> ApiResult<Arc<Tenant>> {
    let tenant = known(request, state).await?;
    if tenant.suspended {
        return Err(Error::Forbidden("this workspace is suspended".to_owned()).into());
    }
    Ok(tenant)
}

/// As [`of`], suspended or not.
pub(crate) async fn known(request: &HttpRequest, state: &AppState) -> ApiResult<Arc<Tenant>> {
    let slug = authority(request).and_then(|authority| slug(authority, &state.http));
    let Some(slug) = slug else {
        return Err(ApiError::not_found(""));
    };
    let Some(tenant) = state.services.config.tenant_by_slug(&slug).await? else {
        return Err(ApiError::not_found(""));
    };
    // Of `http.request`, where that is what goes on.
    tracing::Span::current().record("tenant.id", tracing::field::display(&tenant.id));
    Ok(tenant)
}

/// Host and port as the client wrote them: `:authority` of HTTP/2 or the one `Host` header. Forwarding headers never
/// name the host.
pub(crate) fn authority(request: &HttpRequest) -> Option<&str> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str());
    }
    let mut hosts = request.headers().get_all(HOST);
    let host = hosts.next()?.to_str().ok()?;
    if hosts.next().is_some() { None } else { Some(host) }
}

/// Is this `localhost` or a loopback address.
pub(crate) fn is_loopback(authority: &str) -> bool {
    match host(authority) {
        Host::Localhost => true,
        Host::V4(address) => address.is_loopback(),
        Host::V6(address) => address.to_canonical().is_loopback(),
        Host::Name(name) => name.ends_with(".localhost"),
        Host::Nonsense => false,
    }
}

enum Host {
    Localhost,
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    /// Lower case, without a dot at the end.
    Name(String),
    Nonsense,
}

fn host(authority: &str) -> Host {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest
            .split_once(']')
            .filter(|(_, port)| port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
            .and_then(|(address, _)| address.parse().ok())
            .map_or(Host::Nonsense, Host::V6);
    }
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if is_port(port) => name,
        Some(_) => return Host::Nonsense,
        None => authority,
    };
    if let Ok(address) = name.parse() {
        return Host::V4(address);
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    match name.as_str() {
        "" => Host::Nonsense,
        "localhost" => Host::Localhost,
        _ => Host::Name(name),
    }
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The tenant's name in a host, by the rules of section `http`.
fn slug(authority: &str, http: &Http) -> Option<String> {
    match host(authority) {
        Host::Localhost | Host::V4(_) | Host::V6(_) => http.default_tenant.clone(),
        Host::Name(name) => {
            let label = name.strip_suffix(http.base_domain.as_str())?.strip_suffix('.')?;
            is_label(label).then(|| label.to_owned())
        }
        Host::Nonsense => None,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::settings::Settings;

    #[test]
    fn which_tenant_a_host_names() {
        let mut http = Settings::for_test().http;
        http.base_domain = "example.com".to_owned();
        for (host, expected) in [
            ("acme.example.com", Some("acme")),
            ("ACME.Example.com:8443", Some("acme")),
            ("acme.example.com.", Some("acme")),
            ("example.com", None),
            ("a.b.example.com", None),
            ("acmeexample.com", None),
            (".example.com", None),
            ("acme.example.com.evil.org", None),
            ("-x.example.com", None),
            ("acme.example.com:80:80", None),
            ("localhost", Some("demo")),
            ("localhost:8080", Some("demo")),
            ("127.0.0.1:8080", Some("demo")),
            ("[::1]:8080", Some("demo")),
            ("[::1", None),
            ("203.0.113.5", Some("demo")),
            ("", None),
        ] {
            assert_eq!(slug(host, &http).as_deref(), expected, "{host}");
        }
        http.default_tenant = None;
        assert_eq!(slug("localhost", &http), None);
    }

    #[test]
    fn two_hosts_are_none() {
        let one = TestRequest::get().insert_header(("host", "a.localhost"));
        assert_eq!(authority(&one.to_http_request()), Some("a.localhost"));
        let two = TestRequest::get()
            .append_header(("host", "a.localhost"))
            .append_header(("host", "b.localhost"));
        assert_eq!(authority(&two.to_http_request()), None);
        let forwarded = TestRequest::get()
            .insert_header(("host", "a.localhost"))
            .insert_header(("x-forwarded-host", "b.localhost"));
        assert_eq!(authority(&forwarded.to_http_request()), Some("a.localhost"));
    }

    #[test]
    fn names_of_this_machine() {
        for (authority, expected) in [
            ("localhost:1", true),
            ("127.0.0.2", true),
            ("[::1]:1", true),
            ("demo.localhost:1", true),
            ("10.0.0.1", false),
            ("localhost.evil.org", false),
        ] {
            assert_eq!(is_loopback(authority), expected, "{authority}");
        }
    }
}
