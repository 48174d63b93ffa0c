//! How often a credential may be used: one governor for all scopes that share it.
//!
//! It waits where a wait is short, and refuses with a time where it is long, so that nobody calls
//! while the forge asked for silence: such calls make the silence longer.

mod budget;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::forge::secret::ReadClock;
use crate::forge::web::Answer;
use crate::spec::{ForgeAccess, ForgePool, SecretSource};
use crate::units::Time;

use budget::{Admission, Budget};

/// GitHub allows a hundred at once for all that use a credential; a fleet needs few.
const AT_ONCE: usize = 8;
/// A caller waits this long for its turn, and then is told when to come again.
const WAIT_MAX: Duration = Duration::from_secs(45);

/// What a call is for; less urgent ones stop first when the hour's calls run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A list or another read: stops when a fifth of the hour's calls is left.
    Read,
    /// A registration or a dispatch: stops when a tenth is left.
    Write,
    /// A removal: goes on until none is left.
    Remove,
}

/// Why a call is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// When to come again.
    pub until: Time,
    /// Why, in words.
    pub why: String,
}

/// How a credential's budget stands; for people and metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GovernorView {
    /// Calls that an hour has; none before the first answer.
    pub limit: Option<u64>,
    /// Calls that are left of it.
    pub remaining: Option<u64>,
    /// When the next hour begins.
    pub reset: Option<Time>,
    /// Until when nobody calls, if the forge asked for that.
    pub limited_until: Option<Time>,
    /// The forge's reason.
    pub why: Option<String>,
    /// Calls that are under way.
    pub in_flight: u64,
    /// Calls that were made.
    pub calls: u64,
    /// Calls that the forge answered with "not changed", which cost nothing.
    pub unchanged: u64,
    /// Calls that were not made, because of a limit.
    pub refused: u64,
    /// How often the forge said that a limit is passed.
    pub limited: u64,
}

/// A credential's governor. Clones share it.
#[derive(Clone)]
pub struct Governor {
    clock: ReadClock,
    budget: Arc<Mutex<Budget>>,
    places: Arc<Semaphore>,
}

/// A call's leave; the place is free again when it is dropped.
pub struct Leave<'a> {
    governor: &'a Governor,
    _place: SemaphorePermit<'a>,
}

impl Governor {
    /// A governor that knows of no limit yet.
    #[must_use]
    pub fn new(clock: ReadClock) -> Self {
        let budget = Arc::new(Mutex::new(Budget::new(clock())));
        Self { clock, budget, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// How the budget stands.
    #[must_use]
    pub fn view(&self) -> GovernorView {
        self.budget().view((self.clock)())
    }

    /// The shortest time between polls of so many calls each that leaves the reserve alone until
    /// the hour is over; zero where no limit is known.
    #[must_use]
    pub fn pace(&self, calls: u32) -> Duration {
        self.budget().pace((self.clock)(), calls)
    }

    /// Waits for leave to make a call; `is_mutation` for one that changes something.
    pub(super) async fn leave(&self, use_: Use, is_mutation: bool) -> Result<Leave<'_>, Silence> {
        let give_up = (self.clock)() + WAIT_MAX;
        loop {
            let now = (self.clock)();
            let admission = self.budget().admit(now, use_, is_mutation);
            match admission {
                Admission::Go => break,
                Admission::Wait(until) if until <= give_up => {
                    // A little more, or a rounded wait would end just before its time.
                    tokio::time::sleep(until.since(now) + Duration::from_millis(1)).await;
                }
                Admission::Wait(until) => {
                    let why = "too many changes in too short a time".to_owned();
                    return Err(self.budget().refuse(Silence { until, why }));
                }
                Admission::Refuse(silence) => return Err(self.budget().refuse(silence)),
            }
        }
        let place = self.places.acquire().await.map_err(|_| Silence {
            until: (self.clock)(),
            why: "the supervisor ends".to_owned(),
        })?;
        // Another call may have been told to be silent while this one waited for its place.
        let now = (self.clock)();
        let mut budget = self.budget();
        if let Some(silence) = budget.silence(now) {
            return Err(budget.refuse(silence));
        }
        budget.begin();
        drop(budget);
        Ok(Leave { governor: self, _place: place })
    }

    fn budget(&self) -> MutexGuard<'_, Budget> {
        // The budget is numbers only: what a panicking thread left is as good as before.
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Governor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Governor").field(&self.view()).finish()
    }
}

