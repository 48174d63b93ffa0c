//! The folders and the environment that a job begins in.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, Uid, fchown, fstat, mkdirat, open, openat};
use rustix::io::Errno;

use super::Settings;
use crate::wire::message::JobOrder;

/// Where programs are when the image names no other places.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// More than any real `/etc/passwd` has; the image is not trusted to keep it small.
const PASSWD_MAX: u64 = 1024 * 1024;

/// How reports are named to jobs.
const REPORTS: &str = "/reports";

/// Whom a job's processes and files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owner {
    fn of(order: &JobOrder) -> Self {
        Self { uid: order.uid, gid: order.gid }
    }
}

/// Where jobs find the engine's socket, if they may reach the engine.
const ENGINE: &str = "/var/run/docker.sock";

/// The group that a job's processes have: its user's, or that of the engine's socket where the
/// fleet has mounted one. The library gives processes one group, and the socket is the host's, so
/// that nothing of it may be changed here.
pub(super) fn group(gid: u32) -> u32 {
    let group = || -> std::io::Result<Option<u32>> {
        let socket = fs::metadata(ENGINE)?;
        let folder = fs::metadata(Path::new(ENGINE).parent().unwrap_or(Path::new("/")))?;
        // One that the image or the host itself has is on the same file system as its folder.
        let mounted = socket.file_type().is_socket() && socket.dev() != folder.dev();
        Ok(Some(socket.gid()).filter(|gid| mounted && *gid != 0))
    };
    group().ok().flatten().unwrap_or(gid)
}

/// A place for a job, made ready.
#[derive(Debug)]
pub(super) struct Place {
    /// Its working folder.
    pub(super) work: PathBuf,
    /// Its environment before the fleet's own variables.
    pub(super) env: BTreeMap<&'static str, String>,
}

impl Place {
    /// Makes the folders of a job, owned by its user.
    pub(super) fn prepare(order: &JobOrder, settings: &Settings) -> Result<Self, String> {
        own_work(order, settings)?;
        let reports = make_job_reports(order, settings)?;
        let mut env = user_env(Owner::of(order), &settings.work)?;
        env.insert("SLATE_REPORTS", reports);
        Ok(Self { work: settings.work.clone(), env })
    }
}

/// The environment that every program of a user begins with.
pub(super) fn user_env(
    owner: Owner,
    work: &Path,
) -> Result<BTreeMap<&'static str, String>, String> {
    let (user, home) = user_and_home(owner.uid);
    let home = match home {
        Some(home) => home,
        None => make_home(owner, work)?,
    };
    let path = std::env::var("PATH").ok().filter(|path| !path.is_empty());
    Ok(BTreeMap::from([
        // The image's own: it knows where its programs are.
        ("PATH", path.unwrap_or_else(|| PATH.to_owned())),
        ("HOME", home),
        ("USER", user),
        ("LANG", "C.UTF-8".to_owned()),
    ]))
}

/// Empties the working folder: in a runner that serves many jobs, the last one's files are there.
pub(super) fn empty_work(settings: &Settings) -> Result<(), String> {
    let emptied = || -> std::io::Result<()> {
        for entry in fs::read_dir(&settings.work)? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    };
    emptied().map_err(|error| problem("empty", &settings.work, error))
}

/// Gives the working folder to the job's user.
pub(super) fn own_work(order: &JobOrder, settings: &Settings) -> Result<(), String> {
    own(&settings.work, Owner::of(order))
}

/// Gives a folder to a job's user.
pub(super) fn own(path: &Path, owner: Owner) -> Result<(), String> {
    let folder = open_folder(path)?;
    give(&folder, owner).map_err(|error| problem("give to the job's user", path, error))
}

/// Makes a folder of a job's user, and says where it is.
pub(super) fn make_own(base: &Path, name: &str, owner: Owner) -> Result<PathBuf, String> {
    make_below(base, &[name], owner)?;
    Ok(base.join(name))
}

fn make_home(owner: Owner, work: &Path) -> Result<String, String> {
    Ok(make_own(work, ".home", owner)?.display().to_string())
}

/// Makes the job's folder below `/reports`, and says where it is.
fn make_job_reports(order: &JobOrder, settings: &Settings) -> Result<String, String> {
    let below = order.reports.strip_prefix(REPORTS).and_then(|rest| rest.strip_prefix('/'));
    let names: Vec<&str> = below.unwrap_or_default().split('/').collect();
    if names.iter().any(|name| matches!(*name, "" | "." | "..")) {
        return Err(format!("`{}` is no folder below {REPORTS}", order.reports));
    }
    make_reports(&names, Owner::of(order), settings)?;
    Ok(settings.reports.join(names.join("/")).display().to_string())
}

/// Makes a folder below `/reports`.
pub(super) fn make_reports(
    names: &[&str],
    owner: Owner,
    settings: &Settings,
) -> Result<(), String> {
    make_below(&settings.reports, names, owner)
}

/// Makes folders below one that exists. Never through a link: an earlier job may have left one.
fn make_below(base: &Path, names: &[&str], owner: Owner) -> Result<(), String> {
    let mut folder = open_folder(base)?;
    let mut path = base.to_path_buf();
    for name in names {
        path.push(name);
        let made = match mkdirat(&folder, *name, Mode::from_raw_mode(0o755)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(problem("make", &path, error)),
        };
        folder = openat(&folder, *name, folder_flags(), Mode::empty())
            .map_err(|error| problem("open", &path, error))?;
        if made {
            give(&folder, owner)
                .map_err(|error| problem("give to the job's user", &path, error))?;
        }
    }
    Ok(())
}

fn folder_flags() -> OFlags {
    OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY
}

fn open_folder(path: &Path) -> Result<OwnedFd, String> {
    open(path, folder_flags(), Mode::empty()).map_err(|error| problem("open", path, error))
}

fn give(folder: &OwnedFd, owner: Owner) -> rustix::io::Result<()> {
    let found = fstat(folder)?;
    if (found.st_uid, found.st_gid) == (owner.uid, owner.gid) {
        return Ok(());
    }
    fchown(folder, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
}

fn problem(action: &str, path: &Path, error: impl Display) -> String {
    format!("cannot {action} the folder {} in the runner: {error}", path.display())
}

/// The user's name and home as the image has them; the number and nothing if it has none.
fn user_and_home(uid: u32) -> (String, Option<String>) {
    let mut passwd = String::new();
    // An image without users is as good as one without this user.
    let _ = fs::File::open("/etc/passwd")
        .and_then(|file| file.take(PASSWD_MAX).read_to_string(&mut passwd));
    match passwd.lines().find_map(|line| user_of(line, uid)) {
        Some((name, home)) => (name, Some(home).filter(|home| Path::new(home).is_dir())),
        None => (uid.to_string(), None),
    }
}

fn user_of(line: &str, uid: u32) -> Option<(String, String)> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, id, _, _, home, _] = fields.as_slice() else { return None };
    (id.parse() == Ok(uid)).then(|| ((*name).to_owned(), (*home).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_number() {
        let line = "runner:x:1000:1000:,,,:/home/runner:/bin/bash";
        assert_eq!(user_of(line, 1000), Some(("runner".to_owned(), "/home/runner".to_owned())));
        for (line, uid) in [(line, 1001), ("broken", 0), ("a:x:b:0:::", 0)] {
            assert_eq!(user_of(line, uid), None);
        }
    }
}
