//! Writes a plan. Each part is saved by the same rules as in the Admin UI; what they refuse becomes a line.

use claw_actors::Error;
use claw_actors::config::ConfigService;
use claw_actors::config::accounts::AccountDraft;
use claw_actors::config::document::{REDACTED, redact};
use claw_actors::config::identity::{Role, User};
use serde_json::{Map, Value};

use super::super::error::CliError;
use super::plan::Plan;
use super::report::{Outcome, Report};

pub(super) async fn apply(config: &ConfigService, user: &User, plan: Plan) -> Result<Report, CliError> {
    let document = plan.document_patch();
    let Plan {
        providers,
        accounts,
        mut report,
        ..
    } = plan;
    // Providers and channels belong to the tenant: what a member may not change in the Admin UI, their file may not.
    let tenant = user.scope.tenant_scope();
    let may_change_tenant = user.role != Role::Member;
    let for_tenant = !providers.is_empty() || !accounts.is_empty();
    if for_tenant && !may_change_tenant {
        report.add(
            Outcome::NotTaken,
            "models, channels",
            "AI providers and channels belong to the tenant: import as an admin or owner",
        );
    }
    if may_change_tenant {
        for provider in providers {
            let setting = format!("models.providers.{}", provider.id);
            refused(&mut report, setting, config.put_provider(tenant, provider).await)?;
        }
        for account in accounts {
            let draft = AccountDraft {
                channel: account.channel,
                account_id: account.account_id,
                owner: user.scope.user().clone(),
                enabled: account.enabled,
                config: Value::Object(account.config),
                secrets: account.secrets,
            };
            // What is required was looked at when the plan was made.
            refused(
                &mut report,
                account.setting,
                config.put_account(tenant, draft, &[]).await,
            )?;
        }
    }
    let Value::Object(sections) = document else {
        return Ok(report);
    };
    let current = config.document(&user.scope).await?;
    if !sections.is_empty() && changes(&current.doc, &sections) {
        let stored = config
            .update_document(&user.scope, move |mut doc| {
                if let Value::Object(doc) = &mut doc {
                    doc.extend(sections);
                }
                Ok(doc)
            })
            .await;
        refused(&mut report, "the document".to_owned(), stored.map(|_| ()))?;
    }
    Ok(report)
}

/// Would these sections change the document. Secrets count as changed: what is sealed cannot be compared.
fn changes(current: &Value, sections: &Map<String, Value>) -> bool {
    sections.iter().any(|(name, section)| {
        let shown = redact(section);
        current.get(name) != Some(section) || (shown != *section && shown.to_string().contains(REDACTED))
    })
}

/// A refusal for what the file says is a line of the report; everything else stops the import.
fn refused(report: &mut Report, setting: String, result: Result<(), Error>) -> Result<(), CliError> {
    match result {
        Ok(()) => Ok(()),
        Err(Error::Invalid(why) | Error::TooLarge(why)) => {
            report.refuse(setting, why);
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
