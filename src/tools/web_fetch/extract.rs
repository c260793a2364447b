//! From an answer to text for a model. The conversion runs aside, two at a time, because it is CPU work on hostile input.

use std::collections::HashMap;
use std::sync::Arc;

use claw_actors::config::document::FetchSettings;
use pulldown_cmark::{Event, Parser, Tag, TagEnd};
use reqwest::Url;
use tokio::sync::Semaphore;

use super::{Mode, charset};
use crate::egress::Response;

/// Conversions at the same time, in this process.
const MAX_CONVERSIONS: usize = 2;
const MAX_TITLE_CHARACTERS: usize = 300;

/// A page as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) url: String,
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) title: String,
    /// At most [`FetchSettings::MOST_CHARACTERS`].
    pub(super) text: String,
    /// There was more, of the body or of the text.
    pub(super) truncated: bool,
}

/// Converts answers.
pub(super) struct Extractor {
    slots: Arc<Semaphore>,
}

impl Default for Extractor {
    fn default() -> Self {
        Self {
            slots: Arc::new(Semaphore::new(MAX_CONVERSIONS)),
        }
    }
}

/// What a body is, by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Html,
    Text,
    Binary,
}

impl Extractor {
    /// Reads an answer's body. The error is a sentence for the model.
    pub(super) async fn page(&self, answer: Response, mode: Mode) -> Result<Page, String> {
        let content_type = answer.header("content-type").unwrap_or_default().to_ascii_lowercase();
        let kind = kind(&content_type, &answer.body);
        let mut page = Page {
            url: answer.url.to_string(),
            status: answer.status,
            content_type: content_type.split(';').next().unwrap_or_default().trim().to_owned(),
            truncated: answer.truncated,
            ..Page::default()
        };
        match kind {
            Kind::Binary => {
                let shown: String = page
                    .content_type
                    .chars()
                    .filter(|char| char.is_ascii_graphic())
                    .take(60)
                    .collect();
                return Err(format!("The content is not text (content type `{shown}`)."));
            }
            Kind::Text => page.text = charset::decode(&answer.body, &content_type),
            Kind::Html => {
                let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
                    return Err("The page could not be converted.".to_owned());
                };
                let (url, body) = (answer.url, answer.body);
                // A panic in there ends the task alone, and comes out as an error.
                let converted = tokio::task::spawn_blocking(move || {
                    let html = charset::decode(&body, &content_type);
                    let converted = (title(&html), convert(&html, &url, mode));
                    drop(slot);
                    converted
                });
                match converted.await {
                    Ok((title, text)) => (page.title, page.text) = (title, text),
                    Err(_) => return Err("The page could not be converted.".to_owned()),
                }
            }
        }
        if let Some((at, _)) = page.text.char_indices().nth(FetchSettings::MOST_CHARACTERS) {
            page.text.truncate(at);
            page.truncated = true;
        }
        Ok(page)
    }
}

fn kind(content_type: &str, body: &[u8]) -> Kind {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    match media {
        "text/html" | "application/xhtml+xml" => Kind::Html,
        "" | "application/octet-stream" if body.contains(&0) => Kind::Binary,
        "" => {
            let start = body.trim_ascii_start();
            if start.starts_with(b"<!") || start.starts_with(b"<html") {
                Kind::Html
            } else {
                Kind::Text
            }
        }
        "application/json"
        | "application/xml"
        | "application/javascript"
        | "application/yaml"
        | "application/x-yaml"
        | "application/toml"
        | "application/octet-stream" => Kind::Text,
        _ if media.starts_with("text/") || media.ends_with("+json") || media.ends_with("+xml") => Kind::Text,
        _ => Kind::Binary,
    }
}

fn convert(html: &str, url: &Url, mode: Mode) -> String {
    let html = body(html);
    let mut markdown = if is_costly(html) {
        String::new()
    } else {
        html2md::rewrite_html(html, false)
    };
    if markdown.is_empty() {
        markdown = strip_tags(html);
    }
    let markdown = absolute_links(&markdown, url);
    let markdown = tidy(&markdown);
    match mode {
        Mode::Markdown => markdown,
        Mode::Text => tidy(&plain(&markdown)),
    }
}

