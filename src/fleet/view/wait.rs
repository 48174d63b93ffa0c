//! Why a job waits: a closed set, for the fleet's own jobs and its forges' alike.
//!
//! `docs/reference/reasons.md` has the set for people.

mod code;
mod sentence;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fleet::audit::Client;
use crate::ids::{JobId, LaneName, PoolName, ProfileName};
use crate::units::Time;

pub use code::WaitCode;
pub(in crate::fleet) use sentence::clock;
pub use sentence::day_and_clock;

/// Why a job waits, with the numbers that belong to it. There are no other reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum WaitReason {
    /// An operator holds the job back.
    Held {
        /// The job.
        job: JobId,
        /// Since when.
        since: Time,
        /// Who.
        by: Client,
    },
    /// The fleet goes down and begins no job.
    GoingDown,
    /// A disk has too little space for jobs.
    DiskLow {
        /// Which, and what to do.
        why: String,
    },
    /// As many workflow runs are under way as may be at a time.
    WorkflowLimit {
        /// How many are.
        under_way: u32,
        /// How many may be.
        most: u32,
    },
    /// As many jobs of the lane have a runner as may at a time.
    LaneLimit {
        /// The lane.
        lane: LaneName,
        /// How many have one.
        running: u32,
        /// How many may.
        most: u32,
    },
    /// No pool offers the job's profile, or more.
    NoPool {
        /// The profile.
        profile: ProfileName,
        /// The pools that the job's own pool and lane leave to it, and that are too small for it.
        too_small: Vec<PoolName>,
    },
    /// No pool has all the labels that the job asks its forge for.
    NoLabels {
        /// The pool that lacks the fewest.
        nearest: Option<PoolName>,
        /// What that lacks.
        missing: Vec<String>,
    },
    /// The job comes from a fork, and the pool does not serve those.
    ForkDenied {
        /// The pool.
        pool: PoolName,
    },
    /// The job's forge does not offer it yet.
    HeldByForge,
    /// Runners of the pool are idle, and the forge does not give the job to them.
    NotTaken {
        /// The pool.
        pool: PoolName,
    },
    /// The forge gave the job to a runner that is gone, and does not queue it again.
    RunnerGone {
        /// The runner's name.
        runner: String,
    },
    /// The pool makes no runner before an operator does something.
    NeedsOperator {
        /// The pool.
        pool: PoolName,
        /// What.
        why: String,
    },
    /// The forge asked for silence.
    ForgeLimited {
        /// Until when.
        until: Time,
        /// Its words.
        why: String,
    },
    /// The forge does not answer, and runners cannot be registered without it.
    ForgeUnreachable {
        /// What was seen.
        why: String,
    },
    /// The engine does not answer, so no runner can be made.
    EngineUnreachable {
        /// What was seen.
        why: String,
    },
    /// An operator has paused every pool that may serve it.
    Paused {
        /// The pools.
        pools: Vec<PoolName>,
        /// Since when the last of them is paused.
        since: Time,
        /// Who paused that one.
        by: Client,
    },
    /// An operator has closed every runner that could take it.
    Cordoned {
        /// How many.
        closed: u32,
    },
    /// The image of the pool's runners is not to be had.
    ImageMissing {
        /// Which, and the engine's words.
        why: String,
        /// When it is asked for again.
        next_try: Time,
    },
    /// The pool's runners fail.
    Failing {
        /// The engine's or the agent's own words.
        why: String,
        /// How often in a row.
        failures: u32,
        /// When the next one is tried; none if that is now.
        next_try: Option<Time>,
    },
    /// No card has room for a runner.
    NoGpu {
        /// What it needs, and what each card has.
        why: String,
    },
    /// The pool should have more runners and cannot.
    CannotGrow {
        /// The pool.
        pool: PoolName,
        /// What stands in the way.
        why: String,
    },
    /// The pool grows when more jobs wait, or when they wait longer.
    GrowthDelayed {
        /// The pool.
        pool: PoolName,
        /// More than so many jobs have to wait ...
        threshold: u32,
        /// ... for longer than this.
        delay: Duration,
        /// Runners with a job.
        busy: u32,
    },
    /// The pools have no runner, and get none by themselves.
    NoRunners {
        /// The pools.
        pools: Vec<PoolName>,
    },
    /// Runners are on their way.
    Starting {
        /// In which pools.
        pools: Vec<PoolName>,
        /// How many.
        starting: u32,
        /// Jobs that go before it.
        ahead: u32,
    },
    /// Every runner that could take it has a job.
    AllBusy {
        /// The pools.
        pools: Vec<PoolName>,
        /// Runners with a job.
        busy: u32,
        /// All of them.
        all: u32,
        /// Those that are lighter for a while, and may be too light.
        lighter: u32,
        /// Jobs that go before it.
        ahead: u32,
    },
    /// A runner is idle, and the job is about to get it.
    Next {
        /// The pool.
        pool: PoolName,
    },
}

