//! The report server: what jobs left in the report store, for browsers.
//!
//! Everything in the store was written by hostile code, so no page of it shares an origin with
//! anything else: not with the API (another port), not with the lists here, and not with another
//! run. The lists are on the server's own name; a run's files are on a name of that run, a label
//! before it, which browsers resolve to this machine by themselves (`*.localhost`).
//! Start with [`serve`]; `host` says who may be asked for what.

mod files;
mod host;
mod pages;
#[cfg(test)]
mod tests;
mod types;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, LOCATION, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;

use self::host::{Asked, Names};
use super::seats::Seats;
use crate::causes::with_causes;
use crate::reports::{Entry, Found, INDEX, Listing, Place, Runs, Store, StoreError};

/// Connections at a time; who comes when all are taken waits at the door.
pub const SEATS: usize = 32;
/// Walks through the store at a time: each may look at thousands of files.
pub(super) const WALKS_MAX: usize = 4;
/// Where the store is in addresses, as it is in runners.
const TOP: &str = "/reports/";
/// Runs in one list.
const RUNS_MAX: usize = 100;

/// What may be read in lists: nothing but their own style.
const OWN_POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; \
                          form-action 'none'; frame-ancestors 'none'";
/// A run's pages may do what pages do, with what is the run's own.
const RUN_POLICY: &str = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; \
                          base-uri 'self'; form-action 'self'; frame-ancestors 'self'";
/// A run's file that was asked for by the server's own name: to look at, and nothing else.
const INERT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// The store and how it is called.
pub struct Site {
    store: Store,
    names: Names,
    runs: Runs,
    walks: Semaphore,
}

impl Site {
    /// A site over a store. `host` is the name by which others ask for it through a proxy.
    #[must_use]
    pub fn new(store: Store, host: Option<&str>) -> Arc<Self> {
        let names = Names::new(host);
        Arc::new(Self { store, names, runs: Runs::default(), walks: Semaphore::new(WALKS_MAX) })
    }

    /// Looks at the store, aside of what else is served.
    async fn look<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Trouble> {
        // The semaphore is never closed.
        let _permit = self.walks.acquire().await;
        let site = Arc::clone(self);
        match spawn_blocking(move || work(&site)).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(StoreError::NoSuchThing { .. })) => Err(Trouble::NoSuchThing),
            Ok(Err(error)) => Err(Trouble::Failed(with_causes(&error))),
            Err(error) => Err(Trouble::Failed(error.to_string())),
        }
    }
}

/// Why there is nothing to show.
enum Trouble {
    NoSuchThing,
    Failed(String),
}

/// Takes the address.
///
/// # Errors
/// The system's.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until it is dropped, and its connections with it.
pub async fn serve(listener: TcpListener, site: Arc<Site>) {
    let (_never, stop) = watch::channel(false);
    super::serve::serve(Seats::new(listener, SEATS), router(site), stop).await;
}

fn router(site: Arc<Site>) -> Router {
    Router::new().fallback(answer).with_state(site)
}

async fn answer(State(site): State<Arc<Site>>, request: Request) -> Response {
    // Nothing that is asked here has a body.
    let (request, _) = request.into_parts();
    let (method, headers) = (&request.method, &request.headers);
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let Some(asked) = site.names.read(host) else {
        let words = "this name is not served here; ask for localhost";
        return pages::sorry(StatusCode::MISDIRECTED_REQUEST, words);
    };
    if *method != Method::GET && *method != Method::HEAD {
        return pages::sorry(StatusCode::METHOD_NOT_ALLOWED, "reports can only be read");
    }
    let path = request.uri.path();
    match (path, &asked) {
        ("/" | "/reports", _) => return to(StatusCode::FOUND, &asked.own(TOP)),
        (pages::STYLE_PATH, Asked::Own { .. }) => return pages::style(),
        _ => {}
    }
    let place = path.strip_prefix(TOP).and_then(Place::parse);
    let answer = match (place, &asked) {
        (Some(place), Asked::Own { .. }) => own(&site, place, (&asked, &request)).await,
        (Some(place), Asked::Run { label, .. }) if *label == host::label(&place) => {
            of_run(&site, place, (&asked, &request)).await
        }
        (Some(_) | None, _) => Err(Trouble::NoSuchThing),
    };
    answer.unwrap_or_else(|trouble| match trouble {
        Trouble::NoSuchThing => pages::sorry(StatusCode::NOT_FOUND, "there is nothing here"),
        Trouble::Failed(why) => {
            tracing::warn!("a report cannot be shown: {why}");
            pages::sorry(StatusCode::INTERNAL_SERVER_ERROR, "it cannot be read; see the log")
        }
    })
}

