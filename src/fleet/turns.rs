//! Fair shares between those who hand in jobs: whose turn it is.
//!
//! Jobs that ask for the same runners with one priority are given out by their turns, then first
//! come, first served. Whoever hands in many in one lane gets one turn after the other for them;
//! whoever comes new has the turn that is served now. So the queue of one holds up nobody else, and
//! a turn never changes while its job waits.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::job::Job;
use crate::ids::{LaneName, PoolName, ProfileName};

/// Jobs that turns are compared among: they ask for the same runners, with one priority.
type Class = (ProfileName, Option<PoolName>, i32);

/// Who takes turns: a submitter in a lane.
type Source = (Option<LaneName>, String);

/// The turns of one class.
#[derive(Debug, Default)]
struct Round {
    /// The highest turn that was served, and whose jobs had it.
    served: Option<(u64, BTreeSet<Source>)>,
    /// The turns of the jobs that wait or are on hold, by who handed them in.
    waiting: BTreeMap<Source, BTreeMap<u64, u32>>,
    /// Those of all that wait together: thousands may hand in jobs.
    together: BTreeMap<u64, u32>,
}

/// The turns of all jobs that wait. What is known of a class goes with its last waiting job.
#[derive(Debug, Default)]
pub(super) struct Turns {
    rounds: BTreeMap<Class, Round>,
}

fn class(job: &Job) -> Class {
    (job.profile.clone(), job.spec.pool.clone(), job.priority)
}

fn source(job: &Job) -> Source {
    (job.spec.lane.clone(), job.spec.submitter.clone())
}

impl Round {
    fn next(&self, source: &Source) -> u64 {
        // Lower turns than those that wait are over, be that known or not.
        let first = self.together.keys().next();
        let floor = first.map_or(1, |turn| turn.saturating_sub(1));
        let now = self.served.as_ref().map_or(floor, |(turn, _)| floor.max(*turn));
        let had = self.served.as_ref().filter(|(_, whose)| whose.contains(source));
        let had = had.map(|(turn, _)| *turn);
        let last = self.waiting.get(source).and_then(|turns| turns.keys().next_back().copied());
        had.max(last).map_or(now, |last| now.max(last.saturating_add(1)))
    }
}

impl Turns {
    /// The turn of a job that is handed in now.
    pub fn next(&self, job: &Job) -> u64 {
        self.rounds.get(&class(job)).map_or(1, |round| round.next(&source(job)))
    }

    /// A job waits.
    pub fn wait(&mut self, job: &Job) {
        let round = self.keep(job);
        *round.together.entry(job.turn).or_default() += 1;
    }

    /// A job is on hold: nobody waits for its turn, and what its submitter hands in goes behind it.
    pub fn put_aside(&mut self, job: &Job) {
        self.keep(job);
    }

    fn keep(&mut self, job: &Job) -> &mut Round {
        let round = self.rounds.entry(class(job)).or_default();
        let turns = round.waiting.entry(source(job)).or_default();
        *turns.entry(job.turn).or_default() += 1;
        round
    }

    /// A job waits no more.
    pub fn leave(&mut self, job: &Job) {
        if let Some(round) = self.rounds.get_mut(&class(job)) {
            one_less(&mut round.together, job.turn);
        }
        self.take_away(job);
    }

    /// A job is on hold no more.
    pub fn take_away(&mut self, job: &Job) {
        let class = class(job);
        let Some(round) = self.rounds.get_mut(&class) else { return };
        let source = source(job);
        if let Some(turns) = round.waiting.get_mut(&source) {
            one_less(turns, job.turn);
            if turns.is_empty() {
                round.waiting.remove(&source);
            }
        }
        if round.waiting.is_empty() {
            self.rounds.remove(&class);
        }
    }

    /// A job is given to a runner.
    pub fn serve(&mut self, job: &Job) {
        let Some(round) = self.rounds.get_mut(&class(job)) else { return };
        let whose = source(job);
        match &mut round.served {
            Some((turn, all)) if *turn == job.turn => {
                all.insert(whose);
            }
            Some((turn, _)) if *turn > job.turn => {}
            served => *served = Some((job.turn, BTreeSet::from([whose]))),
        }
    }
}

fn one_less(turns: &mut BTreeMap<u64, u32>, turn: u64) {
    if let Entry::Occupied(mut count) = turns.entry(turn) {
        match count.get().checked_sub(1) {
            None | Some(0) => drop(count.remove()),
            Some(fewer) => *count.get_mut() = fewer,
        }
    }
}
