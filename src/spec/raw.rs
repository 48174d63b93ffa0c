//! The fleet file as it is written; the JSON Schema and the deserializer come from these types.
//!
//! Every field is optional here even where the schema requires it, so that one mistake does not
//! hide the others: [`structure`](super::structure) reports what is missing.
//! The comments are the descriptions in the schema, written for the file's author.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

mod api;
mod forge;
mod notify;
mod values;

pub(super) use api::{RawApi, RawTls};
pub(super) use forge::{
    RawApp, RawGitea, RawGithub, RawGithubPolicy, RawSecret, RawVault, RawWebhook, SECRET_TITLE,
};
pub(super) use notify::RawNotify;
pub(super) use values::{
    Cpus, Docker, Duration, Env, Forks, GpuMemory, GpuRequest, Healthcheck, Keep, RawCache, Size,
    User, Watchdog,
};

/// A slate-fleet fleet file: pools of CI runners and the profiles they are made from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "slate-fleet fleet file", extend("patternProperties" = {"^x-": true}))]
pub(super) struct RawFleet {
    /// The version of the file format.
    #[expect(dead_code, reason = "the schema knows one version; there is nothing to choose")]
    #[schemars(required, extend("const" = 1))]
    pub(super) version: Option<u32>,
    /// The fleet's name; prefixes containers, volumes and the network. Defaults to the name of the
    /// folder that holds the file; `SLATE_PROJECT` and `--project` win over it.
    #[schemars(example = &"slate", length(max = 40), regex(pattern = "^[a-z0-9][a-z0-9_-]*$"))]
    pub(super) project: Option<String>,
    /// The image of every profile that names none. Any Linux image works: the agent is put in.
    #[schemars(example = &"slate-runner:latest", extend("default" = "slate-runner:latest"))]
    pub(super) image: Option<String>,
    /// Own profiles by name, and additions to the built-in ones (`light`, `standard`, `gpu_light`,
    /// `gpu_heavy`, `gpu_max`), whose resources and labels are locked.
    pub(super) profiles: Option<BTreeMap<String, RawProfile>>,
    /// Groups of runners, in the order in which their slots are numbered.
    #[schemars(
        required,
        length(min = 1),
        extend("examples" = [[{"name": "default", "profile": "standard", "count": 4}]])
    )]
    pub(super) pools: Option<Vec<RawPool>>,
    /// Who may use which pools, and in what order. Without lanes every job may use every pool.
    pub(super) lanes: Option<BTreeMap<String, RawLane>>,
    /// Which profile a type of job needs; `run --type lint` looks here. These are added to
    /// `tests: standard`, `lint: light`, `inference_small: gpu_light` and
    /// `inference_large: gpu_heavy`.
    #[schemars(example = BTreeMap::from([("docs", "standard")]))]
    pub(super) task_types: Option<BTreeMap<String, String>>,
    /// Bounds for the whole fleet.
    pub(super) limits: Option<RawLimits>,
    /// How cards are asked for, watched and given up.
    pub(super) gpu: Option<RawGpu>,
    /// How GitHub is spoken to; which jobs are taken is said by each pool.
    pub(super) github: Option<RawGithubPolicy>,
    /// Where the API is reached beside its socket.
    pub(super) api: Option<RawApi>,
    /// Who is told when something stands in the fleet's way.
    pub(super) notify: Option<RawNotify>,
    /// Where reports of jobs go.
    pub(super) reports: Option<RawReports>,
    /// How long what is over is kept, and how much of it.
    pub(super) retention: Option<RawRetention>,
    /// A file on this host with the certificates that runners should trust besides the image's own,
    /// for networks with an inspecting proxy. Relative to the fleet file.
    #[schemars(example = &"./company-ca.pem")]
    pub(super) ca: Option<String>,
    /// The proxy that jobs reach the network through. The engine's own pulls follow the engine's
    /// own setting.
    pub(super) proxy: Option<RawProxy>,
}

/// The proxy that jobs reach the network through.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProxy {
    /// Where `http://` addresses are asked for. A user and password come from `.env`:
    /// `http://${PROXY_USER}:${PROXY_PASSWORD}@proxy.example:3128`.
    #[schemars(example = &"http://proxy.example:3128")]
    pub(super) http: Option<String>,
    /// Where `https://` addresses are asked for; usually the same.
    #[schemars(example = &"http://proxy.example:3128")]
    pub(super) https: Option<String>,
    /// Hosts, domains and networks that are reached directly. The runner itself always is.
    #[schemars(example = ["registry.lan", ".corp.example", "10.0.0.0/8"])]
    pub(super) no_proxy: Option<Vec<String>>,
}

