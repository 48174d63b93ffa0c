//! The fleet file, parsed and valid: what the operator wants.
//!
//! `raw` mirrors the file, `validate` turns it into these types and returns *all* findings with
//! their place. Whoever holds a [`Spec`] need not check it again.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{CacheName, ImageRef, LaneName, PoolName, ProfileName, ProjectName};
use crate::units::{Bytes, MilliCpu};

mod address;
mod api;
mod builtin;
mod diagnostic;
mod document;
mod forge;
mod gpu;
mod interpolate;
mod load;
mod merge;
mod notify;
mod proposed;
mod proxy;
mod quantity;
mod raw;
mod render;
mod runners_file;
mod scalar;
mod schema;
mod secret;
mod structure;
mod suggest;
pub mod template;
mod validate;

#[cfg(test)]
mod tests;

pub use api::{ApiPolicy, TlsFiles};
pub use diagnostic::{Diagnostic, Diagnostics, Place, Severity};
pub use forge::{
    DockerAccess, ForgeAccess, ForgeApp, ForgeKind, ForgePolicy, ForgePool, ForkJobs, SecretSource,
    VaultSecret, Webhook,
};
pub use gpu::{GpuDemand, GpuPolicy, GpuRequestKind, GpuSharing, GpuWatchdog, XidClasses};
pub use load::{Loaded, Source, load, load_beside};
pub use notify::{Notify, NotifyEvent, NotifyStyle};
pub use proposed::{Proposed, WrongSpec};
pub use proxy::{NotAProxy, Proxy, ProxyUrl, WholeProxyUrl};
pub use quantity::show_duration;
pub use render::render;
pub use runners_file::{RUNNERS_FILE, RunnersFile, RunnersOptions, read_runners_file};
pub use schema::schema;
pub use secret::{MASK, Secrets, is_secret_name, redact};

/// Variables for `${NAME}`: what `.env` and the environment say.
pub type Env = BTreeMap<String, String>;

/// A whole fleet file, with defaults filled in.
///
/// It is read back from what this program wrote; what others send is a [`Proposed`] first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spec {
    /// The fleet's name; prefixes containers, volumes and the network.
    pub project: ProjectName,
    /// Every profile that may be used: the five locked ones and the file's own.
    pub profiles: BTreeMap<ProfileName, Profile>,
    /// Pools in the order of the file; slots are numbered in this order.
    pub pools: Vec<Pool>,
    /// Lanes by name; without any, every job may use every pool.
    pub lanes: BTreeMap<LaneName, Lane>,
    /// Which profile a type of job needs (specification 1, "Profile matching").
    pub task_types: BTreeMap<String, ProfileName>,
    /// Bounds for the whole fleet.
    pub limits: Limits,
    /// How cards are asked for, watched and given up.
    #[serde(default)]
    pub gpu: GpuPolicy,
    /// How forges are spoken to.
    #[serde(default)]
    pub forge: ForgePolicy,
    /// Where the API is reached beside its socket.
    #[serde(default)]
    pub api: ApiPolicy,
    /// Who is told of trouble, if anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// The shared report store.
    pub reports: Reports,
    /// How long what is over is kept.
    #[serde(default)]
    pub retention: Retention,
    /// A CA bundle on the host that runners should trust, for networks with an inspecting proxy.
    pub ca: Option<PathBuf>,
    /// The proxies that jobs go through.
    #[serde(default)]
    pub proxy: Option<Proxy>,
    /// Specification 1's file beside the fleet file; none where nobody said where that is.
    #[serde(default)]
    pub runners_file: Option<RunnersFile>,
    /// The `.env` file beside the fleet file, where tokens are read when they are needed; none
    /// where nobody said where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env_file: Option<PathBuf>,
}

/// The names of the locked profiles, in the order in which specification 1 lists them.
pub fn locked_names() -> impl Iterator<Item = &'static str> {
    builtin::names()
}

impl Spec {
    /// A fleet that says nothing: no pool, the locked profiles, every default.
    #[must_use]
    pub fn built_in(project: ProjectName) -> Self {
        builtin::spec(project)
    }
}

