//! The messaging platforms: one folder each, one line each in [`all`].

mod call;
mod chunk;
mod connection;
mod lenient;
mod markdown;

mod slack;
mod telegram;

use std::sync::Arc;

use claw_actors::ports::channel::Channel;

pub(crate) use connection::Connector;

use crate::egress::Egress;

/// Every channel this product speaks, in the order the Admin UI lists them.
pub fn all(http: &Egress) -> Vec<Arc<dyn Channel>> {
    vec![
        Arc::new(telegram::Telegram::new(http.clone())),
        Arc::new(slack::Slack::new(http.clone())),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use claw_actors::config::schema::{self, Kind, PLATFORMS};

    use super::*;
    use crate::egress::testing::FakeServer;

    /// What a configuration may say of a channel, and what the adapter says of itself.
    #[test]
    fn the_table_of_keys_knows_every_channel_and_its_secrets() {
        let channels = all(&FakeServer::egress());
        assert_eq!(channels.len(), PLATFORMS.len());
        for channel in &channels {
            let manifest = channel.manifest();
            let platform = PLATFORMS.iter().find(|platform| platform.id == manifest.id);
            let needed = manifest
                .secrets
                .iter()
                .filter(|secret| secret.required && !secret.generated);
            let needed: Vec<_> = needed.map(|secret| secret.name).collect();
            assert_eq!(platform.map(|platform| platform.required), Some(needed.as_slice()));
            for secret in manifest.secrets {
                let path = format!("channels.{}.{}", manifest.id, secret.name);
                assert!(
                    schema::at(&path).is_some_and(|key| matches!(key.kind, Kind::Secret)),
                    "{path}"
                );
            }
        }
    }

    #[test]
    fn manifests_are_complete_and_do_not_collide() {
        let channels = all(&FakeServer::egress());
        let mut ids = HashSet::new();
        let mut paths = HashSet::new();
        for channel in &channels {
            let manifest = channel.manifest();
            assert!(ids.insert(manifest.id), "{}", manifest.id);
            let own = format!("/webhooks/{}", manifest.path);
            for path in manifest.extra_paths.iter().map(|path| (*path).to_owned()).chain([own]) {
                assert!(path.starts_with('/') && path == path.to_lowercase(), "{path}");
                assert!(paths.insert(path.clone()), "{path}");
            }
            assert!(manifest.text_limit > 0 && manifest.max_body_bytes > 0);
            let mut names = HashSet::new();
            for secret in manifest.secrets {
                assert!(names.insert(secret.name), "{}", secret.name);
                assert!(!secret.label.is_empty() && !secret.help.is_empty());
                assert!(
                    !(secret.required && secret.generated),
                    "{} cannot be asked for",
                    secret.name
                );
            }
            assert!(channel.render("").is_empty());
            assert_eq!(channel.render("hello").len(), 1);
        }
    }
}
