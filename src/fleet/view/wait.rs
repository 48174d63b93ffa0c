//! Why a job waits: a closed set, for the fleet's own jobs and its forges' alike.
//!
//! `docs/reference/reasons.md` has the set for people.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{PoolName, ProfileName};
use crate::units::Time;

/// Why a job waits, with the numbers that belong to it. There are no other reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum WaitReason {
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
    /// An operator has closed every runner that could take it.
    Paused {
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

/// A [`WaitReason`] in one word, for programs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "`WaitReason` says what each means")]
pub enum WaitCode {
    GoingDown,
    DiskLow,
    WorkflowLimit,
    NoPool,
    NoLabels,
    ForkDenied,
    HeldByForge,
    NotTaken,
    RunnerGone,
    NeedsOperator,
    ForgeLimited,
    ForgeUnreachable,
    EngineUnreachable,
    Paused,
    ImageMissing,
    Failing,
    NoGpu,
    CannotGrow,
    GrowthDelayed,
    NoRunners,
    Starting,
    AllBusy,
    Next,
}

impl WaitCode {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::GoingDown,
        Self::DiskLow,
        Self::WorkflowLimit,
        Self::NoPool,
        Self::NoLabels,
        Self::ForkDenied,
        Self::HeldByForge,
        Self::NotTaken,
        Self::RunnerGone,
        Self::NeedsOperator,
        Self::ForgeLimited,
        Self::ForgeUnreachable,
        Self::EngineUnreachable,
        Self::Paused,
        Self::ImageMissing,
        Self::Failing,
        Self::NoGpu,
        Self::CannotGrow,
        Self::GrowthDelayed,
        Self::NoRunners,
        Self::Starting,
        Self::AllBusy,
        Self::Next,
    ];

    /// As it is written in JSON, in labels of metrics and in the reference.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::GoingDown => "going_down",
            Self::DiskLow => "disk_low",
            Self::WorkflowLimit => "workflow_limit",
            Self::NoPool => "no_pool",
            Self::NoLabels => "no_labels",
            Self::ForkDenied => "fork_denied",
            Self::HeldByForge => "held_by_forge",
            Self::NotTaken => "not_taken",
            Self::RunnerGone => "runner_gone",
            Self::NeedsOperator => "needs_operator",
            Self::ForgeLimited => "forge_limited",
            Self::ForgeUnreachable => "forge_unreachable",
            Self::EngineUnreachable => "engine_unreachable",
            Self::Paused => "paused",
            Self::ImageMissing => "image_missing",
            Self::Failing => "failing",
            Self::NoGpu => "no_gpu",
            Self::CannotGrow => "cannot_grow",
            Self::GrowthDelayed => "growth_delayed",
            Self::NoRunners => "no_runners",
            Self::Starting => "starting",
            Self::AllBusy => "all_busy",
            Self::Next => "next",
        }
    }
}

