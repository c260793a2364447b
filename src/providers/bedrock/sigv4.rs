//! AWS Signature Version 4 with ring (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>), checked
//! against the vectors that AWS publishes.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use claw_actors::crypto::{Secret, token};
use reqwest::Url;
use ring::hmac;

/// An access key pair of the tenant's.
pub(super) struct Credentials {
    id: String,
    secret: Secret,
    session: Option<Secret>,
}

impl Credentials {
    /// `id:secret`, or `id:secret:session token` of an assumed role. `None`: it is no pair, but a key of Bedrock's own.
    pub(super) fn parse(key: &Secret) -> Option<Self> {
        let mut parts = key.expose().trim().splitn(3, ':').map(str::trim);
        let (id, secret) = (parts.next()?, parts.next()?);
        let is_id = id.len() >= 16 && id.starts_with('A') && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (is_id && !secret.is_empty()).then(|| Self {
            id: id.to_owned(),
            secret: Secret::new(secret),
            session: parts.next().filter(|token| !token.is_empty()).map(Secret::new),
        })
    }
}

/// Who signs, for whom, and when.
pub(super) struct Signing<'a> {
    pub(super) credentials: &'a Credentials,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) at: DateTime<Utc>,
}

impl Signing<'_> {
    /// The headers that prove the request. `signed` are its other headers that are signed too, names in small letters.
    pub(super) fn headers(
        &self,
        method: &str,
        url: &Url,
        signed: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<(&'static str, String)> {
        let time = self.at.format("%Y%m%dT%H%M%SZ").to_string();
        let session = self.credentials.session.as_ref().map(|token| token.expose().to_owned());
        let host = host(url);
        let mut all: Vec<(&str, &str)> = signed.to_vec();
        all.extend([("host", host.as_str()), ("x-amz-date", time.as_str())]);
        all.extend(session.as_deref().map(|token| ("x-amz-security-token", token)));
        all.sort_unstable();
        let names = all.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let mut canonical = format!("{method}\n{}\n{}\n", canonical_path(url.path()), canonical_query(url));
        for (name, value) in &all {
            let _ = writeln!(
                canonical,
                "{name}:{}",
                value.split_whitespace().collect::<Vec<_>>().join(" ")
            );
        }
        let _ = write!(canonical, "\n{names}\n{}", token::hash_bytes(body));
        let date = self.at.format("%Y%m%d").to_string();
        let range = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let to_sign = format!(
            "AWS4-HMAC-SHA256\n{time}\n{range}\n{}",
            token::hash_bytes(canonical.as_bytes())
        );
        let signature = token::hex(&mac(&self.key(&date), to_sign.as_bytes()));
        let proof = format!(
            "AWS4-HMAC-SHA256 Credential={}/{range}, SignedHeaders={names}, Signature={signature}",
            self.credentials.id
        );
        let mut headers = vec![("x-amz-date", time), ("authorization", proof)];
        headers.extend(session.map(|token| ("x-amz-security-token", token)));
        headers
    }

    /// The key of the day, the region and the service.
    fn key(&self, date: &str) -> Vec<u8> {
        let first = format!("AWS4{}", self.credentials.secret.expose());
        let steps = [date, self.region, self.service, "aws4_request"];
        steps
            .iter()
            .fold(first.into_bytes(), |key, step| mac(&key, step.as_bytes()))
    }
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
        .as_ref()
        .to_vec()
}

/// As the client sends it: with the port where that is not the usual one.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

fn encoded(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The path as it is sent, encoded once more: all services but S3 want it so.
fn canonical_path(path: &str) -> String {
    if path.is_empty() {
        return "/".to_owned();
    }
    encoded(path, b"/")
}

fn canonical_query(url: &Url) -> String {
    let mut pairs: Vec<(String, String)> = url
        .query_pairs()
        .map(|(name, value)| (encoded(&name, b""), encoded(&value, b"")))
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    fn signature(service: &str, method: &str, url: &str, signed: &[(&str, &str)]) -> String {
        let key = Secret::new("AKIDEXAMPLEAAAAA:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let credentials = Credentials::parse(&key).expect("a pair");
        let signing = Signing {
            credentials: &credentials,
            region: "us-east-1",
            service,
            at: Utc.with_ymd_and_hms(2015, 8, 30, 12, 36, 0).single().expect("a time"),
        };
        let headers = signing.headers(method, &Url::parse(url).expect("a URL"), signed, b"");
        let proof = &headers
            .iter()
            .find(|(name, _)| *name == "authorization")
            .expect("a proof")
            .1;
        proof.split_once("Signature=").expect("a signature").1.to_owned()
    }

    /// `aws-sig-v4-test-suite` (get-vanilla, post-vanilla, get-vanilla-query-order-key-case) and the example of the IAM guide.
    /// The id has no part in a signature, so it may be longer than there.
    #[test]
    fn what_aws_publishes() {
        let of = |method, url| signature("service", method, url, &[]);
        assert_eq!(
            of("GET", "https://example.amazonaws.com/"),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        );
        assert_eq!(
            of("POST", "https://example.amazonaws.com/"),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
        assert_eq!(
            of("GET", "https://example.amazonaws.com/?Param2=value2&Param1=value1"),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
        );
        let form = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        let url = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08";
        assert_eq!(
            signature("iam", "GET", url, &[form]),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }

    #[test]
    fn pairs_and_other_keys() {
        let parse = |key: &str| Credentials::parse(&Secret::new(key));
        assert!(parse("AKIAIOSFODNN7EXAMPLE:secret/with+signs").is_some());
        let assumed = parse("ASIAIOSFODNN7EXAMPLE:secret:IQoJ:b3==").expect("a pair with a token");
        assert_eq!(assumed.session.expect("a token").expose(), "IQoJ:b3==");
        for other in [
            "bedrock-api-key-AAAA",
            "ABSK1234567890123456",
            "AKIAIOSFODNN7EXAMPLE:",
            "a:b",
            "",
        ] {
            assert!(parse(other).is_none(), "{other}");
        }
    }
}
