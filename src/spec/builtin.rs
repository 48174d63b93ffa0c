//! What exists without being written: specification 1's locked profiles and defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::ids::{ImageRef, ProfileName, ProjectName};
use crate::units::{Bytes, GpuMib, MilliCpu};

use super::{
    ApiPolicy, DockerAccess, ForgePolicy, GpuDemand, GpuPolicy, GpuRequestKind, GpuSharing,
    GpuWatchdog, JobUser, Limits, Overcommit, Profile, Reports, Retention, Spec, XidClasses,
};

/// The image of a fleet that names none; `images/` builds it.
pub(super) const IMAGE: &str = "slate-runner:latest";

/// Who jobs run as: a user that no image gives rights to.
pub(super) const USER: JobUser = JobUser { uid: 10_001, gid: 10_001 };

/// JVMs and build systems need more than 2048 threads.
const PIDS: u32 = 4096;

/// A single CPU has no use for thousands of threads.
const PIDS_LIGHT: u32 = 1024;

/// How long a job may clean up.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(10);

/// Profiles without a GPU get no more shared memory than browsers in tests need.
const SHM_CPU_MAX: Bytes = Bytes::gib(1);

/// Where reports go.
pub(super) const REPORTS_PATH: &str = "./reports";

/// How long reports are kept.
pub(super) const REPORTS_KEEP: Duration = Duration::from_secs(30 * 86_400);

/// Types of jobs with their profiles (specification 1, "Assignment algorithm").
pub(super) const TASK_TYPES: [(&str, &str); 4] = [
    ("inference_large", "gpu_heavy"),
    ("inference_small", "gpu_light"),
    ("lint", "light"),
    ("tests", "standard"),
];

/// Bounds of a fleet that names none; the first three are specification 1's options.
pub(super) const LIMITS: Limits = Limits {
    max_parallel_workflows: 8,
    task_timeout: Duration::from_secs(30 * 60),
    scale_max: 50,
    queue_max: 100_000,
    log_max: Bytes::mib(64),
    workspace_max: Bytes::mib(512),
    disk_floor: Bytes::mib(512),
    overcommit_memory: Overcommit::Refuse,
    retries: Limits::retries(),
    stale_after: Limits::stale_after(),
    start_timeout: Limits::start_timeout(),
};

/// The floor of a fleet that was recorded before there was one.
pub(super) fn disk_floor() -> Bytes {
    LIMITS.disk_floor
}

/// Cards of a fleet that says nothing of them. A slot that ran out of GPU memory is lighter for as
/// long as a person needs to look, not for ever.
pub(super) fn gpu_policy() -> GpuPolicy {
    GpuPolicy {
        request: GpuRequestKind::Auto,
        downgrade_for: Some(Duration::from_secs(600)),
        oom_patterns: Vec::new(),
        xids: XidClasses::default(),
        memory: BTreeMap::new(),
    }
}

/// What a fleet keeps that says nothing of it: enough to look at last month, never a full disk.
pub(super) const RETENTION: Retention = Retention {
    logs: Some(Duration::from_secs(30 * 86_400)),
    logs_max: Bytes::gib(10),
    audit: Some(Duration::from_secs(90 * 86_400)),
    post_mortems: Some(Duration::from_secs(30 * 86_400)),
    reports_max: Bytes::gib(20),
    images: Some(Duration::from_secs(7 * 86_400)),
};

/// Resources and labels of a locked profile.
struct Locked {
    name: &'static str,
    cpus: u32,
    memory: Bytes,
    gpu: Option<GpuDemand>,
    labels: &'static [&'static str],
}

