//! Webhook deliveries: whether one is from the forge, and what it says. Pure; the server is the
//! shell's.
//!
//! A delivery may be lost, late, doubled or overtaken, so it only makes things faster: the lists
//! are the truth. Gitea signs and names its deliveries as GitHub does.

use std::collections::{HashSet, VecDeque};

use hyper::HeaderMap;
use ring::hmac;
use serde::Deserialize;
use serde_json::Value;

use crate::fleet::forge::ForgeJobFact;
use crate::forge::github::shapes::Job;
use crate::forge::secret::Secret;
use crate::units::Time;

/// Deliveries that are remembered; GitHub sends one again within days, a busy fleet gets thousands.
const SEEN_MAX: usize = 10_000;
/// Longest name of a delivery; GitHub's are 36 letters.
const GUID_MAX: usize = 64;
/// Longest event name that is told.
const EVENT_MAX: usize = 64;

/// A delivery of a forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its name; the same when it is sent again.
    pub guid: Option<String>,
    /// What it says.
    pub content: Content,
}

/// What a delivery says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A job of a workflow is at another place.
    Job {
        /// `owner/name`.
        repository: String,
        /// The organization, if the repository has one.
        organization: Option<String>,
        /// The job.
        job: Box<ForgeJobFact>,
    },
    /// The webhook was set up, or somebody tries it.
    Ping,
    /// Something that the fleet has no use for: the event's name.
    Other(String),
}

/// Why a delivery is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not signed with one of the secrets: 401, and without any effect.
    #[error("the signature is {0}")]
    Signature(&'static str),
    /// It is the forge's, but cannot be read: 400.
    #[error("{0}")]
    Unreadable(String),
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    action: String,
    workflow_job: Value,
    repository: Repository,
    #[serde(default)]
    organization: Option<Organization>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
}

#[derive(Deserialize)]
struct Organization {
    login: Option<String>,
}

/// Reads a delivery, after its signature over the bytes as they came.
///
/// # Errors
/// [`Refused`].
pub fn read(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[Secret],
    now: Time,
) -> Result<Delivery, Refused> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    verify(header("x-hub-signature-256"), body, secrets)?;
    let guid = header("x-github-delivery").or_else(|| header("x-gitea-delivery"));
    let guid = guid.filter(|guid| !guid.is_empty() && guid.len() <= GUID_MAX);
    let event = header("x-github-event").or_else(|| header("x-gitea-event"));
    let event = event.ok_or_else(|| Refused::Unreadable("it names no event".to_owned()))?;
    let content = match event {
        "ping" => Content::Ping,
        "workflow_job" => {
            let kind = header("content-type").unwrap_or_default();
            if kind.starts_with("application/x-www-form-urlencoded") {
                let words = "it is a form: set the webhook's content type to application/json";
                return Err(Refused::Unreadable(words.to_owned()));
            }
            job(body, now)?
        }
        other => Content::Other(other.chars().take(EVENT_MAX).collect()),
    };
    Ok(Delivery { guid: guid.map(ToOwned::to_owned), content })
}

/// Whether the signature is that of one of the secrets; compared in constant time.
fn verify(signature: Option<&str>, body: &[u8], secrets: &[Secret]) -> Result<(), Refused> {
    let signature = signature.ok_or(Refused::Signature("missing"))?;
    let signature = signature.strip_prefix("sha256=").and_then(unhex);
    let signature = signature.ok_or(Refused::Signature("malformed"))?;
    // Anybody can sign with an empty secret.
    let is_good = secrets.iter().filter(|secret| !secret.expose().is_empty()).any(|secret| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
        hmac::verify(&key, body, &signature).is_ok()
    });
    if is_good { Ok(()) } else { Err(Refused::Signature("wrong")) }
}

fn job(body: &[u8], now: Time) -> Result<Content, Refused> {
    let bad = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        Refused::Unreadable(format!(
            "its `workflow_job` is not understood (line {line} column {column})"
        ))
    };
    let mut payload: Payload = serde_json::from_slice(body).map_err(bad)?;
    if let Value::Object(fields) = &mut payload.workflow_job
        && fields.get("status").is_none_or(Value::is_null)
    {
        fields.insert("status".to_owned(), Value::String(payload.action));
    }
    let job: Job = serde_json::from_value(payload.workflow_job).map_err(bad)?;
    let repository = payload.repository.full_name;
    let job = job.fact(&repository, None, now);
    let organization = payload.organization.and_then(|it| it.login);
    Ok(Content::Job { repository, organization, job: Box::new(job) })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

