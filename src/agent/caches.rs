//! Caches that outlive one-job containers: what a job finds at a cache's path, and their bound.
//!
//! A cache is a volume that the runners of one pool share. In it are numbered generations, folders
//! of the job's user, and jobs see the newest through a link. One that has grown over its size is
//! never emptied under those who use it: the next job begins a new generation, and the old one is
//! removed when nobody holds it any more. Who holds what is told by the kernel's file locks, which
//! end with their holder however it ends.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;

use super::{Settings, say};
use crate::wire::message::JobOrder;

/// Beside the enrolment file: a line for each cache with its size, its volume and its path.
const LIST: &str = "machine/caches";

/// A generation that goes away while it is chosen is chosen anew; it does so once in its life.
const ATTEMPTS: usize = 16;

/// A cache with more entries than this is too large, whatever they weigh: looking at them all
/// would take longer than filling it again.
const ENTRIES_MAX: u64 = 1_000_000;

/// The kernel counts the blocks of a file in these.
const BLOCK: u64 = 512;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cache {
    /// Most bytes before a new generation is begun.
    size: u64,
    /// Where the volume is mounted.
    volume: PathBuf,
    /// Where jobs look for it.
    path: PathBuf,
}

/// A generation that a job uses; nobody removes it meanwhile.
#[derive(Debug)]
pub(super) struct Held {
    _lock: File,
}

/// Gives a job the caches of its runner.
pub(super) fn give(order: &JobOrder, settings: &Settings) -> Result<Vec<Held>, String> {
    let caches = read(&settings.enrolment).map_err(|error| format!("caches: {error}"))?;
    caches.iter().map(|cache| cache.give(order)).collect()
}

/// Looks after the caches beside the agent's other work: marks those that have grown too large
/// and removes generations that nobody uses.
pub(super) fn tend(settings: &Settings) {
    static AT_WORK: AtomicBool = AtomicBool::new(false);
    let caches = match read(&settings.enrolment) {
        Ok(caches) if caches.is_empty() => return,
        Ok(caches) => caches,
        Err(error) => return say(&format!("cannot look after the caches: {error}")),
    };
    if AT_WORK.swap(true, Ordering::AcqRel) {
        return;
    }
    let work = move || {
        for cache in caches {
            if let Err(error) = cache.tend() {
                say(&format!("cannot look after the cache {}: {error}", cache.path.display()));
            }
        }
        AT_WORK.store(false, Ordering::Release);
    };
    if let Err(error) = std::thread::Builder::new().name("caches".to_owned()).spawn(work) {
        AT_WORK.store(false, Ordering::Release);
        say(&format!("cannot look after the caches: {error}"));
    }
}

