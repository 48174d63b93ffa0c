//! One file for each failed incarnation, bounded by number, age and bytes.

use std::cmp::Reverse;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use super::PostMortem;
use crate::ids::{IncarnationId, JobId, PoolName, SlotId};
use crate::state_dir::StateDir;
use crate::units::{Bytes, Time};

/// A file larger than this was not written here.
const FILE_MAX: u64 = 1024 * 1024;

/// How much is kept. The newest stay, as long as all three bounds allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// At most this many.
    pub count: usize,
    /// None older than this.
    pub age: Duration,
    /// At most this much in all.
    pub bytes: Bytes,
}

impl Keep {
    /// What is kept at most, however young (`retention.post_mortems` says how old): a fleet of 100
    /// runners that fail five times each, in less than most disks notice.
    pub const SPACE: Self = Self { count: 500, age: Duration::MAX, bytes: Bytes::mib(32) };
}

/// Whether surplus files are deleted or only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pruning {
    /// They are deleted.
    Delete,
    /// They are only counted.
    Count,
}

/// What was, or would be, deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many post-mortems.
    pub count: usize,
    /// How much they took.
    pub bytes: Bytes,
}

/// Which post-mortems are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Those of one slot.
    Runner(SlotId),
    /// Those of runners that held this job.
    Job(JobId),
    /// Those of one pool, its spares' too.
    Pool(PoolName),
}

impl Wanted {
    fn is_met(&self, it: &PostMortem) -> bool {
        match self {
            Self::Runner(slot) => it.slot == Some(*slot),
            Self::Job(job) => it.job == Some(*job),
            Self::Pool(pool) => it.pool == *pool,
        }
    }
}

/// Post-mortems cannot be kept or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct PostMortemError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// All post-mortems of a state folder. Calls block on the file system for a moment.
#[derive(Debug, Clone)]
pub struct PostMortems {
    folder: PathBuf,
}

/// One file of the folder.
struct Entry {
    incarnation: IncarnationId,
    path: PathBuf,
    bytes: u64,
    written: Time,
}

impl PostMortems {
    /// Those of this state folder.
    #[must_use]
    pub fn new(state: &StateDir) -> Self {
        Self { folder: state.post_mortems() }
    }

    /// Whether there is one of this incarnation.
    #[must_use]
    pub fn has(&self, incarnation: IncarnationId) -> bool {
        self.path(incarnation).exists()
    }

    /// Keeps one; a reader sees all of it or nothing.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, it: &PostMortem) -> Result<(), PostMortemError> {
        let path = self.path(it.incarnation);
        let fail = |source| PostMortemError { action: "write", path: path.clone(), source };
        let fresh = path.with_extension("new");
        let body = serde_json::to_vec_pretty(it).map_err(|error| fail(error.into()))?;
        let write = || -> io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
            gone_is_done(fs::remove_file(&fresh))?;
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
            file.write_all(&body)?;
            // Not synced: after a power cut the runner has failed for another reason anyway.
            fs::rename(&fresh, &path)
        };
        write().map_err(fail)
    }

    /// The newest ones that are wanted, newest first.
    ///
    /// # Errors
    /// When the folder cannot be read; a damaged file in it is left out.
    pub fn read(&self, wanted: &Wanted, limit: usize) -> Result<Vec<PostMortem>, PostMortemError> {
        let all = self.entries()?.into_iter();
        let read = all.filter_map(|entry| match read_one(&entry) {
            Ok(it) => Some(it),
            Err(error) => {
                tracing::warn!(%error, path = %entry.path.display(), "cannot read a post-mortem");
                None
            }
        });
        Ok(read.filter(|it| wanted.is_met(it)).take(limit).collect())
    }

    /// Deletes, or counts, what is beyond the bounds.
    ///
    /// # Errors
    /// When the folder cannot be read or a file cannot be deleted.
    pub fn prune(&self, keep: &Keep, now: Time, how: Pruning) -> Result<Pruned, PostMortemError> {
        let (mut pruned, mut kept_bytes) = (Pruned::default(), 0_u64);
        for (place, entry) in self.entries()?.into_iter().enumerate() {
            kept_bytes = kept_bytes.saturating_add(entry.bytes);
            let is_kept = place < keep.count
                && kept_bytes <= keep.bytes.0
                && now.since(entry.written) <= keep.age;
            if is_kept {
                continue;
            }
            pruned.count += 1;
            pruned.bytes.0 += entry.bytes;
            if how == Pruning::Delete {
                let path = &entry.path;
                gone_is_done(fs::remove_file(path)).map_err(|source| PostMortemError {
                    action: "delete",
                    path: path.clone(),
                    source,
                })?;
            }
        }
        Ok(pruned)
    }

    fn path(&self, incarnation: IncarnationId) -> PathBuf {
        self.folder.join(format!("{incarnation}.json"))
    }

    /// The files, newest incarnation first.
    fn entries(&self) -> Result<Vec<Entry>, PostMortemError> {
        let fail = |source| PostMortemError { action: "read", path: self.folder.clone(), source };
        let listed = match fs::read_dir(&self.folder) {
            Ok(listed) => listed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        let mut entries = Vec::new();
        for item in listed {
            let path = item.map_err(fail)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let number = name.and_then(|name| name.strip_suffix(".json"));
            let Some(incarnation) = number.and_then(|text| text.parse().ok()) else { continue };
            // Deleted since it was listed: somebody else prunes, too.
            let Ok(found) = fs::metadata(&path) else { continue };
            let written = found.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let written = Time(0) + written.unwrap_or_default();
            entries.push(Entry { incarnation, path, bytes: found.len(), written });
        }
        entries.sort_by_key(|entry| Reverse(entry.incarnation));
        Ok(entries)
    }
}

