//! Connecting accounts to their platforms: when one is saved, and for accounts that nobody connected yet (an import,
//! a platform that was away).

use std::sync::Arc;
use std::time::Duration;

use claw_actors::config::ConfigService;
use claw_actors::config::accounts::AccountName;
use claw_actors::ports::channel::{Channel, Connected, DeliverError};
use claw_actors::{Error, Services, clock};
use dashmap::DashMap;
use futures::StreamExt;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::settings::Urls;

/// Accounts that are connected at once.
const AT_ONCE: usize = 8;
/// How long after a failed try the next one is made.
const RETRY: Duration = Duration::from_secs(300);

/// Points platforms at this server. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connector {
    services: Services,
    urls: Urls,
    /// One connection of an account at a time: two would give the platform two secrets.
    busy: Arc<DashMap<AccountName, Arc<Mutex<()>>>>,
}

impl Connector {
    pub(crate) fn new(services: Services, urls: Urls) -> Self {
        Self {
            services,
            urls,
            busy: Arc::default(),
        }
    }

    /// Points the platform at us and notes how that went. Gives what the person should know; a platform that refuses
    /// is such a warning, not an error.
    pub(crate) async fn connect(&self, config: &ConfigService, name: &AccountName) -> Result<Vec<String>, Error> {
        self.alone(name, async { self.connect_now(config, name).await }).await
    }

    /// Takes the webhook away, as far as the platform lets us.
    pub(crate) async fn disconnect(&self, config: &ConfigService, name: &AccountName) -> Result<(), Error> {
        self.alone(name, async { self.disconnect_now(config, name).await })
            .await
    }

    async fn alone<T>(&self, name: &AccountName, work: impl Future<Output = T>) -> T {
        let lock = self.busy.entry(name.clone()).or_default().clone();
        let held = lock.lock().await;
        let done = work.await;
        drop(held);
        drop(lock);
        self.busy.remove_if(name, |_, lock| Arc::strong_count(lock) == 1);
        done
    }

    fn adapter(&self, name: &AccountName) -> Result<Arc<dyn Channel>, Error> {
        let channel = self.services.ports.channel(&name.channel).cloned();
        channel.ok_or(Error::NotFound { what: "channel" })
    }

    async fn connect_now(&self, config: &ConfigService, name: &AccountName) -> Result<Vec<String>, Error> {
        let channel = self.adapter(name)?;
        let tenant = &name.tenant;
        let account = config
            .account(tenant.tenant(), &name.channel, &name.account_id)
            .await?
            .ok_or(Error::NotFound {
                what: "channel account",
            })?;
        let slug = config.tenant(tenant).await?.slug;
        let url = self.urls.webhook(&slug, channel.manifest().path, &name.account_id);
        // On the runtime of outbound connections: a connection must not live on the thread of a request.
        let answer = self
            .services
            .io
            .spawn(async move { channel.connect(&account.account, &url).await })
            .await
            .map_err(Error::internal)?;
        match answer {
            Ok(Connected {
                identity,
                generated,
                warnings,
            }) => {
                config.account_connected(name, &generated, identity).await?;
                Ok(warnings)
            }
            Err(error) => {
                let detail = error.to_string();
                let status = if matches!(error, DeliverError::Unauthorized { .. }) {
                    "unauthorized"
                } else {
                    "error"
                };
                config.set_account_status(name, status, Some(&detail)).await?;
                Ok(vec![format!("saved, but not connected: {detail}")])
            }
        }
    }

    async fn disconnect_now(&self, config: &ConfigService, name: &AccountName) -> Result<(), Error> {
        let channel = self.adapter(name)?;
        let account = config
            .account(name.tenant.tenant(), &name.channel, &name.account_id)
            .await?;
        let Some(account) = account.filter(|account| account.status == "connected") else {
            return Ok(());
        };
        let gone = self
            .services
            .io
            .spawn(async move { channel.disconnect(&account.account).await })
            .await
            .map_err(Error::internal)?;
        if let Err(error) = gone {
            tracing::warn!(
                channel.id = name.channel, tenant.id = %name.tenant.tenant(), "cannot take the webhook away: {error}"
            );
        }
        Ok(())
    }

    /// Connects what is enabled and not connected: now, whenever the configuration changes, and again some minutes
    /// after a failure. Until `stop`.
    pub(crate) async fn keep(self, stop: CancellationToken) {
        let mut changes = self.services.config.changes();
        loop {
            if let Err(error) = self.connect_missing().await {
                tracing::warn!(error = ?error, "channel accounts were not connected yet");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(RETRY) => {}
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn connect_missing(&self) -> Result<(), Error> {
        let before = clock::now_ms() - i64::try_from(RETRY.as_millis()).unwrap_or(0);
        let config = &self.services.config;
        let missing = config.unconnected_accounts(before).await?;
        futures::stream::iter(missing)
            .for_each_concurrent(AT_ONCE, |name| async move {
                let done = self
                    .alone(&name, async {
                        // Whoever had it before may have connected it meanwhile.
                        if config.is_unconnected(&name, before).await? {
                            self.connect_now(config, &name).await?;
                        }
                        Ok::<_, Error>(())
                    })
                    .await;
                if let Err(error) = done {
                    tracing::warn!(channel.id = name.channel, error = ?error, "a channel account was not connected");
                }
            })
            .await;
        Ok(())
    }
}
