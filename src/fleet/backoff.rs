//! How long to wait after failures: at once, then 1 s doubling to 5 min, spread without chance.

use std::time::Duration;

use crate::units::Time;
use crate::units::words::counted;

/// After this long without failure, the count starts again.
const FORGET_AFTER: Duration = Duration::from_secs(60);
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// The failures in a row of one place, and when it may try again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    last: Time,
    until: Time,
    why: Option<String>,
}

impl Backoff {
    /// As it was recorded: failures in a row, when the last one was and the next try is.
    #[must_use]
    pub fn after(failures: u32, (last, until): (Time, Time), why: String) -> Self {
        Self { failures, last, until, why: Some(why) }
    }

    /// Counts a failure. `seed` spreads the waits of places that fail together.
    pub fn fail(&mut self, now: Time, why: String, seed: u64) {
        if now.since(self.last) > FORGET_AFTER + self.wait(0) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = now;
        self.until = now + self.wait(seed);
        self.why = Some(why);
    }

    /// Whether it may try now.
    #[must_use]
    pub fn is_over(&self, now: Time) -> bool {
        now >= self.until
    }

    /// Failures in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// When it may try again, if it waits.
    #[must_use]
    pub fn until(&self) -> Time {
        self.until
    }

    /// The last failure.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// The last failure, with the time of the next try while it waits.
    #[must_use]
    pub fn reason(&self, now: Time) -> Option<String> {
        let why = self.why.as_ref()?;
        if self.is_over(now) {
            return Some(why.clone());
        }
        let seconds = self.until.since(now).as_secs().max(1);
        Some(format!(
            "{why}; failed {} in a row, next try in {seconds}s",
            counted(self.failures, "time")
        ))
    }

    /// The first failure is retried at once; up to a quarter is added so that not all try together.
    fn wait(&self, seed: u64) -> Duration {
        let Some(doublings) = self.failures.checked_sub(2) else { return Duration::ZERO };
        let base = LONGEST.min(FIRST.saturating_mul(1 << doublings.min(16)));
        let quarter = u64::try_from(base.as_millis() / 4).unwrap_or(0).max(1);
        base + Duration::from_millis(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) % quarter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_retried_at_once_and_later_ones_wait_twice_as_long_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut now = Time(1_000_000);
        let mut waits = Vec::new();
        for _ in 0..12 {
            backoff.fail(now, "no".to_owned(), 0);
            waits.push(backoff.until().since(now).as_secs());
            now = backoff.until();
        }
        assert_eq!(waits, [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
    }

    #[test]
    fn a_quiet_minute_forgets_the_failures() {
        let mut backoff = Backoff::default();
        backoff.fail(Time(0), "no".to_owned(), 0);
        backoff.fail(Time(10), "no".to_owned(), 0);
        assert!(!backoff.is_over(Time(20)));
        backoff.fail(Time(120_000), "no".to_owned(), 0);
        assert!(backoff.is_over(Time(120_000)));
    }
}