/// Specification 1, "Profile Definitions" and "Profile Details". Its MB and GB of memory are binary
/// as Docker counts them; its GPU sizes are 2,000, 8,000 and 14,000 MiB, the only reading under
/// which its sample report and its layout of 50 runners come out.
const LOCKED: [Locked; 5] = [
    Locked {
        name: "light",
        cpus: 1,
        memory: Bytes::mib(512),
        gpu: None,
        labels: &["self-hosted", "slate", "light", "cpu-only"],
    },
    Locked {
        name: "standard",
        cpus: 2,
        memory: Bytes::gib(1),
        gpu: None,
        labels: &["self-hosted", "slate", "standard", "cpu-only"],
    },
    Locked {
        name: "gpu_light",
        cpus: 2,
        memory: Bytes::gib(2),
        gpu: Some(GpuDemand { memory: GpuMib(2000), sharing: GpuSharing::AtMost(5) }),
        labels: &["self-hosted", "slate", "gpu", "gpu-light", "cuda"],
    },
    Locked {
        name: "gpu_heavy",
        cpus: 4,
        memory: Bytes::gib(8),
        gpu: Some(GpuDemand { memory: GpuMib(8000), sharing: GpuSharing::Shared }),
        labels: &["self-hosted", "slate", "gpu", "gpu-heavy", "cuda"],
    },
    Locked {
        name: "gpu_max",
        cpus: 4,
        memory: Bytes::gib(16),
        gpu: Some(GpuDemand { memory: GpuMib(14_000), sharing: GpuSharing::Exclusive }),
        labels: &["self-hosted", "slate", "gpu", "gpu-max", "cuda", "exclusive"],
    },
];

/// The names of the locked profiles, in specification 1's order.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    LOCKED.iter().map(|locked| locked.name)
}

/// What a locked profile is for, in words.
pub(super) fn words(name: &str) -> &'static str {
    match name {
        "light" => "1 CPU, 512 MiB: linters and small tests",
        "standard" => "2 CPUs, 1 GiB: test suites",
        "gpu_light" => "2 CPUs, 2 GiB, 2,000 MiB of a card: embeddings, small models",
        "gpu_heavy" => "4 CPUs, 8 GiB, 8,000 MiB of a card: large models",
        _ => "a whole card for one runner",
    }
}

/// A fleet that says nothing: no pool, and all else as it is without being written.
pub(super) fn spec(project: ProjectName) -> Spec {
    let named = |(kind, name): (&str, &str)| (kind.to_owned(), ProfileName::new(name));
    Spec {
        project,
        profiles: profiles(&ImageRef::new(IMAGE)),
        pools: Vec::new(),
        lanes: BTreeMap::new(),
        task_types: TASK_TYPES.into_iter().map(named).collect(),
        limits: LIMITS,
        gpu: gpu_policy(),
        forge: ForgePolicy::default(),
        reports: Reports { keep: Some(REPORTS_KEEP), ..Reports::at(PathBuf::from(REPORTS_PATH)) },
        retention: RETENTION,
        ca: None,
        proxy: None,
        runners_file: None,
        notify: None,
        env_file: None,
        api: ApiPolicy::default(),
    }
}

/// The locked profiles, made from an image.
pub(super) fn profiles(image: &ImageRef) -> BTreeMap<ProfileName, Profile> {
    LOCKED.iter().map(|locked| (ProfileName::new(locked.name), profile(locked, image))).collect()
}

fn profile(locked: &Locked, image: &ImageRef) -> Profile {
    let pids = if locked.cpus == 1 { PIDS_LIGHT } else { PIDS };
    let labels = locked.labels.iter().map(|label| (*label).to_owned()).collect();
    let (cpus, memory) = (MilliCpu::cpus(locked.cpus), locked.memory);
    Profile { pids, labels, ..bare(Resources { cpus, memory, gpu: locked.gpu }, image) }
}

/// What a profile offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resources {
    /// CPU limit.
    pub(super) cpus: MilliCpu,
    /// Memory limit.
    pub(super) memory: Bytes,
    /// GPU memory.
    pub(super) gpu: Option<GpuDemand>,
}

/// A profile with these resources and every default; it has no labels yet.
pub(super) fn bare(resources: Resources, image: &ImageRef) -> Profile {
    let Resources { cpus, memory, gpu } = resources;
    let half = Bytes(memory.0 / 2);
    let shm = if gpu.is_some() { half } else { half.min(SHM_CPU_MAX) };
    Profile {
        cpus,
        memory,
        gpu,
        labels: Vec::new(),
        image: image.clone(),
        user: USER,
        pids: PIDS,
        shm,
        env: BTreeMap::new(),
        gpu_watchdog: GpuWatchdog::Warn,
        docker: DockerAccess::None,
        stop_grace: STOP_GRACE,
        caches: BTreeMap::new(),
    }
}

