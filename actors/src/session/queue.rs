//! stub
use crate::config::document::{QueueMode, QueueSettings};
#[derive(Default)]
pub struct Queue {
    v: Vec<Queued>,
}
pub struct Queued {
    pub inbox_id: String,
    pub text: String,
    pub routing: String,
    pub mode: QueueMode,
    pub received_at: i64,
}
pub struct Batch {
    pub inbox_ids: Vec<String>,
    pub prompt: String,
}
pub enum Next {
    Run(Batch),
    WaitUntil(i64),
    Empty,
}
impl Queue {
    pub fn push(&mut self, q: Queued, _s: &QueueSettings, _now: i64, _busy: bool) -> Vec<String> {
        self.v.push(q);
        vec![]
    }
    pub fn next(&mut self, _now: i64, _s: &QueueSettings) -> Next {
        if self.v.is_empty() {
            Next::Empty
        } else {
            let q = self.v.remove(0);
            Next::Run(Batch {
                inbox_ids: vec![q.inbox_id],
                prompt: q.text,
            })
        }
    }
    pub fn clear(&mut self) -> Vec<String> {
        self.v.drain(..).map(|q| q.inbox_id).collect()
    }
    pub fn remove(&mut self, id: &str) {
        self.v.retain(|q| q.inbox_id != id)
    }
    pub fn len(&self) -> usize {
        self.v.len()
    }
    pub fn is_empty(&self) -> bool {
        self.v.is_empty()
    }
}
pub fn parse_mode(_: &str) -> Option<QueueMode> {
    None
}
pub fn mode_name(_: QueueMode) -> &'static str {
    "collect"
}
