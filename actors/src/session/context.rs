//! stub
use crate::ports::channel::Inbound;
pub fn envelope(_c: &str, i: &Inbound, _tz: Option<&str>, _at: i64) -> String {
    i.text.clone()
}
pub fn overheard_line(i: &Inbound) -> String {
    i.text.clone()
}
pub fn overheard_block<'a>(_: impl Iterator<Item = &'a str>) -> String {
    String::new()
}
pub fn history_budget(w: u64, _m: u64, _f: u64) -> Option<u64> {
    Some(w)
}
pub fn assemble(e: Vec<crate::conversation::entry::Entry>, _api: &str) -> Vec<crate::ports::message::Message> {
    e.into_iter()
        .filter_map(|e| match e.body {
            crate::conversation::entry::Body::Message(m) => Some(m.message),
            _ => None,
        })
        .collect()
}
