//! Disks that the fleet writes to, as plain data, and what too little space means: no job is given
//! out or taken in, and the ones that run go on.

use std::path::PathBuf;

use schemars::JsonSchema;
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

/// One disk as readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiskView {
    /// A folder on it that the fleet writes to.
    pub path: PathBuf,
    /// What it is for: `state`, `reports`, `engine`, or several of them.
    pub holds: String,
    /// Space for those who are not root.
    pub free: Bytes,
    /// Space in all.
    pub total: Bytes,
    /// With less than this free no job is given out.
    pub floor: Bytes,
    /// Whether that is so now.
    pub low: bool,
}

/// What is known of the disks.
#[derive(Debug, Default)]
pub(super) struct Disks {
    all: Vec<Disk>,
}

/// A disk, and what is little space on it.
#[derive(Debug)]
struct Disk {
    facts: DiskFacts,
    floor: Bytes,
    is_low: bool,
}

impl Disk {
    /// A disk that was low counts as low until there is somewhat more than its floor.
    fn new(facts: DiskFacts, wanted: Bytes, was_low: bool) -> Self {
        let floor = floor_on(wanted, facts.total);
        let beyond = if was_low { floor.0 / BEYOND_SHARE } else { 0 };
        let is_low = facts.reserve == Reserve::GivenUp || facts.free.0 < floor.0 + beyond;
        Self { facts, floor, is_low }
    }

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
        let words: Vec<String> = self.low().map(Disk::describe).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    /// Every disk, for readers.
    pub(super) fn view(&self) -> Vec<DiskView> {
        let view = |Disk { facts, floor, is_low }: &Disk| DiskView {
            path: facts.path.clone(),
            holds: facts.holds.clone(),
            free: facts.free,
            total: facts.total,
            floor: *floor,
            low: *is_low,
        };
        self.all.iter().map(view).collect()
    }

    fn low(&self) -> impl Iterator<Item = &Disk> {
        self.all.iter().filter(|disk| disk.is_low)
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
    let before: Vec<PathBuf> = state.disks.low().map(|disk| disk.facts.path.clone()).collect();
    let made = |facts: DiskFacts| {
        let was_low = before.contains(&facts.path);
        Disk::new(facts, floor, was_low)
    };
    let now_known = Disks { all: disks.into_iter().map(made).collect() };
    for disk in now_known.low().filter(|disk| !before.contains(&disk.facts.path)) {
        state.tell(now, "host", "cordoned", disk.describe());
    }
    for path in before.iter().filter(|path| now_known.low().all(|it| it.facts.path != **path)) {
        let why = format!("the disk of {} has space again", path.display());
        state.tell(now, "host", "uncordoned", why);
    }
    state.disks = now_known;
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
