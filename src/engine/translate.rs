//! What a runner container is, as the engine's API says it. Pure: plans in, request bodies out.
//!
//! Job code is hostile, so every field here is a decision; the golden files beside the tests hold
//! all of them, and a field that is not in a golden file fails. ADR 6, on runner containers, says
//! why they are as they are, and which options were refused.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum, HostConfigLogConfig,
    Mount, MountType, MountVolumeOptions, NetworkCreateRequest, ResourcesUlimits, RestartPolicy,
    RestartPolicyNameEnum,
};

use super::{HostPaths, Project};
use crate::fleet::effect::{ContainerPlan, GpuPlan};
use crate::fleet::gpu::GpuAccess;
use crate::ids::{CacheName, IncarnationId, PoolName};
use crate::spec::{Cache, ReportSharing, Reuse};
use crate::units::MilliCpu;

mod forge;
mod gpu;

pub use forge::{DOCKER_SOCKET, EngineReach, IDENTITY, LABEL_FORGE, LABEL_IDENTITY, work_on_host};
pub use gpu::{CardRequest, cdi_name};

/// The label with the project's name.
pub const LABEL_PROJECT: &str = "dev.slate.fleet.project";
/// The label with the state folder's identity.
pub const LABEL_FLEET: &str = "dev.slate.fleet.fleet";
/// The label with the incarnation.
pub const LABEL_INCARNATION: &str = "dev.slate.fleet.incarnation";
/// The label with the pool's name.
pub const LABEL_POOL: &str = "dev.slate.fleet.pool";
/// The label with the profile's name.
pub const LABEL_PROFILE: &str = "dev.slate.fleet.profile";
/// The label with the profile's labels, joined by commas.
pub const LABEL_LABELS: &str = "dev.slate.fleet.labels";

/// The label with a cache's name; only the volumes of caches have it.
pub const LABEL_CACHE: &str = "dev.slate.fleet.cache";

/// The agent, as the container sees it.
pub const AGENT: &str = "/.slate/slate-runner";
/// Where the folder that all runners share is mounted, read-only.
pub const SHARED: &str = "/.slate";
/// Where a runner's own private folder is mounted, read-only.
pub const PRIVATE: &str = "/run/slate";
/// Where the incarnation's work volume is mounted.
pub const WORK: &str = "/work";
/// Where reports are written.
pub const REPORTS: &str = "/reports";
/// Where the volumes of caches are mounted; jobs see a folder of each at the cache's own path.
pub const CACHES: &str = "/.slate-caches";
/// The CA bundle's name inside the shared folder.
pub const CA_FILE: &str = "ca.pem";

/// Whether the files that tell a program the machine's size are narrowed to the runner's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Narrowing {
    /// They are mounted over the kernel's.
    On,
    /// The engine does not permit it: programs see the host's size.
    Off,
}

/// What of an engine changes how containers are made on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineTraits {
    /// Whether it permits mounts over the kernel's files.
    pub narrowing: Narrowing,
    /// Logical CPUs of its host, 0 if it does not say; it refuses a CPU limit above them.
    pub cpus: u32,
    /// How it is asked for NVIDIA cards.
    pub cards: CardRequest,
    /// How the container's jobs reach it, if they may.
    pub reach: Option<EngineReach>,
}

/// The narrowed files, each by its name in the private folder and what it is mounted over.
pub const NARROWED: [(&str, &str); 4] = [
    ("meminfo", "/proc/meminfo"),
    ("cpuinfo", "/proc/cpuinfo"),
    ("stat", "/proc/stat"),
    ("online", "/sys/devices/system/cpu/online"),
];

/// The folder of the narrowed files inside the private folder.
pub const NARROWED_FOLDER: &str = "machine";

/// Rights that a package manager and the agent's change of user need; everything else is dropped.
const CAPABILITIES: [&str; 6] = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID", "KILL"];

