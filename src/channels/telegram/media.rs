//! Fetching what people attach: `getFile` names a path, a second request gets the bytes.

use std::time::Duration;

use claw_actors::ports::channel::{Account, Attachment, DeliverError, MediaFile};
use serde_json::json;

use super::api::NAME;
use super::{MANIFEST, Telegram};
use crate::channels::call;

/// The cloud Bot API gives no larger files.
const LARGEST: usize = 20 * 1024 * 1024;
const LIMIT: Duration = Duration::from_secs(60);

impl Telegram {
    pub(super) async fn download(
        &self,
        account: &Account,
        attachment: &Attachment,
        max_bytes: usize,
    ) -> Result<MediaFile, DeliverError> {
        let rejected = |message: &str| DeliverError::Rejected {
            message: message.to_owned(),
        };
        if attachment.kind == "location" {
            return Err(rejected("a location is not a file"));
        }
        let max_bytes = max_bytes.min(LARGEST);
        let fits =
            |size: Option<u64>| size.is_none_or(|size| usize::try_from(size).is_ok_and(|size| size <= max_bytes));
        if !fits(attachment.size) {
            return Err(rejected("the file is larger than allowed"));
        }
        let file = self
            .call(account, "getFile", &json!({"file_id": attachment.file}), LIMIT)
            .await?;
        if !fits(file["file_size"].as_u64()) {
            return Err(rejected("the file is larger than allowed"));
        }
        let path = file["file_path"].as_str().unwrap_or_default();
        if !safe(path) {
            return Err(rejected("Telegram gave no path to the file"));
        }
        let url = format!(
            "{}/file/bot{}/{path}",
            account.api_base(&MANIFEST),
            Self::token(account)?
        );
        let failed = |error| call::fetch_failed(NAME, error);
        let response = self
            .http
            .request(call::purpose(account), reqwest::Method::GET, &url)
            .map_err(failed)?
            .timeout(LIMIT)
            .max_body(max_bytes)
            .send()
            .await
            .map_err(failed)?;
        if response.status != 200 {
            return Err(call::status(NAME, response.status, call::retry_after(&response)));
        }
        let mime_type = attachment
            .mime_type
            .clone()
            .or_else(|| response.header("content-type").map(str::to_owned))
            .unwrap_or_else(|| "application/octet-stream".into());
        Ok(MediaFile {
            bytes: response.body,
            mime_type,
            name: attachment
                .name
                .clone()
                .or_else(|| path.rsplit('/').next().map(str::to_owned)),
        })
    }
}

/// A relative path of plain names: it must stay below our token's folder.
fn safe(path: &str) -> bool {
    !path.is_empty()
        && path.split('/').all(|part| {
            !part.is_empty()
                && !part.trim_matches('.').is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._- ".contains(&b))
        })
}
