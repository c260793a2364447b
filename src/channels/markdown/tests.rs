//! What replies look like in each dialect, and that pieces hold their promises for any input.

use super::*;

fn html(markdown: &str) -> String {
    whole(markdown, &Html)
}

fn mrkdwn(markdown: &str) -> String {
    whole(markdown, &Mrkdwn)
}

fn whole(markdown: &str, dialect: &impl Dialect) -> String {
    let pieces = render(markdown, 100_000, dialect);
    assert_eq!(pieces.len(), 1, "{markdown}");
    pieces.into_iter().next().expect("one piece").text
}

#[track_caller]
fn check(markdown: &str, as_html: &str, as_mrkdwn: &str) {
    assert_eq!(html(markdown), as_html);
    assert_eq!(mrkdwn(markdown), as_mrkdwn);
}

#[test]
fn inline_styles() {
    check(
        "**b** _i_ ~~s~~ `c`",
        "<b>b</b> <i>i</i> <s>s</s> <code>c</code>",
        "*b* _i_ ~s~ `c`",
    );
    check("***both***", "<i><b>both</b></i>", "_*both*_");
    check(
        "**bold with _italic_ in it**",
        "<b>bold with <i>italic</i> in it</b>",
        "*bold with _italic_ in it*",
    );
    check("**a **b** c**", "<b>a b c</b>", "*a b c*");
    check("**two\nlines**", "<b>two\nlines</b>", "*two*\n*lines*");
    check("`a ``b` c", "<code>a ``b</code> c", "a ``b c");
}

#[test]
fn a_marker_that_would_not_work_is_left_out() {
    assert_eq!(mrkdwn("un**believ**able **yes**"), "unbelievable *yes*");
    assert_eq!(mrkdwn("これは**重要**です"), "これは重要です");
    assert_eq!(mrkdwn("(**fine**)"), "(*fine*)");
}

#[test]
fn text_cannot_become_markup() {
    check(
        "a < b && c > d <script>x</script> \"q\"",
        "a &lt; b &amp;&amp; c &gt; d &lt;script&gt;x&lt;/script&gt; &quot;q&quot;",
        "a &lt; b &amp;&amp; c &gt; d &lt;script&gt;x&lt;/script&gt; \"q\"",
    );
    assert_eq!(mrkdwn("<!channel> <@U0ADA0001>"), "&lt;!channel&gt; &lt;@U0ADA0001&gt;");
    assert_eq!(
        html("```\n</code></pre><b>\n```"),
        "<pre><code>&lt;/code&gt;&lt;/pre&gt;&lt;b&gt;</code></pre>"
    );
    assert_eq!(
        mrkdwn("````\n```\nx\n```\n````"),
        "```\n``\u{200b}`\nx\n``\u{200b}`\n```"
    );
    assert_eq!(html("a\u{0}b\u{1b}[31m"), "ab[31m");
}

#[test]
fn links() {
    check(
        "[the page](https://x.test/?a=1&b=2)",
        "<a href=\"https://x.test/?a=1&amp;b=2\">the page</a>",
        "<https://x.test/?a=1&amp;b=2|the page>",
    );
    check("<https://x.test>", "https://x.test", "https://x.test");
    check(
        "[**b** link](https://x.test)",
        "<a href=\"https://x.test\"><b>b</b> link</a>",
        "<https://x.test|b link>",
    );
    check(
        "[x](javascript:alert(1))",
        "x (javascript:alert(1))",
        "x (javascript:alert(1))",
    );
    check(
        "[guide](docs/a.md) [top](#top)",
        "guide (docs/a.md) top",
        "guide (docs/a.md) top",
    );
    check(
        "![cat](https://x.test/c.png)",
        "<a href=\"https://x.test/c.png\">cat</a>",
        "<https://x.test/c.png|cat>",
    );
    check(
        "![](https://x.test/c.png)",
        "<a href=\"https://x.test/c.png\">link</a>",
        "<https://x.test/c.png|link>",
    );
    assert_eq!(
        html("[q](<https://x.test/\"onx=>)"),
        "<a href=\"https://x.test/&quot;onx=\">q</a>"
    );
    assert_eq!(mrkdwn("[a|b>c](<https://x.test/|y>)"), "<https://x.test/%7Cy|a|b&gt;c>");
}

