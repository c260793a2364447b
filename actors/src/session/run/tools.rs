//! The tools of one answer, for as long as the run may take.

use tokio::time::Instant;

use super::calling::until;
use super::{RunContext, Work};
use crate::ports::message::{Message, ToolCall};
use crate::ports::tool::ToolContext;
use crate::session::toolbox::Toolbox;

impl Work {
    /// Runs the calls of a message. Gives what they gave, and whether the run's time is over: then what still went on was
    /// cut off.
    pub(super) async fn run_tools(
        &self,
        context: &mut RunContext,
        toolbox: &Toolbox,
        tool_context: &ToolContext,
        calls: &[ToolCall],
        deadline: Option<Instant>,
    ) -> (Vec<Message>, bool) {
        context.slot.give_back();
        let (emitter, steering) = (&mut context.emitter, &context.steering);
        let mut batch = Box::pin(toolbox.batch(&self.authority, tool_context, calls, emitter, steering));
        let ended = tokio::select! {
            biased;
            results = &mut batch => Some(results),
            () = until(deadline) => None,
        };
        let late = ended.is_none();
        let results = match ended {
            Some(results) => results,
            None => {
                tool_context.cancel.cancel();
                batch.await
            }
        };
        context.slot.go_on().await;
        (results, late)
    }
}