/// What a runner of this kind offers, and how its container is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// CPU limit.
    pub cpus: MilliCpu,
    /// Memory limit; swap is never added to it.
    pub memory: Bytes,
    /// GPU memory leased to the runner, for GPU profiles.
    pub gpu: Option<GpuDemand>,
    /// Labels by which forges and people choose a runner.
    pub labels: Vec<String>,
    /// The image; any Linux image works, the agent is put in.
    pub image: ImageRef,
    /// Who a job runs as.
    pub user: JobUser,
    /// Most processes and threads at a time.
    pub pids: u32,
    /// Size of `/dev/shm`, counted in `memory`.
    pub shm: Bytes,
    /// Environment of every job on this profile; never secrets.
    pub env: BTreeMap<String, String>,
    /// What happens to a runner that takes more GPU memory than it leased.
    #[serde(default)]
    pub gpu_watchdog: GpuWatchdog,
    /// Whether jobs reach the host's container engine.
    #[serde(default)]
    pub docker: DockerAccess,
    /// How long a job may go on after it was asked to stop.
    pub stop_grace: Duration,
    /// What outlives the containers; each pool of the profile has its own.
    #[serde(default)]
    pub caches: BTreeMap<CacheName, Cache>,
}

/// A folder that the runners of a pool share and that outlives them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cache {
    /// Where jobs find it.
    pub path: PathBuf,
    /// What it may grow to before it is begun anew.
    pub size: Bytes,
}

/// The numeric user of a job; names would be resolved by the image, which the image controls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobUser {
    /// User id inside the container.
    pub uid: u32,
    /// Group id inside the container.
    pub gid: u32,
}

/// A group of slots of one profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pool {
    /// The pool's name.
    pub name: PoolName,
    /// The profile of its runners.
    pub profile: ProfileName,
    /// How many runners.
    pub size: PoolSize,
    /// Names of the slots with `{n}` counted from 1 within the pool; otherwise
    /// `<project>-<profile>-<number in the fleet>` as specification 1 shows them.
    pub runner_name: Option<String>,
    /// Whether a container serves one job or many.
    pub reuse: Reuse,
    /// Ready containers kept beside the slots, so that a used one is replaced at once.
    pub spares: u32,
    /// Whether Docker itself asks the agent for its health; costs an exec at each interval.
    pub docker_healthcheck: Option<Duration>,
    /// The forge whose jobs its runners take, instead of the fleet's own queue.
    #[serde(default)]
    pub forge: Option<ForgePool>,
}

impl Pool {
    /// A pool of one-job runners without spares, named like its profile.
    #[must_use]
    pub fn plain(profile: &str, count: u32) -> Self {
        Self {
            name: PoolName::new(profile),
            profile: ProfileName::new(profile),
            size: PoolSize::Fixed(count),
            runner_name: None,
            reuse: Reuse::OneJob,
            spares: 0,
            docker_healthcheck: None,
            forge: None,
        }
    }
}

/// How many runners a pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PoolSize {
    /// Always this many.
    Fixed(u32),
    /// Between two bounds, following the queue (specification 4).
    Elastic(Elastic),
}

impl PoolSize {
    /// The number of runners that exist when nothing waits.
    #[must_use]
    pub fn at_rest(self) -> u32 {
        match self {
            Self::Fixed(count) => count,
            Self::Elastic(elastic) => elastic.at_rest(),
        }
    }

    /// The most runners that there can be without `scale`.
    #[must_use]
    pub fn most(self) -> u32 {
        match self {
            Self::Fixed(count) => count,
            Self::Elastic(elastic) => elastic.max,
        }
    }
}

/// The bounds and delays of specification 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Elastic {
    /// Never fewer.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// Scale up when more jobs than this wait …
    pub scale_up_threshold: u32,
    /// … for longer than this.
    pub scale_up_delay: Duration,
    /// Scale down what was idle for longer than this.
    pub scale_down_delay: Duration,
    /// Idle runners kept beyond the busy ones, between the bounds.
    #[serde(default)]
    pub warm: u32,
}

impl Elastic {
    /// The number of runners that exist when nothing waits or runs.
    #[must_use]
    pub fn at_rest(self) -> u32 {
        self.bound(self.warm)
    }

    /// A number of runners, brought between the bounds.
    #[must_use]
    pub fn bound(self, count: u32) -> u32 {
        count.max(self.min).min(self.max)
    }
}

