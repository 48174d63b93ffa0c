//! What must exist on the host before a runner's container is made, and goes away after it.
//!
//! Small blocking file work, apart from `translate`, which only names these paths.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::HostPaths;
use super::narrow::{self, HostView};
use super::translate::{self, CA_FILE, NARROWED_FOLDER};
use crate::fleet::effect::ContainerPlan;
use crate::ids::IncarnationId;

/// A file or folder of a runner could not be made or removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}")]
pub struct FilesError {
    /// What was to be done.
    pub action: &'static str,
    /// To what.
    pub path: PathBuf,
    /// The system's words.
    pub source: io::Error,
}

/// What [`forget_files`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forgotten {
    /// Nothing is left.
    All,
    /// Reports that nobody has moved into the store; they are kept.
    ButReports(PathBuf),
}

fn to(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FilesError {
    move |source| FilesError { action, path: path.to_owned(), source }
}

/// Makes what all runners share: the folder with the agent's socket, and the CA bundle in it.
///
/// The bundle is a copy, so that a replaced one reaches runners that are there already.
///
/// # Errors
/// The first file or folder that cannot be made.
pub fn prepare_shared(paths: &HostPaths) -> Result<(), FilesError> {
    let shared = paths.state.shared_with_runners();
    make_folder(&shared, 0o755)?;
    make_folder(&paths.reports.path, 0o755)?;
    let copy = shared.join(CA_FILE);
    let Some(bundle) = &paths.ca else {
        return match fs::remove_file(&copy) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(to("remove", &copy)(error))
            }
            _ => Ok(()),
        };
    };
    let text = fs::read(bundle).map_err(to("read the CA bundle", bundle))?;
    write_whole(&copy, &text)
}

/// Makes a runner's private folder, its narrowed view of the machine and its report folder.
///
/// Safe to repeat. The enrolment in the private folder is somebody else's.
///
/// # Errors
/// The first file or folder that cannot be made.
pub fn prepare_files(
    plan: &ContainerPlan,
    paths: &HostPaths,
    host: &HostView,
) -> Result<(), FilesError> {
    let private = paths.state.private(plan.incarnation);
    make_folder(&private, 0o700)?;
    let machine = private.join(NARROWED_FOLDER);
    make_folder(&machine, 0o755)?;
    let cpus = visible(plan, host);
    let texts = [
        ("meminfo", narrow::meminfo(plan.template.memory)),
        ("cpuinfo", narrow::cpuinfo(host, &cpus)),
        ("stat", narrow::stat(host, &cpus)),
        ("online", narrow::cpu_list(&cpus)),
        ("caches", translate::cache_list(plan)),
    ];
    for (name, text) in texts {
        let path = machine.join(name);
        // Not replaced by a rename: a mount holds on to the file that it was made from.
        fs::write(&path, text).map_err(to("write", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
            .map_err(to("open to all", &path))?;
    }
    make_folder(&translate::reports_source(plan, paths), 0o755)
}

/// The CPUs that a runner sees; the agent keeps its jobs on as many.
#[must_use]
pub fn visible(plan: &ContainerPlan, host: &HostView) -> Vec<u32> {
    let count = host.cpuinfo.lines().filter(|line| line.starts_with("processor")).count();
    let count = u32::try_from(count).unwrap_or(0);
    narrow::visible_cpus(plan.template.cpus, &plan.cpuset, count)
}

/// Reads the host's own view of itself, for the narrowed ones.
///
/// Where a file cannot be read, what programs take from it is missing in the narrowed one too.
#[must_use]
pub fn host_view() -> HostView {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    HostView { cpuinfo: read("/proc/cpuinfo"), stat: read("/proc/stat") }
}

/// Removes a runner's private folder, and its report folder unless reports are left in it.
///
/// # Errors
/// The first folder that cannot be removed.
pub fn forget_files(
    incarnation: IncarnationId,
    paths: &HostPaths,
) -> Result<Forgotten, FilesError> {
    let private = paths.state.private(incarnation);
    match fs::remove_dir_all(&private) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(to("remove", &private)(error));
        }
        _ => {}
    }
    let incoming = translate::incoming(paths, incarnation);
    match remove_empty(&incoming).map_err(to("remove", &incoming))? {
        Emptied::Gone => Ok(Forgotten::All),
        Emptied::FilesLeft => Ok(Forgotten::ButReports(incoming)),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Emptied {
    Gone,
    FilesLeft,
}

/// Removes a folder that has no files in it, with its folders; never follows a link.
fn remove_empty(folder: &Path) -> io::Result<Emptied> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Emptied::Gone),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || remove_empty(&entry.path())? == Emptied::FilesLeft {
            return Ok(Emptied::FilesLeft);
        }
    }
    fs::remove_dir(folder)?;
    Ok(Emptied::Gone)
}

fn make_folder(path: &Path, mode: u32) -> Result<(), FilesError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(to("make the folder", path))
}

fn write_whole(path: &Path, text: &[u8]) -> Result<(), FilesError> {
    let new = path.with_extension("new");
    fs::write(&new, text).map_err(to("write", &new))?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644))
        .map_err(to("open to all", &new))?;
    fs::rename(&new, path).map_err(to("replace", path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Reports;
    use crate::state_dir::StateDir;

    fn paths(folder: &Path) -> HostPaths {
        HostPaths {
            state: StateDir::new(folder.join("state")),
            reports: Reports::at(folder.join("reports")),
            ca: None,
        }
    }

    #[test]
    fn the_ca_bundle_follows_the_fleet_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut paths = paths(folder.path());
        let bundle = folder.path().join("corp.pem");
        let copy = paths.state.shared_with_runners().join(CA_FILE);
        for text in ["one", "two"] {
            fs::write(&bundle, text).expect("a bundle");
            paths.ca = Some(bundle.clone());
            prepare_shared(&paths).expect("prepared");
            assert_eq!(fs::read_to_string(&copy).expect("a copy"), text);
        }
        paths.ca = None;
        prepare_shared(&paths).expect("prepared");
        assert!(!copy.exists());
        paths.ca = Some(folder.path().join("missing.pem"));
        let error = prepare_shared(&paths).expect_err("no bundle");
        assert!(error.to_string().contains("read the CA bundle"), "{error}");
    }

    #[test]
    fn forgetting_a_runner_never_follows_a_link_and_keeps_what_nobody_took() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = paths(folder.path());
        let incoming = translate::incoming(&paths, IncarnationId(3));
        fs::create_dir_all(incoming.join("w/1")).expect("empty folders");
        fs::create_dir_all(folder.path().join("other")).expect("a folder");
        let gone = forget_files(IncarnationId(3), &paths).expect("forgotten");
        assert_eq!((gone, incoming.exists()), (Forgotten::All, false));
        fs::create_dir_all(&incoming).expect("again");
        std::os::unix::fs::symlink(folder.path().join("other"), incoming.join("link"))
            .expect("a link");
        let kept = forget_files(IncarnationId(3), &paths).expect("forgotten");
        assert_eq!(kept, Forgotten::ButReports(incoming));
        assert!(folder.path().join("other").exists());
    }
}
