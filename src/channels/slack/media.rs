//! Fetching what people attach. The URL comes out of a message and the request carries our token, so it goes to Slack's
//! own hosts or to the configured API, and nowhere else.

use std::time::Duration;

use claw_actors::ports::channel::{Account, Attachment, DeliverError, MediaFile};
use url::Url;

use super::api::{NAME, at_configured};
use super::{BOT_TOKEN, Slack};
use crate::channels::call;
use crate::egress::Purpose;

const LIMIT: Duration = Duration::from_secs(60);

impl Slack {
    pub(super) async fn download(
        &self,
        account: &Account,
        attachment: &Attachment,
        max_bytes: usize,
    ) -> Result<MediaFile, DeliverError> {
        let rejected = |message: &str| DeliverError::Rejected {
            message: message.to_owned(),
        };
        let Some(token) = account.secret(BOT_TOKEN) else {
            return Err(DeliverError::Unauthorized {
                message: "the bot token is missing".into(),
            });
        };
        let Some(purpose) = trusted(account, &attachment.file) else {
            return Err(rejected("the file is not at Slack"));
        };
        let too_large = |size: u64| usize::try_from(size).map_or(true, |size| size > max_bytes);
        if attachment.size.is_some_and(too_large) {
            return Err(rejected("the file is larger than allowed"));
        }
        let failed = |error| call::fetch_failed(NAME, error);
        let response = self
            .http
            .request(purpose, reqwest::Method::GET, &attachment.file)
            .map_err(failed)?
            .timeout(LIMIT)
            .max_body(max_bytes)
            .bearer(token)
            .send()
            .await
            .map_err(failed)?;
        if response.status != 200 {
            return Err(call::status(NAME, response.status, call::retry_after(&response)));
        }
        let served = response
            .header("content-type")
            .unwrap_or("application/octet-stream")
            .to_owned();
        // Without the scope Slack answers 200 with its sign-in page.
        if served.starts_with("text/html") && attachment.mime_type.as_deref() != Some("text/html") {
            return Err(rejected("Slack: the app lacks the scope files:read"));
        }
        Ok(MediaFile {
            bytes: response.body,
            mime_type: attachment.mime_type.clone().unwrap_or(served),
            name: attachment.name.clone(),
        })
    }
}

/// Which rules apply to the file's address, or `None` when the token must not go there.
pub(super) fn trusted(account: &Account, file: &str) -> Option<Purpose> {
    let url = Url::parse(file).ok()?;
    if at_configured(account, &url) {
        return Some(Purpose::Configured);
    }
    let host = url.host_str()?;
    let slack = ["slack.com", "slack-edge.com", "slack-files.com"]
        .iter()
        .any(|domain| host == *domain || host.strip_suffix(domain).is_some_and(|label| label.ends_with('.')));
    (slack && url.scheme() == "https" && url.port().is_none()).then_some(Purpose::Fixed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::slack::tests::account;

    #[test]
    fn the_token_goes_to_slack_only() {
        let cloud = account(serde_json::json!({}));
        let own = account(serde_json::json!({"apiBaseUrl": "http://127.0.0.1:9/api"}));
        let check = |file: &str, cloud_says: Option<Purpose>, own_says: Option<Purpose>| {
            assert_eq!(
                (trusted(&cloud, file), trusted(&own, file)),
                (cloud_says, own_says),
                "{file}"
            );
        };
        let fixed = Some(Purpose::Fixed);
        check("https://files.slack.com/files-pri/T1-F1/a.png", fixed, fixed);
        check("https://slack.com/a", fixed, fixed);
        check("https://evilslack.com/a", None, None);
        check("https://slack.com.evil.test/a", None, None);
        check("https://slack.com@evil.test/a", None, None);
        check("http://files.slack.com/a", None, None);
        check("https://files.slack.com:8443/a", None, None);
        check("http://127.0.0.1:9/files/a.png", None, Some(Purpose::Configured));
        check("http://127.0.0.1:10/files/a.png", None, None);
        check("file:///etc/passwd", None, None);
        check("", None, None);
    }
}