fn read_one(entry: &Entry) -> io::Result<PostMortem> {
    let mut body = Vec::new();
    File::open(&entry.path)?.take(FILE_MAX).read_to_end(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

fn gone_is_done(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::ids::ProfileName;

    fn store() -> (tempfile::TempDir, PostMortems) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = PostMortems::new(&StateDir::new(folder.path().to_owned()));
        (folder, store)
    }

    fn post_mortem(incarnation: u64, slot: u32) -> PostMortem {
        PostMortem {
            summary: "it died".to_owned(),
            cause: "died".to_owned(),
            why: "the container ended".to_owned(),
            at: Time(5),
            incarnation: IncarnationId(incarnation),
            slot: Some(SlotId(slot)),
            runner: None,
            pool: PoolName::new("light"),
            profile: ProfileName::new("light"),
            image: "slate-runner:latest".to_owned(),
            container: None,
            container_name: format!("slate-light-i{incarnation}"),
            job: (incarnation == 2).then_some(JobId(9)),
            attempt: None,
            gpu_oom: None,
            exit_code: Some(137),
            heard: None,
            engine: None,
            log: vec!["last words".to_owned()],
            missing: Vec::new(),
        }
    }

    fn numbers(found: &[PostMortem]) -> Vec<u64> {
        found.iter().map(|it| it.incarnation.0).collect()
    }

    /// The time that fits the files' own, which are the system's.
    fn now(store: &PostMortems) -> Time {
        store.entries().expect("a list").iter().map(|entry| entry.written).max().expect("a file")
    }

    #[test]
    fn they_come_back_newest_first_by_runner_and_by_job() {
        let (_folder, store) = store();
        assert_eq!(store.read(&Wanted::Runner(SlotId(1)), 9).expect("none yet"), []);
        for number in [2, 10, 9, 1] {
            let it = post_mortem(number, if number == 9 { 2 } else { 1 });
            store.write(&it).expect("written");
            store.write(&it).expect("written again");
        }
        let of = |wanted, limit| numbers(&store.read(&wanted, limit).expect("a list"));
        assert_eq!(of(Wanted::Runner(SlotId(1)), 9), [10, 2, 1]);
        assert_eq!(of(Wanted::Runner(SlotId(1)), 1), [10]);
        assert_eq!(of(Wanted::Job(JobId(9)), 9), [2]);
        assert!(store.has(IncarnationId(9)) && !store.has(IncarnationId(3)));
    }

    #[test]
    fn only_the_owner_reads_them_and_nothing_else_lies_about() {
        let (_folder, store) = store();
        store.write(&post_mortem(1, 1)).expect("written");
        let mode =
            |path: &PathBuf| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode(&store.folder), 0o700);
        assert_eq!(mode(&store.path(IncarnationId(1))), 0o600);
        assert_eq!(fs::read_dir(&store.folder).expect("a folder").count(), 1);
    }

    #[test]
    fn a_damaged_file_does_not_hide_the_others() {
        let (_folder, store) = store();
        store.write(&post_mortem(1, 1)).expect("written");
        fs::write(store.path(IncarnationId(2)), "{").expect("written");
        fs::write(store.folder.join("notes.txt"), "mine").expect("written");
        let found = store.read(&Wanted::Runner(SlotId(1)), 9).expect("a list");
        assert_eq!(numbers(&found), [1]);
    }

    #[test]
    fn the_oldest_go_by_number_by_age_and_by_bytes() {
        let (_folder, store) = store();
        for number in 1..=4 {
            store.write(&post_mortem(number, 1)).expect("written");
        }
        let (now, size) = (now(&store), store.entries().expect("a list")[0].bytes);
        let left = |store: &PostMortems| store.entries().expect("a list").len();
        let month = Keep { age: Duration::from_secs(30 * 24 * 60 * 60), ..Keep::SPACE };
        let old = now + month.age + Duration::from_secs(60);
        let all = store.prune(&month, old, Pruning::Count).expect("counted");
        assert_eq!((all.count, left(&store)), (4, 4));
        let keep = Keep { bytes: Bytes(size * 3 + size / 2), ..Keep::SPACE };
        assert_eq!(store.prune(&keep, now, Pruning::Delete).expect("deleted").count, 1);
        let keep = Keep { count: 1, ..Keep::SPACE };
        let pruned = store.prune(&keep, now, Pruning::Delete).expect("deleted");
        assert_eq!(pruned.count, 2);
        assert!(pruned.bytes.0 > size, "{pruned:?}");
        assert!(store.has(IncarnationId(4)));
        assert_eq!(store.prune(&month, old, Pruning::Delete).expect("deleted").count, 1);
        assert_eq!(left(&store), 0);
    }
}