/// Variables of an image that would change how the agent or every job starts.
///
/// `LD_LIBRARY_PATH` is not among them: CUDA images need theirs, and the agent is static.
const REMOVED_FROM_IMAGE: [&str; 5] =
    ["BASH_ENV", "GCONV_PATH", "GLIBC_TUNABLES", "LD_AUDIT", "LD_PRELOAD"];

/// The network that all runners of a project share.
#[must_use]
pub fn network_name(project: &Project) -> String {
    format!("slate_{}", project.name)
}

/// An incarnation's work volume.
#[must_use]
pub fn work_volume(project: &Project, incarnation: IncarnationId) -> String {
    format!("{}-{incarnation}-work", project.name)
}

/// The volume of a pool's cache. No name has a dot, so no two caches get one volume.
#[must_use]
pub fn cache_volume(project: &Project, pool: &PoolName, cache: &CacheName) -> String {
    format!("{}.cache.{pool}.{cache}", project.name)
}

/// The caches of a runner as its agent reads them: a line each with size, volume and path.
#[must_use]
pub fn cache_list(plan: &ContainerPlan) -> String {
    let line = |(name, cache): (&CacheName, &Cache)| {
        format!("{}\t{CACHES}/{name}\t{}\n", cache.size.0, cache.path.display())
    };
    plan.template.caches.iter().map(line).collect()
}

/// The volumes that a container is made with.
#[must_use]
pub fn volumes(plan: &ContainerPlan, project: &Project) -> Vec<String> {
    let pool = &plan.template.pool;
    let caches = plan.template.caches.keys().map(|name| cache_volume(project, pool, name));
    let identity = forge::identity_volume(plan, project);
    caches.chain(identity).chain([work_volume(project, plan.incarnation)]).collect()
}

/// The labels by which everything of a project is found again.
#[must_use]
pub fn project_labels(project: &Project) -> HashMap<String, String> {
    HashMap::from([
        (LABEL_PROJECT.to_owned(), project.name.to_string()),
        (LABEL_FLEET.to_owned(), project.fleet.to_string()),
    ])
}

/// The project's network: runners reach out, but not each other.
#[must_use]
pub fn network_body(project: &Project) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: network_name(project),
        driver: Some("bridge".to_owned()),
        enable_ipv6: Some(false),
        options: Some(HashMap::from([(
            "com.docker.network.bridge.enable_icc".to_owned(),
            "false".to_owned(),
        )])),
        labels: Some(project_labels(project)),
        ..NetworkCreateRequest::default()
    }
}

/// The body of the request that makes a runner's container.
#[must_use]
pub fn container_body(
    plan: &ContainerPlan,
    project: &Project,
    paths: &HostPaths,
    engine: EngineTraits,
) -> ContainerCreateBody {
    let template = &plan.template;
    let mut mounts = mounts(plan, project, paths, engine.narrowing);
    mounts.extend(forge::mounts(plan, project, engine.reach.as_ref()));
    ContainerCreateBody {
        image: Some(plan.image.to_string()),
        hostname: Some(hostname(&plan.name)),
        user: Some("0:0".to_owned()),
        entrypoint: Some(vec![AGENT.to_owned()]),
        cmd: Some(Vec::new()),
        env: Some(environment(plan.gpu.as_ref())),
        // Not /work: the engine makes a missing working folder by mounting the layers at create.
        working_dir: Some("/".to_owned()),
        healthcheck: Some(healthcheck(plan)),
        labels: Some(container_labels(plan, project)),
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: Some(stop_timeout(template.stop_grace)),
        tty: Some(false),
        open_stdin: Some(false),
        host_config: Some(HostConfig {
            nano_cpus: Some(nano_cpus(template.cpus, engine.cpus)),
            mounts: Some(mounts),
            ..host_config(plan, project, &engine)
        }),
        ..ContainerCreateBody::default()
    }
}

/// The CPU limit; one that the host cannot even reach is as good as all of its CPUs.
fn nano_cpus(limit: MilliCpu, host: u32) -> i64 {
    let most = if host == 0 { i64::MAX } else { i64::from(host) * 1000 };
    i64::from(limit.0).min(most) * 1_000_000
}

