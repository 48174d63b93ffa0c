//! The audit log says all that happened, and nothing else.
//!
//! The book is kept from the entries alone: where they begin, lead and end must be what the records
//! of the same step say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::fleet::audit::{AuditEntry, ORPHAN};
use crate::fleet::job::Job;
use crate::fleet::state::Record;
use crate::ids::{IncarnationId, JobId};

/// What has a state of its own in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Runner(IncarnationId),
    Job(JobId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Runner(id) => id.fmt(f),
            Self::Job(id) => id.fmt(f),
        }
    }
}

/// The states of all runners and jobs, as the entries tell them.
#[derive(Debug, Default)]
pub(super) struct AuditBook {
    seq: u64,
    states: BTreeMap<Subject, String>,
}

impl AuditBook {
    /// Takes in the records of a step; what does not fit comes back.
    pub(super) fn check(&mut self, records: &[Record]) -> Vec<String> {
        let mut breaches = Vec::new();
        let mut told = BTreeSet::new();
        let mut touched: BTreeMap<Subject, Option<&str>> = BTreeMap::new();
        for record in records {
            match record {
                Record::Audit(entry) => {
                    self.follow(entry, &mut breaches);
                    told.extend(changed(entry));
                }
                Record::Runner(id, runner) => {
                    let word = runner.as_ref().map(|runner| runner.phase.word());
                    touched.insert(Subject::Runner(*id), word);
                }
                Record::Job(id, job) => {
                    touched.insert(Subject::Job(*id), job.as_deref().map(Job::word));
                }
                Record::Slot(..) | Record::Meta(_) => {}
            }
        }
        for (subject, word) in &touched {
            let by_log = self.states.get(subject).map(String::as_str);
            if by_log != *word {
                breaches.push(format!("the log says that {subject} is {by_log:?}; it is {word:?}"));
            }
        }
        for subject in told.iter().filter(|subject| !touched.contains_key(subject)) {
            breaches.push(format!("the log tells of a change of {subject}, which is none"));
        }
        breaches
    }

    fn follow(&mut self, entry: &AuditEntry, breaches: &mut Vec<String>) {
        self.seq += 1;
        if entry.seq != self.seq {
            breaches.push(format!("audit entry {} comes for {}", entry.seq, self.seq));
            self.seq = entry.seq;
        }
        let Some(subject) = changed(entry) else { return };
        let before = match &entry.after {
            Some(after) => self.states.insert(subject, after.clone()),
            None => self.states.remove(&subject),
        };
        if before != entry.before || entry.before == entry.after {
            breaches.push(format!("{subject} was {before:?}, and the log says {entry:?}"));
        }
    }
}

/// The runner or job whose state an entry changes.
fn changed(entry: &AuditEntry) -> Option<Subject> {
    let states = [&entry.before, &entry.after];
    let is_orphan = states.contains(&&Some(ORPHAN.to_owned()));
    if is_orphan || states == [&None, &None] {
        return None;
    }
    match entry.incarnation {
        Some(id) => Some(Subject::Runner(id)),
        None if entry.object.starts_with("job-") => entry.object.parse().ok().map(Subject::Job),
        None => None,
    }
}