/// Asked by the server's own name: lists, and a run's files to look at.
async fn own(
    site: &Arc<Site>,
    place: Place,
    (asked, request): (&Asked, &Parts),
) -> Result<Response, Trouble> {
    let uri = &request.uri;
    if place.names().len() <= 2 && !uri.path().ends_with('/') {
        return Ok(with_slash(uri));
    }
    let json = uri.query() == Some("format=json");
    match place.names() {
        [] => {
            let found = site.look(|it| it.runs.newest(&it.store, None, RUNS_MAX)).await?;
            let workflows = site.look(|it| it.runs.workflows(&it.store)).await?;
            Ok(pages::all(&found, &workflows, json))
        }
        [workflow] => {
            let name = workflow.to_string_lossy().into_owned();
            let wanted = name.clone();
            let look = move |it: &Site| it.runs.newest(&it.store, Some(&wanted), RUNS_MAX);
            let found = site.look(look).await?;
            match found.0.is_empty() {
                true => Err(Trouble::NoSuchThing),
                false => Ok(pages::workflow(&name, &found, json)),
            }
        }
        [workflow, run] => {
            let names = [workflow, run].map(|name| name.to_string_lossy().into_owned());
            let here = place.clone();
            let look = move |it: &Site| {
                let [workflow, run] = &names;
                let details = it.runs.details(&it.store, workflow, run)?;
                Ok((details, it.store.find(&here)?))
            };
            let (details, found) = site.look(look).await?;
            let Found::Folder(listing) = found else { return Err(Trouble::NoSuchThing) };
            Ok(pages::run(&details, listing, &host::run_address(asked.host(), &place), json))
        }
        [..] => of_run(site, place, (asked, request)).await,
    }
}

/// A folder or a file of a run. By the server's own name it is there to be looked at, and pages
/// lead to the run's; by the name of the run there are its pages, and lists lead back.
async fn of_run(
    site: &Arc<Site>,
    place: Place,
    (asked, request): (&Asked, &Parts),
) -> Result<Response, Trouble> {
    check_run(&place)?;
    let find = |place: Place| site.look(move |it| it.store.find(&place));
    let is_of_folder = request.uri.path().ends_with('/');
    let found = match find(place.clone()).await? {
        Found::File(..) if is_of_folder => return Err(Trouble::NoSuchThing),
        Found::Folder(_) if !is_of_folder => return Ok(with_slash(&request.uri)),
        found => found,
    };
    let send = |it: (File, &Entry), policy| files::send(it, &request.headers, &secured(policy));
    let has_index = |it: &Listing| it.entries.iter().any(|entry| entry.name == INDEX);
    let on_its_own = host::run_address(asked.host(), &place);
    Ok(match (found, asked) {
        (Found::Folder(listing), Asked::Own { .. }) => match has_index(&listing) {
            true => to(StatusCode::FOUND, &format!("{on_its_own}/")),
            false => pages::folder(&place, listing),
        },
        (Found::File(file, entry), Asked::Own { .. }) => match types::of(&entry.name).is_page {
            true => to(StatusCode::FOUND, &on_its_own),
            false => send((file, &entry), INERT_POLICY),
        },
        (Found::Folder(listing), Asked::Run { .. }) if has_index(&listing) => {
            match find(place.join(INDEX.as_ref())).await? {
                Found::File(file, entry) => send((file, &entry), RUN_POLICY),
                // Its `index.html` is a folder.
                Found::Folder(_) => return Err(Trouble::NoSuchThing),
            }
        }
        (Found::Folder(_), Asked::Run { .. }) => {
            to(StatusCode::FOUND, &asked.own(&format!("{TOP}{}/", place.encoded())))
        }
        (Found::File(file, entry), Asked::Run { .. }) => send((file, &entry), RUN_POLICY),
    })
}

/// What is no run is the operator's, who did not ask for it to be served.
fn check_run(place: &Place) -> Result<(), Trouble> {
    let names: Vec<&str> = place.names().iter().take(2).filter_map(|name| name.to_str()).collect();
    match names.as_slice() {
        [workflow, run] if Place::of_run(workflow, run).is_some() => Ok(()),
        _ => Err(Trouble::NoSuchThing),
    }
}

fn with_slash(uri: &Uri) -> Response {
    // The path alone: with a name before it, `//x` would lead to another host.
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    to(StatusCode::PERMANENT_REDIRECT, &format!("{}/{query}", uri.path()))
}

fn to(status: StatusCode, address: &str) -> Response {
    match HeaderValue::from_str(address) {
        Ok(address) => (status, secured(OWN_POLICY), [(LOCATION, address)]).into_response(),
        Err(_) => pages::sorry(StatusCode::BAD_REQUEST, "this is no address"),
    }
}

/// The headers that every answer has, and what a browser may do with it.
fn secured(policy: &'static str) -> HeaderMap {
    const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
    const RESOURCE: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
    let same = HeaderValue::from_static("same-origin");
    HeaderMap::from_iter([
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        (OPENER, same.clone()),
        (RESOURCE, same),
    ])
}

/// A document of ours.
fn document(status: StatusCode, kind: &'static str, body: String) -> Response {
    let kind = [(CONTENT_TYPE, HeaderValue::from_static(kind))];
    (status, secured(OWN_POLICY), kind, body).into_response()
}
