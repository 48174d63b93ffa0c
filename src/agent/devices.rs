//! The devices that the container was given beside the usual ones: its card's nodes.
//!
//! A runtime's hook adds them behind the engine's back, and systemd takes them away again when it
//! is reloaded: it writes the device rules of each scope anew from what it knows itself. The nodes
//! stay, opening them is refused, and only a new container has the card again. So process 1 asks
//! the kernel from time to time. `access` asks the device rules as `open` does
//! (`inode_permission` in `fs/namei.c`), and neither wakes nor initialises a card.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, Gid, access, chown};
use rustix::io::Errno;
use rustix::process::getpid;

use super::say;

/// What every container has (the runtime's default devices).
const USUAL: [&str; 8] = ["console", "full", "null", "ptmx", "random", "tty", "urandom", "zero"];
/// Folders with nodes of cards in them.
const FOLDERS: [&str; 2] = ["dri", "nvidia-caps"];
/// A container is given a handful; more is the host's own `/dev`, which is left alone.
const MOST: usize = 64;

/// Device nodes that the container was given.
#[derive(Debug, Clone, Default)]
pub(super) struct Devices {
    nodes: Vec<PathBuf>,
}

impl Devices {
    /// Those of this container; none where the agent is not process 1 of one.
    pub fn of_container() -> Self {
        match getpid().is_init() {
            true => Self::in_folder(Path::new("/dev")),
            false => Self::default(),
        }
    }

    fn in_folder(dev: &Path) -> Self {
        // A node that is mounted from elsewhere is not the container's own.
        let own = fs::metadata(dev).map(|it| it.dev()).ok();
        let folders = FOLDERS.iter().map(|name| dev.join(name));
        let entries =
            folders.chain([dev.to_owned()]).filter_map(|folder| fs::read_dir(folder).ok());
        let given = entries.flatten().filter_map(Result::ok).filter(|entry| {
            let is_usual = USUAL.iter().any(|name| entry.file_name() == *name);
            let is_node =
                |it: fs::Metadata| it.file_type().is_char_device() && Some(it.dev()) == own;
            !is_usual && entry.metadata().is_ok_and(is_node)
        });
        let mut nodes: Vec<PathBuf> = given.map(|entry| entry.path()).collect();
        nodes.sort();
        if nodes.len() > MOST {
            nodes.clear();
        }
        Self { nodes }
    }

    /// Lets a job's group use the nodes that only a group of the host may open. A job runs without
    /// the container's groups, and the nodes are this container's own.
    pub fn grant(&self, group: u32) {
        const OTHERS: u32 = 0o006;
        for node in &self.nodes {
            let is_closed = fs::metadata(node)
                .is_ok_and(|it| it.mode() & OTHERS != OTHERS && it.gid() != group);
            if is_closed && let Err(error) = chown(node, None, Some(Gid::from_raw(group))) {
                say(&format!("cannot give {} to the job: {error}", node.display()));
            }
        }
    }

    /// A node that the container may no longer open.
    pub fn lost(&self) -> Option<&Path> {
        let is_refused = |node: &&PathBuf| {
            access(node.as_path(), Access::READ_OK | Access::WRITE_OK) == Err(Errno::PERM)
        };
        self.nodes.iter().find(is_refused).map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_links_and_the_usual_nodes_are_no_cards() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("dri")).expect("a folder");
        fs::write(folder.path().join("dri/renderD128"), "").expect("a file");
        std::os::unix::fs::symlink("/dev/null", folder.path().join("nvidia0")).expect("a link");
        let devices = Devices::in_folder(folder.path());
        assert!(devices.nodes.is_empty() && devices.lost().is_none(), "{devices:?}");
    }

    #[test]
    fn nobodys_devices_are_touched_where_the_agent_is_not_process_1() {
        assert!(Devices::of_container().nodes.is_empty());
    }
}
