//! What is kept for a client has a bound, whatever it does.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler};
use claw_entities::TenantId;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::examples;
use crate::gateway::limiter::Limiter;
use crate::gateway::messages::Outgoing;
use crate::gateway::outbox::{Outbox, Sent};

struct Socket(mpsc::UnboundedSender<Outgoing>);

impl Actor for Socket {
    type Context = Context<Self>;
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(4);
    }
}

impl Handler<Outgoing> for Socket {
    type Result = ();
    fn handle(&mut self, message: Outgoing, _: &mut Self::Context) {
        self.0.send(message).expect("the test listens");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    /// The peer reads one frame.
    Read,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(
        prop_oneof![3 => (0_usize..200).prop_map(Step::Write), 2 => Just(Step::Read)],
        1..200,
    )
}

fn held(frames: &VecDeque<Outgoing>) -> usize {
    let sizes = frames.iter().map(|frame| match frame {
        Outgoing::Text(frame) => frame.text.len(),
        Outgoing::Ping | Outgoing::MaxFrame(_) | Outgoing::Close { .. } => 0,
    });
    sizes.sum()
}

async fn reader(limit: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (tx, mut socket) = mpsc::unbounded_channel();
    let outbox = Outbox::new(Socket(tx).start().recipient(), limit);
    let mut unread = VecDeque::new();
    for step in steps {
        match step {
            Step::Write(size) => {
                let fits = held(&unread) + size <= limit;
                let sent = outbox.text("x".repeat(size));
                prop_assert_eq!(sent, if fits { Sent::Queued } else { Sent::Full });
                if fits {
                    unread.push_back(socket.recv().await.expect("arrives"));
                }
            }
            Step::Read => drop(unread.pop_front()),
        }
        prop_assert!(held(&unread) <= limit);
    }
    unread.clear();
    prop_assert_eq!(outbox.text("x".repeat(limit)), Sent::Queued, "all of it came back");
    Ok(())
}

proptest! {
    #![proptest_config(examples(64))]

    #[test]
    fn bytes_for_a_slow_reader_never_pass_the_limit(limit in 0_usize..1000, steps in steps()) {
        actix::System::new().block_on(reader(limit, steps))?;
    }

    #[test]
    fn only_ten_failures_within_a_minute_lock_and_only_their_own_address(
        failures in vec((0_u8..3, 0_u64..20), 1..120),
    ) {
        let limiter = Limiter::default();
        let (acme, other) = (TenantId::from("acme"), TenantId::from("other"));
        let address = |number: u8| IpAddr::V4(Ipv4Addr::new(203, 0, 113, number));
        let start = Instant::now();
        let (mut now, mut seen) = (start, vec![Vec::new(); 3]);
        for (number, pause) in failures {
            now += Duration::from_secs(pause);
            let was_locked = limiter.locked(&acme, address(number), now).is_some();
            limiter.failed(&acme, address(number), now);
            seen[usize::from(number)].push(now);
            let recent = seen[usize::from(number)].iter().filter(|at| now - **at <= Duration::from_secs(60)).count();
            if let (Some(wait), false) = (limiter.locked(&acme, address(number), now), was_locked) {
                prop_assert!(recent >= 10, "locked after {recent}");
                prop_assert!(wait <= Duration::from_secs(300));
            }
            prop_assert_eq!(limiter.locked(&other, address(number), now), None);
            prop_assert_eq!(limiter.locked(&acme, address(9), now), None);
        }
        prop_assert_eq!((0..3).find(|number| limiter.locked(&acme, address(*number), now + Duration::from_secs(301)).is_some()), None);
    }
}
