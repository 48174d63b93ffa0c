//! Profiles: the locked ones with additions, and the file's own.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{ImageRef, ProfileName};
use crate::units::Bytes;

use super::super::builtin::{self, Resources};
use super::super::document::Value;
use super::super::raw::{RawFleet, RawProfile};
use super::super::scalar::Origin;
use super::super::{DockerAccess, GpuDemand, GpuSharing, JobUser, Profile, quantity};
use super::{Bounds, Context, Spot, cache};

/// Smallest memory limit: the agent and a shell fit.
const MEMORY_MIN: Bytes = Bytes::mib(32);

/// Largest memory limit.
const MEMORY_MAX: Bytes = Bytes::gib(64 * 1024);

/// Most variables of a profile, and most bytes of one: a container's environment must stay small
/// enough to start a program.
const ENV_MAX: usize = 256;
const ENV_VALUE_MAX: usize = 32 * 1024;

/// Variables by which toolkits and runtimes choose cards.
const PINS: [&str; 6] = [
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
];

/// Every profile that may be used.
pub(super) fn profiles(
    raw: &RawFleet,
    image: &ImageRef,
    cx: &mut Context<'_>,
) -> BTreeMap<ProfileName, Profile> {
    let spot = Spot::root(cx.root).key("profiles");
    let mut profiles = builtin::profiles(image);
    for (name, raw) in raw.profiles.iter().flatten() {
        let spot = spot.key(name);
        let name = ProfileName::new(name);
        let profile = match profiles.remove(&name) {
            Some(locked) => additions(spot, raw, locked, cx),
            None => own(spot, (&name, raw), image, cx),
        };
        profiles.insert(name, profile);
    }
    profiles
}

/// A locked profile with what the file adds. Repeating a locked value is fine, so that the output
/// of `config` is a fleet file.
fn additions(spot: Spot<'_>, raw: &RawProfile, locked: Profile, cx: &mut Context<'_>) -> Profile {
    let same = |written: bool, same: bool| !written || same;
    let cpus = raw.cpus.as_ref().map(|cpus| quantity::cpus(&cpus.0));
    let memory = raw.memory.as_ref().map(|memory| quantity::size(&memory.0));
    let gpu = raw.gpu_memory.as_ref().map(|memory| quantity::gpu_memory(&memory.0));
    let (gpu_memory, exclusive, most) = show_gpu(locked.gpu);
    let checks = [
        ("cpus", same(cpus.is_some(), cpus == Some(Ok(locked.cpus)))),
        ("memory", same(memory.is_some(), memory == Some(Ok(locked.memory)))),
        (
            "gpu_memory",
            same(gpu.is_some(), gpu.and_then(Result::ok).map(|mib| mib.0) == gpu_memory),
        ),
        ("gpu_exclusive", raw.gpu_exclusive.is_none_or(|written| written == exclusive)),
        ("gpu_max_per_card", raw.gpu_max_per_card.is_none_or(|written| Some(written) == most)),
    ];
    for (key, fits) in checks {
        if !fits {
            refuse_locked(spot.key(key), key, &locked, cx);
        }
    }
    let labels = cx.labels(spot.key("labels"), raw.labels.as_deref().unwrap_or_default());
    let mut all = locked.labels.clone();
    all.extend(labels.into_iter().filter(|label| !locked.labels.contains(label)));
    settings(spot, raw, Profile { labels: all, ..locked }, cx)
}

fn refuse_locked(spot: Spot<'_>, key: &str, locked: &Profile, cx: &mut Context<'_>) {
    let (gpu_memory, exclusive, most) = show_gpu(locked.gpu);
    let number = |value: Option<u32>| value.map_or_else(|| "none".to_owned(), |v| v.to_string());
    let value = match key {
        "cpus" => locked.cpus.to_string(),
        "memory" => quantity::show_size(locked.memory),
        "gpu_memory" => number(gpu_memory),
        "gpu_exclusive" => exclusive.to_string(),
        _ => number(most),
    };
    cx.findings
        .error(spot.key, format!("`{key}` of a built-in profile is locked (it is {value})"))
        .help(
            "the built-in profiles mean the same in every fleet; make a profile of your own name, \
             or set `image`, `env`, `cache`, `docker`, `user`, `pids`, `shm`, `stop_grace` or more \
             `labels` here",
        );
}

