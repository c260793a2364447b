//! The queue, mode by mode.

use super::*;
use crate::ports::message::Part;

fn settings(mode: QueueMode) -> Settings {
    Settings {
        mode,
        debounce_ms: 1_000,
        cap: 20,
        drop: DropPolicy::Summarize,
    }
}

fn item(id: &str) -> Item {
    Item {
        inbox_id: id.to_owned(),
        message_id: Some(format!("m-{id}")),
        text: format!("text {id}"),
        display: id.to_owned(),
        route: Route {
            channel: "telegram".to_owned(),
            ..Route::default()
        },
        owner: true,
        ..Item::default()
    }
}

fn ids(turn: &Turn) -> Vec<&str> {
    turn.items.iter().map(|item| item.inbox_id.as_str()).collect()
}

#[track_caller]
fn run(queue: &mut Queue, now: i64) -> Turn {
    match queue.next(now) {
        Next::Run(turn) => turn,
        other @ (Next::WaitUntil(_) | Next::Running | Next::Empty) => panic!("{other:?}"),
    }
}

fn text(turn: &Turn) -> String {
    match turn.prompt().first() {
        Some(Part::Text { text }) => text.clone(),
        Some(Part::Image { .. } | Part::File { .. }) | None => String::new(),
    }
}

#[test]
fn an_idle_session_runs_at_once_in_every_mode() {
    for mode in [
        QueueMode::Collect,
        QueueMode::Followup,
        QueueMode::Steer,
        QueueMode::SteerBacklog,
        QueueMode::Interrupt,
    ] {
        let mut queue = Queue::new(settings(mode));
        assert_eq!(queue.next(0), Next::Empty);
        assert_eq!(queue.push(item("a"), 10).outcome, Outcome::Queued, "{mode:?}");
        let turn = run(&mut queue, 10);
        assert_eq!((ids(&turn), text(&turn)), (vec!["a"], "text a".to_owned()), "{mode:?}");
        assert_eq!(queue.next(10), Next::Running);
        queue.ended();
        assert_eq!(queue.next(10), Next::Empty);
    }
}

#[test]
fn collect_joins_what_waited_after_a_quiet_time() {
    let mut queue = Queue::new(settings(QueueMode::Collect));
    queue.push(item("a"), 0);
    run(&mut queue, 0);
    queue.push(item("b"), 100);
    queue.push(item("c"), 900);
    assert_eq!(queue.next(950), Next::Running);
    queue.ended();
    assert_eq!(queue.next(1_000), Next::WaitUntil(1_900));
    queue.push(item("d"), 1_500);
    assert_eq!(queue.next(1_900), Next::WaitUntil(2_500));
    let turn = run(&mut queue, 2_500);
    assert_eq!(ids(&turn), ["b", "c", "d"]);
    let prompt = text(&turn);
    let places: Vec<_> = ["1. text b", "2. text c", "3. text d"]
        .map(|line| prompt.find(line).unwrap())
        .into();
    assert!(places.is_sorted(), "{prompt}");
    assert_eq!(turn.display(), "b\n\nc\n\nd");
}

#[test]
fn followup_and_steer_run_one_by_one_in_order() {
    for mode in [QueueMode::Followup, QueueMode::Steer, QueueMode::SteerBacklog] {
        let mut queue = Queue::new(settings(mode));
        for id in ["a", "b", "c"] {
            queue.push(item(id), 0);
        }
        for id in ["a", "b", "c"] {
            assert_eq!(ids(&run(&mut queue, 5_000)), [id], "{mode:?}");
            queue.ended();
        }
    }
}

#[test]
fn different_routes_are_not_joined() {
    let elsewhere = |id: &str| Item {
        route: Route {
            channel: "slack".to_owned(),
            ..Route::default()
        },
        ..item(id)
    };
    let mut queue = Queue::new(settings(QueueMode::Collect));
    queue.push(item("a"), 0);
    run(&mut queue, 0);
    for held in [item("b"), elsewhere("c"), item("d")] {
        queue.push(held, 0);
    }
    queue.ended();
    for id in ["b", "c", "d"] {
        assert_eq!(ids(&run(&mut queue, 1_000)), [id]);
        queue.ended();
    }
}

