//! What a file of a report is, by its name.
//!
//! A closed table: what is not in it is bytes to be saved, and browsers are told not to guess.

use std::ffi::OsStr;
use std::path::Path;

/// What is told of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// Its media type.
    pub mime: &'static str,
    /// Whether it is a page: scripts in it run where it is shown.
    pub is_page: bool,
}

/// What people are shown as text: also files that have no type of their own.
const TEXT: &str = "text/plain; charset=utf-8";

/// Endings and types, as IANA has them; a text without its encoding is UTF-8.
const TYPES: [(&[&str], &str); 31] = [
    (&["html", "htm"], "text/html; charset=utf-8"),
    (&["xhtml"], "application/xhtml+xml"),
    (&["css"], "text/css; charset=utf-8"),
    (&["js", "mjs", "cjs"], "text/javascript; charset=utf-8"),
    (&["json", "map", "har"], "application/json"),
    (&["sarif"], "application/sarif+json"),
    (&["webmanifest"], "application/manifest+json"),
    (&["wasm"], "application/wasm"),
    (&["xml", "xsl", "xsd"], "application/xml"),
    (&["svg"], "image/svg+xml"),
    (&["png"], "image/png"),
    (&["jpg", "jpeg"], "image/jpeg"),
    (&["gif"], "image/gif"),
    (&["webp"], "image/webp"),
    (&["avif"], "image/avif"),
    (&["ico"], "image/vnd.microsoft.icon"),
    (&["webm"], "video/webm"),
    (&["mp4", "m4v"], "video/mp4"),
    (&["mp3"], "audio/mpeg"),
    (&["ogg"], "audio/ogg"),
    (&["wav"], "audio/wav"),
    (&["woff"], "font/woff"),
    (&["woff2"], "font/woff2"),
    (&["ttf"], "font/ttf"),
    (&["otf"], "font/otf"),
    (&["pdf"], "application/pdf"),
    (&["zip"], "application/zip"),
    (&["gz", "tgz"], "application/gzip"),
    (&["tar"], "application/x-tar"),
    (&["csv"], "text/csv; charset=utf-8"),
    (&["txt", "log", "md", "out", "err", "diff", "patch", "yaml", "yml", "toml", "info"], TEXT),
];

/// Types that a browser shows as a page or by a program of its own, which a sandbox would break.
const PAGES: [&str; 3] = ["text/html; charset=utf-8", "application/xhtml+xml", "application/pdf"];

/// What a file of this name is.
pub(super) fn of(name: &OsStr) -> Kind {
    let ending = Path::new(name).extension().and_then(OsStr::to_str).unwrap_or_default();
    let ending = ending.to_ascii_lowercase();
    let known = TYPES.iter().find(|(endings, _)| endings.contains(&ending.as_str()));
    let mime = known.map_or("application/octet-stream", |(_, mime)| mime);
    Kind { mime, is_page: PAGES.contains(&mime) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_what_their_names_say() {
        let mime = |name: &str| of(OsStr::new(name)).mime;
        assert_eq!(mime("a.b.CSS"), "text/css; charset=utf-8");
        assert_eq!(mime("trace.zip"), "application/zip");
        assert_eq!(mime("video.webm"), "video/webm");
        assert_eq!(mime("junit.xml"), "application/xml");
        for unknown in ["a", ".html", "a.exe", "a.html ", ""] {
            assert_eq!(mime(unknown), "application/octet-stream", "{unknown}");
        }
        assert!(of(OsStr::new("INDEX.HTML")).is_page && !of(OsStr::new("a.svg")).is_page);
    }
}