/// What a runner offers, and how its container is made.
#[derive(Debug, Default, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProfile {
    /// CPU limit; fractions are allowed. Needed in an own profile.
    pub(super) cpus: Option<Cpus>,
    /// Memory limit; swap is never added. At least `32MiB`. Needed in an own profile.
    pub(super) memory: Option<Size>,
    /// GPU memory that a runner holds on one card: MiB as a number, or a size.
    pub(super) gpu_memory: Option<GpuMemory>,
    /// Whether the runner is alone on its card.
    #[schemars(extend("default" = false))]
    pub(super) gpu_exclusive: Option<bool>,
    /// Most runners of this profile for each card of the host, counted over all its cards; without
    /// it as many as the memory allows.
    #[schemars(range(min = 1, max = 64), example = 5)]
    pub(super) gpu_max_per_card: Option<u32>,
    /// What happens to a runner that takes more GPU memory than it holds: `off`, `warn` tells it in
    /// the record, `kill` ends its job when another runner on the card is short for it.
    #[schemars(extend("default" = "warn"))]
    pub(super) gpu_watchdog: Option<Watchdog>,
    /// Labels by which forges and people choose a runner. Built-in profiles keep theirs and get
    /// these besides. An own profile has `self-hosted`, `slate`, its name, and `cpu-only` or `gpu`
    /// and `cuda`, unless it lists its own.
    #[schemars(example = ["self-hosted", "replay"])]
    pub(super) labels: Option<Vec<String>>,
    /// The image; defaults to the fleet's `image`.
    #[schemars(example = &"python:3.12-slim")]
    pub(super) image: Option<String>,
    /// Numeric user and group of jobs: `uid` or `uid:gid`.
    #[schemars(extend("default" = "10001:10001"))]
    pub(super) user: Option<User>,
    /// Most processes and threads at a time. `light` has 1024, all others 4096.
    #[schemars(range(min = 16, max = 4_194_304), extend("default" = 4096))]
    pub(super) pids: Option<u32>,
    /// Size of `/dev/shm`, counted in `memory`. Half of the memory by default, at most `1GiB`
    /// for profiles without a GPU.
    pub(super) shm: Option<Size>,
    /// Environment of every job, as a map or a list of `NAME=value`; a name without a value takes
    /// it from the environment or `.env`. Never put secrets here.
    pub(super) env: Option<Env>,
    /// Whether jobs reach this host's container engine: `none`, or `socket` for its socket, which
    /// makes whoever runs a job root on the host.
    #[schemars(extend("default" = "none"))]
    pub(super) docker: Option<Docker>,
    /// How long a job may go on after it was asked to stop; at most `1h`.
    #[schemars(extend("default" = "10s"))]
    pub(super) stop_grace: Option<Duration>,
    /// Folders that outlive the containers, by name: a path, or a `path` with a `size`. The runners
    /// of a pool share them, so that one job can spoil what the next one reads.
    pub(super) cache: Option<BTreeMap<String, RawCache>>,
}

/// How cards are asked for, watched and given up.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGpu {
    /// How the engine is asked for an NVIDIA card: `nvidia` through its driver of that name, `cdi`
    /// by its CDI name, `auto` by CDI where the engine lists the card's UUID.
    #[schemars(extend("default" = "auto"))]
    pub(super) request: Option<GpuRequest>,
    /// How long a slot whose job ran out of GPU memory has the next lighter profile, or `false`
    /// for never.
    #[schemars(extend("default" = "10m"))]
    pub(super) downgrade_for: Option<Keep>,
    /// Words in a failed job's output that mean "out of GPU memory", beside the built-in ones;
    /// upper and lower case are the same.
    #[schemars(example = ["failed to allocate device buffer"])]
    pub(super) oom_patterns: Option<Vec<String>>,
    /// What the Xids of NVIDIA's driver mean, where it differs from what is built in.
    pub(super) xids: Option<RawXids>,
    /// Memory of cards whose driver does not tell it, by UUID: MiB as a number, or a size.
    pub(super) memory: Option<BTreeMap<String, GpuMemory>>,
}

