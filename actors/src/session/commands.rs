//! stub
use crate::ports::tool::SessionSnapshot;
#[derive(Clone, Debug)]
pub enum Command {
    Stop,
    New { rest: String },
    Help,
    Commands,
    Status,
    Whoami,
    Queue(String),
}
pub fn parse(_: &str) -> Option<Command> {
    None
}
pub fn help_text() -> String {
    String::new()
}
pub fn status_text(_: &SessionSnapshot) -> String {
    String::new()
}
