//! What a scope is spoken to with: a personal token as it is, or an App's installation token, which
//! lives an hour and is renewed before its end.

use std::sync::Mutex as Lock;
use std::sync::PoisonError;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::line::{Call, Line, Trouble, document, refusal};
use super::scope::{Place, Scope};
use super::{Right, jwt, shapes};
use crate::forge::governor::Use;
use crate::forge::secret::Secret;
use crate::forge::web::Answer;
use crate::units::Time;

/// A personal token is read again after this, so that a new one is found without a restart.
const PERSONAL_KEPT: Duration = Duration::from_secs(60);
/// An installation token is renewed so long before its end.
const EARLY: Duration = Duration::from_secs(5 * 60);
/// GitHub says when a token ends; one without a time is used so long.
const UNSAID_LIFE: Duration = Duration::from_secs(30 * 60);
/// A clock that differs by less is none to speak of.
pub(super) const SKEW_SMALL: i64 = 30_000;

/// A scope's credential.
pub(super) struct Auth {
    right: Right,
    scope: Scope,
    line: Line,
    /// Locked while a token is fetched: all others wait for that one.
    held: Mutex<Held>,
    learned: Lock<Learned>,
}

#[derive(Default)]
struct Held {
    token: Option<(Secret, Time)>,
    installation: Option<u64>,
    /// What is added to this host's time to have GitHub's, in milliseconds.
    offset: i64,
}

/// What is known by the way.
#[derive(Debug, Clone, Default)]
pub(super) struct Learned {
    /// An App's permissions.
    pub(super) permissions: Option<Value>,
    /// A classic token's scopes.
    pub(super) scopes: Option<String>,
    /// GitHub's clock minus this host's, in milliseconds.
    pub(super) skew: Option<i64>,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
    #[serde(default)]
    suspended_at: Option<String>,
}

#[derive(Deserialize)]
struct AccessToken {
    token: String,
    #[serde(default)]
    expires_at: Option<String>,
    #[serde(default)]
    permissions: Option<Value>,
}

impl Auth {
    pub(super) fn new(right: Right, scope: Scope, line: Line) -> Self {
        let (held, learned) = (Mutex::new(Held::default()), Lock::new(Learned::default()));
        Self { right, scope, line, held, learned }
    }

    /// A token that should be good.
    pub(super) async fn token(&self) -> Result<Secret, Trouble> {
        let mut held = self.held.lock().await;
        match &held.token {
            Some((token, until)) if *until > self.line.now() => Ok(token.clone()),
            _ => self.fetch(&mut held).await,
        }
    }

    /// Another token than the one that was refused; none if there is no other.
    pub(super) async fn renew(&self, refused: &Secret) -> Result<Option<Secret>, Trouble> {
        let mut held = self.held.lock().await;
        if let Some((token, _)) = &held.token
            && token != refused
        {
            return Ok(Some(token.clone()));
        }
        held.token = None;
        let token = self.fetch(&mut held).await?;
        Ok(Some(token).filter(|token| token != refused))
    }