/// What the Xids of NVIDIA's driver mean.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawXids {
    /// The job's own fault.
    #[schemars(example = [13, 31])]
    pub(super) application: Option<Vec<u32>>,
    /// The card gets no new runner; what runs may end.
    #[schemars(example = [48, 63])]
    pub(super) degraded: Option<Vec<u32>>,
    /// The card is lost, and so is what runs on it.
    #[schemars(example = [79])]
    pub(super) fatal: Option<Vec<u32>>,
}

/// A group of runners of one profile.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPool {
    /// The pool's name.
    #[schemars(
        required,
        example = &"homelab",
        length(max = 40),
        regex(pattern = "^[a-z0-9][a-z0-9_-]*$")
    )]
    pub(super) name: Option<String>,
    /// The profile of its runners. Give this or `instance_type`.
    #[schemars(example = &"standard")]
    pub(super) profile: Option<String>,
    /// A cloud instance type whose CPUs and memory the runners get, as a profile of its own
    /// (`m5.large` becomes the profile `m5-large`).
    #[schemars(example = &"m5.large")]
    pub(super) instance_type: Option<String>,
    /// How many runners, always. Give this or `max_runners`.
    #[schemars(range(min = 0, max = 10_000), extend("default" = 1))]
    pub(super) count: Option<u32>,
    /// Fewest runners of a pool that follows its queue.
    #[schemars(range(min = 0, max = 10_000), extend("default" = 1))]
    pub(super) min_runners: Option<u32>,
    /// Most runners of a pool that follows its queue.
    #[schemars(range(min = 1, max = 10_000), example = 20)]
    pub(super) max_runners: Option<u32>,
    /// Scale up when more jobs than this wait …
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 5))]
    pub(super) scale_up_threshold: Option<u32>,
    /// … for longer than this.
    #[schemars(extend("default" = "30s"))]
    pub(super) scale_up_delay: Option<Duration>,
    /// Scale down what was idle for longer than this.
    #[schemars(extend("default" = "10m"))]
    pub(super) scale_down_delay: Option<Duration>,
    /// Idle runners that a pool that follows its queue keeps beyond the busy ones, between its
    /// bounds, so that a burst finds them ready.
    #[schemars(range(min = 0, max = 10_000), extend("default" = 0), example = 2)]
    pub(super) warm: Option<u32>,
    /// Names of the runners; `{n}` counts from 1. Without it they are named
    /// `<project>-<profile>-<number>`.
    #[schemars(example = &"homelab-runner-{n}")]
    pub(super) runner_name: Option<String>,
    /// Whether a container serves one job and is then replaced; `false` keeps it between jobs, and
    /// is the default where runners register with `token_env`.
    #[schemars(extend("default" = true))]
    pub(super) ephemeral: Option<bool>,
    /// Ready containers kept beside the runners, so that a used one is replaced at once. 1 by
    /// default; 0 for pools that are not ephemeral, are empty or hold GPU memory.
    #[schemars(range(min = 0, max = 50))]
    pub(super) spares: Option<u32>,
    /// How often Docker itself asks the agent for its health, or `false` for never; at least `1s`.
    /// The supervisor knows a runner's health without it. `30s` where runners register with
    /// `token_env`.
    #[schemars(extend("default" = false))]
    pub(super) healthcheck: Option<Healthcheck>,
    /// The GitHub repository, organization or enterprise whose jobs these runners take, instead of
    /// the fleet's own queue.
    pub(super) github: Option<RawGithub>,
    /// The same for Gitea and Forgejo.
    pub(super) gitea: Option<RawGitea>,
}

/// Who may use which pools, and in what order.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLane {
    /// The pools that jobs of this lane may use.
    #[schemars(required, length(min = 1), example = ["default"])]
    pub(super) pools: Option<Vec<String>>,
    /// Added to the priority of its jobs; higher starts first.
    #[schemars(range(min = -1_000_000, max = 1_000_000), extend("default" = 0), example = 100)]
    pub(super) priority: Option<i32>,
    /// Most of its jobs that may run at a time; any number without it.
    #[schemars(range(min = 1, max = 10_000), example = 8)]
    pub(super) limit: Option<u32>,
}

