//! The one place that reads the time.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::units::Time;

/// A clock that starts at the system's time and never goes back: a step of the system's clock does
/// not expire leases or reorder the record.
#[derive(Debug, Clone)]
pub struct Clock {
    base: Time,
    start: Instant,
}

impl Clock {
    /// Starts the clock.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let base = Time(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX));
        Self { base, start: Instant::now() }
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
