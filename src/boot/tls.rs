//! The TLS listener's certificate, read again when its files change.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use claw_actors::gateway::Fingerprint;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_util::sync::CancellationToken;

use crate::settings::Tls;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The certificate in force.
#[derive(Debug)]
struct Current {
    files: Files,
    key: RwLock<Arc<CertifiedKey>>,
    certificate: Fingerprint,
}

#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// TLS 1.2 and 1.3 by ring. The files are watched until `stop`.
pub(super) fn config(
    settings: &Tls,
    certificate: Fingerprint,
    stop: &CancellationToken,
) -> anyhow::Result<ServerConfig> {
    let (Some(cert), Some(key)) = (&settings.cert, &settings.key) else {
        anyhow::bail!("http.tls needs listen, cert and key together");
    };
    let files = Files {
        cert: PathBuf::from(cert),
        key: PathBuf::from(key),
    };
    let key = files.read()?;
    tell(&certificate, &key);
    let current = Arc::new(Current {
        key: RwLock::new(Arc::new(key)),
        files,
        certificate,
    });
    tokio::spawn(watch(current.clone(), stop.clone()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("http.tls: no protocol version is left")?
        .with_no_client_auth()
        .with_cert_resolver(current);
    Ok(config)
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Files {
    fn read(&self) -> anyhow::Result<CertifiedKey> {
        let chain = CertificateDer::pem_file_iter(&self.cert)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .with_context(|| format!("http.tls.cert: cannot read {}", self.cert.display()))?;
        anyhow::ensure!(
            !chain.is_empty(),
            "http.tls.cert: no certificate in {}",
            self.cert.display()
        );
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .with_context(|| format!("http.tls.key: cannot read {}", self.key.display()))?;
        CertifiedKey::from_der(chain, key, &ring::default_provider())
            .context("http.tls: the key does not belong to the certificate")
    }

    /// Changes when either file does.
    fn stamp(&self) -> [Option<SystemTime>; 2] {
        [&self.cert, &self.key].map(|file| std::fs::metadata(file).and_then(|about| about.modified()).ok())
    }
}

/// Says which certificate clients pin that come in with a setup code: one that stands alone. What an authority signed is
/// renewed every few weeks and verified by its chain; a pin would lock those clients out then.
fn tell(certificate: &Fingerprint, key: &CertifiedKey) {
    match key.cert.as_slice() {
        [alone] => certificate.set(Some(alone.as_ref())),
        _ => certificate.set(None),
    }
}

async fn watch(current: Arc<Current>, stop: CancellationToken) {
    let mut seen = current.files.stamp();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let stamp = current.files.stamp();
        if stamp == seen {
            continue;
        }
        match current.files.read() {
            Ok(key) => {
                tell(&current.certificate, &key);
                *current.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!("took the new TLS certificate");
                seen = stamp;
            }
            // The two files are rarely replaced in one step: the old pair serves until the new one is whole.
            Err(error) => tracing::warn!("keeping the old TLS certificate: {error:#}"),
        }
    }
}