/// From the body on, without the document's own end tag: the converter would show the title as text, and an end
/// without its beginning as well.
fn body(html: &str) -> &str {
    let lower = html.to_ascii_lowercase();
    let start = lower.find("<body").or_else(|| lower.find("</head>")).unwrap_or(0);
    let end = lower.trim_end().strip_suffix("</html>").map_or(html.len(), str::len);
    &html[start..end.max(start)]
}

/// Elements that the converter looks at, at most, for ends that have no beginning.
const MOST_STEPS: usize = 20_000_000;
/// They have no end.
const VOID: [&str; 14] = [
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr",
];

/// Would the converter take long: for each end without a beginning it looks at all elements that are open.
fn is_costly(html: &str) -> bool {
    let lower = html.to_ascii_lowercase();
    let (mut open, mut steps) = (Vec::new(), 0_usize);
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for piece in lower.split('<').skip(1) {
        let (ends, piece) = piece.strip_prefix('/').map_or((false, piece), |piece| (true, piece));
        let name = piece
            .split(|char: char| char.is_whitespace() || char == '>' || char == '/')
            .next()
            .unwrap_or_default();
        if !name.starts_with(|char: char| char.is_ascii_alphabetic()) || VOID.contains(&name) {
            continue;
        }
        let count = counts.entry(name).or_default();
        if !ends {
            *count += 1;
            open.push(name);
        } else if *count == 0 {
            steps += open.len();
            if steps > MOST_STEPS {
                return true;
            }
        } else {
            while let Some(inner) = open.pop() {
                if let Some(count) = counts.get_mut(inner) {
                    *count -= 1;
                }
                if inner == name {
                    break;
                }
            }
        }
    }
    false
}

/// Longest text with links made absolute, bytes; more than is ever shown.
const LONGEST: usize = 8 * FetchSettings::MOST_CHARACTERS;

/// Targets of links and images, made absolute: the model may want to follow them. A long base makes much of a short page,
/// which ends then.
fn absolute_links(markdown: &str, base: &Url) -> String {
    let mut text = String::with_capacity(markdown.len());
    let mut rest = markdown;
    while let Some(open) = rest.find("](") {
        if text.len() > LONGEST.max(markdown.len()) {
            return text;
        }
        let (before, target) = rest.split_at(open + 2);
        text.push_str(before);
        let end = target
            .find(|char: char| char == ')' || char.is_whitespace())
            .unwrap_or(target.len());
        match base.join(&target[..end]) {
            Ok(absolute) if end > 0 => text.push_str(absolute.as_str()),
            Ok(_) | Err(_) => text.push_str(&target[..end]),
        }
        rest = &target[end..];
    }
    text.push_str(rest);
    text
}

/// Markdown without its marks.
fn plain(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    for event in Parser::new(markdown) {
        match event {
            Event::Text(piece) | Event::Code(piece) => text.push_str(&piece),
            Event::SoftBreak | Event::HardBreak | Event::Rule => text.push('\n'),
            Event::Start(Tag::Item) => text.push_str("- "),
            Event::End(
                TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::CodeBlock | TagEnd::BlockQuote(_) | TagEnd::List(_),
            ) => text.push_str("\n\n"),
            Event::End(TagEnd::Item) => text.push('\n'),
            Event::Start(_)
            | Event::End(_)
            | Event::Html(_)
            | Event::InlineHtml(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::FootnoteReference(_)
            | Event::TaskListMarker(_) => {}
        }
    }
    text
}

/// No blanks at line ends, no more than one empty line.
fn tidy(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut empty = 0;
    for line in text.lines() {
        let line = line.trim_end();
        if line.is_empty() {
            empty += 1;
            continue;
        }
        if !clean.is_empty() {
            clean.push_str(if empty > 0 { "\n\n" } else { "\n" });
        }
        empty = 0;
        clean.push_str(line);
    }
    clean
}

/// The last resort for markup that the converter refuses.
fn strip_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len() / 2);
    let mut rest = html;
    while let Some(open) = rest.find('<') {
        text.push_str(&rest[..open]);
        text.push(' ');
        rest = rest[open..].find('>').map_or("", |close| &rest[open + close + 1..]);
    }
    text.push_str(rest);
    text
}

