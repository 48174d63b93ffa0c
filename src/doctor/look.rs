//! Reads what the checks judge. Nothing is changed, and what cannot be read is left out.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statfs, statvfs};
use rustix::process::{Resource, getrlimit};

use super::facts::{
    Boot, CardsState, EnvState, FileSystem, Folder, HostState, SecretsFile, Unit, Wanted,
};
use crate::fleet::gpu::GpuVendor;
use crate::ids::ImageRef;
use crate::inventory::Inventory;
use crate::spec::Spec;
use crate::units::Bytes;

/// Units that are looked into; a machine has some hundred.
const UNITS_MAX: usize = 1000;
/// A unit is a few lines.
const UNIT_MAX: u64 = 64 * 1024;

/// What a fleet asks for at most: every pool as large as it may become.
#[must_use]
pub fn wanted(spec: &Spec) -> Wanted {
    let mut wanted = Wanted {
        disk_floor: spec.limits.disk_floor,
        proxied: spec.proxy.as_ref().is_some_and(|it| it.https.is_some()),
        ..Wanted::default()
    };
    for pool in &spec.pools {
        let most = pool.size.most().saturating_add(pool.spares);
        wanted.runners = wanted.runners.saturating_add(most);
        let Some(profile) = spec.profiles.get(&pool.profile) else { continue };
        let all = |each: u64| u64::from(most).saturating_mul(each);
        wanted.processes = wanted.processes.saturating_add(all(u64::from(profile.pids)));
        wanted.memory = Bytes(wanted.memory.0.saturating_add(all(profile.memory.0)));
        if profile.gpu.is_some() {
            wanted.cards = Some(spec.gpu.request);
        }
    }
    wanted
}

/// The images of the profiles that pools use, each once.
#[must_use]
pub fn images(spec: &Spec) -> Vec<ImageRef> {
    let mut images: Vec<ImageRef> = Vec::new();
    for profile in spec.pools.iter().filter_map(|pool| spec.profiles.get(&pool.profile)) {
        if !images.contains(&profile.image) {
            images.push(profile.image.clone());
        }
    }
    images
}

/// The machine, from the files of its kernel below `root` (`/`).
#[must_use]
pub fn host(root: &Path, memory: Option<Bytes>) -> HostState {
    let number = |path: &str| text(root, path)?.trim().parse().ok();
    HostState {
        pid_max: number("proc/sys/kernel/pid_max"),
        threads_max: number("proc/sys/kernel/threads-max"),
        inotify_instances: number("proc/sys/fs/inotify/max_user_instances"),
        inotify_watches: number("proc/sys/fs/inotify/max_user_watches"),
        file_max: number("proc/sys/fs/file-max"),
        open_files: Some(getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)),
        overcommit: number("proc/sys/vm/overcommit_memory"),
        memory,
        controllers: controllers(root),
        modules: text(root, "sys/kernel/security/lsm")
            .map(|all| all.trim().split(',').map(str::to_owned).collect()),
        resolvers: resolvers(root),
        mtu: mtu(root),
        boot: boot(root),
    }
}

fn text(root: &Path, path: &str) -> Option<String> {
    fs::read_to_string(root.join(path)).ok()
}

/// Of the unified hierarchy, else those that the kernel has switched on.
fn controllers(root: &Path) -> Option<Vec<String>> {
    if let Some(all) = text(root, "sys/fs/cgroup/cgroup.controllers") {
        return Some(all.split_whitespace().map(str::to_owned).collect());
    }
    let all = text(root, "proc/cgroups")?;
    let rows = all.lines().filter(|line| !line.starts_with('#'));
    let on = rows.filter_map(|row| {
        let mut columns = row.split_whitespace();
        let name = columns.next()?;
        (columns.next_back() == Some("1")).then(|| name.to_owned())
    });
    Some(on.collect())
}

/// As Docker takes them over: where only systemd's stub is named, those that stand behind it.
fn resolvers(root: &Path) -> Option<Vec<String>> {
    let servers = |path| {
        let file = text(root, path)?;
        let lines = file.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
        Some(lines.map(|address| address.trim().to_owned()).collect::<Vec<_>>())
    };
    let named: Vec<String> = servers("etc/resolv.conf")?;
    let is_stub = named == ["127.0.0.53"];
    match is_stub.then(|| servers("run/systemd/resolve/resolv.conf")).flatten() {
        Some(behind) => Some(behind),
        None => Some(named),
    }
}

