//! What messages are made of: texts, images, sounds and small files, sent along or named by their address. Lists are bounded
//! while they are read. PDFs and sounds go to models that read them as they are; nothing is taken out of them here.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use claw_actors::ports::message::{FileFormat, Part};
use claw_actors::session::untrusted;
use claw_actors::session::{asking, blobs, understanding};
use claw_entities::Scope;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::V1Error;
use super::fetched::fetch;
use super::target::Target;
use crate::egress::Egress;
use crate::egress::fetch::is_https;
use crate::http::state::AppState;

/// Images of one message (`agent-runtime` §21.1).
const MAX_IMAGES: usize = 8;
/// Largest image, bytes.
const MAX_IMAGE: usize = 6 * 1024 * 1024;
/// Files of one message, their largest size in bytes, and characters that are shown of all of them (§21.2).
const MAX_FILES: usize = 8;
const MAX_FILE: usize = blobs::MAX_FILE;
const MAX_FILE_CHARS: usize = 200_000;
/// Parts of one message that are fetched (§21.2).
const MAX_ADDRESSES: usize = 8;
const NOT_TAKEN: &str = "files must be text, Markdown, HTML, CSV, JSON or PDF";
/// Kinds of files that are texts.
const TEXTS: [&str; 6] = [
    "text/plain",
    "text/markdown",
    "text/html",
    "text/csv",
    "application/json",
    "text/json",
];

/// A list of at most `N` entries: a body of millions of empty ones costs no memory.
#[derive(Debug)]
pub(super) struct AtMost<T, const N: usize>(pub(super) Vec<T>);

impl<T, const N: usize> Default for AtMost<T, N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for AtMost<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T, const N: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Reader<T, N> {
            type Value = AtMost<T, N>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "a list of at most {N} entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = entries.next_element()? {
                    if list.len() == N {
                        return Err(A::Error::custom(format!("the list has more than {N} entries")));
                    }
                    list.push(entry);
                }
                Ok(AtMost(list))
            }
        }

        deserializer.deserialize_seq(Reader(PhantomData))
    }
}

/// A text, or a list of at most `N` entries. Read as it comes: `serde(untagged)` would keep a copy of all of it first.
#[derive(Debug)]
pub(super) enum TextOr<T, const N: usize> {
    Text(String),
    List(AtMost<T, N>),
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for TextOr<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T, const N: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Reader<T, N> {
            type Value = TextOr<T, N>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "a text or a list of at most {N} entries")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text.to_owned()))
            }

            fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Self::Value, E> {
                Ok(TextOr::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
                AtMost::deserialize(SeqAccessDeserializer::new(entries)).map(TextOr::List)
            }
        }

        deserializer.deserialize_any(Reader(PhantomData))
    }
}

/// A value of any form, parsed only when it is small. `null` is none.
pub(super) fn small(raw: Option<&RawValue>, param: &'static str, limit: usize) -> Result<Option<Value>, V1Error> {
    let Some(raw) = raw else {
        return Ok(None);
    };
    if raw.get().len() > limit {
        return Err(V1Error::param(
            param,
            format!("a value in {param} is longer than {limit} bytes"),
        ));
    }
    let value: Value = serde_json::from_str(raw.get())
        .map_err(|error| V1Error::param(param, format!("{param} is not as documented: {error}")))?;
    Ok(Some(value).filter(|value| !value.is_null()))
}

/// What a message says.
pub(super) type Content = TextOr<ContentPart, 256>;

/// One part. `type` says which of the rest counts.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ContentPart {
    #[serde(rename = "type", default)]
    kind: String,
    text: Option<String>,
    refusal: Option<String>,
    image_url: Option<Address>,
    source: Option<Source>,
    filename: Option<String>,
    file_data: Option<String>,
    file_url: Option<String>,
    file: Option<File>,
    input_audio: Option<Audio>,
}