#[test]
fn a_guests_words_never_join_the_owners() {
    let mut queue = Queue::new(settings(QueueMode::Collect));
    queue.push(item("a"), 0);
    run(&mut queue, 0);
    queue.push(
        Item {
            owner: false,
            ..item("guest")
        },
        0,
    );
    queue.push(item("owner"), 0);
    queue.ended();
    let turn = run(&mut queue, 1_000);
    assert_eq!((ids(&turn), turn.owner()), (vec!["guest"], false));
    queue.ended();
    let turn = run(&mut queue, 1_000);
    assert_eq!((ids(&turn), turn.owner()), (vec!["owner"], true));
}

/// What came first was cut short to make room: it is still the guest's, and the next turn the owner's.
#[test]
fn a_guests_folded_words_never_run_with_the_owners_rights() {
    let of = |id: &str, owner: bool, rights: &str| Item {
        owner,
        rights: rights.to_owned(),
        ..item(id)
    };
    let mut queue = Queue::new(Settings {
        cap: 2,
        ..settings(QueueMode::Collect)
    });
    queue.push(item("running"), 0);
    run(&mut queue, 0);
    for (id, owner, rights) in [
        ("guest", false, ""),
        ("other", false, "restricted"),
        ("own", true, ""),
        ("own2", true, ""),
    ] {
        assert_eq!(queue.push(of(id, owner, rights), 0).dropped, []);
    }
    let mut turns = Vec::new();
    for _ in 0..3 {
        queue.ended();
        let turn = run(&mut queue, 1_000);
        turns.push((
            turn.inbox_ids().collect::<Vec<_>>().join(" "),
            turn.owner(),
            text(&turn),
        ));
    }
    let ids: Vec<(&str, bool)> = turns.iter().map(|(ids, owner, _)| (ids.as_str(), *owner)).collect();
    assert_eq!(ids, [("guest", false), ("other", false), ("own own2", true)]);
    assert!(!turns[2].2.contains("guest"), "{}", turns[2].2);
    queue.ended();
    assert_eq!(queue.next(2_000), Next::Empty);
}

#[test]
fn what_was_folded_goes_with_the_next_of_its_kind() {
    let mut queue = Queue::new(Settings {
        cap: 2,
        ..settings(QueueMode::Followup)
    });
    queue.push(item("running"), 0);
    run(&mut queue, 0);
    for (id, owner) in [("g1", false), ("o1", true), ("g2", false)] {
        queue.push(Item { owner, ..item(id) }, 0);
    }
    for expected in ["o1", "g1 g2"] {
        queue.ended();
        let turn = run(&mut queue, 1_000);
        assert_eq!(turn.inbox_ids().collect::<Vec<_>>().join(" "), expected);
    }
}

#[test]
fn interrupt_aborts_and_runs_next_and_loses_nothing() {
    let mut queue = Queue::new(settings(QueueMode::Collect));
    queue.push(item("a"), 0);
    run(&mut queue, 0);
    queue.push(item("held"), 10);
    let urgent = |id: &str| Item {
        mode: Some(QueueMode::Interrupt),
        ..item(id)
    };
    assert_eq!(queue.push(urgent("now"), 20).outcome, Outcome::Interrupt);
    assert_eq!(queue.push(urgent("now2"), 30).outcome, Outcome::Interrupt);
    queue.ended();
    assert_eq!(ids(&run(&mut queue, 30)), ["now", "now2"]);
    queue.ended();
    assert_eq!(ids(&run(&mut queue, 1_030)), ["held"]);
}

