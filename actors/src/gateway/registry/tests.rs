//! The registry with connections that only record.

use actix::{Actor, ActorContext, Context, Handler};
use tokio::sync::mpsc;

use super::*;
use crate::gateway::testing;

struct Recorder(mpsc::UnboundedSender<String>);

impl Actor for Recorder {
    type Context = Context<Self>;
}

impl Handler<ToConnection> for Recorder {
    type Result = ();
    fn handle(&mut self, message: ToConnection, _: &mut Self::Context) {
        let line = match message {
            ToConnection::Event(event) => event.name.to_owned(),
            ToConnection::Invoke(invoke) => invoke.command,
            ToConnection::Progress(payload) => payload.to_string(),
            ToConnection::Close { code, reason } => format!("{code} {reason}"),
        };
        self.0.send(line).expect("the test listens");
    }
}

fn join(connections: &mut Connections, mut info: ConnectionInfo, conn_id: &str) -> mpsc::UnboundedReceiver<String> {
    let (tx, rx) = mpsc::unbounded_channel();
    info.conn_id = conn_id.into();
    connections.attach(Arc::new(info), Recorder(tx).start().recipient());
    rx
}

#[actix::test]
async fn events_reach_those_who_may_see_them() {
    let mut connections = Connections::default();
    let mut reader = join(&mut connections, testing::operator(&["operator.read"]), "reader");
    let mut node = join(&mut connections, testing::node("n1"), "node");
    assert_eq!(reader.recv().await.as_deref(), Some("presence"));
    let done = connections.deliver(&Arc::new(Event::new("chat", &json!({}))));
    assert_eq!(done, FanOut { sent: 1, dropped: 0 });
    let done = connections.deliver(&Arc::new(Event::new("shutdown", &json!({}))));
    assert_eq!(done, FanOut { sent: 2, dropped: 0 });
    assert_eq!(reader.recv().await.as_deref(), Some("chat"));
    assert_eq!(reader.recv().await.as_deref(), Some("shutdown"));
    assert_eq!(node.recv().await.as_deref(), Some("shutdown"));
}

#[actix::test]
async fn a_newer_connection_of_a_node_closes_the_older() {
    let mut connections = Connections::default();
    let mut old = join(&mut connections, testing::node("n1"), "old");
    let _other = join(&mut connections, testing::node("n2"), "other");
    let _new = join(&mut connections, testing::node("n1"), "new");
    assert_eq!(
        old.recv().await.as_deref(),
        Some("1008 replaced by a newer connection of this device")
    );
    assert_eq!(connections.len(), 2);
    let node = connections
        .nodes()
        .into_iter()
        .find(|node| node.device_id.as_deref() == Some("n1"));
    assert_eq!(&*node.expect("connected").conn_id, "new");
    assert!(connections.node("n1").is_some() && connections.node("n3").is_none());
    // The old socket's own goodbye comes late and changes nothing.
    assert!(connections.detach("old").is_none());
}

#[actix::test]
async fn programs_of_one_device_do_not_close_each_other() {
    let mut connections = Connections::default();
    let program = |instance: Option<&str>| ConnectionInfo {
        device_id: Some("d1".to_owned()),
        instance_id: instance.map(str::to_owned),
        ..testing::operator(&["operator.read"])
    };
    let _terminal = join(&mut connections, program(None), "terminal");
    let _command_line = join(&mut connections, program(None), "command line");
    let mut page = join(&mut connections, program(Some("page")), "page");
    assert_eq!(connections.len(), 3);
    let _reloaded = join(&mut connections, program(Some("page")), "reloaded");
    assert_eq!(connections.len(), 3);
    while let Some(said) = page.recv().await {
        if said == "1008 replaced by a newer connection of this device" {
            return;
        }
        assert_eq!(said, "presence");
    }
    panic!("the page's old connection was left open");
}

#[actix::test]
async fn a_dead_connection_is_forgotten_and_a_slow_one_closed() {
    let mut connections = Connections::default();
    let reader = testing::operator(&["operator.read"]);
    let mut slow = join(&mut connections, reader, "slow");
    let event = Arc::new(Event::new("chat", &json!({})));
    let mut dropped = 0;
    // The recorder cannot run while this task does not wait, so its mailbox (16) fills up.
    for _ in 0..40 {
        dropped += connections.deliver(&event).dropped;
    }
    assert_eq!(dropped, 1);
    assert!(connections.is_empty());
    let mut last = String::new();
    while let Some(line) = slow.recv().await {
        last = line;
        if last.starts_with("1008") {
            break;
        }
    }
    assert_eq!(last, "1008 slow consumer");
}