/// Bounds for the whole fleet.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    /// Most distinct workflow runs with a running job at a time.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 8))]
    pub(super) max_parallel_workflows: Option<u32>,
    /// A job's timeout where it names none; between `1s` and `30d`.
    #[schemars(extend("default" = "30m"))]
    pub(super) task_timeout: Option<Duration>,
    /// Most runners in the fleet.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 50))]
    pub(super) scale_max: Option<u32>,
    /// Most jobs that may wait; more are refused.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 100_000))]
    pub(super) queue_max: Option<u32>,
    /// Most output kept of one job; between `64KiB` and `4GiB`.
    #[schemars(extend("default" = "64MiB"))]
    pub(super) log_max: Option<Size>,
    /// Largest working folder that `run` sends; between `1MiB` and `64GiB`.
    #[schemars(extend("default" = "512MiB"))]
    pub(super) workspace_max: Option<Size>,
    /// With less free space than this, or than a tenth of a small disk, on a disk that the fleet
    /// writes to, no job is given out or taken in; between `1MiB` and `1TiB`.
    #[schemars(extend("default" = "512MiB"))]
    pub(super) disk_floor: Option<Size>,
    /// How often a job is tried again where it does not say so.
    #[schemars(range(min = 0, max = 10), extend("default" = 2))]
    pub(super) retries: Option<u32>,
    /// A runner whose agent was not heard for this long is replaced; between `30s` and `1d`.
    #[schemars(extend("default" = "5m"))]
    pub(super) stale_after: Option<Duration>,
    /// A runner that did not start its job after this long is replaced; between `10s` and `1d`.
    #[schemars(extend("default" = "2m"))]
    pub(super) start_timeout: Option<Duration>,
    /// What may exceed what the host has.
    pub(super) overcommit: Option<RawOvercommit>,
}

/// What may exceed what the host has. CPUs always may, GPU memory never.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOvercommit {
    /// Whether memory limits together may exceed the host's memory.
    #[schemars(extend("default" = false))]
    pub(super) memory: Option<bool>,
}

/// Where reports of jobs go.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawReports {
    /// The folder on this host, relative to the fleet file.
    #[schemars(extend("default" = "./reports"))]
    pub(super) path: Option<String>,
    /// How long a run's reports are kept, or `false` for ever.
    #[schemars(extend("default" = "30d"))]
    pub(super) keep: Option<Keep>,
    /// Whether every runner sees the whole store under `/reports`, writable, instead of its own
    /// folder. Only for runners that trust each other.
    #[schemars(extend("default" = false))]
    pub(super) shared: Option<bool>,
    /// A loopback address where browsers see the reports, such as `127.0.0.1:9190`. Whoever
    /// reaches it sees all of them. Without it there is no report server.
    pub(super) listen: Option<String>,
    /// How others reach it through a proxy that asks them who they are, such as
    /// `https://reports.example.org`; names before it (`*.reports.example.org`) must lead there,
    /// too.
    pub(super) url: Option<String>,
}

/// How long what is over is kept, and how much of it; `slate-fleet gc` and the supervisor itself,
/// once an hour, remove the rest.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetention {
    /// How long the output of a job is kept after its end, or `false` for ever.
    #[schemars(extend("default" = "30d"))]
    pub(super) logs: Option<Keep>,
    /// Most output of all jobs together; the oldest goes first. Between `1MiB` and `16TiB`.
    #[schemars(extend("default" = "10GiB"))]
    pub(super) logs_max: Option<Size>,
    /// How long entries of the audit log are kept, or `false` for as long as a million.
    #[schemars(extend("default" = "90d"))]
    pub(super) audit: Option<Keep>,
    /// How long the evidence of a runner's failure is kept, or `false` for ever.
    #[schemars(extend("default" = "30d"))]
    pub(super) post_mortems: Option<Keep>,
    /// Most reports of all runs together; the run that was written to least lately goes first.
    /// Between `1MiB` and `16TiB`. Their age is `reports.keep`.
    #[schemars(extend("default" = "20GiB"))]
    pub(super) reports_max: Option<Size>,
    /// How long an image that the fleet pulled is kept after its last use, or `false` for ever.
    #[schemars(extend("default" = "7d"))]
    pub(super) images: Option<Keep>,
}
