//! What only process 1 must do: bury every dead child, and end every process.
//!
//! In a container the agent is process 1 of its own process namespace, and one `kill(-1)` reaches
//! everything there at once, also what went into other sessions. Run as an ordinary process (as the
//! tests do) it asks to inherit orphans, finds its descendants in `/proc`, and ends those.

use std::collections::BTreeMap;
use std::fs;

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, kill_process_group, wait,
};

use super::say;

/// Whether there are children, dead or alive, after all dead ones were buried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Some live.
    Some,
    /// There are none.
    None,
}

/// Buries all dead children, and tells of each.
pub(super) fn reap(mut each: impl FnMut(Pid, WaitStatus)) -> Left {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => each(pid, status),
            Ok(None) => return Left::Some,
            Err(Errno::INTR) => {}
            Err(Errno::CHILD) => return Left::None,
            Err(error) => {
                say(&format!("cannot wait for children: {error}"));
                return Left::Some;
            }
        }
    }
}

/// Sends a signal to everything that jobs have started.
pub(super) fn signal_all(signal: Signal) {
    if getpid().is_init() {
        // The group of process 1, negated, is -1: every process in this namespace but process 1.
        report(kill_process_group(Pid::INIT, signal));
        return;
    }
    for pid in descendants() {
        report(kill_process(pid, signal));
    }
}

/// Sends a signal to one process.
pub(super) fn signal(pid: Pid, signal: Signal) {
    report(kill_process(pid, signal));
}

fn report(result: rustix::io::Result<()>) {
    match result {
        // Nothing is left, or it ended just now.
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => say(&format!("cannot end all processes: {error} (is CAP_KILL missing?)")),
    }
}

/// All processes below this one, by parents.
fn descendants() -> Vec<Pid> {
    Processes::now().below(getpid())
}

/// The processes that there are at one moment. Those that end meanwhile are left out.
pub(super) struct Processes {
    children: BTreeMap<i32, Vec<i32>>,
}

impl Processes {
    pub(super) fn now() -> Self {
        let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for (pid, parent) in living() {
            children.entry(parent).or_default().push(pid);
        }
        Self { children }
    }

    /// The children of a process.
    pub(super) fn children(&self, parent: Pid) -> impl Iterator<Item = Pid> {
        let children = self.children.get(&parent.as_raw_nonzero().get());
        children.into_iter().flatten().copied().filter_map(Pid::from_raw)
    }

    /// Whether this process lives.
    pub(super) fn has(&self, pid: Pid) -> bool {
        let raw = pid.as_raw_nonzero().get();
        self.children.values().any(|children| children.contains(&raw))
    }

    /// All processes below this one.
    pub(super) fn below(&self, root: Pid) -> Vec<Pid> {
        let mut found: Vec<Pid> = self.children(root).collect();
        let mut next = 0;
        while let Some(parent) = found.get(next).copied() {
            found.extend(self.children(parent));
            next += 1;
        }
        found
    }
}

/// Process ids with their parents' ids, without the dead that nobody has buried yet.
fn living() -> Vec<(i32, i32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(|pid: i32| Some((pid, parent_of(pid)?))).collect()
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may contain anything, so fields are counted from its end.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    fields.next()?.parse().ok().filter(|_| !matches!(state, "Z" | "X"))
}
