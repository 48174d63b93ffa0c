//! The jobs of a scope: what its lists and webhooks say, put together.
//!
//! A webhook may be late, doubled or overtaken, so it only ever moves a job on. A list is the truth
//! of its time: it may also move a job back, or end it by not having it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fact::{ForgeJobFact, ForgeJobStatus, WorkFact};
use crate::ids::ForgeJobId;
use crate::units::Time;

/// Jobs that are kept of one scope; a forge has not more that wait at a time.
const KEPT: usize = 10_000;
/// Lists may be behind what runners say for so long.
const BEHIND: Duration = Duration::from_secs(10);
/// How long a job that is over is remembered, so that a late webhook does not wake it.
const TOMBSTONE: Duration = Duration::from_secs(3600);

/// What is known of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) struct Known {
    pub fact: ForgeJobFact,
    /// When that was so.
    pub said: Time,
    /// Since when it waits for a runner.
    pub queued: Time,
    /// Its runner says that it is over, and its forge does not say so yet.
    is_done: bool,
}

/// The jobs of a scope.
#[derive(Debug, Default)]
pub(in crate::fleet) struct Jobs {
    known: BTreeMap<ForgeJobId, Known>,
    /// Those that are over, the one that was told of first first.
    over: BTreeSet<(Time, ForgeJobId)>,
    /// When the last list was begun.
    pub begun: Option<Time>,
}

impl Known {
    fn new(fact: ForgeJobFact, said: Time, now: Time) -> Self {
        // The forge's clock may be ahead of ours.
        let queued = fact.created.min(now);
        Self { fact, said, queued, is_done: false }
    }

    fn is_over(&self) -> bool {
        self.fact.status.is_final()
    }

    /// Since when it is over, if it is.
    fn end(&self) -> Option<(Time, ForgeJobId)> {
        self.is_over().then_some((self.said, self.fact.id))
    }

    /// Takes over what is newer.
    fn replace(&mut self, fact: ForgeJobFact, said: Time, now: Time) {
        if fact.status == ForgeJobStatus::Queued && self.fact.status != ForgeJobStatus::Queued {
            self.queued = now;
        }
        let before = std::mem::replace(&mut self.fact, fact);
        self.fact.fork = self.fact.fork.or(before.fork);
        self.fact.url = self.fact.url.take().or(before.url);
        self.said = said;
        self.is_done = false;
    }

    /// Takes over what moves it on.
    fn raise(&mut self, fact: ForgeJobFact, said: Time, now: Time) {
        if fact.status.progress() > self.fact.status.progress() {
            self.replace(fact, said, now);
        } else {
            self.fact.fork = self.fact.fork.or(fact.fork);
        }
    }
}

impl Jobs {
    /// A webhook.
    pub fn told(&mut self, now: Time, fact: ForgeJobFact) {
        let id = fact.id;
        if let Some(known) = self.known.get_mut(&id) {
            known.raise(fact, now, now);
        } else if self.has_room() {
            self.known.insert(id, Known::new(fact, now, now));
        }
        self.over.extend(self.known.get(&id).and_then(Known::end));
    }

    /// A complete list of what is not over.
    pub fn listed(&mut self, now: Time, begun: Time, facts: Vec<ForgeJobFact>) {
        if self.begun.is_some_and(|before| begun < before) {
            return;
        }
        self.begun = Some(begun);
        for fact in facts.into_iter().take(KEPT) {
            match self.known.get_mut(&fact.id) {
                Some(known) if known.is_over() => {}
                Some(known) if known.said < begun => known.replace(fact, begun, now),
                Some(known) => known.raise(fact, begun, now),
                None => {
                    self.known.insert(fact.id, Known::new(fact, begun, now));
                }
            }
        }
        self.known.retain(|_, known| match known.is_over() {
            true => now.since(known.said) < TOMBSTONE,
            false => known.said >= begun,
        });
        self.over = self.known.values().filter_map(Known::end).collect();
    }

