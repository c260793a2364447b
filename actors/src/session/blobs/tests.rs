use super::*;
use crate::services::Limits;
use crate::testing::{ScriptedModel, Step, start};

#[actix::test]
async fn the_newest_images_are_sent_and_older_ones_are_named() {
    let runtime = start(ScriptedModel::new(|_| Step::Hang), Limits::default(), 1).await;
    let scope = runtime.owner("acme").await;
    let mut messages = Vec::new();
    for at in 0..4 {
        // No image that anybody knows: it stays as it is.
        let bytes = vec![at; 5 * 1024 * 1024];
        let part = store_image(&runtime.services, &scope, "image/png", bytes).await;
        messages.push(Arc::new(Message::User {
            content: vec![part.expect("stores")],
            timestamp: 0,
        }));
    }
    let takes = Takes {
        images: true,
        pdf: false,
        audio: false,
        ogg: false,
    };
    hydrate(&runtime.services, &scope, &mut messages, takes)
        .await
        .expect("reads");
    let shown: Vec<String> = messages
        .iter()
        .map(|message| match message.as_ref() {
            Message::User { content, .. } => match &content[0] {
                Part::Image { data: Some(_), .. } => "sent".to_owned(),
                part @ (Part::Text { .. } | Part::Image { .. } | Part::File { .. }) => part.words().into_owned(),
            },
            Message::Assistant(_) | Message::ToolResult { .. } => String::new(),
        })
        .collect();
    assert_eq!(shown[2..], ["sent", "sent"]);
    assert!(
        shown[..2]
            .iter()
            .all(|text| text.contains("newer files fill the request")),
        "{shown:?}"
    );
}

#[actix::test]
async fn an_image_that_is_too_large_and_broken_is_a_note() {
    let runtime = start(ScriptedModel::new(|_| Step::Hang), Limits::default(), 1).await;
    let scope = runtime.owner("acme").await;
    let bytes = vec![7; 5 * 1024 * 1024 + 1];
    let part = store_image(&runtime.services, &scope, "image/png", bytes).await;
    let part = part.expect("is no failure");
    assert!(part.text().is_some_and(|text| text.contains("too large")), "{part:?}");
}