impl Leave<'_> {
    /// Reads an answer's limits; tells the silence that it asks for, if it was refused for one.
    /// The hour's numbers are another credential's if it does not count for this one.
    pub(super) fn answered(&self, answer: &Answer, counts: bool) -> Option<Silence> {
        let now = (self.governor.clock)();
        let mut budget = self.governor.budget();
        if counts {
            budget.read_hour(now, answer);
        }
        budget.answered(now, answer)
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.governor.budget().end();
    }
}

/// Which pools share a governor: those with the same text. GitHub counts a token's calls for its
/// user, and an App's for each installation.
#[must_use]
pub fn budget_of(pool: &ForgePool) -> String {
    let scope = pool.scope.as_str();
    let host = super::web::host_of(scope);
    let place = |source: &SecretSource| format!("{source:?}");
    match &pool.access {
        ForgeAccess::Tokens(variable) => format!("{host} tokens {variable}"),
        ForgeAccess::Personal(source) => format!("{host} personal {}", place(source)),
        ForgeAccess::App(app) => {
            let owner = scope.split("://").nth(1).and_then(|rest| rest.split('/').nth(1));
            format!("{host} app {} {}", app.id, owner.unwrap_or_default().to_ascii_lowercase())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ForgeApp;

    fn governor() -> Governor {
        Governor::new(std::sync::Arc::new(|| Time(1_000_000)))
    }

    #[tokio::test]
    async fn no_more_than_eight_calls_are_under_way() {
        let governor = governor();
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(governor.leave(Use::Read, false).await.unwrap());
        }
        assert_eq!(governor.view().in_flight, 8);
        let mut ninth = Box::pin(governor.leave(Use::Read, false));
        assert!(futures_util::poll!(&mut ninth).is_pending(), "a ninth call waits for a place");
        held.pop();
        drop(ninth.await.unwrap());
        held.clear();
        assert_eq!((governor.view().in_flight, governor.view().calls), (0, 9));
    }

    #[tokio::test]
    async fn who_waited_for_a_place_does_not_call_into_a_silence() {
        let governor = governor();
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(governor.leave(Use::Remove, true).await.unwrap());
        }
        let mut ninth = Box::pin(governor.leave(Use::Remove, true));
        assert!(futures_util::poll!(&mut ninth).is_pending());
        let answer = Answer {
            status: hyper::StatusCode::TOO_MANY_REQUESTS,
            headers: hyper::HeaderMap::new(),
            body: hyper::body::Bytes::new(),
        };
        assert!(held.remove(0).answered(&answer, true).is_some());
        let silence = ninth.await.map(drop).unwrap_err();
        assert_eq!(silence.until, Time(1_060_000));
        assert_eq!((governor.view().refused, governor.view().limited), (1, 1));
    }

    #[test]
    fn an_app_has_a_budget_for_each_owner_and_a_token_one_for_all() {
        let pool = ForgePool::plain;
        let app = || {
            let key = SecretSource::Variable("KEY".to_owned());
            ForgeAccess::App(ForgeApp { id: "7".to_owned(), installation: None, key })
        };
        let token = || ForgeAccess::Personal(SecretSource::Variable("TOKEN".to_owned()));
        let of = |scope, access| budget_of(&pool(scope, access));
        assert_eq!(of("https://github.com/a/x", app()), of("https://github.com/A", app()));
        assert_ne!(of("https://github.com/a", app()), of("https://github.com/b", app()));
        assert_eq!(of("https://github.com/a", token()), of("https://github.com/b", token()));
        assert_ne!(of("https://github.com/a", token()), of("https://ghe.lan/a", token()));
    }
}