impl WaitReason {
    /// Which of them it is.
    #[must_use]
    pub fn code(&self) -> WaitCode {
        match self {
            Self::Held { .. } => WaitCode::Held,
            Self::GoingDown => WaitCode::GoingDown,
            Self::DiskLow { .. } => WaitCode::DiskLow,
            Self::WorkflowLimit { .. } => WaitCode::WorkflowLimit,
            Self::LaneLimit { .. } => WaitCode::LaneLimit,
            Self::NoPool { .. } => WaitCode::NoPool,
            Self::NoLabels { .. } => WaitCode::NoLabels,
            Self::ForkDenied { .. } => WaitCode::ForkDenied,
            Self::HeldByForge => WaitCode::HeldByForge,
            Self::NotTaken { .. } => WaitCode::NotTaken,
            Self::RunnerGone { .. } => WaitCode::RunnerGone,
            Self::NeedsOperator { .. } => WaitCode::NeedsOperator,
            Self::ForgeLimited { .. } => WaitCode::ForgeLimited,
            Self::ForgeUnreachable { .. } => WaitCode::ForgeUnreachable,
            Self::EngineUnreachable { .. } => WaitCode::EngineUnreachable,
            Self::Paused { .. } => WaitCode::Paused,
            Self::Cordoned { .. } => WaitCode::Cordoned,
            Self::ImageMissing { .. } => WaitCode::ImageMissing,
            Self::Failing { .. } => WaitCode::Failing,
            Self::NoGpu { .. } => WaitCode::NoGpu,
            Self::CannotGrow { .. } => WaitCode::CannotGrow,
            Self::GrowthDelayed { .. } => WaitCode::GrowthDelayed,
            Self::NoRunners { .. } => WaitCode::NoRunners,
            Self::Starting { .. } => WaitCode::Starting,
            Self::AllBusy { .. } => WaitCode::AllBusy,
            Self::Next { .. } => WaitCode::Next,
        }
    }

    /// When something about it is expected to change, where that is known.
    #[must_use]
    pub fn expected(&self) -> Option<Time> {
        match self {
            Self::ForgeLimited { until, .. } => Some(*until),
            Self::ImageMissing { next_try, .. } => Some(*next_try),
            Self::Failing { next_try, .. } => *next_try,
            _ => None,
        }
    }

    /// The same reason for a job with so many before it.
    #[must_use]
    pub(in crate::fleet) fn behind(mut self, jobs: u32) -> Self {
        if let Self::Starting { ahead, .. } | Self::AllBusy { ahead, .. } = &mut self {
            *ahead = jobs;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFERENCE: &str = include_str!("../../../docs/reference/reasons.md");

    fn of_json(code: WaitCode) -> String {
        serde_json::to_value(code).expect("a word").as_str().unwrap_or_default().to_owned()
    }

    // Item 31: the set is closed, and documented.
    #[test]
    fn every_reason_has_a_word_of_its_own_and_a_row_in_the_reference() {
        let words: Vec<&str> = WaitCode::ALL.iter().map(|code| code.word()).collect();
        for (place, code) in WaitCode::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, place, "all of them, in their order");
            assert_eq!(of_json(code), code.word());
        }
        let rows = REFERENCE.lines().filter_map(|line| line.strip_prefix("| `"));
        let rows: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
        assert_eq!(rows, words, "docs/reference/reasons.md");
        let last = WaitReason::Next { pool: PoolName::new("ci") };
        assert_eq!(last.code() as usize + 1, WaitCode::ALL.len());
    }

    #[test]
    fn a_reason_in_json_carries_its_code_and_its_numbers() {
        let reason = WaitReason::AllBusy {
            pools: vec![PoolName::new("ci"), PoolName::new("big")],
            busy: 3,
            all: 4,
            lighter: 1,
            ahead: 0,
        };
        let json = serde_json::json!({
            "code": "all_busy", "pools": ["ci", "big"],
            "busy": 3, "all": 4, "lighter": 1, "ahead": 0,
        });
        assert_eq!(serde_json::to_value(&reason).expect("JSON"), json);
        let words = "3 of 4 runners in ci, big are busy, and 1 of them is lighter for a \
                     while; next in line";
        assert_eq!(reason.to_string(), words);
        assert_eq!(of_json(reason.code()), "all_busy");
    }
}
