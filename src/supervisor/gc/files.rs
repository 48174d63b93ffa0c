//! What lies in the state folder and the report store.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use super::{Found, GcAge, GcEffect, GcOrder, GcReport, post_mortems};
use crate::causes::with_causes;
use crate::fleet::holdings::Holdings;
use crate::ids::BlobId;
use crate::logs::LogStore;
use crate::state_dir::StateDir;
use crate::units::Time;

/// A working folder may be here before its job is handed in, but not for longer than this.
const UPLOAD_LIFE: Duration = Duration::from_secs(60 * 60);
/// The supervisor's own log is begun anew beyond this size …
const OWN_LOG_MAX: u64 = 32 * 1024 * 1024;
/// … and this much of its end is kept.
const OWN_LOG_KEPT: usize = 1024 * 1024;
/// Deeper trees than this are not reports.
const DEPTH_MAX: usize = 64;

/// What a collection of files works on.
pub(super) struct Work {
    pub state: StateDir,
    pub logs: Arc<LogStore>,
    pub holdings: Arc<Holdings>,
    pub order: GcOrder,
    pub now: Time,
}

impl Work {
    pub fn collect(&self) -> GcReport {
        let mut report = GcReport::default();
        report.take("job logs", self.job_logs());
        report.take("post-mortems", post_mortems(self));
        report.take("reports", self.reports());
        report.take("working folders", self.blobs().map_err(|error| error.to_string()));
        report.take("supervisor log", self.own_log().map_err(|error| error.to_string()));
        report
    }

    fn removes(&self) -> bool {
        self.order.effect == GcEffect::Remove
    }

    /// The output of jobs that are over: beyond its age, then the oldest beyond the bound in all.
    fn job_logs(&self) -> Result<Found, String> {
        let retention = &self.holdings.retention;
        let age = match self.order.age {
            GcAge::Any => Some(Duration::ZERO),
            GcAge::AsWritten => retention.logs,
        };
        let failed = |error| with_causes(&error);
        let mut total = self.logs.total_size().map_err(failed)?.0;
        let mut found = Found::default();
        // In the order of their ends, oldest first.
        for (job, ended) in &self.holdings.ended {
            let size = self.logs.size(*job).map_err(failed)?.0;
            let is_old = age.is_some_and(|age| self.now.since(*ended) > age);
            if size <= LogStore::FORGOTTEN_MAX || !(is_old || total > retention.logs_max.0) {
                continue;
            }
            if self.removes() {
                self.logs.forget(*job, self.now).map_err(failed)?;
            }
            total = total.saturating_sub(size);
            found.add(job, size);
        }
        Ok(found)
    }

    /// Reports that this fleet published: beyond their age, then those beyond the bound in all that
    /// were not written to for the longest time. Other things in the store are not looked at.
    fn reports(&self) -> Result<Found, String> {
        let told = |error: io::Error| error.to_string();
        let mut found = Found::default();
        let mut runs = published(&self.state.published()).map_err(told)?;
        runs.sort();
        let store = &self.holdings.reports.path;
        let sizes: Vec<u64> = runs.iter().map(|run| size_of(&store.join(&run.name), 0)).collect();
        let mut total: u64 = sizes.iter().sum();
        for (run, size) in runs.iter().zip(sizes) {
            let is_old =
                self.holdings.reports.keep.is_some_and(|keep| self.now.since(run.at) > keep);
            let is_too_much = total > self.holdings.retention.reports_max.0;
            if self.holdings.runs.contains(&run.name) || !(is_old || is_too_much) {
                continue;
            }
            if self.removes() {
                remove_run(store, &self.state.published(), &run.name).map_err(told)?;
            }
            total = total.saturating_sub(size);
            found.add(&run.name, size);
        }
        Ok(found)
    }

    fn blobs(&self) -> io::Result<Found> {
        let mut found = Found::default();
        let needed: BTreeSet<&str> = self.holdings.blobs.iter().map(BlobId::as_str).collect();
        for entry in fs::read_dir(self.state.blobs())? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_fresh = self.now.since(modified(&metadata)) <= UPLOAD_LIFE;
            if needed.contains(name.as_str()) || is_fresh || !metadata.is_file() {
                continue;
            }
            if self.removes() {
                fs::remove_file(entry.path())?;
            }
            found.add(name, metadata.len());
        }
        Ok(found)
    }

    /// Begins the supervisor's own log anew; whoever writes it appends, and goes on at its start.
    fn own_log(&self) -> io::Result<Found> {
        let path = self.state.supervisor_log();
        let mut found = Found::default();
        let size = match fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(error),
        };
        if size <= OWN_LOG_MAX {
            return Ok(found);
        }
        if self.removes() {
            let file = fs::File::options().read(true).write(true).open(&path)?;
            let mut end = vec![0; OWN_LOG_KEPT];
            let from = size.saturating_sub(OWN_LOG_KEPT as u64);
            let length = std::os::unix::fs::FileExt::read_at(&file, &mut end, from)?;
            fs::write(path.with_extension("log.1"), end.get(..length).unwrap_or_default())?;
            file.set_len(0)?;
        }
        found.add("supervisor.log", size);
        Ok(found)
    }
}

/// A run whose reports this fleet published, ordered by the last time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    at: Time,
    /// `workflow/run_id`.
    name: String,
}

/// Remembers that a run's reports in the store are this fleet's, and when it published last.
pub(in crate::supervisor) fn mark_published(marks: &Path, reports: &str) -> io::Result<()> {
    let mark = marks.join(reports);
    if let Some(folder) = mark.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(mark, "")
}

fn published(marks: &Path) -> io::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for workflow in entries(marks)? {
        for mark in entries(&workflow)? {
            let names = [workflow.file_name(), mark.file_name()];
            let names = names.map(|name| name.unwrap_or_default().to_string_lossy().into_owned());
            let at = modified(&fs::symlink_metadata(&mark)?);
            runs.push(Run { at, name: names.join("/") });
        }
    }
    Ok(runs)
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn remove_run(store: &Path, marks: &Path, name: &str) -> io::Result<()> {
    match fs::remove_dir_all(store.join(name)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::remove_file(marks.join(name))?;
    for folder in [store, marks] {
        if let Some(workflow) = folder.join(name).parent() {
            // A workflow with other runs stays.
            let _is_not_empty = fs::remove_dir(workflow);
        }
    }
    Ok(())
}

/// What a tree takes on disk; links are not followed, and what cannot be read counts as nothing.
fn size_of(path: &Path, depth: usize) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() || depth >= DEPTH_MAX {
        return metadata.len();
    }
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    below.map(|entry| size_of(&entry.path(), depth + 1)).sum()
}

fn modified(metadata: &fs::Metadata) -> Time {
    let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Time(since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}
