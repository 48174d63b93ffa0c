//! The job that a listener has: known by its worker process, by the listener's own words, and by
//! the hooks. Any of them is enough; it is over when none is left.

use std::fs;

use rustix::process::Pid;
use tokio::time::Instant;

use super::Waits;
use crate::agent::processes::Processes;
use crate::wire::listen::WorkFact;

/// The program that runs a job, a child of the listener.
const WORKER: &str = "Runner.Worker";

/// A job that is at work.
#[derive(Debug)]
struct Current {
    fact: WorkFact,
    worker: Option<Pid>,
    /// When it was claimed, or its worker was last seen.
    since: Instant,
    /// Whether it ever had a worker.
    begun: bool,
    /// Whether the listener said that it is over.
    done: bool,
}

/// The jobs of a listener, of which it has one at a time.
#[derive(Debug, Default)]
pub(super) struct Work {
    current: Option<Current>,
    count: u32,
    /// The last that is over, and its number, until it was told of.
    last: Option<(u32, WorkFact)>,
}

impl Work {
    /// The job that it has.
    pub(super) fn fact(&self) -> Option<&WorkFact> {
        self.current.as_ref().map(|current| &current.fact)
    }

    /// Its worker, if that lives.
    pub(super) fn worker(&self) -> Option<Pid> {
        self.current.as_ref()?.worker
    }

    /// How many jobs it began.
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The last job that is over, with its number.
    pub(super) fn last(&self) -> Option<&(u32, WorkFact)> {
        self.last.as_ref()
    }

    /// The listener says that it has a job.
    pub(super) fn claim(&mut self, name: String, now: Instant) {
        // The word may come after its worker was seen; a job after a finished one is another.
        let current = match self.current.take().filter(|current| !current.done) {
            Some(current) if current.fact.name.is_none() => current,
            other => {
                self.close(other);
                self.open(now)
            }
        };
        let fact = WorkFact { name: Some(name), ..current.fact };
        self.current = Some(Current { fact, ..current });
    }

    /// A hook says what the job is.
    pub(super) fn describe(&mut self, fact: WorkFact, now: Instant) {
        let mut current = self.current.take().unwrap_or_else(|| self.open(now));
        let name = current.fact.name.take().or(fact.name);
        current.fact = WorkFact { name, ..fact };
        self.current = Some(current);
    }

    /// The listener says that its job is over, or that it waits for one.
    pub(super) fn done(&mut self) {
        if let Some(current) = &mut self.current {
            current.done = true;
        }
        self.settle();
    }

    /// What the processes show.
    pub(super) fn look(&mut self, worker: Option<Pid>, now: Instant, waits: &Waits) {
        if let Some(pid) = worker {
            // A new worker after a job that is over belongs to the next one.
            let same = |current: &Current| current.worker == Some(pid) || !current.done;
            let current = match self.current.take() {
                Some(current) if same(&current) => current,
                other => {
                    self.close(other);
                    self.open(now)
                }
            };
            self.current = Some(Current { worker: Some(pid), since: now, begun: true, ..current });
            return;
        }
        if let Some(current) = &mut self.current {
            current.worker = None;
            // Its listener may never say it.
            let silent = current.begun && now.duration_since(current.since) >= waits.after_worker;
            current.done |= silent;
        }
        self.settle();
    }

    /// Its listener is gone: what has no worker is over.
    pub(super) fn end(&mut self) {
        if self.worker().is_none() {
            self.done();
        }
    }

    /// How its job is stuck, if it is.
    pub(super) fn stuck(&self, now: Instant, waits: &Waits) -> Option<String> {
        let current = self.current.as_ref().filter(|current| !current.begun)?;
        let waited = now.duration_since(current.since);
        (waited >= waits.claim)
            .then(|| format!("it claimed a job {} s ago and has not begun it", waited.as_secs()))
    }

    fn open(&mut self, now: Instant) -> Current {
        self.count = self.count.saturating_add(1);
        let fact = WorkFact::default();
        Current { fact, worker: None, since: now, begun: false, done: false }
    }