/// An address, alone or in an object as `url`.
#[derive(Debug)]
struct Address(String);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wrapped {
            url: String,
        }

        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Address;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an address, or an object with its url")
            }

            fn visit_str<E: serde::de::Error>(self, url: &str) -> Result<Address, E> {
                Ok(Address(url.to_owned()))
            }

            fn visit_string<E: serde::de::Error>(self, url: String) -> Result<Address, E> {
                Ok(Address(url))
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Address, A::Error> {
                Wrapped::deserialize(MapAccessDeserializer::new(fields)).map(|wrapped| Address(wrapped.url))
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

/// As OpenResponses has it: `{type: "base64", media_type, data, filename}`, or `{type: "url", url}`.
#[derive(Debug, Deserialize)]
struct Source {
    #[serde(rename = "type", default)]
    kind: String,
    media_type: Option<String>,
    data: Option<String>,
    url: Option<String>,
    filename: Option<String>,
}

/// As Chat Completions has it.
#[derive(Debug, Deserialize)]
struct File {
    filename: Option<String>,
    file_data: Option<String>,
}

/// A sound as Chat Completions has it. `format` counts for nothing: the bytes say what it is.
#[derive(Debug, Deserialize)]
struct Audio {
    data: Option<String>,
}

impl Content {
    /// The texts of it, one below the other.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.trim().to_owned(),
            Self::List(parts) => {
                let texts = parts.0.iter().filter_map(ContentPart::words);
                texts.collect::<Vec<_>>().join("\n")
            }
        }
    }

    pub(super) fn parts(&self) -> &[ContentPart] {
        match self {
            Self::Text(_) => &[],
            Self::List(parts) => &parts.0,
        }
    }
}

impl ContentPart {
    /// Where it is to be fetched, if it is.
    fn address(&self) -> Option<&str> {
        let source = self.source.as_ref().filter(|source| source.kind == "url");
        let named = match self.kind.as_str() {
            "image_url" | "input_image" => self.image_url.as_ref().map(|address| address.0.as_str()),
            "file" | "input_file" => self.file_url.as_deref(),
            _ => return None,
        };
        let named = named.or_else(|| source.and_then(|source| source.url.as_deref()));
        named.map(str::trim).filter(|url| is_https(url))
    }

    fn words(&self) -> Option<&str> {
        let words = match self.kind.as_str() {
            "text" | "input_text" | "output_text" => self.text.as_deref(),
            "refusal" => self.refusal.as_deref(),
            _ => None,
        };
        words.map(str::trim).filter(|words| !words.is_empty())
    }
}

/// What a message holds beside its words.
#[derive(Debug, Default)]
pub(super) struct Attached {
    images: Vec<(&'static str, Vec<u8>)>,
    /// Files for a model that reads them as they are: name, kind, bytes.
    native: Vec<(String, FileFormat, Vec<u8>)>,
    /// Texts of files, wrapped as what they are: somebody else's words.
    pub(super) files: Vec<String>,
}

impl Attached {
    /// Reads all of it before anything is stored. How many there are is known before anything is fetched.
    pub(super) async fn read(egress: &Egress, parts: &[ContentPart]) -> Result<Self, V1Error> {
        check_counts(parts)?;
        let mut attached = Self::default();
        let mut left = MAX_FILE_CHARS;
        for part in parts {
            match part.kind.as_str() {
                "image_url" | "input_image" => attached.images.push(image(egress, part).await?),
                "file" | "input_file" => match file(egress, part).await? {
                    (name, _, bytes) if FileFormat::of(&bytes) == Some(FileFormat::Pdf) => {
                        attached.native.push((name, FileFormat::Pdf, bytes));
                    }
                    (name, kind, bytes) => attached.files.push(shown(&name, kind.as_deref(), bytes, &mut left)?),
                },
                "input_audio" => attached.native.push(sound(part)?),
                "text" | "input_text" | "output_text" | "refusal" => {}
                other => {
                    let shown: String = other.chars().take(40).collect();
                    return Err(V1Error::param(
                        "content",
                        format!("parts of the kind {shown:?} are not taken here"),
                    ));
                }
            }
        }
        Ok(attached)
    }