fn host_config(plan: &ContainerPlan, project: &Project, engine: &EngineTraits) -> HostConfig {
    let template = &plan.template;
    let devices = gpu::devices(plan.gpu.as_ref(), engine.cards);
    let socket = engine.reach.as_ref().map(|reach| reach.group.to_string());
    let groups: Vec<String> = devices.groups.into_iter().flatten().chain(socket).collect();
    let memory = signed(template.memory.0);
    HostConfig {
        memory: Some(memory),
        // Equal to the memory limit: no swap. Left out it would mean as much swap again.
        memory_swap: Some(memory),
        pids_limit: Some(i64::from(template.pids)),
        shm_size: Some(signed(template.shm.0)),
        oom_score_adj: Some(500),
        ulimits: Some(vec![ulimit("nofile", 16_384), ulimit("core", 0)]),
        privileged: Some(false),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        ipc_mode: Some("private".to_owned()),
        cgroupns_mode: Some(HostConfigCgroupnsModeEnum::PRIVATE),
        network_mode: Some(network_name(project)),
        publish_all_ports: Some(false),
        readonly_rootfs: Some(false),
        init: Some(false),
        auto_remove: Some(false),
        restart_policy: Some(restart_policy(template.reuse)),
        log_config: Some(log_config()),
        device_requests: devices.requests,
        devices: devices.nodes,
        group_add: (!groups.is_empty()).then_some(groups),
        ..HostConfig::default()
    }
}

/// When the engine itself stops the container: the job's grace, and time to report its end.
fn stop_timeout(grace: Duration) -> i64 {
    const TO_REPORT_S: u64 = 5;
    signed(grace.as_secs().saturating_add(TO_REPORT_S))
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}

/// A host name has at most 63 letters, digits and dashes; container names allow more.
fn hostname(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let cut: String = name.chars().map(legal).take(63).collect();
    cut.trim_matches('-').to_owned()
}

/// The variable by which NVIDIA's runtime and hook know which cards a container gets.
pub const VISIBLE_DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";

/// Only what the image must not decide; a job's environment comes with the job.
///
/// A name without `=` removes the image's variable: what the engine adds for a leased card is then
/// the only entry. For all others `void` keeps an engine whose default runtime is NVIDIA's from
/// giving the image the cards that it asks for.
fn environment(gpu: Option<&GpuPlan>) -> Vec<String> {
    let mut entries: Vec<String> = REMOVED_FROM_IMAGE.map(str::to_owned).to_vec();
    entries.push(match gpu.map(|gpu| &gpu.access) {
        Some(GpuAccess::Request) => VISIBLE_DEVICES.to_owned(),
        Some(GpuAccess::Nodes { .. }) | None => format!("{VISIBLE_DEVICES}=void"),
    });
    entries
}

fn healthcheck(plan: &ContainerPlan) -> HealthConfig {
    let Some(interval) = plan.template.docker_healthcheck else {
        return HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() };
    };
    const SECOND: i64 = 1_000_000_000;
    HealthConfig {
        test: Some(["CMD", AGENT, "health"].map(str::to_owned).to_vec()),
        interval: Some(i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX)),
        timeout: Some(5 * SECOND),
        retries: Some(3),
        start_period: Some(10 * SECOND),
        start_interval: None,
    }
}

fn container_labels(plan: &ContainerPlan, project: &Project) -> HashMap<String, String> {
    let mut labels = project_labels(project);
    let template = &plan.template;
    labels.insert(LABEL_INCARNATION.to_owned(), plan.incarnation.to_string());
    labels.insert(LABEL_POOL.to_owned(), template.pool.to_string());
    labels.insert(LABEL_PROFILE.to_owned(), template.profile.to_string());
    labels.insert(LABEL_LABELS.to_owned(), template.labels.join(","));
    forge::label(plan, &mut labels);
    labels
}