    fn settle(&mut self) {
        if self.current.as_ref().is_some_and(|current| current.done && current.worker.is_none()) {
            let over = self.current.take();
            self.close(over);
        }
    }

    fn close(&mut self, current: Option<Current>) {
        if let Some(current) = current {
            self.last = Some((self.count, current.fact));
        }
    }
}

/// The worker of a listener. Only a child of it: any process may call itself so.
pub(super) fn worker_of(listener: Pid, all: &Processes) -> Option<Pid> {
    all.children(listener).find(|pid| is_worker(*pid))
}

fn is_worker(pid: Pid) -> bool {
    let raw = pid.as_raw_nonzero();
    let read = |file: &str| fs::read(format!("/proc/{raw}/{file}")).unwrap_or_default();
    if read("comm").trim_ascii() == WORKER.as_bytes() {
        return true;
    }
    // One that an interpreter runs has the interpreter's name.
    let arguments = read("cmdline");
    arguments
        .split(|byte| *byte == 0)
        .take(3)
        .any(|argument| argument.rsplit(|byte| *byte == b'/').next() == Some(WORKER.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WAITS: Waits = Waits::DEFAULT;

    fn pid(raw: i32) -> Option<Pid> {
        Pid::from_raw(raw)
    }

    #[test]
    fn a_job_is_counted_once_whatever_tells_of_it_first() {
        let now = Instant::now();
        let mut by_word = Work::default();
        by_word.claim("a".to_owned(), now);
        by_word.look(pid(7), now, &WAITS);
        let mut by_worker = Work::default();
        by_worker.look(pid(7), now, &WAITS);
        by_worker.claim("a".to_owned(), now);
        let mut by_hook = Work::default();
        let told = WorkFact { workflow: Some("w".to_owned()), ..WorkFact::default() };
        by_hook.describe(told, now);
        by_hook.claim("a".to_owned(), now);
        by_hook.look(pid(7), now, &WAITS);
        for work in [&mut by_word, &mut by_worker, &mut by_hook] {
            assert_eq!(work.count(), 1);
            assert_eq!(work.fact().unwrap().name.as_deref(), Some("a"));
            work.done();
            assert!(work.fact().is_some(), "its worker lives");
            work.look(None, now, &WAITS);
            assert_eq!(work.fact(), None);
            assert_eq!(work.last().unwrap().0, 1);
            work.claim("a".to_owned(), now);
            assert_eq!(work.count(), 2, "the next one");
        }
    }

    #[test]
    fn the_next_job_may_begin_before_the_end_of_the_last_was_seen() {
        let now = Instant::now();
        let mut work = Work::default();
        work.look(pid(7), now, &WAITS);
        work.done();
        work.look(pid(8), now, &WAITS);
        assert_eq!(work.count(), 2);
        let mut said = Work::default();
        said.claim("a".to_owned(), now);
        said.claim("b".to_owned(), now);
        assert_eq!((said.count(), said.fact().unwrap().name.as_deref()), (2, Some("b")));
        assert_eq!(said.last().unwrap().1.name.as_deref(), Some("a"));
    }

    #[test]
    fn a_worker_that_ends_without_a_word_is_over_after_a_while() {
        let begun = Instant::now();
        let mut work = Work::default();
        work.look(pid(7), begun, &WAITS);
        work.look(None, begun + Duration::from_secs(29), &WAITS);
        assert!(work.fact().is_some());
        work.look(None, begun + WAITS.after_worker, &WAITS);
        assert_eq!(work.fact(), None);
    }

    #[test]
    fn a_claim_without_a_worker_is_stuck() {
        let begun = Instant::now();
        let mut work = Work::default();
        work.claim("a".to_owned(), begun);
        work.look(None, begun + Duration::from_secs(59), &WAITS);
        assert_eq!(work.stuck(begun + Duration::from_secs(59), &WAITS), None);
        assert!(work.stuck(begun + WAITS.claim, &WAITS).is_some());
        assert!(work.fact().is_some(), "it may have the job: it is not free");
        work.look(pid(7), begun + WAITS.claim, &WAITS);
        assert_eq!(work.stuck(begun + WAITS.claim, &WAITS), None);
    }
}
