//! Watches the disks that the fleet writes to, and keeps a reserve for its own record.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};
use tokio::sync::{Notify, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::causes::with_causes;
use crate::fleet::disk::{DiskFacts, Reserve};
use crate::fleet::event::Event;
use crate::logs::{Intake, LogStore};
use crate::state_dir::StateDir;
use crate::units::Bytes;

/// How often the disks are looked at: a job fills a disk in minutes, not in seconds.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A disk that needs longer for its figures hangs, as a network's may; the others are not held up.
const LOOK_TIMEOUT: Duration = Duration::from_secs(3);
/// The reserve: thousands of ends of jobs can be recorded in it.
const BALLAST: Bytes = Bytes::mib(16);
/// On a small disk the reserve is this part of it.
const BALLAST_SHARE: u64 = 16;
/// The reserve is made again when this many times its size are free.
const BALLAST_ROOM: u64 = 4;
/// Zeros written at a time where the file system cannot allocate.
const PIECE: usize = 64 * 1024;

/// A folder that the fleet writes to.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// Which.
    pub path: PathBuf,
    /// What for, in one word.
    pub holds: &'static str,
}

/// A file whose space is given up when nothing else is left to record in.
#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
    logs: Arc<LogStore>,
}

/// What giving up the reserve has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// Space.
    Space,
    /// Nothing: it was given up before.
    Nothing,
}

impl Ballast {
    /// The reserve of a state folder; while it is given up the logs of jobs must not use it up.
    pub fn new(state: &StateDir, logs: Arc<LogStore>) -> Self {
        Self { path: state.reserve(), logs }
    }

    fn reserve(&self) -> Reserve {
        let (reserve, intake) = match self.path.exists() {
            true => (Reserve::Held, Intake::Open),
            false => (Reserve::GivenUp, Intake::Closed),
        };
        self.logs.set_intake(intake);
        reserve
    }

    /// Makes the reserve unless it is there or there is too little room for it.
    fn tend(&self, free: Bytes, total: Bytes) {
        let size = BALLAST.0.min(total.0 / BALLAST_SHARE);
        if self.path.exists() || free.0 < size * BALLAST_ROOM {
            return;
        }
        if let Err(error) = self.make(size) {
            tracing::warn!(error = with_causes(&error), "cannot keep space in reserve");
            self.remove_part();
        }
    }

    fn make(&self, size: u64) -> io::Result<()> {
        let part = self.path.with_extension("part");
        let mut open = OpenOptions::new();
        let open = open.write(true).create(true).truncate(true).mode(0o600);
        let mut file = open.open(&part)?;
        match fallocate(&file, FallocateFlags::empty(), 0, size) {
            Ok(()) => {}
            Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(&mut file, size)?,
            Err(error) => return Err(error.into()),
        }
        file.sync_all()?;
        fs::rename(part, &self.path)
    }

    fn remove_part(&self) {
        // What is left of it is written over at the next try.
        let _gone = fs::remove_file(self.path.with_extension("part"));
    }

    /// Gives the space to whoever writes next.
    pub fn give_up(&self) -> GivenUp {
        self.logs.set_intake(Intake::Closed);
        match fs::remove_file(&self.path) {
            Ok(()) => {
                tracing::error!("the disk of the state is full: the reserve is given up");
                GivenUp::Space
            }
            Err(_) => GivenUp::Nothing,
        }
    }

    /// Whether a file can be written beside it now.
    pub fn probe(&self) -> io::Result<()> {
        let path = self.path.with_extension("probe");
        let written = File::create(&path).and_then(|mut file| {
            file.write_all(&[1; 4096])?;
            file.sync_all()
        });
        // A probe that stays is written over by the next.
        let _removed = fs::remove_file(&path);
        written
    }
}

fn write_zeros(file: &mut File, size: u64) -> io::Result<()> {
    let piece = vec![0; PIECE];
    let mut left = size;
    while left > 0 {
        let next = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        file.write_all(piece.get(..next).unwrap_or_default())?;
        left -= next as u64;
    }
    Ok(())
}