impl WaitReason {
    /// Which of them it is.
    #[must_use]
    pub fn code(&self) -> WaitCode {
        match self {
            Self::GoingDown => WaitCode::GoingDown,
            Self::DiskLow { .. } => WaitCode::DiskLow,
            Self::WorkflowLimit { .. } => WaitCode::WorkflowLimit,
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

    /// The same for a job with so many before it.
    #[must_use]
    pub(in crate::fleet) fn behind(mut self, jobs: u32) -> Self {
        if let Self::Starting { ahead, .. } | Self::AllBusy { ahead, .. } = &mut self {
            *ahead = jobs;
        }
        self
    }
}

/// A few names, with a comma between each two.
fn names(pools: &[PoolName]) -> String {
    pools.iter().map(PoolName::as_str).collect::<Vec<_>>().join(", ")
}

fn pools_named(pools: &[PoolName]) -> String {
    let word = if pools.len() == 1 { "pool" } else { "pools" };
    format!("{word} {}", names(pools))
}

fn in_front(ahead: u32) -> String {
    match ahead {
        0 => "next in line".to_owned(),
        some => format!("{some} before it"),
    }
}

/// A time of day, in UTC.
pub(in crate::fleet) fn clock(at: Time) -> String {
    let minutes = at.0 / 60_000 % (24 * 60);
    format!("{:02}:{:02} UTC", minutes / 60, minutes % 60)
}

fn clock_with_seconds(at: Time) -> String {
    let seconds = at.0 / 1000 % (24 * 3600);
    format!("{:02}:{:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPool { .. }
            | Self::NoLabels { .. }
            | Self::ForkDenied { .. }
            | Self::HeldByForge
            | Self::NotTaken { .. }
            | Self::RunnerGone { .. }
            | Self::NeedsOperator { .. }
            | Self::ForgeLimited { .. }
            | Self::ForgeUnreachable { .. } => self.tell_match(f),
            Self::GoingDown => f.write_str("the fleet goes down, and no job is begun any more"),
            Self::DiskLow { why } => write!(f, "no job is given out: {why}"),
            Self::WorkflowLimit { under_way, .. } => write!(
                f,
                "{under_way} workflow runs are under way, the most that may run at a time"
            ),
            Self::EngineUnreachable { why } => write!(f, "the engine does not answer: {why}"),
            Self::Paused { closed: 1 } => {
                f.write_str("its one runner is closed (`cordon`, `drain`)")
            }
            Self::Paused { closed } => {
                write!(f, "all {closed} runners that could take it are closed (`cordon`, `drain`)")
            }
            Self::ImageMissing { why, next_try } => {
                write!(f, "{why}; it is looked for again at {}", clock_with_seconds(*next_try))
            }
            Self::Failing { why, failures, next_try: Some(next_try) } => write!(
                f,
                "{why}; failed {failures} times in a row, next try at {}",
                clock_with_seconds(*next_try)
            ),
            Self::Failing { why, .. } | Self::NoGpu { why } => f.write_str(why),
            Self::CannotGrow { pool, why } => write!(f, "pool {pool} cannot grow: {why}"),
            Self::GrowthDelayed { pool, threshold, delay, .. } => write!(
                f,
                "pool {pool} grows when more than {threshold} jobs wait longer than {delay:?}"
            ),
            Self::NoRunners { pools } => {
                let has = if pools.len() == 1 { "has" } else { "have" };
                write!(f, "{} {has} no runners", pools_named(pools))
            }
            Self::Starting { pools, starting: 1, .. } => {
                write!(f, "a runner of {} is starting", pools_named(pools))
            }
            Self::Starting { pools, starting, .. } => {
                write!(f, "{starting} runners of {} are starting", pools_named(pools))
            }
            Self::AllBusy { pools, busy, all, lighter, ahead } => {
                write!(f, "{busy} of {all} runners in {} are busy", names(pools))?;
                match lighter {
                    0 => {}
                    1 => f.write_str(", and 1 of them is lighter for a while")?,
                    some => write!(f, ", and {some} of them are lighter for a while")?,
                }
                write!(f, "; {}", in_front(*ahead))
            }
            Self::Next { pool } => write!(f, "a runner of pool {pool} is idle and gets it next"),
        }
    }
}

impl WaitReason {
    /// What keeps a job and a pool apart, or a forge and the fleet.
    fn tell_match(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPool { profile, too_small } => {
                write!(f, "no pool offers the profile {profile} or more to this job any more")?;
                match too_small.as_slice() {
                    [] => Ok(()),
                    pools => write!(f, "; {} offer less", pools_named(pools)),
                }
            }
            Self::NoLabels { nearest: None, .. } => f.write_str("no pool serves its repository"),
            Self::NoLabels { nearest: Some(pool), missing } if missing.is_empty() => {
                write!(f, "it asks for no label, only for a group; the nearest pool is {pool}")
            }
            Self::NoLabels { nearest: Some(pool), missing } => write!(
                f,
                "no pool has all its labels; the nearest, {pool}, lacks `{}`",
                missing.join("`, `")
            ),
            Self::ForkDenied { pool } => write!(
                f,
                "it comes from a fork, and pool {pool} does not serve those (`fork_jobs: allow`)"
            ),
            Self::HeldByForge => f.write_str(
                "its forge holds it back: an approval, an earlier job or its concurrency group",
            ),
            Self::NotTaken { pool } => write!(
                f,
                "idle runners of pool {pool} have its labels and do not get it: their runner group \
                 may not be open to its repository, or the forge gives it to others"
            ),
            Self::RunnerGone { runner } => write!(
                f,
                "its forge gave it to {runner}, which is gone, and does not queue it again: cancel \
                 the run there, then run it again"
            ),
            Self::NeedsOperator { pool, why } => write!(f, "pool {pool} waits for you: {why}"),
            Self::ForgeLimited { until, why } => {
                write!(f, "its forge is limited until {}: {why}", clock(*until))
            }
            Self::ForgeUnreachable { why } => f.write_str(why),
            _ => Ok(()),
        }
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
