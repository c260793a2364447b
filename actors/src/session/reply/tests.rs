//! Silence and tags, whole and cut into every possible pair of pieces.

use super::*;

#[test]
fn silence_and_tags() {
    let current = || Some(ReplyTo::Current);
    let id = |id: &str| Some(ReplyTo::Message(id.to_owned()));
    let cases = [
        ("hello", Some("hello"), None),
        ("  hello \n", Some("hello"), None),
        ("NO_REPLY", None, None),
        ("REPLY_SKIP", None, None),
        (" ANNOUNCE_SKIP\n", None, None),
        ("Done. REPLY_SKIP", Some("Done. REPLY_SKIP"), None),
        (" \nNO_REPLY\n", None, None),
        ("no_reply", Some("no_reply"), None),
        ("All done. NO_REPLY", Some("All done."), None),
        ("All done.\n\nNO_REPLY\n", Some("All done."), None),
        ("NO_REPLY is a token", Some("NO_REPLY is a token"), None),
        ("XNO_REPLY", Some("XNO_REPLY"), None),
        ("NO", Some("NO"), None),
        ("", None, None),
        ("HEARTBEAT_OK", None, None),
        ("HEARTBEAT_OK.", None, None),
        ("HEARTBEAT_OK all is well", Some("all is well"), None),
        ("all is well HEARTBEAT_OK!!", Some("all is well"), None),
        (
            "the token HEARTBEAT_OK in between",
            Some("the token HEARTBEAT_OK in between"),
            None,
        ),
        ("[[reply_to_current]] hi", Some("hi"), current()),
        ("[[ reply_to_current ]]hi", Some("hi"), current()),
        ("hi [[reply_to: 42]] there", Some("hi there"), id("42")),
        ("[[reply_to:]] hi", Some("[[reply_to:]] hi"), None),
        ("see [[a wiki link]] here", Some("see [[a wiki link]] here"), None),
        ("[[reply_to_current]] NO_REPLY", None, current()),
        ("array[0] and [x]", Some("array[0] and [x]"), None),
        ("<think>secret < plan</think>\nanswer", Some("answer"), None),
        ("a <THINKING>b</Thinking> c", Some("a c"), None),
        ("thinking tail</think>answer", Some("thinking tailanswer"), None),
        ("<think>never closed", None, None),
        ("Yes.\n<think>never closed", Some("Yes."), None),
        ("The <think> tag opens it.", Some("The <think> tag opens it."), None),
        ("a <thought>b <THINK>c", Some("a <thought>b <THINK>c"), None),
        ("a <think>b <thinking>c</thinking> d", Some("a <think>b d"), None),
        ("a <think>b\n[[reply_to_current]] c", Some("a <think>b\nc"), current()),
        ("a <think>b</thi", Some("a <think>b</thi"), None),
        ("The `<think>` tag hides.", Some("The `<think>` tag hides."), None),
        (
            "`</think>` ends it, `<think>` opens",
            Some("`</think>` ends it, `<think>` opens"),
            None,
        ),
        (
            "Write `[[reply_to_current]]` first.",
            Some("Write `[[reply_to_current]]` first."),
            None,
        ),
        ("``a ` <think>`` b", Some("``a ` <think>`` b"), None),
        ("x ```<think>``` y", Some("x ```<think>``` y"), None),
        ("日`本[[tts]]`語", Some("日`本[[tts]]`語"), None),
        // What does not end on its line is no code, nor what ends otherwise than it began.
        ("a ` b <think>c</think> d\n` e", Some("a ` b d\n` e"), None),
        ("a `` b [[reply_to_current]] c ` d", Some("a `` b c ` d"), current()),
        ("`a` <think>b</think> `c`", Some("`a` `c`"), None),
        ("`a\n`<think>b</think>c", Some("`a\n`c"), None),
        ("it`", Some("it`"), None),
        ("1 < 2 and <b>bold</b>", Some("1 < 2 and <b>bold</b>"), None),
        (
            "```\n[[reply_to_current]] <think>\n```\nend",
            Some("```\n[[reply_to_current]] <think>\n```\nend"),
            None,
        ),
        ("日本 [[audio_as_voice]] 語", Some("日本 語"), None),
    ];
    for (raw, text, reply_to) in cases {
        let shaped = shape(raw);
        assert_eq!(shaped.text.as_deref(), text, "{raw:?}");
        assert_eq!(shaped.reply_to, reply_to, "{raw:?}");

        // However the text is cut, the end is the same and nothing shown is ever taken back.
        for cut in (0..=raw.len()).filter(|cut| raw.is_char_boundary(*cut)) {
            let mut hold = HoldBack::default();
            let mut seen = String::new();
            for piece in [&raw[..cut], &raw[cut..]] {
                if let Some(shown) = hold.push(piece) {
                    assert!(shown.starts_with(&seen), "{raw:?} at {cut}: {seen:?} then {shown:?}");
                    shown.clone_into(&mut seen);
                }
            }
            assert_eq!(hold.finish(), shaped, "{raw:?} at {cut}");
        }
        let mut hold = HoldBack::default();
        for c in raw.chars() {
            hold.push(&c.to_string());
        }
        assert_eq!(hold.finish(), shaped, "{raw:?} by characters");
    }
}