/// The deliveries that came already; the oldest are forgotten.
#[derive(Debug, Default)]
pub struct Seen {
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Seen {
    /// Remembers a delivery; tells whether it is new.
    pub fn is_new(&mut self, guid: &str) -> bool {
        if !self.known.insert(guid.to_owned()) {
            return false;
        }
        self.order.push_back(guid.to_owned());
        while self.order.len() > SEEN_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;
    use crate::fleet::forge::ForgeJobStatus;
    use crate::ids::ForgeJobId;

    const SECRET: &str = "It's a Secret to Everybody";
    /// GitHub's own test vector, for `Hello, World!`.
    const HELLO: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    const NOW: Time = Time(9);

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new((*text).to_owned())).collect()
    }

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
        };
        list.iter().map(pair).collect()
    }

    fn sign(body: &[u8]) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let tag = hmac::sign(&key, body);
        format!("sha256={}", tag.as_ref().iter().map(|b| format!("{b:02x}")).collect::<String>())
    }

    fn deliver(event: &str, body: &Value) -> Result<Delivery, Refused> {
        let body = body.to_string();
        let headers = headers(&[
            ("X-Hub-Signature-256", &sign(body.as_bytes())),
            ("X-GitHub-Event", event),
            ("X-GitHub-Delivery", "72d3162e"),
            ("Content-Type", "application/json"),
        ]);
        read(&headers, body.as_bytes(), &secrets(&[SECRET]), NOW)
    }

    #[test]
    fn the_published_vector_is_good_and_every_change_of_it_is_not() {
        let good = format!("sha256={HELLO}");
        let check = |signature: Option<&str>, body: &[u8], texts: &[&str]| {
            verify(signature, body, &secrets(texts)).is_ok()
        };
        assert!(check(Some(&good), b"Hello, World!", &[SECRET]));
        assert!(check(Some(&good), b"Hello, World!", &["new", SECRET]), "while it is changed");
        assert!(check(
            Some(&format!("sha256={}", HELLO.to_uppercase())),
            b"Hello, World!",
            &[SECRET]
        ));
        for (signature, body, texts) in [
            (Some(good.as_str()), b"Hello, World?", &[SECRET][..]),
            (Some(&good), b"Hello, World!", &["x"]),
            (Some(&good), b"Hello, World!", &[]),
            (Some(HELLO), b"Hello, World!", &[SECRET]),
            (Some(&good[..good.len() - 2]), b"Hello, World!", &[SECRET]),
            (Some("sha256="), b"Hello, World!", &[SECRET]),
            (Some("sha1=757107"), b"Hello, World!", &[SECRET]),
            (Some("sha256=ää"), b"Hello, World!", &[SECRET]),
            (None, b"Hello, World!", &[SECRET]),
        ] {
            assert!(!check(signature, body, texts), "{signature:?} {texts:?}");
        }
    }

    #[test]
    fn an_empty_secret_signs_nothing() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"");
        let tag = hmac::sign(&key, b"x");
        let hex: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let refused = verify(Some(&format!("sha256={hex}")), b"x", &secrets(&[""]));
        assert_eq!(refused, Err(Refused::Signature("wrong")));
    }

    #[test]
    fn a_jobs_delivery_is_read() {
        let body = json!({
            "action": "queued",
            "workflow_job": {"id": 42, "run_id": 7, "name": "build", "labels": ["self-hosted"],
                "created_at": "2026-01-02T03:04:05Z", "runner_name": null},
            "repository": {"full_name": "acme/site", "id": 1},
            "organization": {"login": "acme"},
            "sender": {}
        });
        let delivery = deliver("workflow_job", &body).unwrap();
        assert_eq!(delivery.guid.as_deref(), Some("72d3162e"));
        let Content::Job { repository, organization, job } = delivery.content else { panic!() };
        assert_eq!((repository.as_str(), organization.as_deref()), ("acme/site", Some("acme")));
        assert_eq!((job.id, job.fork), (ForgeJobId(42), None));
        assert_eq!(job.status, ForgeJobStatus::Queued, "the action stands for a status not given");
    }

    #[test]
    fn other_deliveries_are_taken_and_bad_ones_are_not() {
        let content = |event: &str, body: Value| deliver(event, &body).map(|it| it.content);
        assert_eq!(content("ping", json!({"zen": "Keep it"})), Ok(Content::Ping));
        assert_eq!(content("star", json!({})), Ok(Content::Other("star".to_owned())));
        assert!(matches!(content("workflow_job", json!({})), Err(Refused::Unreadable(_))));
        let form = headers(&[
            ("X-Hub-Signature-256", &sign(b"payload=%7B%7D")),
            ("X-GitHub-Event", "workflow_job"),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ]);
        let refused = read(&form, b"payload=%7B%7D", &secrets(&[SECRET]), NOW).unwrap_err();
        assert!(refused.to_string().contains("application/json"), "{refused}");
    }

    #[test]
    fn the_signature_comes_before_all_else() {
        let headers = headers(&[("X-GitHub-Event", "workflow_job")]);
        let refused = read(&headers, b"{", &secrets(&[SECRET]), NOW);
        assert_eq!(refused, Err(Refused::Signature("missing")));
    }

    #[test]
    fn a_delivery_counts_once_and_the_memory_is_bounded() {
        let mut seen = Seen::default();
        assert!(seen.is_new("a") && !seen.is_new("a"));
        for n in 0..SEEN_MAX {
            assert!(seen.is_new(&n.to_string()));
        }
        assert_eq!((seen.known.len(), seen.order.len()), (SEEN_MAX, SEEN_MAX));
        assert!(seen.is_new("a"), "the oldest is forgotten");
    }
}
