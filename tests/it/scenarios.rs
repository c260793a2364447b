//! The scenarios of `tests/scenarios`: frames in, frames expected; ours must keep to them, and the original does.
//!
//! `CLAW_SCENARIO_URL` and `CLAW_SCENARIO_TOKEN` point them at any other gateway (`CONTRIBUTING.md`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::app::{OWNER, TestApp};
use crate::support::model::Model;
use crate::support::original::Original;
use crate::support::scenario::{Played, Stage, Who, play_all};
use crate::support::wait::PATIENCE;

/// The folder of the files.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

/// Our gateway as a stage.
pub(crate) fn ours(app: &TestApp) -> Stage {
    Stage {
        url: format!("ws://{}", app.binary.address()),
        token: app.token(OWNER).to_owned(),
        who: Who::ClawCentral,
        patience: PATIENCE,
    }
}

/// Writes the frames, one a line, where `CLAW_SCENARIO_RECORD` says.
fn record(played: &Played) {
    if let Ok(file) = std::env::var("CLAW_SCENARIO_RECORD") {
        write(played, Path::new(&file));
    }
}

/// Writes the frames, one a line.
pub(crate) fn write(played: &Played, file: &Path) {
    let lines: String = played.frames.iter().map(|frame| format!("{frame}\n")).collect();
    std::fs::write(file, lines).expect("the frames can be written");
}

/// Nothing was other than expected.
pub(crate) fn all_hold(played: &Played) {
    record(played);
    let found = &played.differences;
    assert!(found.is_empty(), "{} differences\n{}", found.len(), found.join("\n"));
    assert!(!played.frames.is_empty(), "nothing was played");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_holds() {
    if let Ok(url) = std::env::var("CLAW_SCENARIO_URL") {
        let stage = Stage {
            url: url.trim_end_matches('/').to_owned(),
            token: std::env::var("CLAW_SCENARIO_TOKEN").unwrap_or_default(),
            who: match std::env::var("CLAW_SCENARIO_AS").as_deref() {
                Ok("clawcentral") => Who::ClawCentral,
                _ => Who::OpenClaw,
            },
            patience: Duration::from_secs(20),
        };
        return all_hold(&play_all(&folder(), &stage).await);
    }
    let app = TestApp::start().await;
    all_hold(&play_all(&folder(), &ours(&app)).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "starts the original gateway: make scenarios"]
async fn the_original_gateway_keeps_to_them() {
    let model = Model::start();
    let original = Original::start(&model).await;
    all_hold(&play_all(&folder(), &original.stage()).await);
}
