//! Connecting accounts to their platforms: when one is saved, and for accounts that nobody connected yet (an import,
//! a platform that was away).

use std::sync::Arc;
use std::time::{Duration, Instant};

use claw_actors::config::ConfigService;
use claw_actors::config::accounts::{AccountName, ResolvedAccount};
use claw_actors::crypto::token;
use claw_actors::ports::channel::{Account, Channel, Connected, DeliverError, Reached};
use claw_actors::session::commands::offers;
use claw_actors::{Error, Services, clock};
use dashmap::DashMap;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::settings::Urls;

/// Accounts that are connected at once.
const AT_ONCE: usize = 8;
/// How long after a failed try the next one is made.
const RETRY: Duration = Duration::from_secs(300);
/// How often accounts are looked at whose menu is of an earlier version.
const MENUS_EVERY: Duration = Duration::from_secs(3_600);

/// How often platforms are asked whether they are still pointed at us.
const WATCH_EVERY: Duration = Duration::from_secs(600);

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

    /// Takes a webhook away by credentials that are no longer the account's.
    pub(crate) async fn disconnect_old(&self, name: &AccountName, old: Arc<ResolvedAccount>) -> Result<(), Error> {
        let channel = self.adapter(name)?;
        self.alone(name, self.take_away(name, channel, old)).await
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
        let url = self.webhook_url(config, name, channel.as_ref()).await?;
        // On the runtime of outbound connections: a connection must not live on the thread of a request.
        let answer = self
            .services
            .io
            .spawn(async move {
                let mut connected = channel.connect(&account.account, &url).await?;
                offer(channel.as_ref(), &account.account, &mut connected.identity).await;
                Ok::<_, DeliverError>(connected)
            })
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

    /// The account and its adapter, if the platform is pointed at us.
    async fn connected(
        &self,
        config: &ConfigService,
        name: &AccountName,
    ) -> Result<Option<(Arc<dyn Channel>, Arc<ResolvedAccount>)>, Error> {
        let channel = self.adapter(name)?;
        let account = config
            .account(name.tenant.tenant(), &name.channel, &name.account_id)
            .await?;
        let connected = account.filter(|account| account.status == "connected");
        Ok(connected.map(|account| (channel, account)))
    }

    async fn disconnect_now(&self, config: &ConfigService, name: &AccountName) -> Result<(), Error> {
        match self.connected(config, name).await? {
            Some((channel, account)) => self.take_away(name, channel, account).await,
            None => Ok(()),
        }
    }

    async fn take_away(
        &self,
        name: &AccountName,
        channel: Arc<dyn Channel>,
        account: Arc<ResolvedAccount>,
    ) -> Result<(), Error> {
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
    /// after a failure. Menus of an earlier version are renewed, and webhooks that somebody else changed are set again. Until
    /// `stop`.
    pub(crate) async fn keep(self, stop: CancellationToken) {
        let mut changes = self.services.config.changes();
        let (mut menus_at, mut watch_at) = (Instant::now(), Instant::now());
        loop {
            if let Err(error) = self.connect_missing().await {
                tracing::warn!(error = ?error, "channel accounts were not connected yet");
            }
            if menus_at <= Instant::now() {
                menus_at = Instant::now() + MENUS_EVERY;
                if let Err(error) = self.renew_menus().await {
                    tracing::warn!(error = ?error, "menus of commands were not renewed");
                }
            }
            if watch_at <= Instant::now() {
                watch_at = Instant::now() + WATCH_EVERY;
                if let Err(error) = self.watch().await {
                    tracing::warn!(error = ?error, "it is not known where platforms send their events");
                }
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

    /// Offers today's commands where an earlier version's are offered, or none could be.
    async fn renew_menus(&self) -> Result<(), Error> {
        let config = &self.services.config;
        let channels = self.services.ports.channels().iter();
        let channels: Vec<&str> = channels
            .filter(|channel| channel.menu().is_some())
            .map(|channel| channel.manifest().id)
            .collect();
        let old = config.connected_accounts(&channels).await?;
        let old = old.into_iter().filter(|(_, identity)| identity[MENU] != json!(menu()));
        futures::stream::iter(old)
            .for_each_concurrent(AT_ONCE, |(name, _)| async move {
                if let Err(error) = self.alone(&name, self.renew_menu(config, &name)).await {
                    tracing::warn!(channel.id = name.channel, error = ?error, "a menu of commands was not renewed");
                }
            })
            .await;
        Ok(())
    }

    async fn renew_menu(&self, config: &ConfigService, name: &AccountName) -> Result<(), Error> {
        let Some((channel, account)) = self.connected(config, name).await? else {
            return Ok(());
        };
        let before = account.account.identity.clone();
        let mut identity = before.clone();
        let offering = self.services.io.spawn(async move {
            offer(channel.as_ref(), &account.account, &mut identity)
                .await
                .then_some(identity)
        });
        if let Some(identity) = offering.await.map_err(Error::internal)? {
            // Whoever changed the account meanwhile, here or in another process, knows better.
            config.account_known(name, &before, identity).await?;
        }
        Ok(())
    }

    /// Points platforms at us again that somebody else pointed elsewhere, and notes what they cannot deliver.
    async fn watch(&self) -> Result<(), Error> {
        let config = &self.services.config;
        let channels = self.services.ports.channels().iter();
        let channels: Vec<&str> = channels
            .filter(|channel| channel.watch().is_some())
            .map(|channel| channel.manifest().id)
            .collect();
        let connected = config.connected_accounts(&channels).await?;
        futures::stream::iter(connected)
            .for_each_concurrent(AT_ONCE, |(name, _)| async move {
                if let Err(error) = self.alone(&name, self.look_after(config, &name)).await {
                    tracing::warn!(channel.id = name.channel, error = ?error, "a webhook was not looked after");
                }
            })
            .await;
        Ok(())
    }

    async fn look_after(&self, config: &ConfigService, name: &AccountName) -> Result<(), Error> {
        let Some((channel, account)) = self.connected(config, name).await? else {
            return Ok(());
        };
        let url = self.webhook_url(config, name, channel.as_ref()).await?;
        let looking = self.services.io.spawn(async move {
            match channel.watch() {
                Some(watch) => watch.look(&account.account, &url).await,
                None => Ok(Reached::Here { trouble: None }),
            }
        });
        match looking.await.map_err(Error::internal)? {
            Ok(Reached::Here { trouble }) => config.account_trouble(name, trouble.as_deref()).await,
            Ok(Reached::Elsewhere(found)) => {
                tracing::warn!(
                    channel.id = name.channel, tenant.id = %name.tenant.tenant(), "an account's webhook was changed elsewhere"
                );
                self.connect_now(config, name).await?;
                match self.connected(config, name).await? {
                    Some(_) => {
                        let detail = format!("{found}; the webhook is set again");
                        config.set_account_status(name, "connected", Some(&detail)).await
                    }
                    None => Ok(()),
                }
            }
            // Another look comes soon, and what is sent or heard meanwhile says more.
            Err(error) => {
                tracing::debug!(channel.id = name.channel, "a webhook could not be looked at: {error}");
                Ok(())
            }
        }
    }

    async fn webhook_url(
        &self,
        config: &ConfigService,
        name: &AccountName,
        channel: &dyn Channel,
    ) -> Result<String, Error> {
        let slug = config.tenant(&name.tenant).await?.slug;
        Ok(self.urls.webhook(&slug, channel.manifest().path, &name.account_id))
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

/// Field of an account's identity: which commands the platform offers.
const MENU: &str = "menu";

/// What tells today's commands from those of another version.
fn menu() -> String {
    let lines: Vec<String> = offers()
        .iter()
        .map(|offer| format!("{} {}", offer.name, offer.what))
        .collect();
    let mut hash = token::hash(&lines.join("\n"));
    hash.truncate(16);
    hash
}

/// Offers the commands on the platform, as far as it has menus, and notes which. A platform that refuses costs nothing
/// but the menu; it is asked again.
async fn offer(channel: &dyn Channel, account: &Account, identity: &mut Value) -> bool {
    let Some(shown) = channel.menu() else { return false };
    match shown.offer(account, &offers()).await {
        Ok(()) => {
            if let Some(identity) = identity.as_object_mut() {
                identity.insert(MENU.to_owned(), json!(menu()));
            }
            true
        }
        Err(error) => {
            tracing::warn!(channel.id = account.channel, tenant.id = %account.tenant, "no menu of commands: {error}");
            false
        }
    }
}
