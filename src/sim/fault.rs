//! What goes wrong, and how often.

use std::fmt;
use std::time::Duration;

use super::rng::Rng;
use crate::fleet::event::OpErrorClass;

/// One kind of thing that goes wrong by itself, now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// An operation certainly did not happen.
    OpFails,
    /// Nobody knows whether an operation happened.
    OpUnknown,
    /// After nobody knew, an operation's true outcome is told.
    OpKnownLater,
    /// An operation takes very long.
    OpSlow,
    /// An operation is said to have failed, and happens later all the same.
    OpLies,
    /// An operation's outcome is told late.
    OpToldLate,
    /// An operation's outcome is told twice, the second time after others.
    OpToldTwice,
    /// The engine takes minutes to remove a container.
    RemovalHangs,
    /// An engine event never comes.
    EventLost,
    /// An engine event comes twice.
    EventDoubled,
    /// An engine event or a list comes late.
    EventLate,
    /// A list is told once more, long after newer ones.
    ListStale,
    /// A list names containers twice and in no order.
    ListMessy,
    /// An agent's session breaks with a message on its way.
    SessionBreaks,
    /// What was on its way when a session broke arrives after all, between the next one's words.
    SessionLingers,
    /// The end of a session is told after the next one began.
    GoodbyeLate,
    /// An agent says the same twice.
    SaidTwice,
    /// Reports cannot be stored.
    PublishFails,
    /// It is told twice what became of reports.
    PublishTwice,
    /// An agent never speaks after its start.
    AgentMute,
    /// A job goes on whatever it is told.
    JobStuck,
    /// An agent does not begin its job.
    JobUnbegun,
    /// An image is not to be had.
    ImageMissing,
    /// The supervisor dies in a step.
    Crash,
    /// A reading of the cards is not taken.
    ReadingLost,
    /// A reading of the cards is told late.
    ReadingLate,
    /// A process stays on its card when its container is gone.
    ProcessStays,
    /// Memory of a card is not given back when its process ends.
    MemoryLeaks,
    /// A call to the forge, or a reading of it, certainly fails.
    ForgeFails,
    /// Nobody knows whether a call to the forge happened.
    ForgeUnknown,
    /// The forge answers late.
    ForgeSlow,
    /// The forge asks for silence.
    ForgeLimited,
    /// The forge removes a runner although that has a job.
    ForgeBlind,
    /// The forge's lists hide a new runner for minutes.
    ForgeHides,
    /// A list of runners leaves some out and names others twice.
    ForgeMessy,
    /// A list of the forge cannot be read.
    ForgeListLost,
    /// A list shows a busy runner as idle.
    ForgeForgetsBusy,
    /// A list shows an online runner as offline.
    ForgeFlaps,
    /// A runner that had its one job is listed for minutes.
    ForgeLingers,
    /// A webhook never comes.
    HookLost,
    /// A webhook comes twice.
    HookDoubled,
    /// A webhook comes late, after others.
    HookLate,
    /// A listener never comes online.
    ListenerMute,
    /// A listener ends instead of serving.
    ListenerEnds,
    /// A listener comes online and makes no progress.
    ListenerFreezes,
    /// The forge keeps the session of a listener that died.
    SessionHeld,
}

impl Fault {
    /// Every kind, with its name for commands and its rates per thousand: rare, and often.
    pub const ALL: [(Self, &str, [u32; 2]); 46] = [
        (Self::OpFails, "op_fails", [30, 250]),
        (Self::OpUnknown, "op_unknown", [30, 250]),
        (Self::OpKnownLater, "op_known_later", [200, 900]),
        (Self::OpSlow, "op_slow", [30, 200]),
        (Self::OpLies, "op_lies", [20, 150]),
        (Self::OpToldLate, "op_told_late", [50, 500]),
        (Self::OpToldTwice, "op_told_twice", [50, 500]),
        (Self::RemovalHangs, "removal_hangs", [20, 150]),
        (Self::EventLost, "event_lost", [100, 700]),
        (Self::EventDoubled, "event_doubled", [50, 300]),
        (Self::EventLate, "event_late", [50, 400]),
        (Self::ListStale, "list_stale", [50, 300]),
        (Self::ListMessy, "list_messy", [100, 700]),
        (Self::SessionBreaks, "session_breaks", [20, 150]),
        (Self::SessionLingers, "session_lingers", [200, 900]),
        (Self::GoodbyeLate, "goodbye_late", [200, 700]),
        (Self::SaidTwice, "said_twice", [50, 500]),
        (Self::PublishFails, "publish_fails", [50, 300]),
        (Self::PublishTwice, "publish_twice", [100, 600]),
        (Self::AgentMute, "agent_mute", [20, 100]),
        (Self::JobStuck, "job_stuck", [20, 100]),
        (Self::JobUnbegun, "job_unbegun", [10, 60]),
        (Self::ImageMissing, "image_missing", [100, 500]),
        (Self::Crash, "crash", [5, 40]),
        (Self::ReadingLost, "reading_lost", [50, 700]),
        (Self::ReadingLate, "reading_late", [50, 500]),
        (Self::ProcessStays, "process_stays", [50, 300]),
        (Self::MemoryLeaks, "memory_leaks", [50, 300]),
        (Self::ForgeFails, "forge_fails", [30, 250]),
        (Self::ForgeUnknown, "forge_unknown", [30, 250]),
        (Self::ForgeSlow, "forge_slow", [50, 400]),
        (Self::ForgeLimited, "forge_limited", [10, 60]),
        (Self::ForgeBlind, "forge_blind", [100, 900]),
        (Self::ForgeHides, "forge_hides", [100, 700]),
        (Self::ForgeMessy, "forge_messy", [100, 700]),
        (Self::ForgeListLost, "forge_list_lost", [100, 500]),
        (Self::ForgeForgetsBusy, "forge_forgets_busy", [100, 700]),
        (Self::ForgeFlaps, "forge_flaps", [50, 400]),
        (Self::ForgeLingers, "forge_lingers", [100, 700]),
        (Self::HookLost, "hook_lost", [100, 1000]),
        (Self::HookDoubled, "hook_doubled", [50, 500]),
        (Self::HookLate, "hook_late", [50, 500]),
        (Self::ListenerMute, "listener_mute", [20, 150]),
        (Self::ListenerEnds, "listener_ends", [20, 150]),
        (Self::ListenerFreezes, "listener_freezes", [20, 150]),
        (Self::SessionHeld, "session_held", [100, 700]),
    ];