/// Labels of an own profile that lists none (specification 1, "Runner Registration").
pub(super) fn default_labels(name: &str, gpu: Option<GpuDemand>) -> Vec<String> {
    let kind: &[&str] = if gpu.is_some() { &["gpu", "cuda"] } else { &["cpu-only"] };
    let all = ["self-hosted", "slate", name].into_iter().chain(kind.iter().copied());
    all.map(str::to_owned).collect()
}

/// CPUs and MiB of memory of common cloud instance types.
///
/// Sources: the instance type pages of AWS, Azure and Google Cloud, summer 2026.
const INSTANCE_TYPES: [(&str, u32, u64); 34] = [
    ("t3.micro", 2, 1024),
    ("t3.small", 2, 2048),
    ("t3.medium", 2, 4096),
    ("t3.large", 2, 8192),
    ("t3.xlarge", 4, 16_384),
    ("t3.2xlarge", 8, 32_768),
    ("m5.large", 2, 8192),
    ("m5.xlarge", 4, 16_384),
    ("m5.2xlarge", 8, 32_768),
    ("m5.4xlarge", 16, 65_536),
    ("m6i.large", 2, 8192),
    ("m6i.xlarge", 4, 16_384),
    ("m6i.2xlarge", 8, 32_768),
    ("m7i.large", 2, 8192),
    ("m7i.xlarge", 4, 16_384),
    ("m7i.2xlarge", 8, 32_768),
    ("c5.large", 2, 4096),
    ("c5.xlarge", 4, 8192),
    ("c5.2xlarge", 8, 16_384),
    ("c6i.large", 2, 4096),
    ("c6i.xlarge", 4, 8192),
    ("c6i.2xlarge", 8, 16_384),
    ("r5.large", 2, 16_384),
    ("r5.xlarge", 4, 32_768),
    ("r5.2xlarge", 8, 65_536),
    ("Standard_D2s_v5", 2, 8192),
    ("Standard_D4s_v5", 4, 16_384),
    ("Standard_D8s_v5", 8, 32_768),
    ("e2-small", 2, 2048),
    ("e2-medium", 2, 4096),
    ("e2-standard-2", 2, 8192),
    ("e2-standard-4", 4, 16_384),
    ("n2-standard-2", 2, 8192),
    ("n2-standard-4", 4, 16_384),
];

/// The resources of a cloud instance type.
pub(super) fn instance_type(name: &str) -> Option<Resources> {
    let (_, cpus, mib) = INSTANCE_TYPES.iter().find(|(known, _, _)| *known == name)?;
    Some(Resources { cpus: MilliCpu::cpus(*cpus), memory: Bytes::mib(*mib), gpu: None })
}

/// Every instance type that is known.
pub(super) fn instance_types() -> Vec<&'static str> {
    INSTANCE_TYPES.iter().map(|(name, _, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locked_profiles_are_specification_1_to_the_letter() {
        let profiles = profiles(&ImageRef::new(IMAGE));
        let shown: Vec<String> = profiles
            .iter()
            .map(|(name, p)| {
                let gpu = p.gpu.map(|gpu| (gpu.memory.0, gpu.sharing));
                format!("{name} {} {} {gpu:?} [{}]", p.cpus, p.memory, p.labels.join(", "))
            })
            .collect();
        let expected = [
            "gpu_heavy 4 8GiB Some((8000, Shared)) [self-hosted, slate, gpu, gpu-heavy, cuda]",
            "gpu_light 2 2GiB Some((2000, AtMost(5))) [self-hosted, slate, gpu, gpu-light, cuda]",
            "gpu_max 4 16GiB Some((14000, Exclusive)) \
             [self-hosted, slate, gpu, gpu-max, cuda, exclusive]",
            "light 1 512MiB None [self-hosted, slate, light, cpu-only]",
            "standard 2 1GiB None [self-hosted, slate, standard, cpu-only]",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn shared_memory_fits_into_the_memory_limit() {
        for profile in profiles(&ImageRef::new(IMAGE)).values() {
            assert!(profile.shm.0 * 2 <= profile.memory.0);
        }
    }
}
