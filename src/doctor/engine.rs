//! The container engine: what it can enforce, what a restart of it costs, which images it has.

use std::time::Duration;

use super::facts::Facts;
use super::{Check, error, fine, no_engine, skipped, unread, warning};
use crate::engine::CgroupVersion;
use crate::units::words::counted;

/// Storage drivers that copy whole layers, or that Docker gave up.
const SLOW_DRIVERS: [&str; 4] = ["vfs", "aufs", "devicemapper", "overlay"];
/// An image that was not built for so long lacks many fixes of its distribution.
const IMAGE_OLD: Duration = Duration::from_secs(90 * 86_400);

pub(super) fn version(facts: &Facts) -> Vec<Check> {
    match &facts.engine {
        Some(engine) => {
            vec![fine(format!(
                "it answers: version {}, API {}",
                engine.info.version, engine.info.api
            ))]
        }
        None => vec![error(
            facts.engine_trouble.clone(),
            "`sudo systemctl start docker`; `DOCKER_HOST` says where else it is",
        )],
    }
}

pub(super) fn warnings(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("its own warnings") };
    if engine.info.warnings.is_empty() {
        return vec![fine("the engine warns of nothing")];
    }
    let told = engine.info.warnings.iter();
    told.map(|it| warning(it, "see the engine's log: `journalctl -u docker`")).collect()
}

pub(super) fn exposure(facts: &Facts) -> Vec<Check> {
    match &facts.env.docker_host {
        Some(host) if host.starts_with("tcp://") && !facts.env.docker_tls => vec![warning(
            format!("the engine is spoken to at {host} without TLS: whoever reaches it is root"),
            "set DOCKER_TLS_VERIFY=1 and certificates, or use `DOCKER_HOST=ssh://…`",
        )],
        Some(host) => vec![fine(format!("the engine is spoken to at {host}"))],
        None => vec![fine("the engine is spoken to by its local socket")],
    }
}

pub(super) fn storage_driver(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("storage driver") };
    let driver = engine.info.storage_driver.as_str();
    match SLOW_DRIVERS.contains(&driver) {
        true => vec![warning(
            format!("the storage driver is {driver}: runners begin slowly and fill the disk"),
            "set `\"storage-driver\": \"overlay2\"` in /etc/docker/daemon.json; images and \
             containers of the old driver are not seen any more",
        )],
        false => vec![fine(format!("the storage driver is {driver}"))],
    }
}

pub(super) fn cgroup_version(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("control groups") };
    match engine.info.cgroups {
        CgroupVersion::V2 => vec![fine("control groups are version 2")],
        CgroupVersion::V1 => vec![warning(
            "control groups are version 1: limits work, and new systems give it up",
            "boot with `systemd.unified_cgroup_hierarchy=1`",
        )],
        CgroupVersion::Unknown => vec![skipped("the engine does not say which control groups")],
    }
}

pub(super) fn swap_limit(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("limits on swap") };
    match engine.swap_limit {
        Some(true) => vec![fine("runners do not swap beyond their memory limit")],
        Some(false) => vec![warning(
            "swap is not limited: a runner may swap beyond its memory limit",
            "boot with `swapaccount=1`, or switch swap off: `sudo swapoff -a`",
        )],
        None => vec![skipped("the engine does not say whether it limits swap")],
    }
}

pub(super) fn seccomp(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("seccomp") };
    match has(&engine.info.security, "seccomp") {
        true => vec![fine("system calls of runners are filtered (seccomp)")],
        false => vec![error(
            "system calls of runners are not filtered: jobs reach all of the kernel",
            "use a kernel with CONFIG_SECCOMP, and take `seccomp-profile: unconfined` out of \
             /etc/docker/daemon.json",
        )],
    }
}

pub(super) fn mandatory_access(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("AppArmor and SELinux") };
    let used = ["apparmor", "selinux"].into_iter().find(|it| has(&engine.info.security, it));
    if let Some(module) = used {
        return vec![fine(format!("runners are confined by {module}"))];
    }
    let on = facts.host.modules.iter().flatten().find(|it| *it == "apparmor" || *it == "selinux");
    match on {
        Some(module) => vec![warning(
            format!("{module} is on, and the engine does not confine runners by it"),
            "install its tools (`apt install apparmor`; SELinux: `\"selinux-enabled\": true` in \
             /etc/docker/daemon.json), then restart the engine",
        )],
        None => vec![warning(
            "neither AppArmor nor SELinux confines runners",
            "boot with `security=apparmor` where the kernel has it; seccomp and dropped rights \
             hold without it",
        )],
    }
}

pub(super) fn user_namespaces(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("user namespaces") };
    let kind = ["rootless", "userns"].into_iter().find(|it| has(&engine.info.security, it));
    vec![fine(match kind {
        Some("rootless") => "the engine is rootless: root in a runner is nobody on the host",
        Some(_) => "root in a runner is nobody on the host (userns-remap)",
        None => "root in a runner is the host's root without most of its rights (no userns-remap)",
    })]
}

pub(super) fn live_restore(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("live-restore") };
    let cost = match facts.running {
        Some(1) => "ends the job that runs".to_owned(),
        Some(count) if count > 1 => format!("ends the {count} jobs that run"),
        Some(_) | None => "ends every job that runs then".to_owned(),
    };
    match (engine.live_restore, engine.swarm) {
        (Some(true), _) => vec![fine("runners survive a restart of the engine (live-restore)")],
        (Some(false), true) => vec![warning(
            format!("a restart of the engine {cost}: a swarm has no live-restore"),
            "`slate-fleet drain` before it is restarted or upgraded",
        )],
        (Some(false), false) => vec![warning(
            format!("a restart or upgrade of the engine {cost}"),
            "set `\"live-restore\": true` in /etc/docker/daemon.json, then `sudo systemctl reload \
             docker`",
        )],
        (None, _) => unread("live-restore"),
    }
}

pub(super) fn images_present(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("images") };
    if engine.images.is_empty() {
        return vec![skipped("images: no pool names one")];
    }
    let told = engine.images.iter().map(|image| match image.present {
        true => fine(format!("image {} is there", image.name)),
        false => warning(
            format!("image {} is not there yet; it is pulled when a runner needs it", image.name),
            format!("`docker pull {}`, or build it (`images/build`)", image.name),
        ),
    });
    told.collect()
}

pub(super) fn images_age(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("images' age") };
    let dated = engine.images.iter().filter_map(|image| Some((&image.name, image.built?)));
    let told: Vec<Check> = dated
        .map(|(name, built)| {
            let age = facts.now.since(built);
            let days = counted(age.as_secs() / 86_400, "day");
            match age > IMAGE_OLD {
                true => warning(
                    format!("image {name} was built {days} ago and lacks fixes since"),
                    "build or pull it anew, then `slate-fleet up -d`",
                ),
                false => fine(format!("image {name} was built {days} ago")),
            }
        })
        .collect();
    match told.is_empty() {
        true => vec![skipped("images' age: no image says when it was built")],
        false => told,
    }
}

fn has(all: &[String], name: &str) -> bool {
    all.iter().any(|it| it == name)
}