/// GPU demand as the file's three keys say it.
pub(in super::super) fn show_gpu(gpu: Option<GpuDemand>) -> (Option<u32>, bool, Option<u32>) {
    let Some(gpu) = gpu else { return (None, false, None) };
    let memory = Some(gpu.memory.0);
    match gpu.sharing {
        GpuSharing::Exclusive => (memory, true, None),
        GpuSharing::AtMost(most) => (memory, false, Some(most)),
        GpuSharing::Shared => (memory, false, None),
    }
}

/// A profile that only the file has.
fn own(
    spot: Spot<'_>,
    (name, raw): (&ProfileName, &RawProfile),
    image: &ImageRef,
    cx: &mut Context<'_>,
) -> Profile {
    const MEMORY: Bounds<Bytes> = Bounds::size(MEMORY_MIN, MEMORY_MAX);
    cx.check_name(spot.key, name.as_str());
    let cpus = raw.cpus.as_ref().map(|cpus| cpus.0.as_str());
    let memory = raw.memory.as_ref().map(|memory| memory.0.as_str());
    for (key, example) in [("cpus", "2"), ("memory", "2GiB")] {
        if !spot.key(key).is_written() {
            cx.findings
                .error(spot.key, format!("the profile `{name}` has no `{key}`"))
                .help(format!("add `{key}: {example}`"));
        }
    }
    let cpus = cx.read(spot.key("cpus"), cpus, quantity::cpus);
    let memory = cx.read_within(spot.key("memory"), memory, &MEMORY);
    let gpu = gpu(spot, raw, cx);
    let resources = Resources {
        cpus: cpus.unwrap_or_default(),
        // A stand-in while the finding is reported; large, so that no other check fails for it.
        memory: memory.unwrap_or(MEMORY_MAX),
        gpu,
    };
    let labels = match raw.labels.as_deref() {
        Some(labels) => cx.labels(spot.key("labels"), labels),
        None => builtin::default_labels(name.as_str(), gpu),
    };
    settings(spot, raw, Profile { labels, ..builtin::bare(resources, image) }, cx)
}

fn gpu(spot: Spot<'_>, raw: &RawProfile, cx: &mut Context<'_>) -> Option<GpuDemand> {
    let exclusive = raw.gpu_exclusive == Some(true);
    if !spot.key("gpu_memory").is_written() {
        for key in ["gpu_exclusive", "gpu_max_per_card"] {
            let written = spot.key(key);
            if written.is_written() && (exclusive || key == "gpu_max_per_card") {
                cx.findings
                    .error(written.key, format!("`{key}` needs `gpu_memory`"))
                    .help("add `gpu_memory: 8000`, the MiB that a runner holds");
            }
        }
        return None;
    }
    if let (true, Some(_)) = (exclusive, raw.gpu_max_per_card) {
        cx.findings
            .error(spot.key("gpu_max_per_card").key, "an exclusive runner is alone on its card")
            .help("remove `gpu_max_per_card` or `gpu_exclusive`");
    }
    let text = raw.gpu_memory.as_ref().map(|memory| memory.0.as_str());
    let memory = cx.read(spot.key("gpu_memory"), text, quantity::gpu_memory)?;
    let sharing = match (exclusive, raw.gpu_max_per_card) {
        (true, _) => GpuSharing::Exclusive,
        (false, Some(most)) => GpuSharing::AtMost(most),
        (false, None) => GpuSharing::Shared,
    };
    Some(GpuDemand { memory, sharing })
}