    /// A runner of the fleet has begun a job: of those that wait, the one that it names, else the
    /// oldest that it may be. Which one it truly is, the next list tells.
    pub fn begun_by(
        &mut self,
        now: Time,
        (runner, work): (&str, &WorkFact),
        may_be: impl Fn(&ForgeJobFact) -> bool,
    ) {
        let is_told = |it: &Known| {
            it.fact.status == ForgeJobStatus::Running && it.fact.runner.as_deref() == Some(runner)
        };
        if self.iter().any(is_told) {
            return;
        }
        let waiting = self.iter().filter(|it| it.fact.status == ForgeJobStatus::Queued);
        let fit = |it: &&Known| {
            let is_run = work.run.is_some_and(|run| run == it.fact.run);
            let is_name = work.name.as_ref().is_some_and(|name| *name == it.fact.name);
            (!is_run, !is_name, it.queued, it.fact.id)
        };
        let best = waiting.filter(|it| may_be(&it.fact)).min_by_key(fit).map(|it| it.fact.id);
        if let Some(known) = best.and_then(|id| self.known.get_mut(&id)) {
            known.fact.status = ForgeJobStatus::Running;
            known.fact.runner = Some(runner.to_owned());
            known.said = now + BEHIND;
        }
    }

    /// A runner of the fleet has ended its job, whatever its forge says of it for a while.
    pub fn ended_by(&mut self, now: Time, runner: &str) {
        for known in self.known.values_mut() {
            if known.fact.status == ForgeJobStatus::Running
                && known.fact.runner.as_deref() == Some(runner)
            {
                (known.is_done, known.said) = (true, now + BEHIND);
            }
        }
    }

