//! The command line. Every command works on the database itself, beside a running server.

mod audit;
mod budget;
mod device;
mod error;
mod export;
mod hook_token;
mod import;
mod migrate;
mod openapi;
mod out;
mod place;
mod provider;
mod secrets;
mod seed;
mod serve;
mod tenant;
#[cfg(test)]
mod testing;
mod token;
mod transcript;
mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::documents::reader as documents;
use crate::settings::Settings;
use error::CliError;

pub use seed::{owner_sign_in_link, print_owner_sign_in_link, seed, sign_in_url};

/// Runs ClawCentral, or changes what it knows.
#[derive(Debug, Parser)]
#[command(name = "clawcentral", version, max_term_width = 100, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Migrate the database, start and serve (what no command means, too)
    Serve,
    /// Create or migrate the database and stop
    Migrate,
    /// Create, list, suspend, resume and delete tenants
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Create, disable and enable users
    #[command(subcommand)]
    User(user::Command),
    /// Print a link that signs a user in once, within 15 minutes
    SignInLink(user::SignInLink),
    /// Create personal API tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Create tokens for hooks
    #[command(subcommand)]
    HookToken(hook_token::Command),
    /// Approve devices that wait for pairing
    #[command(subcommand)]
    Device(device::Command),
    /// Manage AI providers
    #[command(subcommand)]
    Provider(provider::Command),
    /// List, set and remove spending limits
    #[command(subcommand)]
    Budget(budget::Command),
    /// Take over an OpenClaw configuration, or read an export back
    Import(import::Import),
    /// Write everything a user owns to a file, secrets excluded
    Export(export::Export),
    /// Take a session's transcript elsewhere, or bring one from elsewhere
    #[command(subcommand)]
    Transcript(transcript::Command),
    /// Replace the master key
    #[command(subcommand)]
    Secrets(secrets::Command),
    /// Check a tenant's audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// Print the OpenAPI document of the REST API
    Openapi,
    /// What the server starts to read a document that somebody sent
    #[command(name = documents::COMMAND, hide = true)]
    ReadDocument { most: usize, pages: Option<String> },
}

/// Parses the arguments of this process and does what they say.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::ReadDocument { most, pages }) = arguments.command {
        return documents::run(most, pages.as_deref().unwrap_or_default());
    }
    match execute(arguments.command.unwrap_or(Command::Serve)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<(), CliError> {
    // Neither needs a runtime of ours, and the document needs no settings.
    if matches!(command, Command::Openapi) {
        openapi::run();
        return Ok(());
    }
    if matches!(command, Command::Serve) {
        return serve::run(Settings::load()?);
    }
    let settings = Settings::load()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?
        .block_on(dispatch(command, &settings))
}

async fn dispatch(command: Command, settings: &Settings) -> Result<(), CliError> {
    match command {
        Command::Migrate => migrate::run(settings).await,
        Command::Tenant(command) => command.run(settings).await,
        Command::User(command) => command.run(settings).await,
        Command::SignInLink(command) => command.run(settings).await,
        Command::Token(command) => command.run(settings).await,
        Command::HookToken(command) => command.run(settings).await,
        Command::Device(command) => command.run(settings).await,
        Command::Provider(command) => command.run(settings).await,
        Command::Budget(command) => command.run(settings).await,
        Command::Import(command) => command.run(settings).await,
        Command::Export(command) => command.run(settings).await,
        Command::Transcript(command) => command.run(settings).await,
        Command::Secrets(command) => command.run(settings).await,
        Command::Audit(command) => command.run(settings).await,
        Command::Serve | Command::Openapi | Command::ReadDocument { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_hold_together() {
        Arguments::command().debug_assert();
        let parses = |line: &str| Arguments::try_parse_from(line.split(' ')).is_ok();
        for good in [
            "clawcentral",
            "clawcentral serve",
            "clawcentral migrate",
            "clawcentral tenant create acme --name Acme --json",
            "clawcentral tenant list --json",
            "clawcentral tenant delete acme --yes",
            "clawcentral tenant suspend acme --json",
            "clawcentral tenant resume acme",
            "clawcentral user disable --tenant acme --user a@b.c --json",
            "clawcentral user enable --tenant acme --user a@b.c",
            "clawcentral user create --tenant acme --email a@b.c --role member --password-stdin",
            "clawcentral sign-in-link --tenant acme --user a@b.c",
            "clawcentral provider key set --tenant acme --provider openai --name work",
            "clawcentral provider key list --tenant acme --provider openai --json",
            "clawcentral provider key remove --tenant acme --provider openai",
            "clawcentral budget list --tenant acme --json",
            "clawcentral budget set --tenant acme --money 5.00 --per month --time-zone Europe/Berlin",
            "clawcentral budget set --tenant acme --user a@b.c --agent main --tokens 100000 --per day",
            "clawcentral budget remove --tenant acme b-1",
            "clawcentral token create --tenant demo --user owner@demo.local --scopes operator.admin,agent --name x",
            "clawcentral hook-token create --tenant demo --user a@b.c --hook github --json",
            "clawcentral device approve --tenant demo --user a@b.c request-1",
            "clawcentral import --tenant demo --user a@b.c openclaw.json",
            "clawcentral export --tenant demo --user a@b.c --out file.json",
            "clawcentral transcript export --tenant demo --user a@b.c --session main --out file.jsonl",
            "clawcentral transcript import --tenant demo --user a@b.c --session old file.jsonl --json",
            "clawcentral secrets rotate",
            "clawcentral secrets rotate --new-master-key-stdin",
            "clawcentral audit verify --tenant demo",
            "clawcentral openapi",
        ] {
            assert!(parses(good), "{good}");
        }
        for bad in [
            "clawcentral tenant create",
            "clawcentral token create --tenant demo",
            "clawcentral user create --tenant a --email b --role king",
            "clawcentral budget set --tenant acme --per month",
            "clawcentral budget set --tenant acme --tokens 1 --money 1 --per month",
            "clawcentral budget set --tenant acme --agent main --tokens 1 --per month",
            "clawcentral budget set --tenant acme --tokens 1 --per year",
            "clawcentral nonsense",
        ] {
            assert!(!parses(bad), "{bad}");
        }
    }
}
