//! What the process says about itself: log lines, request spans, the panic hook, and the metrics recorder.
//!
//! Never logged: message text, prompts, tool arguments, tokens, e-mail addresses, full addresses.

use std::net::IpAddr;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, Profile, Telemetry};

/// Upper ends of the buckets for times, from a wait in a mailbox to a turn of an hour.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    1_800.0,
];
/// The same for what is committed together.
const JOBS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];
const UPKEEP: Duration = Duration::from_secs(5);

/// Why log lines cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("telemetry.filter: {0}")]
pub struct BadFilter(#[from] tracing_subscriber::filter::ParseError);

/// Starts logging to the error output and makes panics log lines. Does nothing when a subscriber is there already.
pub fn init(settings: &Telemetry, profile: Profile) -> Result<(), BadFilter> {
    let filter = EnvFilter::try_new(&settings.filter)?;
    // It logs whole messages: what people's tools are asked and answer.
    let filter = filter.add_directive("rmcp=off".parse()?);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(true);
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => profile == Profile::Production,
    };
    let installed = if json {
        builder.json().flatten_event(true).try_init()
    } else {
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
        builder.with_ansi(colours).try_init()
    };
    if installed.is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let message = info.payload_as_str().unwrap_or("(not a text)");
    let thread = std::thread::current();
    tracing::error!(
        location,
        thread = thread.name().unwrap_or_default(),
        backtrace = %std::backtrace::Backtrace::capture(),
        "panicked: {message}"
    );
}

/// An address as it may stand in a log: its network only.
pub fn redacted_address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

/// The process's metrics, recorded from the first call on.
pub fn metrics() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        // Buckets that are refused leave the plain form: numbers in another shape are better than none.
        let recorder = buckets().unwrap_or_default().build_recorder();
        let handle = recorder.handle();
        // Fails only when another recorder is installed, as a test may do; then this handle stays empty.
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

/// Times are counted in buckets, so that those of several processes can be added up.
fn buckets() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_jobs".to_owned()), JOBS)
}

/// Puts what was measured into its buckets now and then, until `stop`: samples are kept one by one until then, and
/// nobody may ever ask for them.
pub async fn keep(stop: CancellationToken) {
    let handle = metrics();
    let mut upkeep = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = upkeep.tick() => handle.run_upkeep(),
        }
    }
}

/// Metrics in Prometheus' text form, with the process's own memory and processor time.
pub fn render_metrics() -> String {
    let handle = metrics();
    handle.run_upkeep();
    let mut text = handle.render();
    if let Some(bytes) = resident_bytes() {
        text.push_str("# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes ");
        text.push_str(&bytes.to_string());
        text.push('\n');
    }
    text
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_last_part() {
        for (address, redacted) in [
            ("203.0.113.77", "203.0.113.0/24"),
            ("::ffff:203.0.113.77", "203.0.113.0/24"),
            ("2001:db8:aa:1::7", "2001:db8:aa::/48"),
        ] {
            assert_eq!(redacted_address(address.parse().expect("an address")), redacted);
        }
    }

    #[test]
    fn what_is_counted_is_rendered() {
        metrics();
        metrics::counter!("telemetry_test_total", "kind" => "a").increment(3);
        assert!(render_metrics().contains("telemetry_test_total{kind=\"a\"} 3"));
        assert!(render_metrics().contains("process_resident_memory_bytes "));
    }

    #[test]
    fn times_are_rendered_in_buckets() {
        metrics();
        metrics::histogram!("telemetry_test_seconds").record(0.003);
        let text = render_metrics();
        assert!(text.contains("# TYPE telemetry_test_seconds histogram"), "{text}");
        assert!(
            text.contains("telemetry_test_seconds_bucket{le=\"0.0025\"} 0"),
            "{text}"
        );
        assert!(text.contains("telemetry_test_seconds_bucket{le=\"0.005\"} 1"), "{text}");
    }
}