#[test]
fn a_lone_backtick_holds_up_no_long_line() {
    let mut hold = HoldBack::default();
    hold.push("a ` b [[reply_to_current]] ");
    assert_eq!(hold.visible(), "a ` b", "it may be code");
    let words = "word ".repeat(120);
    hold.push(&words);
    assert_eq!(hold.visible(), format!("a ` b {}", words.trim_end()));
    assert_eq!(hold.reply_to(), Some(&ReplyTo::Current));
}

#[test]
fn media_lines_become_attachments() {
    let shaped = shape("Look:\nMEDIA: https://example.com/a.png\nnice\nMEDIA:https://example.com/b.png");
    assert_eq!(shaped.text.as_deref(), Some("Look:\nnice"));
    assert_eq!(shaped.media, ["https://example.com/a.png", "https://example.com/b.png"]);
    assert_eq!(shape("no MEDIA: here").text.as_deref(), Some("no MEDIA: here"));
    assert!(shape("[[audio_as_voice]]\nMEDIA:x\nNO_REPLY").voice);
    for text in [
        "[[tts]] Good evening.",
        "[[tts:voice=nova]]Good evening.",
        "[[tts:text]]Good evening.[[/tts:text]]",
    ] {
        let shaped = shape(text);
        assert_eq!(
            (shaped.voice, shaped.text.as_deref()),
            (true, Some("Good evening.")),
            "{text}"
        );
    }
}

#[test]
fn a_silent_reply_never_shows_while_it_streams() {
    for pieces in [
        &["NO", "_RE", "PLY"][..],
        &["N", "O_REPLY", "\n"],
        &["\n", "NO_", "REPLY"],
        &["[[reply_to_", "current]]", " NO", "_REPLY"],
        &["<thi", "nk>plan</th", "ink>", "NO_REPLY"],
        &["HEART", "BEAT_OK"],
    ] {
        let mut hold = HoldBack::default();
        for piece in pieces {
            assert_eq!(hold.push(piece), None, "{pieces:?}");
        }
        assert_eq!(hold.finish().text, None, "{pieces:?}");
    }
}

#[test]
fn what_only_looked_silent_is_shown_in_the_end() {
    let mut hold = HoldBack::default();
    assert_eq!(hold.push("NO"), None);
    assert_eq!(hold.push(" way"), Some("NO way"));
    assert_eq!(hold.push(" NO_REP"), None);
    assert_eq!(hold.visible(), "NO way");
    assert_eq!(hold.finish().text.as_deref(), Some("NO way NO_REP"));
}

#[test]
fn prefixes() {
    let facts = PrefixFacts {
        provider: "openrouter",
        model: "meta/llama",
        thinking_level: "high",
        identity_name: "Claw",
    };
    for (template, prefix) in [
        ("auto", Some("[Claw]")),
        ("", None),
        ("{model}", Some("llama")),
        ("({ModelFull} {think})", Some("(openrouter/meta/llama high)")),
        ("{identity.name}:", Some("Claw:")),
        ("{unknown} {", Some("{unknown} {")),
    ] {
        assert_eq!(response_prefix(template, &facts).as_deref(), prefix, "{template:?}");
    }
    assert_eq!(response_prefix("auto", &PrefixFacts::default()), None);
    assert_eq!(with_prefix(Some("[C]"), "hi".to_owned()), "[C] hi");
    assert_eq!(with_prefix(Some("[C]"), "[C] hi".to_owned()), "[C] hi");
    assert_eq!(with_prefix(None, "hi".to_owned()), "hi");
}
