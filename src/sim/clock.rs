//! Simulated time: what is due, in order. Nothing waits; the clock jumps to the next thing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::units::Time;

/// Things that will happen, each at its time; things of one moment in the order of their entry.
#[derive(Debug)]
pub struct Clock<T> {
    now: Time,
    entered: u64,
    due: BTreeMap<(Time, u64), T>,
}

impl<T> Clock<T> {
    /// A clock that stands at `now` with nothing to come.
    #[must_use]
    pub fn new(now: Time) -> Self {
        Self { now, entered: 0, due: BTreeMap::new() }
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Lets something happen after a while.
    pub fn after(&mut self, wait: Duration, thing: T) {
        self.at(self.now + wait, thing);
    }

    /// Lets something happen at a time; now, if that is over.
    pub fn at(&mut self, time: Time, thing: T) {
        self.entered += 1;
        self.due.insert((time.max(self.now), self.entered), thing);
    }

    /// The next thing, with its time.
    #[must_use]
    pub fn peek(&self) -> Option<(Time, &T)> {
        self.due.first_key_value().map(|((time, _), thing)| (*time, thing))
    }

    /// When the next thing happens.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        self.peek().map(|(time, _)| time)
    }

    /// Moves the clock, but never past the next thing and never back.
    pub fn skip_to(&mut self, time: Time) {
        let bound = self.next_at().map_or(time, |next| next.min(time));
        self.now = self.now.max(bound);
    }

    /// The next thing, with the clock moved to its time.
    pub fn pop(&mut self) -> Option<T> {
        let ((time, _), thing) = self.due.pop_first()?;
        self.now = time;
        Some(thing)
    }

    /// What is to come.
    pub fn pending(&self) -> impl Iterator<Item = &T> {
        self.due.values()
    }
}
