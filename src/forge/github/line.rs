//! One call to GitHub: its headers, the governor's leave, and what came of it.

use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, IF_NONE_MATCH, USER_AGENT};
use serde_json::Value;

use crate::fleet::forge::{ForgeError, ForgeErrorClass};
use crate::forge::CallError;
use crate::forge::governor::{Governor, Silence, Use};
use crate::forge::secret::{ReadClock, Secret};
use crate::forge::web::{Answer, Ask, Web, WebError};
use crate::forge::words::said;
use crate::units::Time;

/// The version of the API that all of this is written for.
const API_VERSION: &str = "2022-11-28";
const AGENT: &str = concat!("slate-fleet/", env!("CARGO_PKG_VERSION"));

/// A call to make.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) use_: Use,
    pub(super) method: &'a Method,
    /// A path below the API's address, or a whole address on its server.
    pub(super) to: &'a str,
    pub(super) body: Option<&'a Value>,
    /// What was had before; the answer is 304 if it is still so.
    pub(super) etag: Option<&'a str>,
}

impl<'a> Call<'a> {
    pub(super) fn get(to: &'a str) -> Self {
        Self { use_: Use::Read, method: &Method::GET, to, body: None, etag: None }
    }

    pub(super) fn post(to: &'a str, body: &'a Value) -> Self {
        Self { use_: Use::Write, method: &Method::POST, to, body: Some(body), etag: None }
    }

    fn is_change(&self) -> bool {
        self.method != Method::GET
    }
}

/// Why a call came to nothing.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// An answer, but no good one.
    Refused(Box<Answer>),
    /// It was not made, or refused: not before then.
    Silence(Silence),
    /// There is no credential to make it with.
    Denied(String),
    /// It was not sent.
    NotSent(String),
    /// It was sent, and what became of it is not known.
    Lost(String),
}

/// The way to one API with one credential's governor.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) web: Web,
    pub(super) api: String,
    pub(super) governor: Governor,
    pub(super) clock: ReadClock,
}

impl Line {
    /// Makes a call as `token`; any status but a limit's is an answer. `counts` says that the
    /// answer's limits are those of the governor's credential.
    pub(super) async fn once(
        &self,
        call: Call<'_>,
        token: &Secret,
        counts: bool,
    ) -> Result<Answer, Trouble> {
        let leave = self.governor.leave(call.use_, call.is_change());
        let leave = leave.await.map_err(Trouble::Silence)?;
        let answer = self.web.call(self.ask(call, token)).await.map_err(|error| match error {
            WebError::NotSent(words) => Trouble::NotSent(token.redact(&words)),
            WebError::Lost(words) => Trouble::Lost(token.redact(&words)),
        })?;
        match leave.answered(&answer, counts) {
            Some(silence) => Err(Trouble::Silence(silence)),
            None => Ok(answer),
        }
    }

    /// The whole address of a path.
    pub(super) fn url(&self, to: &str) -> String {
        if to.starts_with('/') { format!("{}{to}", self.api) } else { to.to_owned() }
    }

    fn ask(&self, call: Call<'_>, token: &Secret) -> Ask {
        let mut ask = Ask::new(call.method.clone(), self.url(call.to))
            .header(ACCEPT, "application/vnd.github+json")
            .header(AUTHORIZATION, &format!("Bearer {}", token.expose()))
            .header(HeaderName::from_static("x-github-api-version"), API_VERSION)
            .header(USER_AGENT, AGENT);
        if let Some(etag) = call.etag {
            ask = ask.header(IF_NONE_MATCH, etag);
        }
        if let Some(body) = call.body {
            ask = ask.header(CONTENT_TYPE, "application/json");
            ask.body = body.to_string().into();
        }
        ask
    }

    pub(super) fn now(&self) -> Time {
        (self.clock)()
    }
}

/// A good answer, or the trouble that another one is.
pub(super) fn good(answer: Answer) -> Result<Answer, Trouble> {
    if answer.status.is_success() || answer.status.as_u16() == 304 {
        Ok(answer)
    } else {
        Err(Trouble::Refused(Box::new(answer)))
    }
}

/// A good answer's document. What cannot be read says nothing of what was done.
pub(super) fn document<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, Trouble> {
    let body = answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body);
    serde_json::from_slice(body).map_err(|error| {
        // The parser's words may quote the document, which may hold a secret.
        let place =
            format!("{:?} at line {} column {}", error.classify(), error.line(), error.column());
        Trouble::Lost(format!("GitHub's answer is not understood ({place})"))
    })
}

/// How trouble is told: what was tried, whether it changes something, and who needs which rights.
#[derive(Clone, Copy)]
pub(super) struct Telling<'a> {
    pub(super) what: &'a str,
    pub(super) is_change: bool,
    pub(super) rights: &'a str,
}

impl Telling<'_> {
    /// Sorts trouble by what to do next.
    pub(super) fn sort(&self, trouble: Trouble) -> CallError {
        let what = self.what;
        match trouble {
            Trouble::Silence(silence) => failed(
                ForgeErrorClass::Limited(silence.until),
                format!("{what}: GitHub limits its calls: {}", silence.why),
            ),
            Trouble::Denied(why) => failed(ForgeErrorClass::Denied, format!("{what}: {why}")),
            Trouble::NotSent(why) => failed(ForgeErrorClass::Retry, format!("{what}: {why}")),
            Trouble::Lost(why) => self.unclear(format!("{what}: {why}")),
            Trouble::Refused(answer) => self.refused(&answer),
        }
    }

    fn refused(&self, answer: &Answer) -> CallError {
        let (what, rights) = (self.what, self.rights);
        let words = refusal(answer);
        match answer.status.as_u16() {
            401 => failed(
                ForgeErrorClass::Denied,
                format!("{what}: GitHub does not take the token ({words}); renew it"),
            ),
            403 if answer.header("x-github-sso").is_some() => failed(
                ForgeErrorClass::Denied,
                format!(
                    "{what}: authorize the token for the organization's single sign-on ({words})"
                ),
            ),
            403 => {
                let needs = answer.header("x-accepted-github-permissions").unwrap_or(rights);
                let message = format!("{what}: GitHub refuses ({words}); needed is {needs}");
                failed(ForgeErrorClass::Denied, message)
            }
            404 | 410 | 451 => failed(
                ForgeErrorClass::Denied,
                format!(
                    "{what}: it is not there, or hidden from this token ({words}); needed is {rights}"
                ),
            ),
            408 | 500.. => self.unclear(format!("{what}: GitHub fails ({words})")),
            _ => failed(
                ForgeErrorClass::Invalid,
                format!("{what}: GitHub does not take it ({words})"),
            ),
        }
    }

    fn unclear(&self, message: String) -> CallError {
        if self.is_change {
            CallError::Unknown(message)
        } else {
            failed(ForgeErrorClass::Retry, message)
        }
    }
}

/// Status, words, and the number by which GitHub finds the call in its own logs.
pub(super) fn refusal(answer: &Answer) -> String {
    let mut text = answer.status.as_u16().to_string();
    let said = said(&answer.body);
    if !said.is_empty() {
        text.push_str(": ");
        text.push_str(&said);
    }
    if let Some(id) = answer.header("x-github-request-id") {
        text.push_str(", request ");
        text.extend(id.chars().take(64));
    }
    text
}

pub(super) fn failed(class: ForgeErrorClass, message: String) -> CallError {
    CallError::Failed(ForgeError { class, message })
}
