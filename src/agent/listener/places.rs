//! Where the things of listeners are, and how long they may take.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the things of listeners are; the defaults are right in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Where the forge's program may be; the first that has one counts.
    pub roots: Vec<PathBuf>,
    /// Where the scripts are put that the program runs before and after a job.
    pub hooks: PathBuf,
    /// What a kept registration needs, root's alone.
    pub identity: PathBuf,
    /// The kernel's counters of the network.
    pub counters: PathBuf,
    /// How long things may take.
    pub waits: Waits,
}

impl Default for Places {
    fn default() -> Self {
        let roots = ["/opt/github-runner", "/home/runner", "/actions-runner", "/runner"];
        Self {
            roots: roots.map(PathBuf::from).to_vec(),
            hooks: "/.slate-hooks".into(),
            identity: "/.slate-identity".into(),
            counters: "/proc/net/netstat".into(),
            waits: Waits::DEFAULT,
        }
    }
}

impl Places {
    /// All of them below one folder, for tests outside of a container.
    #[must_use]
    pub fn below(folder: &Path, waits: Waits) -> Self {
        Self {
            roots: vec![folder.join("root")],
            hooks: folder.join("hooks"),
            identity: folder.join("identity"),
            counters: folder.join("netstat"),
            waits,
        }
    }
}

/// How long things of listeners may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waits {
    /// From one completed poll to the next; a healthy one takes less than a minute.
    pub poll: Duration,
    /// The same while the forge cannot be reached.
    pub unconnected: Duration,
    /// From a claimed job to its worker.
    pub claim: Duration,
    /// From the end of a worker to the word that its job is over.
    pub after_worker: Duration,
    /// A worker without its listener. The forge gives its job up after ten minutes.
    pub worker_alone: Duration,
    /// Registering.
    pub register: Duration,
    /// The end of a listener that was asked to end.
    pub end: Duration,
    /// An ended listener without a supervisor that would replace its runner.
    pub forsaken: Duration,
    /// How often a waiting listener is looked at. What it says is heard at once.
    pub look_idle: Duration,
    /// How often a working one is looked at.
    pub look_busy: Duration,
}

impl Waits {
    /// Those of real runners.
    pub const DEFAULT: Self = Self {
        poll: Duration::from_secs(180),
        unconnected: Duration::from_secs(900),
        claim: Duration::from_secs(60),
        after_worker: Duration::from_secs(30),
        worker_alone: Duration::from_secs(900),
        register: Duration::from_secs(120),
        end: Duration::from_secs(30),
        forsaken: Duration::from_secs(10),
        look_idle: Duration::from_secs(5),
        look_busy: Duration::from_secs(1),
    };

    /// All of them so many times shorter, for tests.
    #[must_use]
    pub fn hurried(times: u32) -> Self {
        let d = Self::DEFAULT;
        let short = |wait: Duration| wait / times.max(1);
        Self {
            poll: short(d.poll),
            unconnected: short(d.unconnected),
            claim: short(d.claim),
            after_worker: short(d.after_worker),
            worker_alone: short(d.worker_alone),
            register: short(d.register),
            end: short(d.end),
            forsaken: short(d.forsaken),
            look_idle: short(d.look_idle),
            look_busy: short(d.look_busy),
        }
    }
}
