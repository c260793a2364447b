//! The Admin UI, built by `build.rs` and embedded into the binary. Who is served what is the HTTP layer's business.

use std::borrow::Cow;
use std::fmt::Write as _;

use rust_embed::{EmbeddedFile, RustEmbed};

/// What the Admin UI needs from the browser, and nothing else. Sent with every page of the UI.
///
/// Lit uses constructable stylesheets, so no inline style is needed. `data:` and `blob:` images are attachments that a
/// person looks at; images on other hosts are never loaded.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; \
     img-src 'self' data: blob:; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; \
     frame-ancestors 'none'";

/// The files of the Admin UI, by path relative to the site root (`index.html`, `assets/…`).
#[derive(RustEmbed)]
#[folder = "$OUT_DIR/dist"]
pub struct Assets;

/// One file of the Admin UI, ready to be answered with.
pub struct Asset {
    pub data: Cow<'static, [u8]>,
    /// Value of `content-type`.
    pub content_type: String,
    /// Strong validator with its quotes, as it stands in `etag` and `if-none-match`.
    pub etag: String,
    /// The name holds a hash of the content: may be cached for a year. Everything else must be revalidated.
    pub immutable: bool,
}

/// The file at `path` (with or without the leading slash; the empty path is the shell), or `None`.
pub fn get(path: &str) -> Option<Asset> {
    let path = match path.trim_start_matches('/') {
        "" => "index.html",
        other => other,
    };
    Assets::get(path).map(|file| asset(path, file))
}

/// The page that starts the application; answered for every route of the UI. `None` only if the build was broken.
pub fn shell() -> Option<Asset> {
    get("index.html")
}

fn asset(path: &str, file: EmbeddedFile) -> Asset {
    let mut etag = String::with_capacity(34);
    etag.push('"');
    for byte in file.metadata.sha256_hash().iter().take(16) {
        // Writing into a String cannot fail.
        let _ = write!(etag, "{byte:02x}");
    }
    etag.push('"');
    let mut content_type = file.metadata.mimetype().to_owned();
    if content_type.starts_with("text/") && !content_type.contains("charset") {
        content_type.push_str("; charset=utf-8");
    }
    Asset {
        data: file.data,
        content_type,
        etag,
        immutable: path.starts_with("assets/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shell_is_html_and_never_immutable() {
        let shell = shell().expect("build.rs always writes index.html");
        assert_eq!(shell.content_type, "text/html; charset=utf-8");
        assert!(!shell.immutable);
        assert!(String::from_utf8_lossy(&shell.data).contains("ClawCentral"));
    }

    #[test]
    fn root_and_slash_mean_the_shell_and_unknown_is_none() {
        assert_eq!(
            get("/").map(|asset| asset.etag),
            get("index.html").map(|asset| asset.etag)
        );
        assert!(get("").is_some());
        assert!(get("assets/nothing.js").is_none());
        assert!(get("../Cargo.toml").is_none());
    }

    #[test]
    fn the_policy_allows_no_inline_code() {
        assert!(!CONTENT_SECURITY_POLICY.contains("unsafe"));
        assert!(!CONTENT_SECURITY_POLICY.contains('*'));
    }
}
