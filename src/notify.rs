//! Messages for those who watch no metrics: what is worth one, when it begins, when it is over.
//!
//! Pure: [`conditions`] reads the read model, [`Watch`] remembers what was told, [`message`] writes
//! the words. The shell looks every few seconds and sends.

mod conditions;
pub mod message;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::spec::NotifyEvent;
use crate::units::Time;

pub use conditions::{conditions, unrecorded};

/// What is gone for this long is over; what comes back within it was never away.
const CALM: Duration = Duration::from_secs(15);
/// Most things that are watched at a time; the others wait until one of them is over.
const WATCHED_MAX: usize = 200;

/// Something that stands in the fleet's way now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What kind.
    pub event: NotifyEvent,
    /// What it is about: a pool, a disk, a scope.
    pub object: String,
    /// What it is, in words.
    pub words: String,
    /// It is told when it lasts longer than this.
    pub patience: Duration,
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What kind.
    pub event: NotifyEvent,
    /// What it is about.
    pub object: String,
    /// What it is, or was.
    pub words: String,
    /// Whether it begins or is over.
    pub state: NoticeState,
    /// Since when it has been so.
    pub since: Time,
    /// When this was found.
    pub at: Time,
}

/// Whether something begins or is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeState {
    /// It stands in the way.
    Firing,
    /// It does no more.
    Resolved,
}

impl NoticeState {
    /// The state in one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// What was seen so far, and what was told of it.
#[derive(Debug, Default)]
pub struct Watch {
    known: BTreeMap<(NotifyEvent, String), Known>,
}

#[derive(Debug)]
struct Known {
    since: Time,
    seen: Time,
    words: String,
    is_told: bool,
}

impl Watch {
    /// Takes in what stands in the way now; what is to be told of it. Each thing is told once when
    /// it has lasted, and once when it is over.
    pub fn look(&mut self, now: Time, conditions: Vec<Condition>) -> Vec<Notice> {
        let mut notices = Vec::new();
        for condition in conditions {
            let Condition { event, object, words, patience } = condition;
            let key = (event, object);
            if !self.known.contains_key(&key) && self.known.len() >= WATCHED_MAX {
                continue;
            }
            let new = || Known { since: now, seen: now, words: String::new(), is_told: false };
            let known = self.known.entry(key.clone()).or_insert_with(new);
            (known.seen, known.words) = (now, words);
            let is_new = !known.is_told && now.since(known.since) >= patience;
            if is_new {
                known.is_told = true;
                notices.push(notice(key, known, (NoticeState::Firing, now)));
            }
        }
        let is_gone = |known: &Known| match known.is_told {
            true => now.since(known.seen) >= CALM,
            // It has to last without a break.
            false => known.seen < now,
        };
        for (key, known) in self.known.extract_if(.., |_, known| is_gone(known)) {
            if known.is_told {
                notices.push(notice(key, &known, (NoticeState::Resolved, now)));
            }
        }
        notices
    }
}

fn notice(
    (event, object): (NotifyEvent, String),
    known: &Known,
    (state, at): (NoticeState, Time),
) -> Notice {
    Notice { event, object, words: known.words.clone(), state, since: known.since, at }
}
