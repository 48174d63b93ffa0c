//! Moves what a job left under `/reports` into the shared store.
//!
//! The runner's folder was written by hostile code: only plain files and folders are taken, nothing
//! is followed, and nothing but the job's own `workflow/run_id` is looked at.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};

/// Deeper trees than this are not reports.
const DEPTH_MAX: usize = 64;

/// Reports could not be moved.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub(super) struct ReportError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn to(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReportError {
    move |source| ReportError { action, path: path.to_owned(), source }
}

/// Moves `reports` (`workflow/run_id`) of one runner's folder into the store, merging with what is
/// there. Safe to repeat: what has been moved is not there any more.
pub(super) fn publish(own: &Path, store: &Path, reports: &str) -> Result<(), ReportError> {
    let from = own.join(reports);
    let into = store.join(reports);
    match fs::symlink_metadata(&from) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(to("look at", &from)(error)),
    }
    if is_empty(&from)? {
        return Ok(());
    }
    fs::create_dir_all(&into).map_err(to("make", &into))?;
    merge(&from, &into, DEPTH_MAX)?;
    // A run is as old as its folder, also when all that came went into folders in it.
    touch(&into).map_err(to("date", &into))
}

fn touch(folder: &Path) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(futimens(fs::File::open(folder)?, &times)?)
}

fn is_empty(folder: &Path) -> Result<bool, ReportError> {
    Ok(fs::read_dir(folder).map_err(to("read", folder))?.next().is_none())
}

/// Moves the entries of one folder into another that exists.
fn merge(from: &Path, into: &Path, depth: usize) -> Result<(), ReportError> {
    if depth == 0 {
        tracing::warn!(path = %from.display(), "reports nested too deep are left out");
        return Ok(());
    }
    for entry in fs::read_dir(from).map_err(to("read", from))? {
        let entry = entry.map_err(to("read", from))?;
        let (source, target) = (entry.path(), into.join(entry.file_name()));
        let kind = entry.file_type().map_err(to("look at", &source))?;
        if kind.is_dir() {
            make_folder(&target)?;
            merge(&source, &target, depth - 1)?;
        } else if kind.is_file() {
            move_file(&source, &target)?;
        } else {
            tracing::warn!(path = %source.display(), "a report that is no plain file is left out");
        }
    }
    Ok(())
}

/// A folder in the store; whatever else had its name gives way to it.
fn make_folder(path: &Path) -> Result<(), ReportError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(path).map_err(to("replace", path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(to("look at", path)(error)),
    }
    fs::create_dir(path).map_err(to("make", path))
}

/// Renames a file; across file systems it is copied.
fn move_file(source: &Path, target: &Path) -> Result<(), ReportError> {
    harmless(source)?;
    match fs::rename(source, target) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(source, target).map(|_bytes| ()).map_err(to("copy", source))
        }
        Err(error) => Err(to("move", source)(error)),
    }
}

/// A program of a job must not run with another's rights on the host.
fn harmless(file: &Path) -> Result<(), ReportError> {
    const ORDINARY: u32 = 0o777;
    let found = fs::symlink_metadata(file).map_err(to("look at", file))?.permissions();
    if found.mode() & 0o7777 == found.mode() & ORDINARY {
        return Ok(());
    }
    let mode = fs::Permissions::from_mode(found.mode() & ORDINARY);
    fs::set_permissions(file, mode).map_err(to("change the mode of", file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_arrive_as_they_were_and_links_do_not() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let (own, store) = (folder.path().join("own"), folder.path().join("store"));
        let run = own.join("ci/7");
        fs::create_dir_all(run.join("html/css"))?;
        fs::write(run.join("html/css/a.css"), "a")?;
        fs::write(run.join("junit.xml"), "new")?;
        fs::set_permissions(run.join("junit.xml"), fs::Permissions::from_mode(0o6755))?;
        std::os::unix::fs::symlink("/etc/passwd", run.join("passwd"))?;
        fs::create_dir_all(store.join("ci/7"))?;
        fs::write(store.join("ci/7/junit.xml"), "old")?;
        fs::write(store.join("ci/7/kept.txt"), "kept")?;

        publish(&own, &store, "ci/7")?;
        publish(&own, &store, "ci/7")?;

        let read = |name: &str| fs::read_to_string(store.join("ci/7").join(name));
        assert_eq!(read("html/css/a.css")?, "a");
        assert_eq!(read("junit.xml")?, "new");
        let mode = fs::metadata(store.join("ci/7/junit.xml"))?.permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        assert_eq!(read("kept.txt")?, "kept");
        assert!(!store.join("ci/7/passwd").exists());
        Ok(())
    }

    #[test]
    fn a_job_without_reports_leaves_no_folder() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let (own, store) = (folder.path().join("own"), folder.path().join("store"));
        fs::create_dir_all(own.join("jobs/job-1"))?;
        publish(&own, &store, "jobs/job-1")?;
        publish(&own, &store, "jobs/job-2")?;
        assert!(!store.exists());
        Ok(())
    }
}