/// The runner's caches; none where the list is missing.
fn read(enrolment: &Path) -> io::Result<Vec<Cache>> {
    match fs::read_to_string(enrolment.with_file_name(LIST)) {
        Ok(text) => parse(&text).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the list of caches makes no sense")
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> Option<Vec<Cache>> {
    let line = |line: &str| {
        let mut fields = line.splitn(3, '\t');
        let size = fields.next()?.parse().ok()?;
        let (volume, path) = (fields.next()?.into(), fields.next()?.into());
        Some(Cache { size, volume, path })
    };
    text.lines().map(line).collect()
}

impl Cache {
    fn give(&self, order: &JobOrder) -> Result<Held, String> {
        let failed = |error: io::Error| {
            format!("cannot give the job the cache {}: {error}", self.path.display())
        };
        for _ in 0..ATTEMPTS {
            let Some(number) = self.usable(order).map_err(failed)? else { continue };
            let lock = self.lock(number).map_err(failed)?;
            match flock(&lock, FlockOperation::NonBlockingLockShared) {
                Ok(()) => {}
                // It is being removed.
                Err(Errno::WOULDBLOCK) => continue,
                Err(error) => return Err(failed(error.into())),
            }
            if self.folder(number).is_dir() {
                self.link(number, order)?;
                return Ok(Held { _lock: lock });
            }
        }
        Err(failed(io::Error::other("its generations change too fast")))
    }

    /// The newest generation, or a new one where that is too large or another user's. None where
    /// another runner was faster.
    fn usable(&self, order: &JobOrder) -> io::Result<Option<u64>> {
        let newest = self.generations()?.last().copied().unwrap_or(0);
        if newest > 0 {
            match fs::symlink_metadata(self.folder(newest)) {
                Ok(found) if found.uid() == order.uid && !self.full(newest).exists() => {
                    return Ok(Some(newest));
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        // Made whole beside its place, so that nobody sees it without its owner.
        let made = self.volume.join(format!("new-{}-{}", order.job.job, order.job.attempt));
        make_folder(&made, order)?;
        let (place, flags) = (self.folder(newest + 1), RenameFlags::NOREPLACE);
        match renameat_with(CWD, &made, CWD, &place, flags) {
            Ok(()) => Ok(Some(newest + 1)),
            Err(Errno::EXIST) => fs::remove_dir(&made).map(|()| None),
            Err(error) => Err(error.into()),
        }
    }

    /// The numbers of the generations in rising order.
    fn generations(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.volume)? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn folder(&self, number: u64) -> PathBuf {
        self.volume.join(number.to_string())
    }

    /// Says that a generation is too large.
    fn full(&self, number: u64) -> PathBuf {
        self.volume.join(format!("{number}.full"))
    }

    /// The file whose lock tells who uses a generation. Jobs cannot open it.
    fn lock(&self, number: u64) -> io::Result<File> {
        let path = self.volume.join(format!("{number}.lock"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
    }

    /// Puts a generation where jobs look for it.
    fn link(&self, number: u64, order: &JobOrder) -> Result<(), String> {
        let place = || -> io::Result<()> {
            make_parents(&self.path, order)?;
            match fs::symlink_metadata(&self.path) {
                Ok(found) if found.is_dir() => fs::remove_dir(&self.path)?,
                Ok(found) if found.is_symlink() && self.is_ours()? => fs::remove_file(&self.path)?,
                Ok(_) => return Err(io::Error::other("there is something else")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            symlink(self.folder(number), &self.path)
        };
        place().map_err(|error| {
            format!(
                "cannot put a cache at {}: {error}; choose a path for it that neither the image \
                 nor the working folder has",
                self.path.display()
            )
        })
    }

    /// Whether the link at the path is one of this cache, from an earlier job.
    fn is_ours(&self) -> io::Result<bool> {
        Ok(fs::read_link(&self.path)?.starts_with(&self.volume))
    }

    fn tend(&self) -> io::Result<()> {
        let generations = self.generations()?;
        let Some((newest, old)) = generations.split_last() else { return Ok(()) };
        for number in old {
            self.remove_unless_used(*number)?;
        }
        if !self.full(*newest).exists() && is_over(&self.folder(*newest), self.size) {
            File::create(self.full(*newest))?;
        }
        Ok(())
    }

    /// Removes a generation; its number is never used again, because a newer one is there.
    fn remove_unless_used(&self, number: u64) -> io::Result<()> {
        let lock = self.lock(number)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        gone(fs::remove_dir_all(self.folder(number)))?;
        gone(fs::remove_file(self.full(number)))?;
        gone(fs::remove_file(self.volume.join(format!("{number}.lock"))))
    }
}

/// Another runner may have removed it at the same moment.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn make_folder(path: &Path, order: &JobOrder) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    chown(path, Some(order.uid), Some(order.gid))
}

/// Makes the folders above a path that are missing, owned by the job's user.
fn make_parents(path: &Path, order: &JobOrder) -> io::Result<()> {
    let above: Vec<&Path> = path.ancestors().skip(1).collect();
    for folder in above.into_iter().rev() {
        if !folder.is_dir() {
            make_folder(folder, order)?;
        }
    }
    Ok(())
}

/// Whether a folder takes more than this on the disk. What goes away while it is looked at, or
/// cannot be read, is not counted.
fn is_over(folder: &Path, most: u64) -> bool {
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(found) = fs::read_dir(&folder) else { continue };
        for entry in found.flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            entries += 1;
            bytes = bytes.saturating_add(metadata.blocks() * BLOCK);
            if bytes > most || entries > ENTRIES_MAX {
                return true;
            }
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    false
}

#[cfg(test)]
mod tests;
