//! Calls with a scope's credential: renewed once when it is refused, lists page by page, and what
//! did not change since the last time is not sent again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::auth::Auth;
use super::line::{Call, Line, Trouble, document, good};
use super::shapes::entries;
use crate::forge::web::{Answer, same_origin};

/// Ten thousand entries: more is a mistake of one side.
const PAGES_MAX: usize = 100;
/// Answers that are kept to ask whether they changed, and their bytes together.
const KEPT_MAX: usize = 512;
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A list is asked for once more after this when it failed.
const PAUSE: Duration = Duration::from_secs(1);

/// A scope's API.
pub(super) struct Api {
    pub(super) line: Line,
    pub(super) auth: Auth,
    kept: Mutex<Kept>,
}

/// A list's entries.
pub(super) struct Pages<T> {
    pub(super) items: Vec<T>,
    /// Entries that could not be read.
    pub(super) bad: usize,
    /// Whether there are more than were asked for.
    pub(super) is_cut: bool,
}

#[derive(Default)]
struct Kept {
    answers: HashMap<String, (String, Page)>,
    order: VecDeque<String>,
    bytes: usize,
}

/// A page of a list.
#[derive(Clone)]
struct Page {
    body: Bytes,
    next: Option<String>,
}

impl Api {
    pub(super) fn new(line: Line, auth: Auth) -> Self {
        Self { line, auth, kept: Mutex::new(Kept::default()) }
    }

    /// Makes a call; anything but a good answer is trouble.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Answer, Trouble> {
        let token = self.auth.token().await?;
        let answer = self.line.once(call, &token, true).await?;
        self.auth.learn(&answer);
        if answer.status.as_u16() != 401 {
            return good(answer);
        }
        // It may have been revoked or renewed elsewhere; what was refused did not happen.
        match self.auth.renew(&token).await? {
            Some(token) => good(self.line.once(call, &token, true).await?),
            None => good(answer),
        }
    }

    /// Reads a document.
    pub(super) async fn get<T: DeserializeOwned>(&self, to: &str) -> Result<T, Trouble> {
        document(&self.call(Call::get(to)).await?)
    }

    /// Reads a list to its end.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        to: &str,
        key: &str,
    ) -> Result<Pages<T>, Trouble> {
        let pages = self.list_some(to, key, PAGES_MAX).await?;
        if pages.is_cut {
            let words = format!("a list of more than {PAGES_MAX} pages; something is wrong there");
            return Err(Trouble::Lost(words));
        }
        Ok(pages)
    }

    /// Reads the first pages of a list.
    pub(super) async fn list_some<T: DeserializeOwned>(
        &self,
        to: &str,
        key: &str,
        most: usize,
    ) -> Result<Pages<T>, Trouble> {
        let mut url = self.line.url(to);
        let mut pages = Pages { items: Vec::new(), bad: 0, is_cut: false };
        for _ in 0..most {
            let (page, items) = match self.page(&url, key).await {
                Err(Trouble::NotSent(_) | Trouble::Lost(_)) => {
                    tokio::time::sleep(PAUSE).await;
                    self.page(&url, key).await?
                }
                Err(Trouble::Refused(answer)) if answer.status.is_server_error() => {
                    tokio::time::sleep(PAUSE).await;
                    self.page(&url, key).await?
                }
                read => read?,
            };
            let (items, bad) = entries(items);
            pages.items.extend(items);
            pages.bad += bad;
            match page.next {
                None => return Ok(pages),
                Some(next) if same_origin(&next, &self.line.api) => url = next,
                Some(_) => {
                    let words = "a list goes on at another server; something is wrong there";
                    return Err(Trouble::Lost(words.to_owned()));
                }
            }
        }
        pages.is_cut = true;
        Ok(pages)
    }

    /// One page, and the entries on it.
    async fn page(&self, url: &str, key: &str) -> Result<(Page, Vec<Value>), Trouble> {
        let known = self.kept().answers.get(url).cloned();
        let etag = known.as_ref().map(|(etag, _)| etag.as_str());
        let answer = self.call(Call { etag, ..Call::get(url) }).await?;
        if answer.status.as_u16() == 304 {
            // Nothing was said of it, so there is nothing that could be unchanged.
            let (_, page) = known
                .ok_or_else(|| Trouble::Lost("GitHub says that nothing changed".to_owned()))?;
            let items = items(document(&Answer { body: page.body.clone(), ..answer })?, key)?;
            return Ok((page, items));
        }
        let items = items(document(&answer)?, key)?;
        let page = Page { body: answer.body.clone(), next: answer.header("link").and_then(next) };
        match answer.header("etag") {
            Some(etag) => self.kept().keep(url, etag, page.clone()),
            None => self.kept().forget(url),
        }
        Ok((page, items))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn keep(&mut self, url: &str, etag: &str, page: Page) {
        self.forget(url);
        self.bytes += page.body.len();
        self.answers.insert(url.to_owned(), (etag.to_owned(), page));
        self.order.push_back(url.to_owned());
        while self.order.len() > KEPT_MAX || self.bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.order.front().cloned() else { break };
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, url: &str) {
        if let Some((_, page)) = self.answers.remove(url) {
            self.bytes = self.bytes.saturating_sub(page.body.len());
            self.order.retain(|known| known != url);
        }
    }
}

/// The entries of a list's document.
fn items(document: Value, key: &str) -> Result<Vec<Value>, Trouble> {
    let list = match document {
        Value::Object(mut fields) => fields.remove(key),
        list @ Value::Array(_) => Some(list),
        _ => None,
    };
    match list {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(Trouble::Lost(format!("GitHub's answer has no list of {key}"))),
    }
}

/// Where a list goes on, by its `Link` header.
pub(in crate::forge) fn next(link: &str) -> Option<String> {
    link.split(',').find_map(|part| {
        let (url, parameters) = part.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| {
            let parameter = parameter.trim();
            parameter.strip_prefix("rel=").map(|rel| rel.trim_matches('"')) == Some("next")
        });
        is_next.then(|| url.trim().trim_start_matches('<').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_the_one_that_link_calls_so() {
        let link = r#"<https://a/x?page=1>; rel="prev", <https://a/x?page=3>; rel="next", <https://a/x?page=9>; rel="last""#;
        assert_eq!(next(link).as_deref(), Some("https://a/x?page=3"));
        assert_eq!(next(r#"<https://a/x?page=1>; rel="first""#), None);
        assert_eq!(next(""), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut kept = Kept::default();
        let page = |size| Page { body: Bytes::from(vec![b'x'; size]), next: None };
        for n in 0..KEPT_MAX + 10 {
            kept.keep(&n.to_string(), "e", page(1));
        }
        assert_eq!(
            (kept.answers.len(), kept.order.len(), kept.bytes),
            (KEPT_MAX, KEPT_MAX, KEPT_MAX)
        );
        assert!(!kept.answers.contains_key("0"));
        kept.keep("big", "e", page(KEPT_BYTES_MAX - 1));
        assert!(kept.answers.contains_key("big") && kept.bytes <= KEPT_BYTES_MAX);
        kept.keep("big", "e2", page(3));
        assert_eq!(kept.order.iter().filter(|url| *url == "big").count(), 1);
    }
}