#[test]
fn a_full_queue_drops_by_its_policy() {
    struct Case {
        drop: DropPolicy,
        dropped: &'static str,
        outcome: Outcome,
        left: &'static [&'static str],
        folded: bool,
    }
    for case in [
        Case {
            drop: DropPolicy::New,
            dropped: "c",
            outcome: Outcome::Rejected,
            left: &["a", "b"],
            folded: false,
        },
        Case {
            drop: DropPolicy::Old,
            dropped: "a",
            outcome: Outcome::Queued,
            left: &["b", "c"],
            folded: false,
        },
        // Nothing is gone: the turn that cuts it short answers for it.
        Case {
            drop: DropPolicy::Summarize,
            dropped: "",
            outcome: Outcome::Queued,
            left: &["a", "b", "c"],
            folded: true,
        },
    ] {
        let mut queue = Queue::new(Settings {
            cap: 2,
            drop: case.drop,
            ..settings(QueueMode::Collect)
        });
        queue.push(item("running"), 0);
        run(&mut queue, 0);
        queue.push(item("a"), 0);
        queue.push(item("b"), 0);
        let pushed = queue.push(item("c"), 0);
        assert_eq!(pushed.outcome, case.outcome);
        let dropped: Vec<&str> = pushed.dropped.iter().map(|dropped| dropped.inbox_id.as_str()).collect();
        assert_eq!(dropped.join(" "), case.dropped);
        queue.ended();
        let turn = run(&mut queue, 1_000);
        assert_eq!(turn.inbox_ids().collect::<Vec<_>>(), case.left);
        let prompt = text(&turn);
        assert_eq!(prompt.contains("- text a\n"), case.folded, "{prompt}");
        assert_eq!(prompt.starts_with("[1 earlier message(s)"), case.folded, "{prompt}");
    }
}

#[test]
fn twenty_five_messages_for_a_queue_of_twenty() {
    let all: Vec<String> = (1..=25).map(|number| format!("m{number}")).collect();
    for (drop, left, rejected, note) in [
        (DropPolicy::New, 0..20, 20..25, ""),
        (DropPolicy::Old, 5..25, 0..5, ""),
        (DropPolicy::Summarize, 0..25, 0..0, "[5 earlier message(s)"),
    ] {
        let mut queue = Queue::new(Settings {
            drop,
            ..settings(QueueMode::Collect)
        });
        queue.push(item("running"), 0);
        run(&mut queue, 0);
        let mut dropped = Vec::new();
        for id in &all {
            dropped.extend(queue.push(item(id), 0).dropped);
        }
        let dropped: Vec<&str> = dropped.iter().map(|item| item.inbox_id.as_str()).collect();
        assert_eq!(dropped, all[rejected], "{drop:?}");
        queue.ended();
        let turn = run(&mut queue, 1_000);
        assert_eq!(turn.inbox_ids().collect::<Vec<_>>(), all[left], "{drop:?}");
        assert!(text(&turn).starts_with(note), "{drop:?}: {}", text(&turn));
    }
}

#[test]
fn what_is_folded_is_bounded_too() {
    let mut queue = Queue::new(Settings {
        cap: 2,
        ..settings(QueueMode::Collect)
    });
    queue.push(item("running"), 0);
    run(&mut queue, 0);
    for id in ["a", "b", "c", "d", "e"] {
        assert_eq!(queue.push(item(id), 0).dropped, [], "{id}");
    }
    assert!(queue.knows("a") && queue.remove("d") && queue.remove("e"));
    queue.ended();
    let turn = run(&mut queue, 1_000);
    // All rows are answered for; only the newest lines are shown.
    assert_eq!(turn.inbox_ids().collect::<Vec<_>>(), ["a", "b", "c"]);
    let lines: Vec<&str> = turn.folded.iter().map(|folded| folded.line.as_str()).collect();
    assert_eq!(lines, ["", "text b", "text c"]);
    let Some(Part::Text { text }) = turn.prompt().into_iter().next() else {
        panic!("a text")
    };
    assert!(
        text.starts_with("[3 earlier message(s)") && !text.contains("text a"),
        "{text}"
    );
    queue.ended();
    assert_eq!(queue.next(1_000), Next::Empty);
}

#[test]
fn what_a_client_waits_for_is_never_dropped_nor_debounced() {
    let mut queue = Queue::new(Settings {
        cap: 1,
        ..settings(QueueMode::Collect)
    });
    queue.push(item("running"), 0);
    run(&mut queue, 0);
    for id in ["a", "b", "c"] {
        let kept = Item { kept: true, ..item(id) };
        assert!(queue.push(kept, 5).dropped.is_empty());
    }
    queue.ended();
    assert_eq!(ids(&run(&mut queue, 5)), ["a", "b", "c"]);
}

