//! A skill's command that calls a tool instead of asking the model. The inbox row is marked first, like a turn's, so that
//! after a crash a tool that acts outside is not called a second time.

use claw_entities::{UserOwned, inbox};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, QueryFilter};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::error::{Error, Result};
use crate::ports::message::{Part, ToolCall};
use crate::session::invoking::{KEPT_BACK, Performer};
use crate::session::item::Item;
use crate::session::tool_policy::Caller;
use crate::session::toolbox::Toolbox;
use crate::session::turn::{self, Authority};
use crate::supervisor::directory::Directory;
use crate::supervisor::lease::fenced;

/// Longest answer, characters.
const MAX_ANSWER: usize = 16_000;

/// Calls the tool with `{command, commandName, skillName}` (`agent-runtime` §16.1) and gives what it said.
pub(super) async fn call(
    directory: &Directory,
    authority: &Authority,
    item: &Item,
    (tool, name, skill, input): (&str, &str, &str, &str),
    stop: &CancellationToken,
) -> Result<String> {
    // Skills are written by others: what starts runs or changes who may do what is not theirs to choose.
    if KEPT_BACK.iter().any(|kept| tool.eq_ignore_ascii_case(kept)) {
        return Ok(format!("The skill wants the tool {tool}, which skills may not call."));
    }
    let services = directory.services();
    let run_id = run_of(item);
    claim(directory, authority, item, &run_id).await?;
    let settings = services.config.settings(&authority.scope).await?;
    let head = services.conversation.head(&authority.scope, &authority.key).await?;
    let caller = Caller {
        audience: item.audience(),
        ..Caller::program(&authority.key, head.as_ref(), &settings).within([item])
    };
    let depth = caller.depth.map_or(0, |depth| depth.own);
    let mut toolbox = Toolbox::new(services, &authority.scope, caller);
    // The tools of MCP servers have such names.
    if tool.contains("__") && services.ports.tool(tool).is_none() {
        toolbox = toolbox.with_servers(&settings).await;
    }
    let performer = Performer {
        directory,
        authority,
        settings: &settings,
        toolbox: &toolbox,
        depth,
    };
    let wanted = ToolCall {
        id: "call_1".to_owned(),
        name: tool.to_owned(),
        arguments: json!({"command": input, "commandName": name, "skillName": skill}),
    };
    let output = tokio::select! {
        biased;
        // The row stays open: the next process says that the call was cut off.
        () = directory.shutdown().cancelled() => return Err(Error::Fenced),
        output = performer.call(&run_id, &wanted, item.audience(), stop.child_token()) => output,
    };
    let texts: Vec<String> = output
        .content
        .into_iter()
        .map(|part| match part {
            Part::Text { text } => text,
            Part::Image { .. } => "[a picture]".to_owned(),
            Part::File { name, .. } => format!("[a file: {name}]"),
        })
        .collect();
    let text: String = texts.join("\n").chars().take(MAX_ANSWER).collect();
    let text = if text.trim().is_empty() {
        "Done.".to_owned()
    } else {
        text
    };
    Ok(text)
}

/// The run that a command's call is on record as. It ends in the commit of the answer.
pub(crate) fn run_of(item: &Item) -> String {
    let first = item.inbox_ids.first().map(String::as_str).unwrap_or_default();
    item.run_id.clone().unwrap_or_else(|| format!("command:{first}"))
}

/// Counts the attempt and marks the row as worked on under this run.
async fn claim(directory: &Directory, authority: &Authority, item: &Item, run_id: &str) -> Result<()> {
    let (authority_in, ids, run_id) = (authority.clone(), item.inbox_ids.clone(), run_id.to_owned());
    let writer = &directory.services().writer;
    writer
        .run(&authority.scope, move |tx| {
            let (authority, ids, run_id) = (authority_in.clone(), ids.clone(), run_id.clone());
            Box::pin(async move {
                let scope = &authority.scope;
                let mut batch = fenced(tx, scope, authority.epoch).await?;
                let now = now_ms();
                turn::open_run(&mut batch, &authority, &run_id, "", now);
                let claim = inbox::Entity::update_owned(scope)
                    .col_expr(inbox::Column::State, Expr::value("running"))
                    .col_expr(inbox::Column::Attempts, Expr::col(inbox::Column::Attempts).add(1))
                    .col_expr(inbox::Column::RunId, Expr::value(run_id.as_str()))
                    .col_expr(inbox::Column::UpdatedAt, Expr::value(now))
                    .filter(inbox::Column::Id.is_in(ids))
                    .filter(inbox::is_open());
                batch.add(&claim);
                if batch.run(tx).await? <= 1 {
                    return Err(Error::Conflict("the message was answered already".to_owned()));
                }
                Ok(())
            })
        })
        .await
}