/// Of the interface of the default route, and of Docker's bridge.
fn mtu(root: &Path) -> Option<(u32, u32)> {
    let routes = text(root, "proc/net/route")?;
    let out = routes.lines().find_map(|line| {
        let mut columns = line.split_whitespace();
        let name = columns.next()?;
        (columns.next() == Some("00000000")).then_some(name)
    })?;
    let of = |name: &str| text(root, &format!("sys/class/net/{name}/mtu"))?.trim().parse().ok();
    Some((of(out)?, of("docker0")?))
}

fn boot(root: &Path) -> Option<Boot> {
    root.join("run/systemd/system").exists().then(|| {
        let wants =
            ["multi-user.target.wants/docker.service", "sockets.target.wants/docker.socket"];
        // The link itself: where it leads to lies outside of a root that is not `/`.
        let is_wanted =
            |it: &str| root.join("etc/systemd/system").join(it).symlink_metadata().is_ok();
        Boot { engine: wants.into_iter().any(is_wanted), supervisor: unit(root) }
    })
}

fn unit(root: &Path) -> Unit {
    if names_this_program(&root.join("etc/systemd/system")) {
        return Unit::Machine;
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let home = home.strip_prefix("/").unwrap_or(&home);
    if !names_this_program(&root.join(home).join(".config/systemd/user")) {
        return Unit::None;
    }
    let user = std::env::var_os("USER").unwrap_or_default();
    match root.join("var/lib/systemd/linger").join(user).is_file() {
        true => Unit::Lingering,
        false => Unit::Session,
    }
}

fn names_this_program(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(UNITS_MAX);
    let units = entries.map(|entry| entry.path());
    units.filter(|path| path.extension().is_some_and(|it| it == "service")).any(|path| {
        let is_small = path.metadata().is_ok_and(|it| it.is_file() && it.len() <= UNIT_MAX);
        is_small && fs::read_to_string(path).is_ok_and(|unit| unit.contains("slate-fleet"))
    })
}

/// The cards that an inventory has.
#[must_use]
pub fn cards(found: &Inventory) -> CardsState {
    let nvidia = found.gpus.iter().filter(|it| it.card.vendor == GpuVendor::Nvidia);
    CardsState {
        count: found.gpus.len(),
        nvidia: nvidia.count(),
        driver: found.driver.clone(),
        notes: found.notes.clone(),
    }
}

/// A folder, or the nearest one above it that is there; none if nothing can be said of its disk.
#[must_use]
pub fn folder(holds: &'static str, path: &Path) -> Option<Folder> {
    let there = path.ancestors().find(|it| it.is_dir())?;
    let disk = statvfs(there).ok()?;
    let kind =
        statfs(there).map_or(FileSystem::Local, |it| kind(u64::try_from(it.f_type).unwrap_or(0)));
    Some(Folder {
        holds,
        path: there.to_owned(),
        kind,
        free: Bytes(disk.f_bavail.saturating_mul(disk.f_frsize)),
        total: Bytes(disk.f_blocks.saturating_mul(disk.f_frsize)),
        inodes: (disk.f_favail, disk.f_files),
        mode: path.metadata().ok().map(|it| it.mode()),
        refused: refused(path, there),
    })
}

/// Why a folder cannot be used; one that is not there is to be made in the one that is.
fn refused(path: &Path, there: &Path) -> Option<String> {
    if path != there && path.symlink_metadata().is_ok() {
        return Some(format!("{} is no folder", path.display()));
    }
    let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    let error = access(there, all).err()?;
    Some(format!("{}: {}", there.display(), io::Error::from(error)))
}

/// By the numbers of Linux' `magic.h`, as statfs(2) lists them.
fn kind(number: u64) -> FileSystem {
    match number {
        0x6969 => FileSystem::Network("NFS"),
        0xFF53_4D42 | 0xFE53_4D42 | 0x517B => FileSystem::Network("SMB"),
        0x00C3_6400 => FileSystem::Network("Ceph"),
        0x0102_1997 => FileSystem::Network("9p"),
        0x5346_414F => FileSystem::Network("AFS"),
        0x0102_1994 | 0x8584_58F6 => FileSystem::Memory,
        _ => FileSystem::Local,
    }
}

/// The file of secrets, if it is there.
#[must_use]
pub fn secrets_file(path: &Path) -> Option<SecretsFile> {
    let mode = path.metadata().ok()?.mode();
    Some(SecretsFile { path: path.to_owned(), mode })
}

/// The addresses that expose something, by variables and the fleet file.
#[must_use]
pub fn env(spec: Option<&Spec>) -> EnvState {
    let api = spec.map(|spec| &spec.api);
    let read = |name| std::env::var(name).ok().filter(|it| !it.is_empty());
    EnvState {
        docker_host: read("DOCKER_HOST"),
        docker_tls: read("DOCKER_TLS_VERIFY").is_some(),
        listen: read("SLATE_LISTEN").or_else(|| Some(api?.listen?.to_string())),
        api_tls: api.is_some_and(|api| api.tls.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        root
    }

    #[test]
    fn the_kernels_files_are_read() {
        let root = root(&[
            ("proc/sys/kernel/pid_max", "32768\n"),
            (
                "proc/cgroups",
                "#subsys_name\thierarchy\tnum\tenabled\ncpu\t3\t1\t1\nmemory\t0\t1\t0\n",
            ),
            ("etc/resolv.conf", "# stub\nnameserver 127.0.0.53\noptions edns0\n"),
            ("run/systemd/resolve/resolv.conf", "nameserver 192.168.1.1\n"),
            ("proc/net/route", "Iface\tDestination\teth0\t0\nwan0\t00000000\t0101A8C0\n"),
            ("sys/class/net/wan0/mtu", "1400\n"),
            ("sys/class/net/docker0/mtu", "1500\n"),
            ("sys/kernel/security/lsm", "capability,apparmor"),
        ]);
        let found = host(root.path(), None);
        assert_eq!(found.pid_max, Some(32_768));
        assert_eq!(found.threads_max, None);
        assert_eq!(found.controllers, Some(vec!["cpu".to_owned()]));
        assert_eq!(found.resolvers, Some(vec!["192.168.1.1".to_owned()]));
        assert_eq!(found.mtu, Some((1400, 1500)));
        assert_eq!(found.modules.map(|it| it.len()), Some(2));
        assert_eq!(found.boot, None);
    }

    #[test]
    fn the_unified_hierarchy_and_plain_servers_go_first() {
        let root = root(&[
            ("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n"),
            ("proc/cgroups", "cpu\t3\t1\t1\n"),
            ("etc/resolv.conf", "nameserver 9.9.9.9\nnameserver 127.0.0.53\n"),
            ("run/systemd/resolve/resolv.conf", "nameserver 192.168.1.1\n"),
        ]);
        let found = host(root.path(), None);
        assert_eq!(found.controllers.map(|it| it.len()), Some(3));
        assert_eq!(found.resolvers, Some(vec!["9.9.9.9".to_owned(), "127.0.0.53".to_owned()]));
    }

    #[test]
    fn what_starts_with_the_machine_is_read_from_units() {
        let none = root(&[("run/systemd/system/x", "")]);
        let expected = Boot { engine: false, supervisor: Unit::None };
        assert_eq!(boot(none.path()), Some(expected));
        let both = root(&[
            ("run/systemd/system/x", ""),
            ("etc/systemd/system/multi-user.target.wants/docker.service", ""),
            ("etc/systemd/system/ci.service", "[Service]\nExecStart=/usr/bin/slate-fleet up\n"),
        ]);
        let expected = Boot { engine: true, supervisor: Unit::Machine };
        assert_eq!(boot(both.path()), Some(expected));
    }

    #[test]
    fn a_folder_that_is_not_there_is_judged_by_the_disk_that_it_would_be_on() {
        let root = root(&[("here/x", "")]);
        let found = folder("state", &root.path().join("here/not/yet")).expect("a disk");
        assert_eq!((found.path, found.mode), (root.path().join("here"), None));
        assert!(found.total > Bytes(0) && found.free <= found.total);
        assert_eq!(kind(0x6969), FileSystem::Network("NFS"));
        assert_eq!(kind(0xEF53), FileSystem::Local);
    }
}