    /// What is known by the way.
    pub(super) fn learned(&self) -> Learned {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads what any answer tells by the way.
    pub(super) fn learn(&self, answer: &Answer) {
        let skew = skew(answer, self.line.now());
        let scopes = answer.header("x-oauth-scopes").map(ToOwned::to_owned);
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.skew = skew.or(learned.skew);
        if scopes.is_some() {
            learned.scopes = scopes;
        }
    }

    async fn fetch(&self, held: &mut Held) -> Result<Secret, Trouble> {
        let (token, until) = match &self.right {
            Right::Personal(read) => {
                let token = read().await.map_err(Trouble::Denied)?;
                (plain(&token)?, self.line.now() + PERSONAL_KEPT)
            }
            Right::App { .. } => self.installation_token(held).await?,
        };
        held.token = Some((token.clone(), until));
        Ok(token)
    }

    async fn installation_token(&self, held: &mut Held) -> Result<(Secret, Time), Trouble> {
        let installation = self.installation(held).await?;
        let path = format!("/app/installations/{installation}/access_tokens");
        let body = json!({});
        // A removal needs a token, too: so urgent is this.
        let call = Call { use_: Use::Remove, ..Call::post(&path, &body) };
        let answer = match self.as_app(held, call).await {
            Ok(answer) => answer,
            Err(trouble) => {
                // It may have been installed anew under another number.
                held.installation = None;
                return Err(self.told(trouble));
            }
        };
        let read: AccessToken = document(&answer)?;
        let until = read.expires_at.as_deref().and_then(shapes::time);
        let until = until.unwrap_or(self.line.now() + UNSAID_LIFE + EARLY);
        // The end is in GitHub's time.
        let until = shifted(until, -held.offset).before(EARLY);
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.permissions = read.permissions;
        Ok((plain(&Secret::new(read.token))?, until))
    }

    async fn installation(&self, held: &mut Held) -> Result<u64, Trouble> {
        let Right::App { installation, .. } = &self.right else {
            return Err(Trouble::Denied("a personal token has no installation".to_owned()));
        };
        if let Some(known) = installation.or(held.installation) {
            return Ok(known);
        }
        if let Place::Enterprise(name) = &self.scope.place {
            let words = format!("name the App's `installation` for the enterprise {name}");
            return Err(Trouble::Denied(words));
        }
        let path = format!("{}/installation", self.scope.path());
        let call = Call { use_: Use::Remove, ..Call::get(&path) };
        let answer = self.as_app(held, call).await.map_err(|trouble| self.told(trouble))?;
        let found: Installation = document(&answer)?;
        if found.suspended_at.is_some() {
            return Err(Trouble::Denied("the App's installation is suspended".to_owned()));
        }
        held.installation = Some(found.id);
        Ok(found.id)
    }

    /// A call as the App itself. If its clock is what GitHub refuses, GitHub's time is taken, once.
    async fn as_app(&self, held: &mut Held, call: Call<'_>) -> Result<Answer, Trouble> {
        let Right::App { id, key, .. } = &self.right else {
            return Err(Trouble::Denied("a personal token is no App".to_owned()));
        };
        let key = key().await.map_err(Trouble::Denied)?;
        let mut is_set = false;
        loop {
            let now = self.line.now();
            let token = jwt::sign(id, &key, shifted(now, held.offset)).map_err(Trouble::Denied)?;
            let answer = self.line.once(call, &token, false).await?;
            self.learn(&answer);
            if answer.status.is_success() {
                return Ok(answer);
            }
            let skew = skew(&answer, now).unwrap_or(0);
            let is_clock = answer.status.as_u16() == 401 && (skew - held.offset).abs() > SKEW_SMALL;
            if is_set || !is_clock {
                return Err(Trouble::Refused(Box::new(answer)));
            }
            tracing::warn!(
                seconds = skew / 1000,
                "this host's clock is not GitHub's: set it right; until then GitHub's time is used"
            );
            held.offset = skew;
            is_set = true;
        }
    }

    /// What a refused App is told.
    fn told(&self, trouble: Trouble) -> Trouble {
        let Trouble::Refused(answer) = trouble else { return trouble };
        let words = refusal(&answer);
        let place = self.scope.words();
        match answer.status.as_u16() {
            401 => Trouble::Denied(format!(
                "GitHub does not take the App's id and private key ({words}); compare them with \
                 the App's page"
            )),
            403 => Trouble::Denied(format!("the App may not act for {place} ({words})")),
            404 => Trouble::Denied(format!(
                "the App is not installed for {place} ({words}); install it on its page"
            )),
            _ => Trouble::Refused(answer),
        }
    }
}

/// A token without the line break of its file; what no header can carry is none.
fn plain(token: &Secret) -> Result<Secret, Trouble> {
    let text = token.expose().trim();
    if text.is_empty() {
        return Err(Trouble::Denied("the token is empty".to_owned()));
    }
    if text.chars().any(|c| !c.is_ascii_graphic()) {
        return Err(Trouble::Denied("the token holds what no token has".to_owned()));
    }
    Ok(Secret::new(text.to_owned()))
}

/// GitHub's clock minus this host's.
fn skew(answer: &Answer, now: Time) -> Option<i64> {
    let date = answer.header("date")?;
    let date = jiff::fmt::rfc2822::parse(date).ok()?.timestamp().as_millisecond();
    Some(date - i64::try_from(now.0).ok()?)
}

fn shifted(time: Time, by: i64) -> Time {
    Time(time.0.saturating_add_signed(by))
}
