//! The dashboard: one page and its files, carried inside the program.
//!
//! The files hold no data; what the page shows it asks of the API, with the rights of its token.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ring::digest::{SHA256, digest};

use super::extract::Step;
use super::problem::{Problem, ProblemKind};

const PAGE: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// Only these files and this API: a name or an output that looks like HTML does nothing here.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// A file of the page.
struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $kind:expr) => {
        Asset { name: $name, kind: $kind, bytes: include_bytes!(concat!("../dashboard/", $name)) }
    };
}

const INDEX: Asset = asset!("index.html", PAGE);

const FILES: [Asset; 17] = [
    asset!("actions.js", SCRIPT),
    asset!("api.js", SCRIPT),
    asset!("app.js", SCRIPT),
    asset!("boot.js", SCRIPT),
    asset!("capacity.js", SCRIPT),
    asset!("detail.js", SCRIPT),
    asset!("dom.js", SCRIPT),
    asset!("events.js", SCRIPT),
    asset!("icon.svg", PICTURE),
    asset!("jobs.js", SCRIPT),
    asset!("live.js", SCRIPT),
    asset!("log.js", SCRIPT),
    asset!("overview.js", SCRIPT),
    asset!("pools.js", SCRIPT),
    asset!("runners.js", SCRIPT),
    asset!("style.css", STYLE),
    asset!("words.js", SCRIPT),
];

/// `GET /`.
pub(super) async fn page(headers: HeaderMap) -> Response {
    serve(&INDEX, &headers)
}

/// `GET /dashboard/{file}`.
pub(super) async fn file(Step(name): Step, headers: HeaderMap) -> Result<Response, Problem> {
    let asset = FILES.iter().find(|asset| asset.name == name);
    asset.map(|asset| serve(asset, &headers)).ok_or_else(|| {
        Problem::new(ProblemKind::NotFound, format!("the dashboard has no file `{name}`"))
    })
}

/// A file, or the word that the browser has it already: another version of the program is asked
/// for at once.
fn serve(asset: &Asset, headers: &HeaderMap) -> Response {
    let tag = tag(asset.bytes);
    let known =
        headers.get(header::IF_NONE_MATCH).is_some_and(|it| it.as_bytes() == tag.as_bytes());
    let head = [
        (header::CONTENT_TYPE, asset.kind.to_owned()),
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin".to_owned()),
    ];
    match known {
        true => (StatusCode::NOT_MODIFIED, head).into_response(),
        false => (head, asset.bytes).into_response(),
    }
}

fn tag(bytes: &[u8]) -> String {
    let sum = digest(&SHA256, bytes);
    let digits: String = sum.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{digits}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
        FILES.iter().chain([&INDEX]).map(|asset| {
            (asset.name, std::str::from_utf8(asset.bytes).expect("the page's files are UTF-8"))
        })
    }

    /// What stands between two marks, each time.
    fn between<'a>(text: &'a str, from: &'a str, to: char) -> impl Iterator<Item = &'a str> {
        text.split(from).skip(1).filter_map(move |rest| rest.split(to).next())
    }

    #[test]
    fn the_page_names_only_files_that_are_there_and_every_module_before_it_is_needed() {
        let index = texts().find(|(name, _)| *name == INDEX.name).expect("the page").1;
        let there = |name: &str| FILES.iter().any(|asset| asset.name == name);
        let named: Vec<&str> = between(index, "\"/dashboard/", '"').collect();
        for name in &named {
            assert!(there(name), "{name}");
        }
        for asset in FILES.iter().filter(|asset| asset.kind == SCRIPT) {
            assert!(named.contains(&asset.name), "the page does not preload {}", asset.name);
            let text = std::str::from_utf8(asset.bytes).expect("UTF-8");
            for import in between(text, "from './", '\'') {
                assert!(there(import), "{} imports {import}", asset.name);
            }
        }
    }

    #[test]
    fn nothing_is_asked_of_another_host_and_nothing_is_run_that_is_not_a_file() {
        for (name, text) in texts() {
            let text = text.replace("http://www.w3.org/2000/svg", "");
            for banned in
                ["http:", "https:", "innerHTML", "eval(", "style=\"", "onclick", "@import"]
            {
                assert!(!text.contains(banned), "{name} has {banned}");
            }
        }
        let index = texts().find(|(name, _)| *name == INDEX.name).expect("the page").1;
        assert!(between(index, "<script", '>').all(|tag| tag.contains(" src=")), "inline script");
        assert!(!index.contains("<style"), "inline style");
    }

    #[test]
    fn the_page_stays_light() {
        let weight: usize = texts().map(|(_, text)| text.len()).sum();
        assert!(weight < 128 * 1024, "the page weighs {weight} bytes before compression");
    }

    #[test]
    fn who_has_a_file_already_is_told_so() {
        let fresh = serve(&INDEX, &HeaderMap::new());
        assert_eq!(fresh.status(), StatusCode::OK);
        let tag = fresh.headers()[header::ETAG].clone();
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, tag)]);
        assert_eq!(serve(&INDEX, &headers).status(), StatusCode::NOT_MODIFIED);
        let others = FILES.iter().map(|asset| serve(asset, &headers).status());
        assert!(others.into_iter().all(|status| status == StatusCode::OK));
    }
}
