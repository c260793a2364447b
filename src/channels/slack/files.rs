//! Sending files, in the three steps Slack wants: a place to put it, the bytes, and the word that it is there
//! (<https://docs.slack.dev/messaging/working-with-files>).

use std::time::Duration;

use claw_actors::ports::channel::{Account, DeliverError, Delivered, Delivery, OutFile};
use reqwest::Method;
use serde_json::{Value, json};

use super::Slack;
use super::api::NAME;
use super::media::trusted;
use super::outbound::thread;
use crate::channels::call;

const LIMIT: Duration = Duration::from_secs(120);
/// More than anybody should send; Slack itself takes a gigabyte.
pub(super) const LARGEST: usize = 50 * 1024 * 1024;

impl Slack {
    pub(super) async fn send_file(
        &self,
        account: &Account,
        delivery: &Delivery,
        file: &OutFile,
    ) -> Result<Delivered, DeliverError> {
        let unreadable = || DeliverError::Rejected {
            message: format!("{NAME} gave no place for the file"),
        };
        let name = file.about.name.as_str();
        let length = file.bytes.len().to_string();
        // This method reads forms only.
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("filename", name)
            .append_pair("length", &length)
            .finish();
        let place = self
            .call_form(account, "files.getUploadURLExternal", form, LIMIT)
            .await?;
        let (Some(url), Some(id)) = (place["upload_url"].as_str(), place["file_id"].as_str()) else {
            return Err(unreadable());
        };
        let purpose = trusted(account, url).ok_or_else(unreadable)?;
        // Until the last step nobody sees anything, so what fails here is certainly not sent.
        let failed = |error| call::fetch_failed(NAME, error);
        let put = self.http.request(purpose, Method::POST, url).map_err(failed)?;
        let put = put.timeout(LIMIT).body(file.bytes.clone(), "application/octet-stream");
        let answer = put.send().await.map_err(failed)?;
        if answer.status != 200 {
            return Err(match call::status(NAME, answer.status, call::retry_after(&answer)) {
                DeliverError::Unknown { message } => DeliverError::Retry { message, after: None },
                kept @ (DeliverError::Retry { .. }
                | DeliverError::Rejected { .. }
                | DeliverError::Unauthorized { .. }
                | DeliverError::Moved { .. }) => kept,
            });
        }
        let mut params = json!({"files": [{"id": id, "title": name}], "channel_id": delivery.to.peer.id});
        if let Some(thread) = thread(&delivery.to) {
            params["thread_ts"] = thread.into();
        }
        if !delivery.piece.text.is_empty() {
            params["initial_comment"] = Value::from(delivery.piece.text.as_str());
        }
        self.call(account, "files.completeUploadExternal", &params, LIMIT)
            .await?;
        Ok(Delivered {
            message_id: id.to_owned(),
        })
    }
}
