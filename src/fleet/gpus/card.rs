//! What is recorded of cards: which are cordoned and why, and what is left on them of runners that
//! are gone.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fleet::runner::GpuHold;
use crate::ids::{ContainerId, ProfileName};
use crate::units::words::counted;
use crate::units::{GpuMib, Time};

/// What is recorded of one card.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CardRecord {
    /// Why it takes no new lease, if so.
    pub cordon: Option<CardCordon>,
    /// The uncorrected memory errors that it counted last.
    pub ecc: Option<u64>,
    /// When a cordon last ended by itself.
    pub lifted: Option<Time>,
}

/// A card that takes no new lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardCordon {
    /// Why.
    pub cause: Sickness,
    /// Since when.
    pub since: Time,
    /// Whether it ends only by a person's word.
    pub by_hand: bool,
}

impl fmt::Display for CardCordon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

/// What is wrong with a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sickness {
    /// Nothing: an operator wants it so.
    Asked,
    /// Its driver reported an Xid of this class.
    Xid {
        /// The number.
        xid: u32,
        /// What it means.
        severity: Severity,
    },
    /// Its uncorrected memory errors rose.
    Ecc {
        /// From.
        from: u64,
        /// To.
        to: u64,
    },
    /// Several jobs failed on it with an Xid.
    Faults {
        /// So many.
        jobs: usize,
    },
    /// It answers and says that something is wrong; the driver's words.
    Degraded(String),
    /// It does not answer in time.
    Unresponsive(String),
    /// It is gone from the bus or needs a reset; the driver's words.
    Lost(String),
    /// The driver does not list it any more.
    Missing,
    /// Something of a runner that is gone is still on it.
    Leftover(String),
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// No new lease; what runs may end.
    Degraded,
    /// What runs on it is lost.
    Fatal,
}

impl Sickness {
    /// How bad it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Lost(_) => Severity::Fatal,
            Self::Xid { severity, .. } => *severity,
            Self::Asked
            | Self::Ecc { .. }
            | Self::Faults { .. }
            | Self::Degraded(_)
            | Self::Unresponsive(_)
            | Self::Missing
            | Self::Leftover(_) => Severity::Degraded,
        }
    }

    /// Whether it may be over without a person: what was left is gone, or the card is there again.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Self::Missing | Self::Leftover(_))
    }
}

impl fmt::Display for Sickness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("an operator asked for it"),
            Self::Xid { xid, severity: Severity::Degraded } => {
                write!(f, "its driver reported Xid {xid}: no new work until it was reset")
            }
            Self::Xid { xid, severity: Severity::Fatal } => {
                write!(f, "its driver reported Xid {xid}: the card is lost")
            }
            Self::Ecc { from, to } => {
                write!(f, "its uncorrected memory errors rose from {from} to {to}")
            }
            Self::Faults { jobs } => {
                write!(f, "{} failed on it within an hour", counted(*jobs, "job"))
            }
            Self::Degraded(why) => write!(f, "its driver says: {why}"),
            Self::Unresponsive(why) => write!(f, "it does not answer: {why}"),
            Self::Lost(why) => write!(f, "it is lost: {why}"),
            Self::Missing => f.write_str("its driver does not list it any more"),
            Self::Leftover(what) => f.write_str(what),
        }
    }
}

/// A lease whose runner is gone: held until nothing of it is left on the card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// What it holds.
    pub hold: GpuHold,
    /// The runner's profile.
    pub profile: ProfileName,
    /// Its container, where one was known.
    pub container: Option<ContainerId>,
    /// When it was gone.
    pub since: Time,
    /// Memory in use without a process, as it was while the runner lived.
    pub unowned: Option<GpuMib>,
}
