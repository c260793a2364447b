//! Writes a plan. Each part is saved by the same rules as in the Admin UI; what they refuse becomes a line.

use claw_actors::Error;
use claw_actors::config::ConfigService;
use claw_actors::config::accounts::AccountDraft;
use claw_actors::config::cron::CronLimits;
use claw_actors::config::document::{REDACTED, redact};
use claw_actors::config::identity::{Role, User};
use claw_actors::crypto::Secret;
use serde_json::{Map, Value};

use super::super::error::CliError;
use super::plan::Plan;
use super::report::{Outcome, Report};

pub(super) async fn apply(
    config: &ConfigService,
    user: &User,
    plan: Plan,
    limits: CronLimits,
) -> Result<Report, CliError> {
    let document = plan.document_patch();
    let Plan {
        providers,
        accounts,
        cron_jobs,
        hook_token,
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
    if let Some(token) = hook_token {
        import_hook_token(config, user, token, &mut report).await?;
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
    // After the document: a job may name an agent of it.
    for (index, job) in cron_jobs.into_iter().enumerate() {
        cron_job(config, user, index, job, limits, &mut report).await?;
    }
    Ok(report)
}

/// Programs that call the old gateway's hooks call ours with the same token.
async fn import_hook_token(
    config: &ConfigService,
    user: &User,
    token: Secret,
    report: &mut Report,
) -> Result<(), CliError> {
    let setting = "hooks.token".to_owned();
    report.add(Outcome::Taken, setting.clone(), "it opens all hooks");
    let known = config.authenticate_hook(user.scope.tenant(), &token).await?;
    match known {
        // An earlier import took it.
        Some((owner, _)) if owner == user.scope => Ok(()),
        Some(_) => {
            report.refuse(setting, "somebody else here has the same token".to_owned());
            Ok(())
        }
        None => {
            let made = config.create_hook_token(&user.scope, "import", None, Some(token)).await;
            refused(report, setting, made.map(|_| ()))
        }
    }
}

/// A scheduled job. The file's name for it becomes its key, so that another import finds it again.
async fn cron_job(
    config: &ConfigService,
    user: &User,
    index: usize,
    mut job: Value,
    limits: CronLimits,
    report: &mut Report,
) -> Result<(), CliError> {
    let text = |name: &str| job.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let name = text("id").or(text("jobId")).or(text("name")).map(str::to_owned);
    let name = name.unwrap_or_else(|| index.to_string());
    let setting = format!("cron.jobs[{name}]");
    if let Value::Object(fields) = &mut job {
        fields
            .entry("declarationKey")
            .or_insert_with(|| Value::String(format!("import:{name}")));
    }
    report.add(Outcome::Taken, setting.clone(), "");
    let added = config.add_cron_job(&user.scope, &job, limits).await;
    refused(report, setting, added.map(|_| ()))
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