#[test]
fn what_a_message_says_of_its_queue_holds_for_it() {
    let mut queue = Queue::new(settings(QueueMode::Collect));
    queue.push(item("running"), 0);
    run(&mut queue, 0);
    queue.push(item("a"), 0);
    let said = |id: &str, wish: Wish| Item { wish, ..item(id) };
    let picky = Wish {
        cap: Some(1),
        drop: Some(DropPolicy::New),
        ..Wish::default()
    };
    assert_eq!(queue.push(said("b", picky), 0).outcome, Outcome::Rejected);
    let patient = Wish {
        debounce_ms: Some(3_000),
        ..Wish::default()
    };
    queue.push(said("c", patient), 100);
    queue.ended();
    assert_eq!(queue.next(1_200), Next::WaitUntil(3_100));
    assert_eq!(ids(&run(&mut queue, 3_100)), ["a", "c"]);
}

#[test]
fn a_steady_stream_cannot_postpone_for_ever() {
    let mut queue = Queue::new(settings(QueueMode::Collect));
    queue.push(item("running"), 0);
    run(&mut queue, 0);
    queue.push(item("0"), 0);
    queue.ended();
    for n in 1..6 {
        queue.push(item(&n.to_string()), n * 900);
        assert_eq!(
            queue.next(n * 900),
            Next::WaitUntil((n * 900 + 1_000).min(5_000)),
            "{n}"
        );
    }
    assert_eq!(run(&mut queue, 5_000).items.len(), 6);
}

#[test]
fn repeats_are_recognised() {
    let mut queue = Queue::new(settings(QueueMode::Followup));
    queue.push(item("a"), 0);
    assert_eq!(queue.push(item("a"), 0).outcome, Outcome::Known);
    let same_message = |inbox: &str, now: i64, queue: &mut Queue| {
        let again = Item {
            inbox_id: inbox.to_owned(),
            ..item("a")
        };
        queue.push(again, now)
    };
    let pushed = same_message("b", 1, &mut queue);
    assert_eq!(pushed.outcome, Outcome::Duplicate);
    assert_eq!(pushed.dropped[0].inbox_id, "b");
    run(&mut queue, 1);
    queue.ended();
    assert_eq!(same_message("c", 299_999, &mut queue).outcome, Outcome::Duplicate);
    assert_eq!(same_message("d", 300_000, &mut queue).outcome, Outcome::Queued);

    let no_id = |inbox: &str| Item {
        inbox_id: inbox.to_owned(),
        message_id: None,
        ..item("x")
    };
    assert_eq!(queue.push(no_id("e"), 400_000).outcome, Outcome::Queued);
    assert_eq!(queue.push(no_id("f"), 400_000).outcome, Outcome::Duplicate);
}

#[test]
fn an_album_that_waited_is_one_turn_in_all_modes() {
    let picture = |id: &str, album: &str| Item {
        album: Some(album.to_owned()),
        ..item(id)
    };
    for mode in [QueueMode::Followup, QueueMode::Steer] {
        let mut queue = Queue::new(settings(mode));
        queue.push(item("first"), 0);
        run(&mut queue, 0);
        for held in [picture("a", "1"), picture("b", "1"), picture("c", "2"), item("d")] {
            queue.push(held, 1);
        }
        queue.ended();
        for wanted in [&["a", "b"][..], &["c"], &["d"]] {
            assert_eq!(ids(&run(&mut queue, 5_000)), wanted, "{mode:?}");
            queue.ended();
        }
    }
}

#[test]
fn pieces_of_one_message_become_one() {
    let piece = |id: &str, at: i64| Item {
        received_at: at,
        settle_ms: 2_000,
        sender_id: "u".to_owned(),
        ..item(id)
    };
    let mut queue = Queue::new(settings(QueueMode::Collect));
    queue.push(piece("a", 0), 0);
    assert_eq!(queue.next(0), Next::WaitUntil(2_000));
    queue.push(piece("b", 1_500), 1_500);
    assert_eq!(queue.next(2_000), Next::WaitUntil(3_500));
    let turn = run(&mut queue, 3_500);
    assert_eq!(text(&turn), "text a\ntext b");
    queue.ended();

    // A picture or somebody else ends the wait.
    queue.push(piece("c", 9_000), 9_000);
    queue.push(item("picture"), 9_100);
    assert_eq!(ids(&run(&mut queue, 9_100)), ["c"]);
}

#[test]
fn a_turn_put_back_runs_first_and_whole() {
    let mut queue = Queue::new(settings(QueueMode::Collect));
    queue.push(item("a"), 0);
    let turn = run(&mut queue, 0);
    queue.push(item("b"), 0);
    queue.put_back(turn.clone());
    assert_eq!(queue.push(item("a"), 0).outcome, Outcome::Known);
    assert_eq!(run(&mut queue, 0), turn);
    queue.ended();
    assert_eq!(ids(&run(&mut queue, 1_000)), ["b"]);
}

