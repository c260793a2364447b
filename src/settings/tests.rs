use super::*;

fn load(env: &[(&str, &str)], local: Option<&str>) -> Result<Settings, SettingsError> {
    Settings::from_source(&Source {
        env: env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        local: local.map(str::to_owned),
    })
}

/// Loads with one variable and gives the refusal.
fn refused(name: &str, value: &str) -> String {
    load(&[(name, value)], None).expect_err("must be refused").to_string()
}

#[test]
fn later_layers_win() {
    let settings = load(
        &[
            ("CLAWCENTRAL__LIMITS__USER_RUNS", "7"),
            ("CLAWCENTRAL__HTTP__TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8"),
            ("CLAWCENTRAL_PORT", "tcp://10.0.0.1:80"),
            ("PATH", "/bin"),
        ],
        Some("[limits]\nuser_runs = 6\ntenant_runs = 9\n"),
    )
    .expect("valid");
    assert_eq!(settings.limits.user_runs, 7);
    assert_eq!(settings.limits.runtime().tenant_runs, 9);
    assert_eq!(settings.http.trusted_proxies.len(), 2);
    assert_eq!(settings.http.default_tenant.as_deref(), Some("demo"));
    assert_eq!(settings.http.listen.port(), 8080);
}

#[test]
fn defaults_are_those_of_the_runtime() {
    let ours = format!("{:?}", Settings::for_test().limits.runtime());
    assert_eq!(ours, format!("{:?}", RuntimeLimits::default()));
}

#[test]
fn a_typo_is_named_with_the_nearest_key() {
    assert_eq!(
        refused("CLAWCENTRAL__HTTP__LISTNE", "127.0.0.1:1"),
        "unknown setting http.listne (CLAWCENTRAL__HTTP__LISTNE); did you mean http.listen?"
    );
    let error = load(&[], Some("[database]\nulr = \"x\"\n")).expect_err("typo");
    assert_eq!(
        error.to_string(),
        "unknown setting database.ulr (config/local.toml); did you mean database.url?"
    );
    assert_eq!(
        refused("CLAWCENTRAL__SOMETHING__ELSE_ENTIRELY", "1"),
        "unknown setting something.else_entirely (CLAWCENTRAL__SOMETHING__ELSE_ENTIRELY)"
    );
}

#[test]
fn nonsense_is_refused_by_name() {
    for (name, value, key) in [
        ("CLAWCENTRAL__LIMITS__USER_RUNS", "many", "limits.user_runs"),
        ("CLAWCENTRAL__LIMITS__USER_RUNS", "-1", "limits.user_runs"),
        ("CLAWCENTRAL__LIMITS__MAILBOX", "0", "limits.mailbox"),
        (
            "CLAWCENTRAL__LIMITS__STORED_UNUSED_SECS",
            "86399",
            "limits.stored_unused_secs",
        ),
        ("CLAWCENTRAL__HTTP__LISTEN", "here", "http.listen"),
        ("CLAWCENTRAL__HTTP__LISTEN", "0.0.0.0:8080", "http.listen"),
        ("CLAWCENTRAL__HTTP__TLS__LISTEN", "127.0.0.1:8443", "http.tls.cert"),
        ("CLAWCENTRAL__HTTP__BASE_DOMAIN", "example.com", "http.base_domain"),
        ("CLAWCENTRAL__HTTP__PUBLIC_URL", "https://x.y/path", "http.public_url"),
        ("CLAWCENTRAL__HTTP__PUBLIC_URL", "ftp://x.y", "http.public_url"),
        (
            "CLAWCENTRAL__HTTP__TRUSTED_PROXIES",
            "10.0.0.0/64",
            "http.trusted_proxies",
        ),
        ("CLAWCENTRAL__CLUSTER__NATS_URL", "nats://x", "cluster.nats_url"),
        ("CLAWCENTRAL__BLOBS__URL", "s3://x", "blobs.url"),
        ("CLAWCENTRAL__AUTH__OIDC__ISSUER", "https://x", "auth.oidc.issuer"),
        ("CLAWCENTRAL__AUTH__LOCAL__ENABLED", "yes", "auth.local.enabled"),
        ("CLAWCENTRAL__SECRETS__MASTER_KEY", "c2hvcnQ=", "secrets.master_key"),
        ("CLAWCENTRAL__DATABASE__URL", "mysql://x", "database.url"),
        (
            "CLAWCENTRAL__EGRESS__ALLOW_PRIVATE",
            "10.0.0.0/8",
            "egress.allow_private",
        ),
        (
            "CLAWCENTRAL__GATEWAY__ALLOWED_ORIGINS",
            "https://a/b",
            "gateway.allowed_origins",
        ),
        ("CLAWCENTRAL__TELEMETRY__FORMAT", "xml", "telemetry.format"),
    ] {
        let message = refused(name, value);
        assert!(message.starts_with(key), "{name}={value}: {message}");
    }
    assert!(refused("CLAWCENTRAL_PROFILE", "staging").contains("staging"));
}

#[test]
fn production_needs_what_it_needs() {
    let mut env = vec![("CLAWCENTRAL_PROFILE", "production")];
    for (key, name, value) in [
        ("http.base_domain", "CLAWCENTRAL__HTTP__BASE_DOMAIN", "example.com"),
        (
            "http.public_url",
            "CLAWCENTRAL__HTTP__PUBLIC_URL",
            "https://example.com",
        ),
        (
            "secrets.master_key",
            "CLAWCENTRAL__SECRETS__MASTER_KEY",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ),
    ] {
        let message = load(&env, None).expect_err("something is missing").to_string();
        assert!(message.starts_with(key), "{message}");
        env.push((name, value));
    }
    let settings = load(&env, None).expect("complete");
    assert!(settings.is_production());
    assert_eq!(settings.master_key().expect("valid"), Some([0; 32]));
    assert_eq!(settings.http.default_tenant, None);
    assert!(settings.egress.allow_private.is_empty());
}

#[test]
fn secrets_are_not_printed() {
    let settings = load(
        &[
            ("CLAWCENTRAL__DATABASE__URL", "postgres://u:hunter22@h/d"),
            ("CLAWCENTRAL__TELEMETRY__METRICS_TOKEN", "hunter22hunter22"),
            (
                "CLAWCENTRAL__SECRETS__MASTER_KEY",
                "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            ),
        ],
        None,
    )
    .expect("valid");
    let printed = format!("{settings:?}");
    assert!(!printed.contains("hunter22") && !printed.contains("AAAA"), "{printed}");
}

#[test]
fn every_key() {
    insta::assert_snapshot!(known_keys().join("\n"));
}

#[test]
fn a_tenant_has_the_scheme_and_port_of_the_public_url() {
    let mut http = Settings::for_test().http;
    let bound = "127.0.0.1:8081".parse().expect("an address");
    assert_eq!(Urls::new(&http, bound).tenant("acme"), "http://acme.localhost:8081");
    http.base_domain = "example.com".to_owned();
    for (public, tenant, gateway) in [
        (
            "https://example.com",
            "https://a.example.com",
            "wss://a.example.com/gateway/ws",
        ),
        (
            "https://x.org:8443",
            "https://a.example.com:8443",
            "wss://a.example.com:8443/gateway/ws",
        ),
        (
            "http://127.0.0.1:80",
            "http://a.example.com",
            "ws://a.example.com/gateway/ws",
        ),
    ] {
        http.public_url = Some(public.to_owned());
        assert_eq!(Urls::new(&http, bound).tenant("a"), tenant);
        assert_eq!(Urls::new(&http, bound).gateway("a"), gateway);
    }
}
