//! `user …` and `sign-in-link`.

use clap::{Args, Subcommand, ValueEnum};
use claw_actors::config::identity::Role;

use super::error::CliError;
use super::{out, place, seed};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a user; without a password, `sign-in-link` lets them in
    Create {
        /// Slug of the tenant
        #[arg(long)]
        tenant: String,
        #[arg(long)]
        email: String,
        #[arg(long, value_enum, default_value = "member")]
        role: RoleName,
        /// Read a password from stdin, one line
        #[arg(long)]
        password_stdin: bool,
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
    /// Lock a user out: running servers end within a second what goes on for them
    Disable(Which),
    /// Let a disabled user in again
    Enable(Which),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Slug of the tenant
    #[arg(long)]
    tenant: String,
    /// E-mail address of the user
    #[arg(long)]
    user: String,
    #[arg(long, help = "Print JSON")]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum RoleName {
    Owner,
    Admin,
    Member,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Owner => Self::Owner,
            RoleName::Admin => Self::Admin,
            RoleName::Member => Self::Member,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct SignInLink {
    /// Slug of the tenant
    #[arg(long)]
    tenant: String,
    /// E-mail address of the user
    #[arg(long)]
    user: String,
    #[arg(long, help = "Print JSON")]
    json: bool,
}

impl Command {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), CliError> {
        let (tenant, email, role, password_stdin, json) = match self {
            Self::Create {
                tenant,
                email,
                role,
                password_stdin,
                json,
            } => (tenant, email, role, password_stdin, json),
            Self::Disable(which) => return which.set_disabled(settings, true).await,
            Self::Enable(which) => return which.set_disabled(settings, false).await,
        };
        let config = place::open(settings).await?;
        let scope = place::tenant(&config, &tenant).await?;
        let password = password_stdin
            .then(|| place::secret_from_stdin("the password"))
            .transpose()?;
        let user = config
            .create_user(&scope, &email, role.into(), password.as_ref())
            .await?;
        if json {
            out::json(&serde_json::json!({
                "id": user.scope.user(), "email": user.email, "role": user.role, "tenant": tenant,
            }));
        } else {
            out::line(format!(
                "created {} {} in tenant {tenant}",
                user.role.name(),
                user.email
            ));
        }
        Ok(())
    }
}

impl Which {
    async fn set_disabled(self, settings: &Settings, disabled: bool) -> Result<(), CliError> {
        let config = place::open(settings).await?;
        let user = place::user(&config, &self.tenant, &self.user).await?;
        let scope = &user.scope;
        config
            .set_disabled(scope.tenant_scope(), scope.user(), disabled)
            .await?;
        if self.json {
            out::json(&serde_json::json!({
                "id": scope.user(), "email": user.email, "role": user.role, "tenant": self.tenant,
                "disabled": disabled,
            }));
        } else {
            let done = if disabled { "disabled" } else { "enabled" };
            out::line(format!("{done} {} of tenant {}", user.email, self.tenant));
        }
        Ok(())
    }
}

impl SignInLink {
    pub(super) async fn run(self, settings: &Settings) -> Result<(), CliError> {
        let config = place::open(settings).await?;
        let user = place::user(&config, &self.tenant, &self.user).await?;
        if user.disabled {
            return Err(CliError::Usage(format!("user {} is disabled", user.email)));
        }
        let code = config.create_sign_in_code(&user.scope).await?;
        let link = seed::sign_in_url(settings, settings.http.listen, &self.tenant, &code);
        if self.json {
            out::json(&serde_json::json!({ "link": link }));
        } else {
            out::line(link);
        }
        Ok(())
    }
}
