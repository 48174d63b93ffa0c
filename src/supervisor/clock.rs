//! The one place that reads the time.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::units::Time;

/// Clocks are corrected by less than this all the time; nobody needs to know.
const SMALL_STEP: Duration = Duration::from_secs(5);

/// A clock that starts at the system's time and never goes back: a step of the system's clock does
/// not expire leases or reorder the record.
#[derive(Debug, Clone)]
pub struct Clock {
    base: Time,
    start: Instant,
}

impl Clock {
    /// Starts the clock at the system's time, or at `recorded` where that is later: what happens
    /// now never happened before what is recorded, whatever became of the system's clock meanwhile.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn start_at_least(recorded: Time) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let system = Time(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
        if recorded.since(system) > SMALL_STEP {
            tracing::warn!(
                seconds = recorded.since(system).as_secs(),
                "the system's clock was set back; the record goes on at its last time"
            );
        }
        Self { base: system.max(recorded), start: Instant::now() }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Time {
        self.base + self.start.elapsed()
    }

    /// The clock as a function, for those who need no more of it.
    #[must_use]
    pub fn reader(&self) -> Arc<dyn Fn() -> Time + Send + Sync> {
        let clock = self.clone();
        Arc::new(move || clock.now())
    }
}

/// Measures how long something takes; what it says is for metrics, and enters no record.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins to measure.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the clock's own module")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since then.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_systems_clock_was_set_back_the_record_goes_on_where_it_was() {
        let recorded = Clock::start_at_least(Time(0)).now() + Duration::from_secs(3600);
        let clock = Clock::start_at_least(recorded);
        assert!(clock.now() >= recorded);
        assert!(clock.now().since(recorded) < Duration::from_secs(60));
    }
}
