//! stub
use crate::config::document::UserSettings;
#[derive(Default)]
pub struct HoldBack {}
impl HoldBack {
    pub fn feed(&mut self, d: &str) -> String {
        d.to_owned()
    }
    pub fn finish(&mut self) -> String {
        String::new()
    }
}
pub fn is_silent(t: &str) -> bool {
    t.trim() == "NO_REPLY" || t.trim().is_empty()
}
pub struct Shown {
    pub text: Option<String>,
}
pub fn shape(t: &str) -> Shown {
    Shown {
        text: (!is_silent(t)).then(|| t.to_owned()),
    }
}
