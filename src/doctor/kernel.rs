//! The kernel's bounds against what the fleet's runners may need, with the lines to set.

use super::facts::Facts;
use super::{Check, error, fine, skipped, unread, warning};
use crate::units::words::counted;

/// The oldest kernel whose overlay file system and control groups are known to work here.
const OLDEST: (u32, u32) = (4, 18);
/// Processes of the host itself.
const OWN_PROCESSES: u64 = 1024;
/// Instances that a job of watchers and language servers takes; the bound is each user's, and all
/// runners are one user to the kernel.
const INSTANCES_EACH: u64 = 16;
const INSTANCES_OWN: u64 = 64;
/// Files that such a job watches.
const WATCHES_EACH: u64 = 8192;
/// Files that a job opens at a time.
const FILES_EACH: u64 = 4096;
const FILES_OWN: u64 = 16_384;
/// The supervisor's own files: each runner has a connection and a log, clients have theirs.
const DESCRIPTORS_EACH: u64 = 2;
const DESCRIPTORS_OWN: u64 = 256;

pub(super) fn version(facts: &Facts) -> Vec<Check> {
    let kernel = facts.engine.as_ref().and_then(|engine| engine.kernel.as_deref());
    let Some(kernel) = kernel else { return unread("the kernel's version") };
    match numbers(kernel) {
        Some(found) if found < OLDEST => vec![warning(
            format!("kernel {kernel} is older than {}.{}", OLDEST.0, OLDEST.1),
            "upgrade the host's kernel: limits and overlays of this age are not reliable",
        )],
        Some(_) => vec![fine(format!("kernel {kernel}"))],
        None => vec![skipped(format!("kernel {kernel}: not a version that is understood"))],
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub(super) fn controllers(facts: &Facts) -> Vec<Check> {
    let Some(all) = &facts.host.controllers else { return unread("the control groups") };
    let missing: Vec<&str> = ["cpu", "memory", "pids"]
        .into_iter()
        .filter(|name| !all.iter().any(|it| it == name))
        .collect();
    match missing.is_empty() {
        true => vec![fine("the kernel limits processors, memory and processes")],
        false => vec![error(
            format!(
                "the kernel does not limit {}: runners take what they like",
                missing.join(", ")
            ),
            "boot with `cgroup_enable=memory cgroup_memory=1`, or a kernel that has these \
             controllers",
        )],
    }
}

pub(super) fn process_ids(facts: &Facts) -> Vec<Check> {
    let need = |wanted: u64| wanted.saturating_add(OWN_PROCESSES);
    let most = facts.wanted.as_ref().map(|it| need(it.processes));
    bound(facts, "kernel.pid_max", facts.host.pid_max, most)
}

pub(super) fn threads(facts: &Facts) -> Vec<Check> {
    let most = facts.wanted.as_ref().map(|it| it.processes.saturating_add(OWN_PROCESSES));
    bound(facts, "kernel.threads-max", facts.host.threads_max, most)
}

pub(super) fn inotify_instances(facts: &Facts) -> Vec<Check> {
    let most = runners(facts).map(|count| count * INSTANCES_EACH + INSTANCES_OWN);
    bound(facts, "fs.inotify.max_user_instances", facts.host.inotify_instances, most)
}

pub(super) fn inotify_watches(facts: &Facts) -> Vec<Check> {
    let most = runners(facts).map(|count| count * WATCHES_EACH);
    bound(facts, "fs.inotify.max_user_watches", facts.host.inotify_watches, most)
}

pub(super) fn host_files(facts: &Facts) -> Vec<Check> {
    let most = runners(facts).map(|count| count * FILES_EACH + FILES_OWN);
    bound(facts, "fs.file-max", facts.host.file_max, most)
}

/// A bound that all runners share: enough, or the line that makes it so.
fn bound(facts: &Facts, key: &str, found: Option<u64>, most: Option<u64>) -> Vec<Check> {
    let Some(found) = found else { return unread(key) };
    let (Some(most), Some(count)) = (most, runners(facts)) else {
        return vec![skipped(format!("{key} is {found}; without a fleet file nothing is needed"))];
    };
    let count = counted(count, "runner");
    if found >= most {
        return vec![fine(format!("{key} is {found}, enough for {count}"))];
    }
    // A round number outlives the next few runners.
    let line = format!("{key} = {}", most.next_power_of_two());
    vec![warning(
        format!("{key} is {found}; {count} may need {most}, and all share it"),
        format!(
            "`echo '{line}' | sudo tee -a /etc/sysctl.d/90-slate-fleet.conf && sudo sysctl \
             --system`"
        ),
    )]
}

pub(super) fn open_files(facts: &Facts) -> Vec<Check> {
    let Some(found) = facts.host.open_files else { return unread("the limit of open files") };
    let Some(count) = runners(facts) else {
        return vec![skipped("the limit of open files: there is no fleet file to compare with")];
    };
    let most = count * DESCRIPTORS_EACH + DESCRIPTORS_OWN;
    let count = counted(count, "runner");
    match found >= most {
        true => {
            vec![fine(format!("a supervisor may open {found} files, enough for {count}"))]
        }
        false => vec![warning(
            format!("a supervisor may open {found} files; with {count} it needs {most}"),
            format!(
                "`ulimit -Hn {0}` before `slate-fleet up`, or `LimitNOFILE={0}` in its unit",
                most.next_power_of_two()
            ),
        )],
    }
}

pub(super) fn overcommit(facts: &Facts) -> Vec<Check> {
    let Some(found) = facts.host.overcommit else { return unread("vm.overcommit_memory") };
    match found {
        2 => vec![warning(
            "vm.overcommit_memory is 2: programs that reserve much memory fail below their limit",
            "`echo 'vm.overcommit_memory = 0' | sudo tee -a /etc/sysctl.d/90-slate-fleet.conf && \
             sudo sysctl --system`",
        )],
        _ => vec![fine(format!(
            "memory is promised as programs expect it (vm.overcommit_memory {found})"
        ))],
    }
}

fn runners(facts: &Facts) -> Option<u64> {
    facts.wanted.as_ref().map(|wanted| u64::from(wanted.runners))
}
