//! One call to Gitea: its headers, the governor's leave, and what came of it.

use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::fleet::forge::{ForgeError, ForgeErrorClass};
use crate::forge::CallError;
use crate::forge::github::shapes::entries;
use crate::forge::governor::{Governor, Silence, Use};
use crate::forge::secret::{ReadClock, ReadSecret};
use crate::forge::web::{Answer, Ask, Web, WebError};
use crate::forge::words::said;
use crate::units::Time;

const AGENT: &str = concat!("slate-fleet/", env!("CARGO_PKG_VERSION"));
/// Gitea gives no more at once unless it is told to.
const PAGE: usize = 50;
/// Five thousand entries: more is a mistake of one side.
const PAGES_MAX: usize = 100;

/// The way to one instance.
pub(super) struct Line {
    pub(super) web: Web,
    pub(super) api: String,
    pub(super) token: ReadSecret,
    pub(super) governor: Governor,
    pub(super) clock: ReadClock,
}

/// A good answer.
#[derive(Debug)]
pub(super) struct Good(Answer);

/// Why there is no good one.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A status, and the words that came with it.
    Status(u16, String),
    /// Not before then.
    Silence(Silence),
    /// There is no token.
    Denied(String),
    /// It was not sent.
    NotSent(String),
    /// It was sent, and what became of it is not known.
    Lost(String),
}

impl Line {
    pub(super) fn now(&self) -> Time {
        (self.clock)()
    }

    /// Makes a call to a path below the API's address.
    pub(super) async fn call(
        &self,
        use_: Use,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Good, Refusal> {
        let token = (self.token)().await.map_err(Refusal::Denied)?;
        let leave = self.governor.leave(use_, method != Method::GET);
        let leave = leave.await.map_err(Refusal::Silence)?;
        let mut ask = Ask::new(method.clone(), format!("{}{path}", self.api))
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, &format!("token {}", token.expose().trim()))
            .header(USER_AGENT, AGENT);
        if let Some(body) = body {
            ask = ask.header(CONTENT_TYPE, "application/json");
            ask.body = body.to_string().into();
        }
        let answer = self.web.call(ask).await.map_err(|error| match error {
            WebError::NotSent(words) => Refusal::NotSent(words),
            WebError::Lost(words) => Refusal::Lost(words),
        })?;
        if let Some(silence) = leave.answered(&answer, true) {
            return Err(Refusal::Silence(silence));
        }
        if answer.status.is_success() {
            return Ok(Good(answer));
        }
        Err(Refusal::Status(answer.status.as_u16(), said(&answer.body)))
    }

    /// Reads a list to its end; some versions have no `Link`. `path` ends in `?` or `&`.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        keys: &[&str],
    ) -> Result<(Vec<T>, usize), Refusal> {
        let mut all = Vec::new();
        for page in 1..=PAGES_MAX {
            let to = format!("{path}page={page}&limit={PAGE}");
            let good = self.call(Use::Read, &Method::GET, &to, None).await?;
            let mut document: Value = good.document()?;
            let total = document.get("total_count").and_then(Value::as_u64);
            let list = keys.iter().find_map(|key| document.get_mut(*key).map(Value::take));
            let page = match list {
                Some(Value::Array(page)) => page,
                // An empty list is none for some versions.
                Some(Value::Null) => Vec::new(),
                _ => return Err(Refusal::Lost(format!("the answer has no {}", keys.join(" or ")))),
            };
            let is_last = page.is_empty();
            all.extend(page);
            let is_all = total.is_some_and(|total| all.len() as u64 >= total);
            if is_last || is_all {
                return Ok(entries(all));
            }
        }
        Err(Refusal::Lost(format!("a list has more than {PAGES_MAX} pages")))
    }
}

impl Good {
    /// The answer's document.
    pub(super) fn document<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.0.body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            Refusal::Lost(format!("the answer is not understood (line {line} column {column})"))
        })
    }
}

impl Refusal {
    /// Whether it says that the thing is not there; older versions call that a failure.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Status(404, _) => true,
            Self::Status(500, words) => words.contains("does not exist"),
            _ => false,
        }
    }

    /// Sorts it by what to do next.
    pub(super) fn sort(self, what: &str, is_change: bool) -> CallError {
        let unclear = |message: String| match is_change {
            true => CallError::Unknown(message),
            false => failed(ForgeErrorClass::Retry, message),
        };
        match self {
            Self::Silence(silence) => failed(
                ForgeErrorClass::Limited(silence.until),
                format!("{what}: Gitea limits its calls: {}", silence.why),
            ),
            Self::Denied(why) => failed(ForgeErrorClass::Denied, format!("{what}: {why}")),
            Self::NotSent(why) => failed(ForgeErrorClass::Retry, format!("{what}: {why}")),
            Self::Lost(why) => unclear(format!("{what}: {why}")),
            Self::Status(status @ (401 | 403 | 404), words) => failed(
                ForgeErrorClass::Denied,
                format!(
                    "{what}: Gitea refuses ({status} {words}); the token needs the scopes \
                     write:repository, write:organization or write:admin, as the place is"
                ),
            ),
            Self::Status(status @ (408 | 500..), words) => {
                unclear(format!("{what}: Gitea fails ({status} {words})"))
            }
            Self::Status(status, words) => failed(
                ForgeErrorClass::Invalid,
                format!("{what}: Gitea does not take it ({status} {words})"),
            ),
        }
    }
}

pub(super) fn failed(class: ForgeErrorClass, message: String) -> CallError {
    CallError::Failed(ForgeError { class, message })
}
