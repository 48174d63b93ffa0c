//! Disks that the fleet writes to, as plain data, and what too little space means: no job is given
//! out or taken in, and the ones that run go on.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::effect::{Refusal, RefusalKind};
use super::state::State;
use crate::units::{Bytes, Time};

/// On a small disk the floor is this part of it, so that a floor made for large disks does not
/// close a small one for ever.
const FLOOR_SHARE: u64 = 10;
/// A disk that was low counts as low until there is this part of the floor beyond it: a job that
/// writes and deletes must not open and close the fleet each second.
const BEYOND_SHARE: u64 = 8;

/// One disk at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskFacts {
    /// A folder on it that the fleet writes to.
    pub path: PathBuf,
    /// What it is for: `state`, `reports`, `engine`, or several of them.
    pub holds: String,
    /// Space for those who are not root.
    pub free: Bytes,
    /// Space in all.
    pub total: Bytes,
    /// The supervisor's reserve, on the disk that has it.
    pub reserve: Reserve,
}

/// The space that is kept for the supervisor's own record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reserve {
    /// None is kept here.
    None,
    /// It is there.
    Held,
    /// It had to be given up, or could not be made.
    GivenUp,
}

/// What is known of the disks.
#[derive(Debug, Default)]
pub(super) struct Disks {
    low: Vec<Low>,
}

/// A disk with too little space.
#[derive(Debug)]
struct Low {
    facts: DiskFacts,
    floor: Bytes,
}

impl Low {
    fn describe(&self) -> String {
        let DiskFacts { path, holds, free, reserve, .. } = &self.facts;
        let path = path.display();
        match reserve {
            Reserve::GivenUp => format!(
                "the disk of {path} ({holds}) is full: {free} are free and the supervisor's \
                 reserve is in use"
            ),
            Reserve::None | Reserve::Held => format!(
                "the disk of {path} ({holds}) has {free} free, and {} is the least \
                 (`limits.disk_floor`)",
                self.floor
            ),
        }
    }
}

impl Disks {
    /// Why no job may be given out, if so.
    pub(super) fn trouble(&self) -> Option<String> {
        let words: Vec<String> = self.low.iter().map(Low::describe).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}

/// The least space on a disk of this size, where a fleet file gives one for all disks.
#[must_use]
pub fn floor_on(floor: Bytes, total: Bytes) -> Bytes {
    floor.min(Bytes(total.0 / FLOOR_SHARE))
}

/// Takes in what the disks have now.
pub(super) fn observe(state: &mut State, now: Time, disks: Vec<DiskFacts>) {
    let floor = state.spec.limits.disk_floor;
    let before = state.disks.low.iter().map(|low| low.facts.path.clone()).collect::<Vec<_>>();
    let low: Vec<Low> = disks
        .into_iter()
        .map(|facts| Low { floor: floor_on(floor, facts.total), facts })
        .filter(|disk| is_low(disk, before.contains(&disk.facts.path)))
        .collect();
    for disk in low.iter().filter(|disk| !before.contains(&disk.facts.path)) {
        state.tell(now, "host", "cordoned", disk.describe());
    }
    for path in before.iter().filter(|path| low.iter().all(|disk| disk.facts.path != **path)) {
        let why = format!("the disk of {} has space again", path.display());
        state.tell(now, "host", "uncordoned", why);
    }
    state.disks.low = low;
}

fn is_low(disk: &Low, was_low: bool) -> bool {
    let beyond = if was_low { disk.floor.0 / BEYOND_SHARE } else { 0 };
    disk.facts.reserve == Reserve::GivenUp || disk.facts.free.0 < disk.floor.0 + beyond
}

/// Refuses what would write more while a disk has too little space.
pub(super) fn refuse_while_low(state: &State) -> Result<(), Refusal> {
    match state.disks.trouble() {
        None => Ok(()),
        Some(why) => Err(Refusal {
            kind: RefusalKind::NotNow,
            message: format!(
                "{why}; make room there (`slate-fleet gc` removes what is kept too long), then \
                 try again"
            ),
        }),
    }
}