/// The keys that every profile may set.
fn settings(spot: Spot<'_>, raw: &RawProfile, base: Profile, cx: &mut Context<'_>) -> Profile {
    const GRACE: Bounds<Duration> = Bounds::duration(Duration::ZERO, Duration::from_secs(3600));
    let user = raw.user.as_ref().map(|user| user.0.as_str());
    let shm = raw.shm.as_ref().map(|shm| shm.0.as_str());
    let grace = raw.stop_grace.as_ref().map(|grace| grace.0.as_str());
    let image = cx.image(spot.key("image"), raw.image.as_deref());
    let user = cx.read(spot.key("user"), user, quantity::user);
    let watchdog = raw.gpu_watchdog.as_ref().map(|watchdog| watchdog.0.as_str());
    let watchdog = cx.read(spot.key("gpu_watchdog"), watchdog, quantity::watchdog);
    let shm = cx.read(spot.key("shm"), shm, quantity::size);
    let docker = raw.docker.as_ref().map(|docker| docker.0.as_str());
    let docker = cx.read(spot.key("docker"), docker, quantity::docker);
    warn_of_root(spot, user, docker, cx);
    let stop_grace = cx.read_within(spot.key("stop_grace"), grace, &GRACE);
    if let Some(shm) = shm.filter(|shm| *shm > base.memory || shm.0 == 0) {
        let memory = quantity::show_size(base.memory);
        cx.findings
            .error(
                spot.key("shm").span,
                format!("`shm` is {}, but `memory` is {memory}", quantity::show_size(shm)),
            )
            .help("shared memory is counted in `memory`; half of it is usual");
    }
    let env = env(spot.key("env"), raw, cx);
    let caches = cache::caches(spot.key("cache"), raw.cache.as_ref(), cx);
    Profile {
        image: image.unwrap_or(base.image),
        user: user.unwrap_or(base.user),
        pids: raw.pids.unwrap_or(base.pids),
        shm: shm.unwrap_or(base.shm),
        gpu_watchdog: watchdog.unwrap_or(base.gpu_watchdog),
        docker: docker.unwrap_or(base.docker),
        stop_grace: stop_grace.unwrap_or(base.stop_grace),
        env,
        caches,
        ..base
    }
}

/// What gives jobs more than they need for most work.
fn warn_of_root(
    spot: Spot<'_>,
    user: Option<JobUser>,
    docker: Option<DockerAccess>,
    cx: &mut Context<'_>,
) {
    if user.is_some_and(|user| user.uid == 0) {
        cx.findings
            .warning(spot.key("user").span, "jobs of this profile run as root in their container")
            .help("any other number is safer");
    }
    if docker == Some(DockerAccess::Socket) {
        cx.findings
            .warning(
                spot.key("docker").span,
                "jobs of this profile are as good as root on the host",
            )
            .help("let only jobs that you trust like your own shell into its pools");
    }
}

fn env(spot: Spot<'_>, raw: &RawProfile, cx: &mut Context<'_>) -> BTreeMap<String, String> {
    let Some(env) = &raw.env else { return BTreeMap::new() };
    if env.0.len() > ENV_MAX {
        cx.findings.error(spot.span, format!("`env` has more than {ENV_MAX} variables"));
    }
    for (name, value) in &env.0 {
        let entry = spot.key(name);
        let first = |c: char| c == '_' || c.is_ascii_alphabetic();
        let fine = name.starts_with(first)
            && name.chars().all(|c| first(c) || c.is_ascii_digit())
            && name.len() <= 256;
        if !fine {
            cx.findings
                .error(entry.key, format!("`{name}` is no name of a variable"))
                .help("names have letters, digits and `_`, and begin with no digit");
        } else if PINS.contains(&name.as_str()) {
            cx.findings
                .error(entry.key, format!("`{name}` would undo the pin to the leased card"))
                .help("remove it: a runner sees its leased card and no other, as number 0");
        } else if name.starts_with("SLATE_") {
            cx.findings
                .error(entry.key, format!("`{name}` is set by the fleet itself"))
                .help("names that begin with `SLATE_` are kept for it; choose another");
        }
        if value.contains('\0') || value.len() > ENV_VALUE_MAX {
            let message = format!("`{name}` is longer than {ENV_VALUE_MAX} bytes or holds a NUL");
            cx.findings.error(entry.span, message);
        }
        if let Some(Value::Scalar(scalar)) = entry.node.map(|node| &node.value)
            && scalar.origin == Origin::Secret
        {
            cx.findings
                .warning(entry.key, format!("every job can read `{name}`, and `inspect` shows it"))
                .help("an environment keeps no secrets; give it to the one job that needs it");
        }
    }
    env.0.clone()
}