#[test]
fn stop_gives_back_everything_that_waits() {
    let mut queue = Queue::new(settings(QueueMode::Collect));
    for id in ["a", "b", "c"] {
        queue.push(item(id), 0);
    }
    run(&mut queue, 0);
    let dropped = queue.clear("stopped");
    assert_eq!(
        dropped.iter().map(|d| d.inbox_id.as_str()).collect::<Vec<_>>(),
        ["b", "c"]
    );
    assert!(queue.is_empty() && queue.is_running());
}

#[test]
fn whatever_happens_each_item_runs_once_or_is_given_back() {
    for seed in 0_u64..500 {
        let mut state = seed;
        let mut roll = |sides: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % sides
        };
        let modes = [
            QueueMode::Collect,
            QueueMode::Followup,
            QueueMode::Steer,
            QueueMode::Interrupt,
        ];
        let mut queue = Queue::new(Settings {
            cap: 4,
            ..settings(modes[usize::try_from(roll(4)).unwrap()])
        });
        let mut answered = Vec::new();
        let mut now = 0;
        let mut pushed = 0;
        let mut speakers: Vec<(bool, String)> = Vec::new();
        let unmixed = |turn: &Turn, speakers: &[(bool, String)]| {
            let mut of = turn.inbox_ids().map(|id| &speakers[id.parse::<usize>().unwrap()]);
            let first = of.next().unwrap();
            assert!(of.all(|other| other == first), "seed {seed}: {turn:?}");
            assert_eq!(turn.owner(), first.0, "seed {seed}");
        };
        for _ in 0..60 {
            now += i64::try_from(roll(700)).unwrap();
            match roll(3) {
                0 | 1 => {
                    let id = pushed.to_string();
                    pushed += 1;
                    let mut next = item(&id);
                    next.owner = roll(2) == 0;
                    next.kept = roll(4) == 0;
                    next.settle_ms = if roll(3) == 0 { 900 } else { 0 };
                    next.received_at = now;
                    next.rights = ["", "a"][usize::try_from(roll(2)).unwrap()].to_owned();
                    speakers.push((next.owner, next.rights.clone()));
                    answered.extend(queue.push(next, now).dropped.into_iter().map(|d| d.inbox_id));
                }
                _ if queue.is_running() => queue.ended(),
                _ => {
                    if let Next::Run(turn) = queue.next(now) {
                        unmixed(&turn, &speakers);
                        answered.extend(turn.inbox_ids().map(str::to_owned));
                    }
                }
            }
        }
        loop {
            queue.ended();
            now += 10_000;
            match queue.next(now) {
                Next::Run(turn) => {
                    unmixed(&turn, &speakers);
                    answered.extend(turn.inbox_ids().map(str::to_owned));
                }
                Next::Empty => break,
                other @ (Next::WaitUntil(_) | Next::Running) => panic!("seed {seed}: {other:?}"),
            }
        }
        answered.sort_by_key(|id| id.parse::<u32>().unwrap());
        let all: Vec<String> = (0..pushed).map(|n: u32| n.to_string()).collect();
        assert_eq!(answered, all, "seed {seed}");
    }
}

/// What waited was frozen until the clock had come back to where it was.
#[test]
fn a_clock_that_goes_back_holds_up_nothing() {
    const DAY: i64 = 24 * 3_600_000;
    let mut queue = Queue::new(settings(QueueMode::Followup));
    queue.push(item("a"), DAY);
    run(&mut queue, DAY);
    queue.push(item("b"), DAY);
    queue.ended();
    assert_eq!(ids(&run(&mut queue, 0)), ["b"]);
    queue.ended();
    let piece = Item {
        received_at: DAY,
        settle_ms: 1_000,
        ..item("c")
    };
    queue.push(piece, 0);
    assert_eq!(ids(&run(&mut queue, 0)), ["c"]);
    queue.ended();
    // A step that is no longer than a wait is waited for.
    queue.push(item("d"), 500);
    run(&mut queue, 500);
    queue.push(item("e"), 500);
    queue.ended();
    assert_eq!(queue.next(0), Next::WaitUntil(1_500));
}
