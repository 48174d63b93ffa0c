//! The output of jobs: one append-only file for each job, bounded, followed while it grows.
//!
//! The format (`format`) is what the HTTP API streams. The store writes to the page cache and does
//! not sync: a supervisor that dies loses nothing, and after a power cut a job runs again anyway.
//! Calls block on the file system for microseconds; asynchronous callers use `spawn_blocking`.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::ids::JobId;
use crate::state_dir::StateDir;
use crate::units::{Bytes, Time};
use crate::wire::frame::{Output, Stream};

pub mod format;
mod open;
mod reader;
mod tail;

pub use format::{Decoder, FormatError, Record};
pub use reader::LogReader;
pub use tail::{End, Ends};

use open::OpenLog;

/// The log of a job cannot be kept or read.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} the job log {}", path.display())]
pub struct LogError {
    /// What was tried.
    pub action: &'static str,
    /// On which file.
    pub path: PathBuf,
    /// The system's answer.
    #[source]
    pub source: io::Error,
}

/// How far a log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    /// Bytes of whole records.
    length: u64,
    /// Whether the end record is among them.
    ended: bool,
}

/// Bytes that the store has taken over, per stream, from the attempt's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Of standard output.
    pub stdout: u64,
    /// Of standard error.
    pub stderr: u64,
}

/// Whether output is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// As it comes.
    Open,
    /// Not now.
    Closed,
}

/// One job's log while somebody writes or reads it.
#[derive(Debug)]
struct JobLog {
    path: PathBuf,
    open: Mutex<Option<OpenLog>>,
    progress: watch::Sender<Progress>,
}

/// The logs of all jobs.
#[derive(Debug)]
pub struct LogStore {
    state: StateDir,
    log_max: Bytes,
    intake: AtomicBool,
    /// Logs that are written or read now; the others are only files.
    active: Mutex<BTreeMap<JobId, Arc<JobLog>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock was held leaves at worst a torn record, which the reader skips.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LogStore {
    /// A store in this state folder that keeps at most `log_max` output bytes of each job.
    ///
    /// # Errors
    /// When the folder of logs cannot be made.
    pub fn new(state: StateDir, log_max: Bytes) -> Result<Self, LogError> {
        let folder = state.logs();
        std::fs::create_dir_all(&folder).map_err(|source| LogError {
            action: "make the folder of",
            path: folder,
            source,
        })?;
        let intake = AtomicBool::new(true);
        Ok(Self { state, log_max, intake, active: Mutex::new(BTreeMap::new()) })
    }

    /// Takes output in, or leaves the last space on the disk to the record of jobs. Jobs that
    /// print wait meanwhile.
    pub fn set_intake(&self, intake: Intake) {
        self.intake.store(intake == Intake::Open, Ordering::Relaxed);
    }

    /// Takes over a piece of output. Bytes that are there already are skipped, bytes beyond the
    /// bound are counted and dropped, and so is output of an attempt that was given up.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn append(&self, output: &Output, now: Time) -> Result<Written, LogError> {
        let log = self.active(output.job)?;
        if !self.intake.load(Ordering::Relaxed) {
            return Err(log.error("write", io::ErrorKind::StorageFull.into()));
        }
        let mut guard = lock(&log.open);
        let open = log.opened(&mut guard, self.log_max)?;
        let written = open.append(output, now).map_err(|source| log.error("write", source))?;
        log.progress.send_replace(open.progress());
        Ok(written)
    }

    /// Ends a log: nothing is appended any more, and readers come to an end. Safe to repeat.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn finish(&self, job: JobId, now: Time) -> Result<(), LogError> {
        let log = self.active(job)?;
        let mut guard = lock(&log.open);
        let open = log.opened(&mut guard, self.log_max)?;
        open.finish(now).map_err(|source| log.error("end", source))?;
        log.progress.send_replace(open.progress());
        drop(guard);
        drop(log);
        self.sweep();
        Ok(())
    }

    /// Reads a log from an offset (0, or where an earlier reader stood) and follows it to its end.
    /// The log of a job that has not begun is waited for.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn reader(&self, job: JobId, from: u64) -> Result<LogReader, LogError> {
        self.sweep();
        let log = self.active(job)?;
        Ok(LogReader::new(log, from))
    }

    /// Deletes a log.
    ///
    /// # Errors
    /// When the file cannot be deleted; that there is none is not an error.
    pub fn remove(&self, job: JobId) -> Result<(), LogError> {
        if let Some(log) = lock(&self.active).remove(&job) {
            log.progress.send_modify(|progress| progress.ended = true);
        }
        let path = self.state.job_log(job);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(LogError { action: "delete", path, source }),
        }
    }

    /// A forgotten log is no larger than this, and one that is no larger is not worth forgetting.
    pub const FORGOTTEN_MAX: u64 = 256;

    /// Puts a short word in the place of an ended job's output.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn forget(&self, job: JobId, now: Time) -> Result<(), LogError> {
        const WORD: &[u8] = b"slate-fleet: this output was removed (`retention`)\n";
        lock(&self.active).remove(&job);
        let path = self.state.job_log(job);
        let part = path.with_extension("part");
        let mut word = format::output(Stream::Stderr, now, WORD);
        word.extend(format::end(now));
        std::fs::write(&part, word)
            .and_then(|()| std::fs::rename(&part, &path))
            .map_err(|source| LogError { action: "shorten", path, source })
    }

    /// The bytes that one job's log takes on disk; 0 without a log.
    ///
    /// # Errors
    /// When the file cannot be looked at.
    pub fn size(&self, job: JobId) -> Result<Bytes, LogError> {
        let path = self.state.job_log(job);
        match std::fs::metadata(&path) {
            Ok(found) => Ok(Bytes(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Bytes(0)),
            Err(source) => Err(LogError { action: "look at", path, source }),
        }
    }

    /// The bytes that all logs take on disk.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn total_size(&self) -> Result<Bytes, LogError> {
        let folder = self.state.logs();
        let sum = || -> io::Result<u64> {
            std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
        };
        sum().map(Bytes).map_err(|source| LogError {
            action: "look at the folder of",
            path: folder.clone(),
            source,
        })
    }

    fn active(&self, job: JobId) -> Result<Arc<JobLog>, LogError> {
        let mut active = lock(&self.active);
        if let Some(log) = active.get(&job) {
            return Ok(Arc::clone(log));
        }
        let path = self.state.job_log(job);
        let progress = open::measure(&path).map_err(|source| LogError {
            action: "read",
            path: path.clone(),
            source,
        })?;
        let log = Arc::new(JobLog {
            path,
            open: Mutex::new(None),
            progress: watch::Sender::new(progress),
        });
        active.insert(job, Arc::clone(&log));
        Ok(log)
    }

    /// Forgets logs that nobody uses and that are ended or not begun.
    fn sweep(&self) {
        lock(&self.active).retain(|_, log| {
            let progress = *log.progress.borrow();
            Arc::strong_count(log) > 1 || !(progress.ended || progress.length == 0)
        });
    }
}

impl JobLog {
    fn opened<'a>(
        &self,
        guard: &'a mut Option<OpenLog>,
        log_max: Bytes,
    ) -> Result<&'a mut OpenLog, LogError> {
        if guard.is_none() {
            let opened = OpenLog::open(&self.path, log_max);
            *guard = Some(opened.map_err(|source| self.error("open", source))?);
        }
        guard.as_mut().ok_or_else(|| self.error("open", io::ErrorKind::NotFound.into()))
    }

    fn error(&self, action: &'static str, source: io::Error) -> LogError {
        LogError { action, path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests;
