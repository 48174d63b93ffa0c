//! What the checks judge, as plain data: what a fleet asks for, its engine, its host, its folders.

use std::path::PathBuf;

use crate::engine::survey::EngineSurvey;
use crate::spec::GpuRequestKind;
use crate::units::{Bytes, Time};

/// All of it. What could not be read is none, and the check says that it was skipped.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Now, by this program's clock.
    pub now: Time,
    /// What the fleet file asks for.
    pub wanted: Option<Wanted>,
    /// The engine; none if it does not answer.
    pub engine: Option<EngineSurvey>,
    /// Why it does not.
    pub engine_trouble: String,
    /// Jobs that run now.
    pub running: Option<u32>,
    /// The machine that this program runs on.
    pub host: HostState,
    /// The cards of this machine.
    pub cards: CardsState,
    /// The folders that the fleet writes to.
    pub folders: Vec<Folder>,
    /// The fleet's file of secrets, if it is there.
    pub env_file: Option<SecretsFile>,
    /// Where engine and API are reached.
    pub env: EnvState,
}

/// What a fleet asks for at most.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Runners.
    pub runners: u32,
    /// Processes of all of them together.
    pub processes: u64,
    /// Memory of all of them together.
    pub memory: Bytes,
    /// Least space on each disk.
    pub disk_floor: Bytes,
    /// Whether jobs reach `https://` addresses through a proxy.
    pub proxied: bool,
    /// How cards are asked for; none if no pool uses one.
    pub cards: Option<GpuRequestKind>,
}

/// The machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostState {
    /// `kernel.pid_max`.
    pub pid_max: Option<u64>,
    /// `kernel.threads-max`.
    pub threads_max: Option<u64>,
    /// `fs.inotify.max_user_instances`.
    pub inotify_instances: Option<u64>,
    /// `fs.inotify.max_user_watches`.
    pub inotify_watches: Option<u64>,
    /// `fs.file-max`.
    pub file_max: Option<u64>,
    /// Most files that this user's processes may open each.
    pub open_files: Option<u64>,
    /// `vm.overcommit_memory`.
    pub overcommit: Option<u64>,
    /// Memory in all.
    pub memory: Option<Bytes>,
    /// Controllers of the control groups.
    pub controllers: Option<Vec<String>>,
    /// The kernel's security modules that are on.
    pub modules: Option<Vec<String>>,
    /// Servers that names are asked of.
    pub resolvers: Option<Vec<String>>,
    /// Largest packet of the way out, and of the engine's bridge.
    pub mtu: Option<(u32, u32)>,
    /// What is started with the machine.
    pub boot: Option<Boot>,
}

/// What systemd starts with the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boot {
    /// The engine.
    pub engine: bool,
    /// A unit that runs this program, and whether its user lingers.
    pub supervisor: Unit,
}

/// A unit of systemd that runs this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// There is none.
    None,
    /// One of the machine.
    Machine,
    /// One of a user whose units are started with the machine.
    Lingering,
    /// One of a user whose units end with the last session.
    Session,
}

/// The machine's cards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CardsState {
    /// How many there are, of all makers.
    pub count: usize,
    /// How many are NVIDIA's.
    pub nvidia: usize,
    /// The version of NVIDIA's driver.
    pub driver: Option<String>,
    /// What was not found and why.
    pub notes: Vec<String>,
}

/// A folder that the fleet writes to, or the nearest one above it that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// What for: `state`, `reports`, `engine`.
    pub holds: &'static str,
    /// Where.
    pub path: PathBuf,
    /// What it lies on.
    pub kind: FileSystem,
    /// Space for those who are not root.
    pub free: Bytes,
    /// Space in all.
    pub total: Bytes,
    /// Files that may still be made, and files in all; 0 in all where there is no such bound.
    pub inodes: (u64, u64),
    /// Its permissions, if it is there itself.
    pub mode: Option<u32>,
    /// Why this user cannot read and write it, or make it there; none if that is possible.
    pub refused: Option<String>,
}

/// What a folder lies on, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// A disk of this machine, or nothing that is known to do harm.
    Local,
    /// Another machine's, by this name.
    Network(&'static str),
    /// Memory: gone after a restart of the machine.
    Memory,
}

/// The fleet's file of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretsFile {
    /// Where.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

/// Addresses that expose something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnvState {
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// Whether the engine is spoken to with TLS.
    pub docker_tls: bool,
    /// `SLATE_LISTEN`, else the fleet file's `api.listen`.
    pub listen: Option<String>,
    /// Whether the API has a certificate to show there.
    pub api_tls: bool,
}
