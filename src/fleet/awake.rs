//! Whether the supervisor itself was asleep: stopped, suspended with its laptop, or held up by a
//! disk. Agents called meanwhile and nobody listened, so nobody's silence counts for that time.

use std::time::Duration;

use super::state::State;
use crate::units::Time;
use crate::units::words::about;

/// The shell tells the time each second. A gap ten times as long is no slow step any more.
const ASLEEP_AFTER: Duration = Duration::from_secs(10);

/// When the core was last told the time, and since when it has been told without a gap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Awake {
    last: Time,
    since: Time,
}

impl Awake {
    pub fn from(now: Time) -> Self {
        Self { last: now, since: now }
    }

    /// When the core was last told the time.
    pub fn last(&self) -> Time {
        self.last
    }

    /// How long somebody has had to answer since `asked`; time asleep is no time to answer in.
    pub fn patience_used(&self, now: Time, asked: Time) -> Duration {
        now.since(asked.max(self.since))
    }
}

/// The next step begins.
pub(super) fn note(state: &mut State, now: Time) {
    let gap = now.since(state.awake.last);
    state.awake.last = state.awake.last.max(now);
    if gap <= ASLEEP_AFTER {
        return;
    }
    state.awake.since = now;
    for contact in state.contacts.values_mut() {
        contact.heard = now.min(contact.heard + gap);
    }
    let gap = about(gap);
    let why = format!("the supervisor did not run for {gap}, which is nobody's fault");
    state.tell(now, "fleet", "woke up", why);
}
