//! The edge of ClawCentral: everything that opens a socket, and the command line.

pub mod channels;
pub mod cli;
pub mod egress;
pub mod providers;
pub mod settings;
pub mod tools;

/// (a stand-in until the real one is merged)
pub mod boot {
    use crate::settings::Settings;

    pub fn serve(_settings: Settings) -> anyhow::Result<()> {
        anyhow::bail!("not merged yet")
    }
}