#[test]
fn blocks() {
    check("# Title\n\nText", "<b>Title</b>\n\nText", "*Title*\n\nText");
    check("a\n\n\n\nb\n---\nc", "a\n\n<b>b</b>\n\nc", "a\n\n*b*\n\nc");
    check(
        "> one\n> two\n\nafter",
        "<blockquote>one\ntwo</blockquote>\n\nafter",
        "> one\n> two\n\nafter",
    );
    check("> a\n>\n> > b", "<blockquote>a\n\nb</blockquote>", "> a\n> \n> b");
    check("a\n\n***\n\nb", "a\n\n———\n\nb", "a\n\n———\n\nb");
    check(
        "- one\n- two\n  - deep\n- three\n\nafter",
        "• one\n• two\n  • deep\n• three\n\nafter",
        "• one\n• two\n  • deep\n• three\n\nafter",
    );
    check("3. c\n4. d", "3. c\n4. d", "3. c\n4. d");
    check("- a\n\n- b", "• a\n• b", "• a\n• b");
    check("- [x] done\n- [ ] open", "• ☑ done\n• ☐ open", "• ☑ done\n• ☐ open");
    check(
        "before\n```rust title=x\nfn main() {}\n```\nafter",
        "before\n\n<pre><code class=\"language-rust\">fn main() {}</code></pre>\n\nafter",
        "before\n\n```\nfn main() {}\n```\n\nafter",
    );
    check(
        "```\nnever closed",
        "<pre><code>never closed</code></pre>",
        "```\nnever closed\n```",
    );
}

#[test]
fn tables() {
    let narrow = "| a | bb |\n|---|---|\n| 1 | **2** |\n| 333 | |";
    assert_eq!(
        html(narrow),
        "<pre><code>a   | bb\n----+---\n1   | 2\n333 |</code></pre>"
    );
    let wide = format!(
        "| name | what |\n|---|---|\n| x | {} |\n| [y](https://y.test) | |",
        "long ".repeat(20).trim()
    );
    assert_eq!(
        mrkdwn(&wide),
        format!(
            "• name: x; what: {}\n• name: y (https://y.test)",
            "long ".repeat(20).trim()
        )
    );
}

#[test]
fn nothing_visible_is_shown_as_written() {
    assert_eq!(html("[a]: https://x.test"), "[a]: https://x.test");
    assert!(render(" \n\t ", 4000, &Html).is_empty());
    assert_eq!(html("\\"), "\\");
}

#[test]
fn plain_text_names_the_address() {
    let pieces = render("see [this](https://x.test) **now**", 4000, &Html);
    assert_eq!(pieces[0].plain, "see this (https://x.test) now");
    assert_eq!(render("[aaa](https://x.test)", 4, &Html)[0].plain, "aaa");
}

// ── pieces ──

fn texts(markdown: &str, limit: usize) -> Vec<String> {
    render(markdown, limit, &Html)
        .into_iter()
        .map(|piece| piece.text)
        .collect()
}

#[test]
fn cuts_where_a_reader_would() {
    assert_eq!(texts("one two\n\nthree four five", 16), ["one two", "three four five"]);
    assert_eq!(texts("- one two\n- three four", 14), ["• one two", "• three four"]);
    assert_eq!(
        texts("First one. Second one. Third.", 24),
        ["First one. Second one.", "Third."]
    );
    assert_eq!(texts("alpha beta gamma", 12), ["alpha beta", "gamma"]);
    assert_eq!(texts("abcdefghij", 4), ["abcd", "efgh", "ij"]);
    assert_eq!(texts("一二三。四五六。七", 5), ["一二三。", "四五六。七"]);
}

#[test]
fn styles_close_at_a_cut_and_open_again() {
    assert_eq!(texts("**alpha beta**", 6), ["<b>alpha</b>", "<b>beta</b>"]);
    assert_eq!(
        texts("> **a [long link](https://x.test) b**", 8),
        [
            "<blockquote><b>a <a href=\"https://x.test\">long</a></b></blockquote>",
            "<blockquote><b><a href=\"https://x.test\">link</a> b</b></blockquote>",
        ]
    );
}

#[test]
fn a_code_block_stays_whole_when_it_fits() {
    assert_eq!(
        texts("short\n\n```py\naaaa\nbbbb\n```\n\nend", 12),
        [
            "short",
            "<pre><code class=\"language-py\">aaaa\nbbbb</code></pre>",
            "end"
        ]
    );
}

#[test]
fn a_longer_code_block_is_cut_at_lines_and_opened_again() {
    assert_eq!(
        texts("```py\nif a:\n    b()\n\n    c()\n```", 14),
        [
            "<pre><code class=\"language-py\">if a:\n    b()</code></pre>",
            "<pre><code class=\"language-py\">    c()</code></pre>",
        ]
    );
}

