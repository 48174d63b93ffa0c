//! What the kernel tells of a process: its name and the containers that it runs in.

use std::fs;
use std::path::Path;

use super::cgroup;
use crate::fleet::gpu::GpuProcess;
use crate::units::GpuMib;

/// A process as a driver tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Its number on the host.
    pub pid: u32,
    /// What it holds of the card; none where the driver does not say.
    pub memory: Option<GpuMib>,
    /// Percent of the card's time that it had lately.
    pub busy_percent: Option<u8>,
}

/// Adds name and containers. A process that is not in `proc_root`, or that another one took the
/// number of meanwhile, has neither.
#[must_use]
pub fn describe(proc_root: &Path, uses: &[Use]) -> Vec<GpuProcess> {
    uses.iter()
        .map(|it| {
            let folder = proc_root.join(it.pid.to_string());
            let (name, containers) = look(&folder).unwrap_or_default();
            let mut containers = containers.into_iter();
            GpuProcess {
                pid: it.pid,
                name,
                container: containers.next(),
                nested: containers.collect(),
                runner: None,
                memory: it.memory,
                busy_percent: it.busy_percent,
            }
        })
        .collect()
}

type Seen = (String, Vec<crate::ids::ContainerId>);

fn look(folder: &Path) -> Option<Seen> {
    let before = started(folder)?;
    let name = fs::read_to_string(folder.join("comm")).ok()?.trim_end().to_owned();
    let groups = fs::read_to_string(folder.join("cgroup")).ok()?;
    let same = started(folder)? == before;
    same.then(|| (name, cgroup::containers(&groups)))
}

/// When the process began, in clock ticks since the machine did: the 22nd field of `stat`, counted
/// behind the name, which may hold anything (`proc_pid_stat(5)`).
fn started(folder: &Path) -> Option<u64> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ContainerId;

    const ID: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9";

    #[test]
    fn a_process_has_its_name_and_its_containers() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("77");
        fs::create_dir(&folder).expect("made");
        let fields = (4..=40).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        fs::write(folder.join("stat"), format!("77 (a) b) S {fields}")).expect("written");
        fs::write(folder.join("comm"), "python3\n").expect("written");
        let inner = ID.replace('0', "f");
        let groups = format!("0::/docker/{ID}/docker/{inner}\n");
        fs::write(folder.join("cgroup"), groups).expect("written");
        let uses = [77, 78].map(|pid| Use { pid, memory: Some(GpuMib(5)), busy_percent: None });
        let found = describe(root.path(), &uses);
        assert_eq!(started(&folder), Some(22));
        assert_eq!(found[0].name, "python3");
        assert_eq!(found[0].container.as_ref().map(ContainerId::as_str), Some(ID));
        assert_eq!(found[0].nested.len(), 1);
        assert_eq!((found[1].name.as_str(), found[1].container.as_ref()), ("", None));
        assert_eq!(found[1].memory, Some(GpuMib(5)));
    }

    #[test]
    fn this_process_is_found_in_the_real_files() {
        let pid = std::process::id();
        let found = describe(Path::new("/proc"), &[Use { pid, memory: None, busy_percent: None }]);
        assert!(!found[0].name.is_empty());
    }
}