    /// Those that are not over, the first number first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Known> {
        self.known.values().filter(|known| !known.is_over() && !known.is_done)
    }

    /// Whether one more may be remembered; those that are over make room.
    fn has_room(&mut self) -> bool {
        if self.known.len() < KEPT {
            return true;
        }
        self.over.pop_first().is_some_and(|(_, id)| self.known.remove(&id).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: u64, status: ForgeJobStatus) -> ForgeJobFact {
        ForgeJobFact { status, ..ForgeJobFact::plain(id, "me/site", Time(1000)) }
    }

    fn over() -> ForgeJobStatus {
        ForgeJobStatus::Completed("success".to_owned())
    }

    fn statuses(jobs: &Jobs) -> Vec<(u64, ForgeJobStatus)> {
        jobs.iter().map(|it| (it.fact.id.0, it.fact.status.clone())).collect()
    }

    #[test]
    fn webhooks_in_any_order_doubled_or_lost_come_to_the_same() {
        let (q, r, c) = (ForgeJobStatus::Queued, ForgeJobStatus::Running, over());
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for order in orders {
            for lost in [None, Some(0), Some(1)] {
                let mut jobs = Jobs::default();
                for place in order.into_iter().filter(|it| Some(*it) != lost) {
                    let status = [&q, &r, &c][place].clone();
                    jobs.told(Time(2000), job(1, status.clone()));
                    jobs.told(Time(2001), job(1, status));
                }
                assert_eq!(statuses(&jobs), [], "{order:?} without {lost:?}");
            }
        }
    }

    #[test]
    fn a_webhook_never_moves_a_job_back_and_a_later_list_does() {
        let mut jobs = Jobs::default();
        jobs.told(Time(2000), job(1, ForgeJobStatus::Running));
        jobs.told(Time(2001), job(1, ForgeJobStatus::Queued));
        assert_eq!(statuses(&jobs), [(1, ForgeJobStatus::Running)]);
        // Begun before the webhook came: it says nothing of it.
        jobs.listed(Time(2002), Time(1999), vec![job(1, ForgeJobStatus::Queued)]);
        assert_eq!(statuses(&jobs), [(1, ForgeJobStatus::Running)]);
        jobs.listed(Time(2010), Time(2003), vec![job(1, ForgeJobStatus::Queued)]);
        assert_eq!(statuses(&jobs), [(1, ForgeJobStatus::Queued)]);
        assert_eq!(jobs.iter().next().map(|it| it.queued), Some(Time(2010)), "it waits anew");
    }

    #[test]
    fn what_a_later_list_does_not_have_is_no_demand_and_may_come_back() {
        let mut jobs = Jobs::default();
        jobs.told(Time(2000), job(1, ForgeJobStatus::Queued));
        jobs.listed(Time(2001), Time(1990), Vec::new());
        assert_eq!(statuses(&jobs).len(), 1, "told after the list was begun");
        jobs.listed(Time(2020), Time(2010), Vec::new());
        assert_eq!(statuses(&jobs), []);
        // A list may have skipped it.
        jobs.listed(Time(2040), Time(2030), vec![job(1, ForgeJobStatus::Queued)]);
        assert_eq!(statuses(&jobs), [(1, ForgeJobStatus::Queued)]);
        jobs.listed(Time(2050), Time(2020), Vec::new());
        assert_eq!(statuses(&jobs).len(), 1, "an older list that came late");
    }

    #[test]
    fn what_is_over_stays_over_for_an_hour() {
        let mut jobs = Jobs::default();
        jobs.told(Time(2000), job(1, over()));
        jobs.listed(Time(3000), Time(2990), vec![job(1, ForgeJobStatus::Queued)]);
        assert_eq!(statuses(&jobs), []);
        let later = Time(2000) + TOMBSTONE + Duration::from_secs(1);
        jobs.listed(later, later, Vec::new());
        jobs.told(later, job(1, ForgeJobStatus::Queued));
        assert_eq!(statuses(&jobs).len(), 1);
    }

    #[test]
    fn what_a_runner_says_of_its_job_counts_before_lists_do() {
        let mut jobs = Jobs::default();
        let both = || vec![job(1, ForgeJobStatus::Queued), job(2, ForgeJobStatus::Queued)];
        jobs.listed(Time(2000), Time(2000), both());
        jobs.begun_by(Time(3000), ("r", &WorkFact::default()), |_| true);
        jobs.begun_by(Time(3001), ("r", &WorkFact::default()), |_| true);
        let one_runs = [(1, ForgeJobStatus::Running), (2, ForgeJobStatus::Queued)];
        assert_eq!(statuses(&jobs), one_runs);
        jobs.listed(Time(4000), Time(4000), both());
        assert_eq!(statuses(&jobs), one_runs, "the list is behind");
        jobs.ended_by(Time(5000), "r");
        jobs.listed(Time(6000), Time(6000), both());
        assert_eq!(statuses(&jobs), [(2, ForgeJobStatus::Queued)]);
        // It was another one after all: nothing is lost.
        jobs.listed(Time(16_000), Time(16_000), both());
        assert_eq!(statuses(&jobs).len(), 2);
    }

    #[test]
    fn a_flood_is_bounded_and_what_is_over_makes_room() {
        let mut jobs = Jobs::default();
        for id in 0..20_000 {
            jobs.told(Time(2000), job(id, if id < 10 { over() } else { ForgeJobStatus::Queued }));
        }
        assert_eq!(jobs.known.len(), KEPT);
        assert_eq!(statuses(&jobs).len(), KEPT);
    }

    #[test]
    fn of_what_is_over_the_oldest_makes_room_first() {
        let mut jobs = Jobs::default();
        for (id, at) in [(1, 2002), (2, 2001), (3, 2003)] {
            jobs.told(Time(at), job(id, over()));
        }
        for id in 10..=10 + KEPT as u64 - 2 {
            jobs.told(Time(3000), job(id, ForgeJobStatus::Queued));
        }
        let over: Vec<u64> = jobs.over.iter().map(|(_, id)| id.0).collect();
        assert_eq!((over, jobs.known.len()), (vec![3], KEPT));
    }
}