/// A runner that keeps things between jobs comes back with them after a reboot without a
/// supervisor. While there is one, it sees the death and replaces the runner.
fn restart_policy(reuse: Reuse) -> RestartPolicy {
    let name = match reuse {
        Reuse::OneJob => RestartPolicyNameEnum::NO,
        Reuse::Persistent => RestartPolicyNameEnum::UNLESS_STOPPED,
    };
    RestartPolicy { name: Some(name), maximum_retry_count: None }
}

/// Bounds what the agent itself prints; a job's output goes through the agent's own channel.
///
/// Two files at least: with one, a reader that follows can stall when it is rotated.
fn log_config() -> HostConfigLogConfig {
    let options = [("max-size", "1m"), ("max-file", "2"), ("mode", "non-blocking")];
    HostConfigLogConfig {
        typ: Some("local".to_owned()),
        config: Some(options.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
    }
}

fn mounts(
    plan: &ContainerPlan,
    project: &Project,
    paths: &HostPaths,
    narrowing: Narrowing,
) -> Vec<Mount> {
    let private = paths.state.private(plan.incarnation);
    let mut mounts = vec![
        bind(&paths.state.shared_with_runners(), SHARED, Access::ReadOnly),
        bind(&private, PRIVATE, Access::ReadOnly),
        work_mount(plan, project),
        bind(&reports_source(plan, paths), REPORTS, Access::ReadWrite),
    ];
    mounts.extend(plan.template.caches.keys().map(|name| cache_mount(plan, project, name)));
    match narrowing {
        Narrowing::Off => {}
        Narrowing::On => mounts.extend(NARROWED.iter().map(|(name, target)| {
            bind(&private.join(NARROWED_FOLDER).join(name), target, Access::ReadOnly)
        })),
    }
    mounts
}

/// The folder of the host that a runner sees as `/reports`.
#[must_use]
pub fn reports_source(plan: &ContainerPlan, paths: &HostPaths) -> std::path::PathBuf {
    match paths.reports.sharing {
        ReportSharing::Own => incoming(paths, plan.incarnation),
        ReportSharing::Shared => paths.reports.path.clone(),
    }
}

/// Where a runner's own reports wait to be moved into the store.
#[must_use]
pub fn incoming(paths: &HostPaths, incarnation: IncarnationId) -> std::path::PathBuf {
    paths.reports.path.join(".incoming").join(incarnation.to_string())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadOnly,
    ReadWrite,
}

/// As a mount, not an old-style bind: a missing source is an error, not a new folder of root's.
fn bind(source: &Path, target: &str, access: Access) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.display().to_string()),
        target: Some(target.to_owned()),
        read_only: Some(access == Access::ReadOnly),
        ..Mount::default()
    }
}

/// What the image has under `/work` stays there.
fn work_mount(plan: &ContainerPlan, project: &Project) -> Mount {
    let mut labels = project_labels(project);
    labels.insert(LABEL_INCARNATION.to_owned(), plan.incarnation.to_string());
    volume(work_volume(project, plan.incarnation), WORK.to_owned(), labels)
}

/// Of the pool and not of the incarnation: it stays when the container goes.
fn cache_mount(plan: &ContainerPlan, project: &Project, name: &CacheName) -> Mount {
    let pool = &plan.template.pool;
    let mut labels = project_labels(project);
    labels.insert(LABEL_POOL.to_owned(), pool.to_string());
    labels.insert(LABEL_CACHE.to_owned(), name.to_string());
    volume(cache_volume(project, pool, name), format!("{CACHES}/{name}"), labels)
}

/// The engine makes the volume with the container, unless it is there.
fn volume(source: String, target: String, labels: HashMap<String, String>) -> Mount {
    Mount {
        typ: Some(MountType::VOLUME),
        source: Some(source),
        target: Some(target),
        read_only: Some(false),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(true),
            labels: Some(labels),
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

#[cfg(test)]
mod tests;
