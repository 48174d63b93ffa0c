//! When something at a forge is tried again.

use std::time::Duration;

use super::fact::ForgeErrorClass;
use crate::ids::IncarnationId;
use crate::units::Time;

const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// The next try after one that failed: `tries` in a row have.
pub(super) fn next(now: Time, class: ForgeErrorClass, tries: u32, id: IncarnationId) -> Time {
    match class {
        ForgeErrorClass::Limited(until) => until.max(now) + spread(FIRST, id),
        ForgeErrorClass::Denied | ForgeErrorClass::Invalid => now + LONGEST,
        ForgeErrorClass::NameTaken | ForgeErrorClass::Retry => now + wait(tries, id),
    }
}

/// 5 s, doubled each time up to 5 min, and up to a quarter more, so that not all try together.
pub(super) fn wait(tries: u32, id: IncarnationId) -> Duration {
    let doublings = tries.saturating_sub(1).min(6);
    let wait = LONGEST.min(FIRST.saturating_mul(1 << doublings));
    wait + spread(wait, id)
}

fn spread(wait: Duration, id: IncarnationId) -> Duration {
    let quarter = u64::try_from(wait.as_millis() / 4).unwrap_or(0).max(1);
    Duration::from_millis(id.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) % quarter)
}