#[test]
fn a_character_is_never_cut() {
    assert_eq!(texts("👍👍👍", 4), ["👍👍", "👍"]);
    assert_eq!(texts("🇩🇪🇫🇷🇯🇵", 9), ["🇩🇪🇫🇷", "🇯🇵"]);
    assert_eq!(texts("ae\u{301}e\u{301}", 4), ["ae\u{301}", "e\u{301}"]);
    let zalgo = format!("a{}", "\u{301}".repeat(30));
    assert_eq!(texts(&zalgo, 10).concat(), zalgo);
}

/// A small deterministic generator: the same documents on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    fn markdown(&mut self) -> String {
        const BITS: [&str; 44] = [
            "word",
            "a",
            "longerwordthanthelimitallowsinonepiece",
            " ",
            " ",
            " ",
            "\n",
            "\n\n",
            "\n\n\n",
            ". ",
            "! ",
            "**",
            "*",
            "_",
            "~~",
            "`",
            "``",
            "\n```\n",
            "\n```rust\n",
            "\n    indented\n",
            "> ",
            "\n> ",
            "- ",
            "\n- ",
            "\n  - ",
            "1. ",
            "# ",
            "[",
            "](https://x.test/?a=1&b=2)",
            "![",
            "<b>",
            "</b>",
            "<!-- ",
            "&amp;",
            "<",
            "&",
            "|",
            "\n|---|---|\n",
            "👍🏽",
            "👨‍👩‍👧",
            "e\u{301}",
            "漢字。",
            "\\",
            "\t",
        ];
        let length = self.roll(120);
        (0..length).map(|_| BITS[self.roll(BITS.len())]).collect()
    }
}

fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// UTF-16 length of Telegram HTML after parsing; fails when tags are not properly nested.
fn parsed_length(html: &str) -> usize {
    let mut open = Vec::new();
    let mut text = String::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        let end = rest[at..].find('>').expect("a tag ends") + at;
        let tag = &rest[at + 1..end];
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop().as_deref(), Some(name), "{html}"),
            None => open.push(tag.split(' ').next().unwrap_or_default().to_owned()),
        }
        rest = &rest[end + 1..];
    }
    text.push_str(rest);
    assert!(open.is_empty(), "{html}");
    let text = text
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&amp;", "&");
    text.encode_utf16().count()
}

#[test]
fn pieces_hold_their_promises() {
    let mut dice = Dice(42);
    for round in 0..1500 {
        let markdown = dice.markdown();
        let limit = 60 + dice.roll(120);
        let mut document = Document::parse(&markdown);
        if document.text.trim().is_empty() {
            document.text = markdown.clone();
        }
        for piece in render(&markdown, limit, &Html) {
            assert!(parsed_length(&piece.text) <= limit, "round {round}: {markdown:?}");
            assert!(
                piece.plain.encode_utf16().count() <= limit,
                "round {round}: {markdown:?}"
            );
            assert!(!piece.plain.trim().is_empty(), "round {round}: {markdown:?}");
        }
        for piece in render(&markdown, limit, &Mrkdwn) {
            assert!(
                piece.text.chars().count() <= limit,
                "round {round}: {markdown:?} {}",
                piece.text
            );
        }
        for slices in [
            chunk::cut(&document, limit, &Html),
            chunk::cut(&document, limit, &Mrkdwn),
        ] {
            let joined: String = slices.iter().map(|slice| &document.text[slice.range.clone()]).collect();
            assert_eq!(
                squeezed(&joined),
                squeezed(&document.text),
                "round {round}: {markdown:?}"
            );
        }
    }
}

#[test]
fn the_same_text_gives_the_same_pieces() {
    let mut dice = Dice(7);
    let markdown = dice.markdown();
    assert_eq!(render(&markdown, 80, &Html), render(&markdown, 80, &Html));
}

#[test]
fn hostile_input_ends() {
    let many = 50_000;
    let hostile = [
        "> ".repeat(many),
        "- ".repeat(many),
        "[".repeat(many),
        "![".repeat(many),
        "*a ".repeat(many),
        "**_".repeat(many),
        "`".repeat(many),
        "<a ".repeat(many),
        "&#0".repeat(many),
        "|a".repeat(many),
        format!(
            "|{0}\n|{1}\n{2}",
            "a|".repeat(500),
            "-|".repeat(500),
            "b\n".repeat(many)
        ),
        "\n\n".repeat(many),
        format!("```\n{}", "\n".repeat(many)),
        "🇩🇪".repeat(many),
        "\u{301}".repeat(many),
        format!("[{}](https://x.test/{})", "a".repeat(many), "&".repeat(many)),
        format!("{}x", "> - ".repeat(many / 2)),
    ];
    for markdown in hostile {
        for piece in render(&markdown, 4000, &Mrkdwn) {
            assert!(piece.text.chars().count() <= 4000);
        }
        assert!(!render(&format!("{markdown}x"), 4000, &Html).is_empty());
    }
}