    /// The kind with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, own, _)| *own == name).map(|(fault, _, _)| *fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(fault, _, _)| fault == self).map(|(_, name, _)| name);
        f.pad(name.unwrap_or(&"?"))
    }
}

/// How often each kind of fault strikes, in a thousand occasions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults([u32; Fault::ALL.len()]);

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self([0; Fault::ALL.len()]);

    /// How often a fault strikes.
    #[must_use]
    pub fn rate(&self, fault: Fault) -> u32 {
        self.0.get(fault as usize).copied().unwrap_or(0)
    }

    /// Sets how often a fault strikes.
    pub fn set(&mut self, fault: Fault, per_mille: u32) {
        if let Some(rate) = self.0.get_mut(fault as usize) {
            *rate = per_mille;
        }
    }

    /// Whether a fault strikes now. Chance is asked in any case, so that a fault that is left out
    /// does not shift the others.
    pub fn strikes(&self, fault: Fault, rng: &mut Rng) -> bool {
        rng.chance(self.rate(fault))
    }

    /// The kinds that strike at all.
    pub fn active(&self) -> impl Iterator<Item = Fault> {
        Fault::ALL.iter().map(|(fault, _, _)| *fault).filter(|fault| self.rate(*fault) > 0)
    }

    /// A random part of the kinds, each at a random rate; the others not at all. Faults hide one
    /// another, so no story has them all.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Self {
        let mut faults = Self::NONE;
        let share = *rng.pick(&[150, 350, 600]).unwrap_or(&350);
        let (rest, forges) = Fault::ALL.split_at(Fault::ForgeFails as usize);
        let (general, cards) = rest.split_at(Fault::ReadingLost as usize);
        // What only cards or forges suffer has chances of its own: other stories stay as they are.
        let mut own = rng.clone().fork();
        Self::draw(&mut faults, general, share, rng);
        Self::draw(&mut faults, cards, share, &mut own);
        Self::draw(&mut faults, forges, share, &mut own);
        faults
    }

    fn draw(faults: &mut Self, of: &[(Fault, &str, [u32; 2])], share: u32, rng: &mut Rng) {
        for &(fault, _, [rare, often]) in of {
            let strikes = rng.chance(share);
            let rate = rng.between(u64::from(rare), u64::from(often));
            if strikes {
                faults.set(fault, u32::try_from(rate).unwrap_or(rare));
            }
        }
    }

    /// What becomes of an operation.
    pub fn of_operation(&self, rng: &mut Rng) -> OpFate {
        let rng = &mut rng.fork();
        if self.strikes(Fault::OpFails, rng) {
            let class = match rng.below(4) {
                0 => OpErrorClass::Fatal,
                1 => OpErrorClass::Conflict,
                _ => OpErrorClass::Retry,
            };
            return OpFate::Fails(class);
        }
        if self.strikes(Fault::OpLies, rng) {
            return OpFate::Lies(Duration::from_millis(rng.between(1, 20_000)));
        }
        if self.strikes(Fault::OpUnknown, rng) {
            return OpFate::Unknown(match rng.below(3) {
                0 => Limbo::Before,
                1 => Limbo::Never,
                _ => Limbo::After(Duration::from_millis(rng.between(1, 20_000))),
            });
        }
        match self.strikes(Fault::OpSlow, rng) {
            true => OpFate::Slow(Duration::from_millis(rng.between(1_000, 60_000))),
            false => OpFate::Happens,
        }
    }
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpFate {
    /// It happens and is told.
    Happens,
    /// It happens later than usual and is told.
    Slow(Duration),
    /// It does not happen, which is told.
    Fails(OpErrorClass),
    /// It is told that it did not happen, and it happens this long after.
    Lies(Duration),
    /// It is told that nobody knows.
    Unknown(Limbo),
}

/// What really becomes of an operation whose outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limbo {
    /// It happened.
    Before,
    /// It never happens.
    Never,
    /// It happens this long after it was given up.
    After(Duration),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_place_and_its_name() {
        for (index, (fault, name, _)) in Fault::ALL.iter().enumerate() {
            assert_eq!(*fault as usize, index, "{name} stands elsewhere than in the enum");
            assert_eq!(Fault::named(name), Some(*fault));
            assert_eq!(fault.to_string(), *name);
        }
    }
}