/// Whether a container is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reuse {
    /// One job, then the container and its work volume are replaced.
    OneJob,
    /// The container stays between jobs (`ephemeral: false`), and Docker restarts it.
    Persistent,
}

/// Who may use which pools, and in what order (specification 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lane {
    /// The pools that jobs of this lane may use.
    pub pools: Vec<PoolName>,
    /// Added to the priority of its jobs; higher starts first.
    pub priority: i32,
    /// The most of its jobs that may run at a time, if there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<NonZeroU32>,
}

/// Bounds for the whole fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// Most distinct workflow runs with a running job at a time.
    pub max_parallel_workflows: u32,
    /// A job's timeout where it names none.
    pub task_timeout: Duration,
    /// Most slots in the fleet.
    pub scale_max: u32,
    /// Most jobs that may wait; more are refused.
    pub queue_max: u32,
    /// Most output kept of one job.
    pub log_max: Bytes,
    /// Largest working folder that `run` sends.
    pub workspace_max: Bytes,
    /// With less free space than this on a disk that the fleet writes to, no job is given out.
    #[serde(default = "builtin::disk_floor")]
    pub disk_floor: Bytes,
    /// Allow runners whose memory limits together exceed the host's memory.
    pub overcommit_memory: Overcommit,
    /// How often a job is tried again where it does not say so.
    #[serde(default = "Limits::retries")]
    pub retries: u32,
    /// A runner whose agent was not heard for this long is stale, and replaced.
    #[serde(default = "Limits::stale_after")]
    pub stale_after: Duration,
    /// A runner that did not start its job after this long is replaced.
    #[serde(default = "Limits::start_timeout")]
    pub start_timeout: Duration,
}

impl Limits {
    /// The most retries that may be asked for: whatever fails eleven times needs a person.
    pub const RETRIES_MAX: u32 = 10;

    // What fleets had that were recorded before there was a choice.

    /// Three attempts in all.
    #[must_use]
    pub const fn retries() -> u32 {
        2
    }

    /// Specification 1: "No heartbeat > 5 min".
    #[must_use]
    pub const fn stale_after() -> Duration {
        Duration::from_secs(300)
    }

    /// Large working folders need some of it.
    #[must_use]
    pub const fn start_timeout() -> Duration {
        Duration::from_secs(120)
    }
}

/// Whether limits may add up to more than the host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overcommit {
    /// More than the host has is refused.
    Refuse,
    /// The operator takes the risk.
    Allow,
}

/// The shared report store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reports {
    /// The folder on the host, absolute.
    pub path: PathBuf,
    /// How long a run's reports are kept; for ever if none.
    pub keep: Option<Duration>,
    /// What a runner sees under `/reports`.
    pub sharing: ReportSharing,
    /// Where browsers are served, if anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ReportServer>,
}

impl Reports {
    /// A store in this folder that keeps everything and is served to nobody.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path, keep: None, sharing: ReportSharing::Own, server: None }
    }
}

/// Where the report server listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportServer {
    /// A loopback address: reports are shown to everybody who reaches it.
    pub listen: SocketAddr,
    /// How others reach it through a proxy: scheme, host and perhaps port.
    pub url: Option<String>,
}

impl ReportServer {
    /// The host of [`Self::url`].
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        let (_, place) = self.url.as_deref()?.split_once("://")?;
        Some(place.rsplit_once(':').map_or(place, |(host, _)| host))
    }
}

/// How long what is over is kept, and how much of it. What has no age is kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Retention {
    /// The output of jobs that are over.
    pub logs: Option<Duration>,
    /// The output of all jobs together; the oldest goes first.
    pub logs_max: Bytes,
    /// Entries of the audit log.
    pub audit: Option<Duration>,
    /// What was found when a runner failed.
    pub post_mortems: Option<Duration>,
    /// All reports together; the run that was written to least lately goes first.
    pub reports_max: Bytes,
    /// Images that the fleet pulled and has no use for any more.
    pub images: Option<Duration>,
}

impl Default for Retention {
    fn default() -> Self {
        builtin::RETENTION
    }
}

/// What a runner sees under `/reports`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReportSharing {
    /// Its own folder, moved into the store when its job ends.
    Own,
    /// The whole store, writable (`reports.shared: true`), for runners that trust each other.
    Shared,
}
