//! What the pollers of a scope, its webhooks and its readers share.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::fleet::forge::{ForgeContact, ForgeJobFact};
use crate::ids::ForgeJobId;
use crate::units::Time;

/// Webhooks of a scope that was silent for longer may be broken.
const HEARING: Duration = Duration::from_secs(15 * 60);
/// A webhook that has not come after this long is lost, as far as anybody waits for it.
const LATE: Duration = Duration::from_secs(15);
/// Jobs that webhooks told of lately.
const TOLD_MAX: usize = 10_000;

/// The two lists of a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::supervisor) enum List {
    Jobs,
    Runners,
}

/// What is shared.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Watch {
    /// Asks for a list before its time.
    pub jobs: Notify,
    /// The same for runners.
    pub runners: Notify,
    /// Asks for jobs no later than while webhooks are silent.
    pub hint: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ears: Ears,
    contacts: Contacts,
    gaps: [Vec<String>; 2],
}

impl Watch {
    /// Asks for both lists soon.
    pub fn look(&self) {
        self.jobs.notify_one();
        self.runners.notify_one();
    }

    /// A webhook told of a job.
    pub fn heard(&self, job: ForgeJobId, now: Time) {
        self.state().ears.heard(job, now);
    }

    /// Whether webhooks tell what there is: they spoke lately, and this list has nothing that they
    /// kept quiet about.
    pub fn hears(&self, jobs: &[ForgeJobFact], begun: Time) -> bool {
        self.state().ears.are_good(jobs, begun)
    }

    /// How a list went; what the core is to be told, if that is something new.
    pub fn contact(&self, list: List, contact: ForgeContact) -> Option<ForgeContact> {
        self.state().contacts.set(list, contact)
    }

    /// What a list leaves out.
    pub fn set_gaps(&self, list: List, gaps: Vec<String>) {
        let mut state = self.state();
        let [jobs, runners] = &mut state.gaps;
        match list {
            List::Jobs => *jobs = gaps,
            List::Runners => *runners = gaps,
        }
    }

    /// What the lists leave out.
    pub fn gaps(&self) -> Vec<String> {
        self.state().gaps.concat()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one call that leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What webhooks told.
#[derive(Debug, Default)]
struct Ears {
    /// Since when all is heard, and when something was heard last.
    span: Option<(Time, Time)>,
    told: BTreeSet<ForgeJobId>,
    order: VecDeque<ForgeJobId>,
}

impl Ears {
    fn heard(&mut self, job: ForgeJobId, now: Time) {
        let since = self.span.map_or(now, |(since, _)| since);
        self.span = Some((since, now));
        if !self.told.insert(job) {
            return;
        }
        self.order.push_back(job);
        if self.order.len() > TOLD_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.told.remove(&oldest);
        }
    }

    fn are_good(&mut self, jobs: &[ForgeJobFact], begun: Time) -> bool {
        let Some((since, last)) = self.span else { return false };
        let is_missed = |job: &ForgeJobFact| {
            job.created > since && begun.since(job.created) > LATE && !self.told.contains(&job.id)
        };
        if begun.since(last) > HEARING || jobs.iter().any(is_missed) {
            // The next delivery begins anew.
            self.span = None;
        }
        self.span.is_some()
    }
}

/// How the lists of a scope went last.
#[derive(Debug, Default)]
struct Contacts {
    jobs: Option<ForgeContact>,
    runners: Option<ForgeContact>,
    told: Option<ForgeContact>,
}

impl Contacts {
    fn set(&mut self, list: List, contact: ForgeContact) -> Option<ForgeContact> {
        match list {
            List::Jobs => self.jobs = Some(contact),
            List::Runners => self.runners = Some(contact),
        }
        // One list that fails is a scope that cannot be relied on.
        let worst = [&self.jobs, &self.runners].into_iter().flatten().max_by_key(|it| rank(it));
        let worst = worst.filter(|it| self.told.as_ref() != Some(*it))?.clone();
        self.told = Some(worst.clone());
        Some(worst)
    }
}

fn rank(contact: &ForgeContact) -> u8 {
    match contact {
        ForgeContact::Good => 0,
        ForgeContact::Unreachable(_) => 1,
        ForgeContact::Limited { .. } => 2,
        ForgeContact::Denied(_) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: u64, created: u64) -> ForgeJobFact {
        ForgeJobFact::plain(id, "acme/site", Time(created * 1000))
    }

    fn at(seconds: u64) -> Time {
        Time(seconds * 1000)
    }

    #[test]
    fn webhooks_are_relied_on_while_they_tell_all() {
        let watch = Watch::default();
        assert!(!watch.hears(&[], at(0)), "none came yet");
        watch.heard(ForgeJobId(1), at(10));
        let of_before = job(9, 5);
        assert!(watch.hears(&[job(1, 11), of_before], at(60)));
        assert!(watch.hears(&[job(1, 11), job(2, 50)], at(60)), "it may still be on its way");
        assert!(!watch.hears(&[job(1, 11), job(2, 50)], at(66)), "it was lost");
        assert!(!watch.hears(&[job(1, 11)], at(70)), "until the next one comes");
        watch.heard(ForgeJobId(3), at(80));
        assert!(watch.hears(&[job(1, 11), job(2, 50)], at(90)), "what was before is forgiven");
        assert!(!watch.hears(&[], at(80 + 901)), "silent for too long");
    }

    #[test]
    fn what_was_told_is_kept_within_a_bound() {
        let mut ears = Ears::default();
        for id in 0..=TOLD_MAX as u64 {
            ears.heard(ForgeJobId(id), at(1));
            ears.heard(ForgeJobId(id), at(1));
        }
        assert_eq!((ears.told.len(), ears.order.len()), (TOLD_MAX, TOLD_MAX));
        assert!(!ears.told.contains(&ForgeJobId(0)));
    }

    #[test]
    fn the_worst_of_the_lists_is_told_once() {
        let watch = Watch::default();
        let denied = || ForgeContact::Denied("no right".to_owned());
        assert_eq!(watch.contact(List::Jobs, ForgeContact::Good), Some(ForgeContact::Good));
        assert_eq!(watch.contact(List::Runners, denied()), Some(denied()));
        assert_eq!(watch.contact(List::Jobs, ForgeContact::Good), None);
        assert_eq!(watch.contact(List::Jobs, ForgeContact::Unreachable(String::new())), None);
        let unreachable = Some(ForgeContact::Unreachable(String::new()));
        assert_eq!(watch.contact(List::Runners, ForgeContact::Good), unreachable);
        assert_eq!(watch.contact(List::Jobs, ForgeContact::Good), Some(ForgeContact::Good));
    }
}