fn title(html: &str) -> String {
    // ASCII lower case keeps every byte position.
    let lower = html.to_ascii_lowercase();
    let found = lower.find("<title").and_then(|open| {
        let start = open + lower[open..].find('>')? + 1;
        let end = start + lower[start..].find("</title")?;
        Some(&html[start..end])
    });
    let mut title = found
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for (entity, char) in [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ] {
        title = title.replace(entity, char);
    }
    title.chars().take(MAX_TITLE_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<!doctype html><html><head><title>Hello &amp;
        welcome</title><style>p{color:red}</style><script>alert("no")</script></head>
        <body><nav><a href="/menu">Menu</a></nav><h1>Big news</h1>
        <p>First <b>bold</b> paragraph with a <a href="/more?x=1">link</a>.</p>
        <ul><li>one</li><li>two</li></ul><pre>let x = 1;</pre>
        <script>document.write("no")</script><p>Last one: gr&uuml;n.</p></body></html>"#;

    fn url() -> Url {
        "https://a.example/dir/page".parse().unwrap()
    }

    #[test]
    fn golden_page() {
        insta::assert_snapshot!("markdown", convert(PAGE, &url(), Mode::Markdown));
        insta::assert_snapshot!("text", convert(PAGE, &url(), Mode::Text));
        assert_eq!(title(PAGE), "Hello & welcome");
        assert_eq!(title("<TITLE class=x>İ straße</TITLE>"), "İ straße");
        assert_eq!(title("<title>open"), "");
        assert_eq!(title(""), "");
    }

    #[test]
    fn hostile_pages_end() {
        for html in [
            "<div>".repeat(20_000),
            "<".repeat(100_000),
            "<a href='x'>".repeat(10_000),
            "<table><tr><td>".repeat(5_000),
            "<ul><li>".repeat(5_000),
            "<blockquote>".repeat(5_000),
            "<p>\u{0}\u{ffff}</p>&#0;&#xffffffff;".to_owned(),
            "<title>".repeat(1_000),
            "<!--".repeat(1_000),
            "<select><plaintext><b".to_owned(),
        ] {
            for mode in [Mode::Markdown, Mode::Text] {
                let _ = convert(&html, &url(), mode);
            }
            let _ = title(&html);
        }
    }

    #[test]
    fn ends_without_a_beginning_are_no_work() {
        let hostile = format!("{}{}", "<x>".repeat(30_000), "</y>".repeat(30_000));
        assert!(is_costly(&hostile));
        assert_eq!(convert(&hostile, &url(), Mode::Markdown), "");
        let long = format!("<ul>{}</ul>", "<li>a<br><img src=b></li></nobody>".repeat(20_000));
        assert!(!is_costly(&long), "what is closed costs nothing");
        assert!(!is_costly("<p>a<p>b</div></div><!-- </ --> 1 < 2 </"));
    }

    #[test]
    fn a_long_base_makes_no_endless_page_of_short_links() {
        let base = Url::parse(&format!("https://example.org/{}/x", "y".repeat(8_000))).expect("an address");
        let page = absolute_links(&"![](a)".repeat(10_000), &base);
        assert!(page.len() < LONGEST + 20_000, "{}", page.len());
    }

    #[test]
    fn kinds() {
        for (content_type, body, expected) in [
            ("text/html; charset=utf-8", &b"x"[..], Kind::Html),
            ("application/xhtml+xml", b"x", Kind::Html),
            ("text/markdown", b"x", Kind::Text),
            ("application/ld+json", b"{}", Kind::Text),
            ("application/rss+xml", b"<rss>", Kind::Text),
            ("", b" <!DOCTYPE html>", Kind::Html),
            ("", b"hello", Kind::Text),
            ("", b"a\0b", Kind::Binary),
            ("application/octet-stream", b"hello", Kind::Text),
            ("application/octet-stream", b"a\0b", Kind::Binary),
            ("image/png", b"x", Kind::Binary),
            ("application/pdf", b"%PDF", Kind::Binary),
        ] {
            assert_eq!(kind(content_type, body), expected, "{content_type}");
        }
    }

    #[test]
    fn stripping() {
        assert_eq!(strip_tags("a<b>c</b>d<e"), "a c d ");
        assert_eq!(tidy("\n\na  \n\n\n\nb\nc\n"), "a\n\nb\nc");
    }
}
