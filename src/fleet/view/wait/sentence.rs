//! Reasons as sentences, for people.

use std::fmt;

use jiff::Timestamp;

use super::WaitReason;
use crate::ids::PoolName;
use crate::spec::show_duration;
use crate::units::Time;
use crate::units::words::{agree, counted, part};

/// A few names, with a comma between each two.
fn names(pools: &[PoolName]) -> String {
    pools.iter().map(PoolName::as_str).collect::<Vec<_>>().join(", ")
}

fn pools_named(pools: &[PoolName]) -> String {
    format!("{} {}", agree(&pools.len(), "pool", "pools"), names(pools))
}

fn in_front(ahead: u32) -> String {
    if ahead == 0 { "next in line".to_owned() } else { format!("{ahead} before it") }
}

/// A time of day, in UTC.
pub(in crate::fleet) fn clock(at: Time) -> String {
    let minutes = at.0 / 60_000 % (24 * 60);
    format!("{:02}:{:02} UTC", minutes / 60, minutes % 60)
}

/// A moment that may be days ago, in UTC: `2026-02-08 12:00 UTC`.
#[must_use]
pub fn day_and_clock(at: Time) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    let stamp = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
    stamp.strftime("%Y-%m-%d %H:%M UTC").to_string()
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
            Self::Held { .. } | Self::Paused { .. } | Self::Cordoned { .. } => self.tell_order(f),
            Self::GoingDown => f.write_str("the fleet goes down, and no job is begun any more"),
            Self::DiskLow { why } => write!(f, "no job is given out: {why}"),
            Self::WorkflowLimit { under_way, .. } => write!(
                f,
                "{} {} under way, the most that may run at a time",
                counted(*under_way, "workflow run"),
                agree(under_way, "is", "are")
            ),
            Self::LaneLimit { lane, running, most } => write!(
                f,
                "{} of lane {lane} {}, and {most} may at a time",
                counted(*running, "job"),
                agree(running, "runs", "run")
            ),
            Self::EngineUnreachable { why } => write!(f, "the engine does not answer: {why}"),
            Self::ImageMissing { why, next_try } => {
                write!(f, "{why}; it is looked for again at {}", clock_with_seconds(*next_try))
            }
            Self::Failing { why, failures, next_try: Some(next_try) } => write!(
                f,
                "{why}; failed {} in a row, next try at {}",
                counted(*failures, "time"),
                clock_with_seconds(*next_try)
            ),
            Self::Failing { why, .. } | Self::NoGpu { why } => f.write_str(why),
            Self::CannotGrow { .. }
            | Self::GrowthDelayed { .. }
            | Self::NoRunners { .. }
            | Self::Starting { .. }
            | Self::AllBusy { .. } => self.tell_size(f),
            Self::Next { pool } => write!(f, "a runner of pool {pool} is idle and gets it next"),
        }
    }
}

impl WaitReason {
    /// In words, for whoever has not counted what goes before.
    #[must_use]
    pub fn without_place(&self) -> String {
        let Self::AllBusy { pools, busy, all, lighter, .. } = self else {
            return self.to_string();
        };
        let (part, is) = (part(*busy, *all, "runner"), agree(busy, "is", "are"));
        let lighter = match lighter {
            0 => String::new(),
            some => {
                format!(", and {some} of them {} lighter for a while", agree(some, "is", "are"))
            }
        };
        format!("{part} in {} {is} busy{lighter}", names(pools))
    }

    /// What an operator has ordered.
    fn tell_order(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { job, since, by } => write!(
                f,
                "{by} holds it since {}; `slate-fleet release {job}` lets it go",
                day_and_clock(*since)
            ),
            Self::Paused { pools, since, by } => {
                let is = agree(&pools.len(), "is", "are");
                let (named, since) = (pools_named(pools), day_and_clock(*since));
                let resume = pools.iter().map(PoolName::as_str).collect::<Vec<_>>().join(" ");
                write!(
                    f,
                    "{named} {is} paused since {since} by {by}; `slate-fleet resume {resume}` \
                     lets jobs begin there"
                )
            }
            Self::Cordoned { closed: 1 } => {
                f.write_str("its one runner is closed (`cordon`, `drain`)")
            }
            Self::Cordoned { closed } => {
                write!(f, "all {closed} runners that could take it are closed (`cordon`, `drain`)")
            }
            _ => Ok(()),
        }
    }

    /// What the pools lack that could serve it.
    fn tell_size(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CannotGrow { pool, why } => write!(f, "pool {pool} cannot grow: {why}"),
            Self::GrowthDelayed { pool, threshold, delay, .. } => write!(
                f,
                "pool {pool} grows when more than {} {} longer than {}",
                counted(*threshold, "job"),
                agree(threshold, "waits", "wait"),
                show_duration(*delay)
            ),
            Self::NoRunners { pools } => {
                let has = agree(&pools.len(), "has", "have");
                write!(f, "{} {has} no runners", pools_named(pools))
            }
            Self::Starting { pools, starting: 1, .. } => {
                write!(f, "a runner of {} is starting", pools_named(pools))
            }
            Self::Starting { pools, starting, .. } => {
                write!(f, "{starting} runners of {} are starting", pools_named(pools))
            }
            Self::AllBusy { ahead, .. } => {
                write!(f, "{}; {}", self.without_place(), in_front(*ahead))
            }
            _ => Ok(()),
        }
    }

    /// What keeps a job and a pool apart, or a forge and the fleet.
    fn tell_match(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPool { profile, too_small } => {
                write!(f, "no pool offers the profile {profile} or more to this job any more")?;
                match too_small.as_slice() {
                    [] => Ok(()),
                    pools => {
                        let offer = agree(&pools.len(), "offers", "offer");
                        write!(f, "; {} {offer} less", pools_named(pools))
                    }
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