#[actix::test]
async fn what_may_be_left_out_closes_nobody_and_is_counted() {
    let mut connections = Connections::default();
    let (tx, mut slow) = mpsc::unbounded_channel();
    let info = Arc::new(testing::operator(&["operator.read"]));
    let attached = connections.attach(info, Recorder(tx).start().recipient());
    let (tick, end) = (Event::new("tick", &json!({})), Event::new("chat", &json!({})));
    for _ in 0..40 {
        connections.fan_out(&tick);
    }
    assert_eq!(connections.len(), 1);
    let missed = attached.missed.load(Ordering::Relaxed);
    // A chat's end is not left out.
    connections.fan_out(&end);
    assert!(connections.is_empty());
    let mut heard = 0;
    while let Some(line) = slow.recv().await {
        if line.starts_with("1008") {
            break;
        }
        heard += 1;
    }
    assert!(missed > 0);
    assert_eq!(heard + missed, 40);
}

#[actix::test]
async fn a_device_is_closed_in_one_role() {
    let mut connections = Connections::default();
    let mut node = join(&mut connections, testing::node("d1"), "node");
    let mut operator = testing::operator(&["operator.read"]);
    operator.device_id = Some("d1".to_owned());
    let _operator = join(&mut connections, operator, "operator");
    assert_eq!(
        connections.close_device("d1", Some("node"), None, 4001, "device removed"),
        1
    );
    assert_eq!(node.recv().await.as_deref(), Some("4001 device removed"));
    assert_eq!(connections.len(), 1);
    let except = Some("operator");
    assert_eq!(connections.close_device("d1", None, except, 4001, "device removed"), 0);
    assert_eq!(connections.close_device("d1", None, None, 4001, "device removed"), 1);
    assert!(connections.is_empty());
}

#[actix::test]
async fn versions_only_grow_and_presence_hides_addresses() {
    let mut connections = Connections::default();
    let mut seen = connections.state_version().presence;
    let _a = join(&mut connections, testing::operator(&["operator.read"]), "a");
    assert!(connections.state_version().presence > seen);
    seen = connections.state_version().presence;
    let presence = connections.presence();
    assert_eq!(presence.len(), 1);
    assert!(presence[0].get("ip").is_none());
    assert_eq!(presence[0]["roles"], json!(["operator"]));
    connections.detach("a");
    assert!(connections.state_version().presence > seen);
    assert_eq!(connections.health_changed().health, 1);
}

#[actix::test]
async fn what_is_said_is_shown_with_the_one_it_names() {
    let mut connections = Connections::default();
    let mut desk = testing::operator(&["operator.read"]);
    desk.instance_id = Some("desk".to_owned());
    let mut hall = testing::operator(&["operator.read"]);
    hall.instance_id = Some("hall".to_owned());
    let _desk = join(&mut connections, desk, "1");
    let mut hears = join(&mut connections, hall, "2");
    let said = |json: Value| serde_json::from_value::<Beacon>(json).expect("a beacon");
    let text = |connections: &Connections, at: usize| connections.presence()[at]["text"].clone();
    let before = connections.version.presence;
    connections.describe("1", said(json!({"text": "Node: lamp", "instanceId": "hall"})));
    assert_eq!(text(&connections, 1), "Node: lamp");
    assert_eq!(connections.version.presence, before + 1);
    connections.tell();
    assert_eq!(hears.recv().await.as_deref(), Some("presence"));
    connections.describe("1", said(json!({"text": "Node: desk", "instanceId": "nobody"})));
    assert_eq!(text(&connections, 0), "Node: desk");
    connections.describe("gone", said(json!({"text": "Node: nobody"})));
    assert_eq!(connections.version.presence, before + 2);
}

#[actix::test]
async fn a_burst_is_told_once_and_not_to_who_read_it_in_hello() {
    let reader = || testing::operator(&["operator.read"]);
    let mut connections = Connections::default();
    let mut first = join(&mut connections, reader(), "first");
    assert_eq!(connections.plan_to_tell(), None, "nobody is there to be told");
    let mut second = join(&mut connections, reader(), "second");
    assert_eq!(
        first.recv().await.as_deref(),
        Some("presence"),
        "one alone is told at once"
    );
    assert_eq!(connections.plan_to_tell(), None);
    // However slow this machine is, the pause is not over.
    connections.telling.last = Some(Instant::now() + Duration::from_secs(60));
    let _third = join(&mut connections, reader(), "third");
    let _fourth = join(&mut connections, reader(), "fourth");
    connections.detach("third");
    let mut last = join(&mut connections, reader(), "last");
    assert_eq!(connections.plan_to_tell(), Some(PRESENCE_PAUSE));
    assert_eq!(connections.plan_to_tell(), None, "it is planned once");
    connections.tell();
    connections.fan_out(&Event::new("tick", &json!({})));
    for (name, hears) in [("first", &mut first), ("second", &mut second)] {
        assert_eq!(hears.recv().await.as_deref(), Some("presence"), "{name}");
        assert_eq!(hears.recv().await.as_deref(), Some("tick"), "{name}");
    }
    assert_eq!(last.recv().await.as_deref(), Some("tick"), "its hello showed it");
    connections.tell();
    connections.detach("fourth");
    assert!(
        connections.plan_to_tell().is_some_and(|wait| wait <= PRESENCE_PAUSE),
        "the next change is planned again"
    );
}