    /// Stores images and files and gives the parts that refer to them. A file that the session's model does not read is
    /// refused before anything is stored.
    pub(super) async fn store(self, state: &AppState, scope: &Scope, target: &Target) -> Result<Vec<Part>, V1Error> {
        if !self.native.is_empty() {
            let wanted = target.model.as_deref();
            let takes = asking::takes(&state.services, scope, &target.session_key, wanted).await?;
            for (_, kind, _) in &self.native {
                if understanding::understands(&state.services, scope, takes, *kind).await? {
                    continue;
                }
                let kind = kind.name();
                return Err(V1Error::param(
                    "content",
                    format!(
                        "the agent's model does not read {kind} files; it takes: {}, and files that are text, Markdown, \
                         HTML, CSV or JSON",
                        takes.names().join(", ")
                    ),
                ));
            }
        }
        let mut parts = Vec::with_capacity(self.images.len() + self.native.len());
        for (name, _, bytes) in self.native {
            parts.extend(blobs::store_file(&state.services, scope, &name, bytes).await?);
        }
        for (kind, bytes) in self.images {
            parts.push(blobs::store_image(&state.services, scope, kind, bytes).await?);
        }
        Ok(parts)
    }
}

fn check_counts(parts: &[ContentPart]) -> Result<(), V1Error> {
    let count = |kinds: &[&str]| parts.iter().filter(|part| kinds.contains(&part.kind.as_str())).count();
    let complain = |what: String| Err(V1Error::param("content", what));
    if count(&["image_url", "input_image"]) > MAX_IMAGES {
        return complain(format!("a message has at most {MAX_IMAGES} images"));
    }
    if count(&["file", "input_file", "input_audio"]) > MAX_FILES {
        return complain(format!("a message has at most {MAX_FILES} files"));
    }
    if parts.iter().filter(|part| part.address().is_some()).count() > MAX_ADDRESSES {
        return complain(format!(
            "at most {MAX_ADDRESSES} parts of a message are named by their address"
        ));
    }
    Ok(())
}

async fn image(egress: &Egress, part: &ContentPart) -> Result<(&'static str, Vec<u8>), V1Error> {
    let bytes = match part.address() {
        Some(url) => fetch(egress, url, MAX_IMAGE, "an image").await?.bytes,
        None => sent_image(part)?,
    };
    match blobs::image_type(&bytes) {
        Some(kind) => Ok((kind, bytes)),
        None => Err(V1Error::param("content", "an image must be PNG, JPEG, GIF or WebP")),
    }
}

fn sent_image(part: &ContentPart) -> Result<Vec<u8>, V1Error> {
    let data = match (&part.image_url, &part.source) {
        (Some(address), _) => data_of(&address.0).map(|(_, data)| data),
        (None, Some(source)) if source.kind == "base64" => source.data.as_deref(),
        (None, Some(_) | None) => None,
    };
    let Some(data) = data else {
        return Err(V1Error::param(
            "content",
            "images are taken as data URLs (data:image/png;base64,…) or https addresses",
        ));
    };
    decoded(data, MAX_IMAGE, "an image")
}

/// A sound, known by its bytes.
fn sound(part: &ContentPart) -> Result<(String, FileFormat, Vec<u8>), V1Error> {
    let data = part.input_audio.as_ref().and_then(|audio| audio.data.as_deref());
    let Some(data) = data else {
        return Err(V1Error::param("content", "input_audio must have data in base64"));
    };
    let bytes = decoded(data, MAX_FILE, "a sound")?;
    match FileFormat::of(&bytes) {
        Some(kind @ (FileFormat::Wav | FileFormat::Mp3)) => Ok(("sound".to_owned(), kind, bytes)),
        Some(FileFormat::Pdf | FileFormat::Ogg) | None => Err(V1Error::param("content", "a sound must be WAV or MP3")),
    }
}

/// Name, declared kind and bytes of a file.
async fn file(egress: &Egress, part: &ContentPart) -> Result<(String, Option<String>, Vec<u8>), V1Error> {
    let nested = part.file.as_ref();
    let source = part.source.as_ref();
    let name = part
        .filename
        .as_deref()
        .or(nested.and_then(|file| file.filename.as_deref()))
        .or(source.and_then(|source| source.filename.as_deref()))
        .unwrap_or("file");
    let name = blobs::plain_name(name);
    if let Some(url) = part.address() {
        let fetched = fetch(egress, url, MAX_FILE, "a file").await?;
        let kind = Some(fetched.kind).filter(|kind| !kind.is_empty());
        return Ok((name, kind, fetched.bytes));
    }
    let data = part
        .file_data
        .as_deref()
        .or(nested.and_then(|file| file.file_data.as_deref()));
    let (kind, data) = match (data, source) {
        (Some(data), _) => data_of(data).map_or((None, data), |(kind, data)| (Some(kind), data)),
        (
            None,
            Some(Source {
                kind,
                media_type,
                data: Some(data),
                ..
            }),
        ) if kind == "base64" => (media_type.as_deref(), data.as_str()),
        (None, Some(_) | None) => {
            return Err(V1Error::param(
                "content",
                "files are taken as base64 in file_data, or by an https address in file_url",
            ));
        }
    };
    let bytes = decoded(data, MAX_FILE, "a file")?;
    Ok((name, kind.map(str::to_owned), bytes))
}

/// The text of a file, as what it is: somebody else's words.
fn shown(name: &str, kind: Option<&str>, bytes: Vec<u8>, left: &mut usize) -> Result<String, V1Error> {
    let declared = kind.map(str::to_ascii_lowercase);
    if declared.as_deref().is_some_and(|kind| !TEXTS.contains(&kind)) {
        return Err(V1Error::param("content", NOT_TAKEN));
    }
    let text = String::from_utf8(bytes).map_err(|_| V1Error::param("content", NOT_TAKEN))?;
    let shown = text
        .char_indices()
        .nth(*left)
        .map_or(text.as_str(), |(at, _)| &text[..at]);
    *left = left.saturating_sub(shown.chars().count());
    Ok(untrusted::wrap(&format!("file {name}"), shown))
}

/// Kind and data of a `data:` URL in base64.
fn data_of(url: &str) -> Option<(&str, &str)> {
    let (head, data) = url.strip_prefix("data:")?.split_once(',')?;
    Some((
        head.strip_suffix(";base64")?.split(';').next().unwrap_or_default(),
        data,
    ))
}

fn decoded(data: &str, limit: usize, what: &str) -> Result<Vec<u8>, V1Error> {
    if data.len() / 4 * 3 > limit + 3 {
        return Err(claw_actors::Error::TooLarge(format!("{what} is larger than {limit} bytes")).into());
    }
    STANDARD
        .decode(data.trim())
        .map_err(|_| V1Error::param("content", format!("{what} is not base64")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::egress::testing::FakeServer;

    fn parts(parts: &Value) -> Content {
        serde_json::from_value(parts.clone()).expect("content")
    }

    async fn read(content: &Value) -> Result<(usize, Vec<String>), String> {
        let content = parts(content);
        let attached = Attached::read(&FakeServer::egress(), content.parts()).await;
        let attached = attached.map_err(|error| error.to_string())?;
        Ok((attached.images.len(), attached.files))
    }

    #[tokio::test]
    async fn words_images_and_files() {
        let png = STANDARD.encode([0x89, b'P', b'N', b'G', 1]);
        let content = json!([
            {"type": "text", "text": "look "},
            {"type": "image_url", "image_url": {"url": format!("data:image/jpeg;base64,{png}")}},
            {"type": "input_image", "image_url": format!("data:image/png;base64,{png}")},
            {"type": "input_file", "filename": "a.txt", "file_data": format!("data:text/plain;base64,{}", STANDARD.encode("hello"))},
        ]);
        assert_eq!(parts(&content).text(), "look");
        let (images, files) = read(&content).await.expect("reads");
        assert_eq!((images, files.len()), (2, 1));
        assert!(
            files[0].contains("hello") && files[0].contains("EXTERNAL_CONTENT"),
            "{}",
            files[0]
        );
    }

    #[tokio::test]
    async fn what_is_not_taken_is_said() {
        for (part, why) in [
            (
                json!({"type": "image_url", "image_url": {"url": "http://example.com/x.png"}}),
                "https addresses",
            ),
            (
                json!({"type": "image_url", "image_url": {"url": "https://127.0.0.1/x.png"}}),
                "may not be fetched",
            ),
            (
                json!({"type": "input_file", "file_url": "https://169.254.169.254/latest"}),
                "may not be fetched",
            ),
            (
                json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,%%%"}}),
                "not base64",
            ),
            (
                json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}),
                "must be PNG",
            ),
            (
                json!({"type": "input_file", "file_data": "data:application/pdf;base64,JVBERg=="}),
                "must be text",
            ),
            (
                json!({"type": "input_file", "file_data": "data:application/zip;base64,UEsDBA=="}),
                "must be text",
            ),
            (json!({"type": "input_audio", "input_audio": {}}), "data in base64"),
            (
                json!({"type": "input_audio", "input_audio": {"data": "T2dnUwAA", "format": "wav"}}),
                "must be WAV or MP3",
            ),
            (json!({"type": "input_video"}), "not taken"),
        ] {
            let error = read(&json!([part])).await.expect_err("refused");
            assert!(error.contains(why), "{part}: {error}");
        }
    }

    #[test]
    fn lists_are_bounded() {
        let few: Result<AtMost<u8, 2>, _> = serde_json::from_str("[1, 2]");
        assert_eq!(few.expect("two").0, [1, 2]);
        let many: Result<AtMost<u8, 2>, _> = serde_json::from_str("[1, 2, 3]");
        assert!(many.expect_err("three").to_string().contains("more than 2"));
        let text: Result<TextOr<u8, 2>, _> = serde_json::from_str("\"hi\"");
        assert!(matches!(text, Ok(TextOr::Text(text)) if text == "hi"));
        let many: Result<TextOr<u8, 2>, _> = serde_json::from_str("[1, 2, 3]");
        assert!(many.expect_err("three").to_string().contains("more than 2"));
    }
}
