//! `models.providers` ↔ the tenant's AI providers.

use sea_orm::ConnectionTrait;
use serde_json::{Map, Value, json};

use super::super::document::REDACTED;
use super::super::providers::{API_KEYS, ProviderDraft, ProviderView, crud, known};
use super::{Given, Writing, patch};
use crate::crypto::Secret;
use crate::error::Result;

/// Keys that have a column of their own.
const OWN: [&str; 4] = ["baseUrl", "api", "apiKey", "enabled"];

/// A provider as the configuration spells it.
pub(super) fn entry(view: &ProviderView) -> Value {
    let mut entry = view.config.as_object().cloned().unwrap_or_default();
    entry.insert("baseUrl".to_owned(), json!(view.base_url));
    entry.insert("api".to_owned(), json!(view.api));
    if view.key_set {
        entry.insert("apiKey".to_owned(), json!(REDACTED));
    }
    if !view.enabled {
        entry.insert("enabled".to_owned(), json!(false));
    }
    Value::Object(entry)
}

impl<C: ConnectionTrait> Writing<'_, C> {
    /// Makes the tenant's providers what `new` (the section `models`) says, where it differs from `old`.
    pub(super) async fn store_providers(&mut self, stored: &[ProviderView], old: &Value, new: &Value) -> Result<()> {
        let entries = |section: &Value| section.get("providers").and_then(Value::as_object).cloned();
        let (old, new) = (entries(old).unwrap_or_default(), entries(new).unwrap_or_default());
        let tenant = self.user.scope.tenant_scope();
        for id in old.keys().filter(|id| !new.contains_key(*id)) {
            crud::delete(self.tx, tenant, self.actor, id).await?;
        }
        for (id, entry) in new.iter().filter(|(id, entry)| old.get(*id) != Some(*entry)) {
            let path = format!("models.providers.{id}");
            let before = stored.iter().find(|view| view.id == *id);
            let fields = entry.as_object().cloned().unwrap_or_default();
            let Some(draft) = self.provider(&path, id, fields, before) else {
                continue;
            };
            let put = crud::put(self.tx, tenant, self.data_key, self.actor, draft).await;
            self.refused(&path, put)?;
        }
        Ok(())
    }

    /// What is to be saved; `None` after a refusal.
    fn provider(
        &mut self,
        path: &str,
        id: &str,
        mut fields: Map<String, Value>,
        before: Option<&ProviderView>,
    ) -> Option<ProviderDraft> {
        let known = known(id);
        let text = |key: &str| {
            fields
                .get(key)
                .and_then(Value::as_str)
                .map(str::trim)
                .map(str::to_owned)
        };
        let base_url = text("baseUrl").or_else(|| known.map(|known| known.base_url.to_owned()));
        let api = text("api").unwrap_or_else(|| known.map_or("openai-completions", |known| known.api).to_owned());
        let enabled = fields.get("enabled").and_then(Value::as_bool).unwrap_or(true);
        let Some(base_url) = base_url else {
            self.refuse(format!("{path}.baseUrl"), "is missing");
            return None;
        };
        // One that was stored so may stay: the import takes what it finds.
        if !self.apis.contains(&api.as_str()) && before.is_none_or(|before| before.api != api) {
            let apis = self.apis.join(", ");
            self.refuse(format!("{path}.api"), format!("must be one of {apis}"));
            return None;
        }
        let key_set = before.is_some_and(|before| before.key_set);
        let api_key = match fields.get("apiKey") {
            // Without a key from now on: an empty one removes what is stored.
            None => Some(Secret::new("")),
            Some(value) => match self.secret(&format!("{path}.apiKey"), value, key_set) {
                Some(Given::Kept) => None,
                Some(Given::New(key)) => Some(key),
                None => Some(Secret::new("")),
            },
        };
        let mut config: Map<String, Value> = std::mem::take(&mut fields)
            .into_iter()
            .filter(|(key, _)| !OWN.contains(&key.as_str()))
            .collect();
        let before = before.map_or(Value::Null, |before| before.config.clone());
        let sealed = ["headers", API_KEYS].map(|field| (field, config.remove(field)));
        for (field, values) in &sealed {
            for (name, value) in values.as_ref().and_then(Value::as_object).into_iter().flatten() {
                let stored = before.get(*field).is_some_and(|values| values.get(name).is_some());
                self.secret(&format!("{path}.{field}.{name}"), value, stored);
            }
        }
        let mut config = Value::Object(config);
        if let Err(path) = patch::unmask(&mut config, &before, path) {
            self.refuse(path, "stands for no stored secret");
        }
        for (field, values) in sealed {
            if let Some(values) = values {
                config[field] = values;
            } else if field == API_KEYS {
                // Without further keys from now on.
                config[field] = json!({});
            }
        }
        Some(ProviderDraft {
            id: id.to_owned(),
            api,
            base_url,
            config,
            enabled,
            api_key,
        })
    }
}