#[actix::test]
async fn of_a_crowd_hello_shows_the_newest_and_the_list_all_and_nobody_is_told_who_comes() {
    let mut connections = Connections::default();
    let attach = |connections: &mut Connections, number: usize| {
        let (tx, heard) = mpsc::unbounded_channel();
        let mut info = testing::operator(&["operator.read"]);
        info.conn_id = format!("{number:03}").into();
        info.display_name = Some(format!("c{number}"));
        info.connected_at = i64::try_from(number).expect("small");
        let attached = connections.attach(Arc::new(info), Recorder(tx).start().recipient());
        (attached, heard)
    };
    let mut heard = Vec::new();
    let mut last = None;
    for number in 0..PRESENCE_SHOWN + 10 {
        let (attached, one) = attach(&mut connections, number);
        heard.push(one);
        last = Some(attached);
    }
    let last = last.expect("somebody came");
    let hosts: Vec<&str> = last
        .presence
        .iter()
        .filter_map(|entry| entry["host"].as_str())
        .collect();
    assert_eq!(hosts.len(), PRESENCE_SHOWN);
    assert_eq!(
        (hosts[0], hosts[PRESENCE_SHOWN - 1]),
        ("c10", "c59"),
        "the newest, oldest first"
    );
    assert_eq!(
        connections.presence().len(),
        PRESENCE_SHOWN + 10,
        "whoever asks sees all"
    );
    assert_eq!(last.state_version.presence, 60, "each coming is a version of its own");
    // Whatever was told while they were few: from here on nothing is, however long the last time is ago.
    connections.telling.last = None;
    connections.tell();
    connections.fan_out(&Event::new("shutdown", &json!({})));
    for one in &mut heard {
        while one.recv().await.as_deref() != Some("shutdown") {}
    }
    let (attached, one) = attach(&mut connections, 99);
    heard.push(one);
    connections.tell();
    for number in 0..10 {
        connections.detach(&format!("{number:03}"));
    }
    connections.tell();
    connections.fan_out(&Event::new("tick", &json!({})));
    for one in &mut heard[10..] {
        assert_eq!(one.recv().await.as_deref(), Some("tick"), "there are still 51");
    }
    // The first change that leaves few enough tells it.
    connections.detach("010");
    for one in &mut heard[11..] {
        assert_eq!(one.recv().await.as_deref(), Some("presence"));
    }
    assert!(connections.version.presence > attached.state_version.presence);
}

/// Ends at once: whoever is told something by then is gone.
struct Gone;

impl Actor for Gone {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<ToConnection> for Gone {
    type Result = ();
    fn handle(&mut self, _: ToConnection, _: &mut Self::Context) {}
}

#[actix::test]
async fn who_was_closed_or_found_dead_is_announced_as_gone() {
    let mut connections = Connections::default();
    let mut reader = join(&mut connections, testing::operator(&["operator.read"]), "reader");
    let _node = join(&mut connections, testing::node("n1"), "node");
    assert_eq!(reader.recv().await.as_deref(), Some("presence"), "the node came");
    connections.close_device("n1", None, None, 4001, "device removed");
    assert!(connections.plan_to_tell().is_some());
    connections.tell();
    assert_eq!(reader.recv().await.as_deref(), Some("presence"), "the node was closed");
    let gone = Gone.start().recipient();
    let mut info = testing::node("n2");
    info.conn_id = "gone".into();
    connections.attach(Arc::new(info), gone.clone());
    while gone.connected() {
        tokio::task::yield_now().await;
    }
    connections.tell();
    connections.fan_out(&Event::new("shutdown", &json!({})));
    assert_eq!(connections.len(), 1);
    assert!(connections.plan_to_tell().is_some());
    connections.tell();
    for heard in ["presence", "shutdown", "presence"] {
        assert_eq!(reader.recv().await.as_deref(), Some(heard));
    }
}