/// The disks of these places, each once; one that cannot be looked at is left out and told.
pub(super) fn look(places: &[Place], ballast: &Ballast) -> Vec<DiskFacts> {
    let mut disks: BTreeMap<u64, DiskFacts> = BTreeMap::new();
    for place in places {
        // The reports' folder is made with the first report.
        let Some(path) = place.path.ancestors().find(|path| path.exists()) else { continue };
        match measure(path, place.holds) {
            Ok((device, facts)) => {
                let disk = disks.entry(device);
                let holds = place.holds;
                disk.and_modify(|disk| disk.holds = format!("{}, {holds}", disk.holds))
                    .or_insert(facts);
            }
            Err(error) => {
                let path = path.display();
                tracing::warn!(%error, "cannot see how much space {path} has");
            }
        }
    }
    let home = ballast.path.parent().and_then(|folder| fs::metadata(folder).ok());
    let home = home.map(|found| found.dev());
    for (device, disk) in &mut disks {
        if Some(*device) == home {
            ballast.tend(disk.free, disk.total);
            disk.reserve = ballast.reserve();
        }
    }
    disks.into_values().collect()
}

fn measure(path: &Path, holds: &str) -> io::Result<(u64, DiskFacts)> {
    let found = statvfs(path)?;
    let size = |blocks: u64| Bytes(blocks.saturating_mul(found.f_frsize));
    let facts = DiskFacts {
        path: path.to_owned(),
        holds: holds.to_owned(),
        free: size(found.f_bavail),
        total: size(found.f_blocks),
        reserve: Reserve::None,
    };
    Ok((fs::metadata(path)?.dev(), facts))
}

/// Tells the loop of the disks every few seconds, and at once when it is asked to look.
pub(super) async fn watch(
    places: Vec<Place>,
    ballast: Arc<Ballast>,
    events: mpsc::Sender<Event>,
    soon: Arc<Notify>,
) {
    loop {
        // At the next interval or on demand, whatever is first.
        let _elapsed = timeout(LOOK_EVERY, soon.notified()).await;
        let (places, ballast) = (places.clone(), Arc::clone(&ballast));
        let mut looking = spawn_blocking(move || look(&places, &ballast));
        let found = match timeout(LOOK_TIMEOUT, &mut looking).await {
            Ok(found) => found,
            Err(_) => {
                tracing::warn!("a disk does not say how much space it has; waiting for it");
                looking.await
            }
        };
        let disks = match found {
            Ok(disks) => disks,
            Err(error) => {
                tracing::error!(%error, "looking at the disks broke down");
                sleep(LOOK_EVERY).await;
                continue;
            }
        };
        if events.send(Event::Disks(disks)).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &Path, holds: &'static str) -> Place {
        Place { path: path.to_owned(), holds }
    }

    fn ballast(folder: &Path) -> Ballast {
        let state = StateDir::new(folder.to_owned());
        let logs = LogStore::new(state.clone(), Bytes::mib(1)).expect("a folder of logs");
        Ballast::new(&state, Arc::new(logs))
    }

    #[test]
    fn folders_of_one_disk_are_one_disk_and_the_reserve_is_real_space() {
        let folder = tempfile::tempdir().expect("a folder");
        let ballast = ballast(folder.path());
        let later = folder.path().join("reports/of/later");
        let places = [place(folder.path(), "state"), place(&later, "reports")];
        let disks = look(&places, &ballast);
        assert_eq!(disks.len(), 1, "{disks:?}");
        assert_eq!(disks[0].holds, "state, reports");
        assert_eq!(disks[0].reserve, Reserve::Held);
        let file = fs::metadata(folder.path().join("reserve")).expect("it is there");
        assert!(file.blocks() * 512 >= file.len() && file.len() > 0, "{file:?}");
        assert_eq!(ballast.give_up(), GivenUp::Space);
        assert_eq!(ballast.give_up(), GivenUp::Nothing);
        assert_eq!(look(&places, &ballast)[0].reserve, Reserve::Held, "it is made again");
    }

    #[test]
    fn a_reserve_is_not_made_where_it_would_fill_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let ballast = ballast(folder.path());
        ballast.tend(Bytes::mib(63), Bytes::gib(1));
        assert_eq!(ballast.reserve(), Reserve::GivenUp);
        ballast.tend(Bytes::mib(6), Bytes::mib(32));
        assert_eq!(ballast.reserve(), Reserve::GivenUp);
        ballast.tend(Bytes::mib(8), Bytes::mib(32));
        let size = fs::metadata(folder.path().join("reserve")).expect("it is there").len();
        assert_eq!(size, 2 * 1024 * 1024, "a sixteenth of a small disk");
        ballast.probe().expect("written");
    }
}
