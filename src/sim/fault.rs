//! What goes wrong, and how often.

use std::time::Duration;

use super::rng::Rng;
use crate::fleet::event::OpErrorClass;

/// How often each kind of fault strikes, in a thousand occasions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// An operation certainly did not happen.
    pub op_fails: u32,
    /// Nobody knows whether an operation happened.
    pub op_unknown: u32,
    /// An operation takes very long.
    pub op_slow: u32,
    /// An engine event never comes.
    pub event_lost: u32,
    /// An engine event comes twice.
    pub event_doubled: u32,
    /// An engine event or a list comes late.
    pub event_late: u32,
    /// An agent's session breaks with a message on its way.
    pub session_breaks: u32,
    /// The end of a session is told after the next one began.
    pub goodbye_late: u32,
    /// Reports cannot be stored.
    pub publish_fails: u32,
    /// An agent never speaks after its start.
    pub agent_mute: u32,
    /// A job goes on whatever it is told.
    pub job_stuck: u32,
    /// An image is not to be had.
    pub image_missing: u32,
    /// The supervisor dies in a step.
    pub crash: u32,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        op_fails: 0,
        op_unknown: 0,
        op_slow: 0,
        event_lost: 0,
        event_doubled: 0,
        event_late: 0,
        session_breaks: 0,
        goodbye_late: 0,
        publish_fails: 0,
        agent_mute: 0,
        job_stuck: 0,
        image_missing: 0,
        crash: 0,
    };

    /// Each kind strikes not at all, sometimes or often.
    #[must_use]
    pub fn random(rng: &mut Rng) -> Self {
        let mut level = |rare: u32, often: u32| match rng.below(4) {
            0 | 1 => 0,
            2 => rare,
            _ => often,
        };
        Self {
            op_fails: level(30, 250),
            op_unknown: level(30, 250),
            op_slow: level(30, 200),
            event_lost: level(100, 700),
            event_doubled: level(50, 300),
            event_late: level(50, 400),
            session_breaks: level(20, 150),
            goodbye_late: level(200, 700),
            publish_fails: level(50, 300),
            agent_mute: level(20, 100),
            job_stuck: level(20, 100),
            image_missing: level(100, 500),
            crash: level(5, 40),
        }
    }

    /// What becomes of an operation.
    pub fn of_operation(&self, rng: &mut Rng) -> OpFate {
        if rng.chance(self.op_fails) {
            let class = match rng.below(4) {
                0 => OpErrorClass::Fatal,
                1 => OpErrorClass::Conflict,
                _ => OpErrorClass::Retry,
            };
            return OpFate::Fails(class);
        }
        if rng.chance(self.op_unknown) {
            return OpFate::Unknown(match rng.below(3) {
                0 => Limbo::Before,
                1 => Limbo::Never,
                _ => Limbo::After(Duration::from_millis(rng.between(1, 20_000))),
            });
        }
        match rng.chance(self.op_slow) {
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
