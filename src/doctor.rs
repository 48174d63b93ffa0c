//! The checks that `doctor` makes of a machine, its engine and a fleet's needs.
//!
//! [`look`] reads what there is, [`examine`] judges it. Judging is pure: a check is a function from
//! [`Facts`] to what it found, and [`RULES`] is the table of all of them. The supervisor adds what
//! only it knows (`api::doctor`).

mod engine;
pub mod facts;
mod fleet;
mod host;
mod kernel;
pub mod look;
mod network;
mod storage;
#[cfg(test)]
mod tests;

use crate::api::doctor::{Check, CheckLevel, Section};
use facts::Facts;

/// A check.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name, in the reference and in `--format json`.
    pub id: &'static str,
    /// The section that it is told in.
    pub topic: Topic,
    /// What it finds: one thing, or one for each folder or image.
    pub judge: fn(&Facts) -> Vec<Check>,
}

/// What a check is about; the sections, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// The container engine.
    Engine,
    /// The kernel and its bounds.
    Host,
    /// Folders, their disks, and the clock that their files are dated by.
    Storage,
    /// Names, packets and addresses.
    Network,
    /// GPUs, as far as the fleet uses them.
    Gpus,
    /// What the fleet file brings with it.
    Fleet,
}

impl Topic {
    const ALL: [Self; 6] =
        [Self::Engine, Self::Host, Self::Storage, Self::Network, Self::Gpus, Self::Fleet];

    fn name(self) -> &'static str {
        match self {
            Self::Engine => "Engine",
            Self::Host => "Host",
            Self::Storage => "Storage",
            Self::Network => "Network",
            Self::Gpus => "GPUs",
            Self::Fleet => "Fleet",
        }
    }
}

const fn rule(topic: Topic, id: &'static str, judge: fn(&Facts) -> Vec<Check>) -> Rule {
    Rule { id, topic, judge }
}

/// Every check, in the order in which they are told.
pub const RULES: &[Rule] = &[
    rule(Topic::Engine, "engine", engine::version),
    rule(Topic::Engine, "engine-warnings", engine::warnings),
    rule(Topic::Engine, "engine-exposure", engine::exposure),
    rule(Topic::Engine, "storage-driver", engine::storage_driver),
    rule(Topic::Engine, "cgroup-version", engine::cgroup_version),
    rule(Topic::Engine, "swap-limit", engine::swap_limit),
    rule(Topic::Engine, "seccomp", engine::seccomp),
    rule(Topic::Engine, "mandatory-access", engine::mandatory_access),
    rule(Topic::Engine, "user-namespaces", engine::user_namespaces),
    rule(Topic::Engine, "live-restore", engine::live_restore),
    rule(Topic::Engine, "images-present", engine::images_present),
    rule(Topic::Engine, "images-age", engine::images_age),
    rule(Topic::Host, "kernel-version", kernel::version),
    rule(Topic::Host, "cgroup-controllers", kernel::controllers),
    rule(Topic::Host, "process-ids", kernel::process_ids),
    rule(Topic::Host, "threads", kernel::threads),
    rule(Topic::Host, "inotify-instances", kernel::inotify_instances),
    rule(Topic::Host, "inotify-watches", kernel::inotify_watches),
    rule(Topic::Host, "host-files", kernel::host_files),
    rule(Topic::Host, "open-files", kernel::open_files),
    rule(Topic::Host, "memory-overcommit", kernel::overcommit),
    rule(Topic::Host, "memory", host::memory),
    rule(Topic::Host, "start-at-boot", host::boot),
    rule(Topic::Storage, "disk-space", storage::space),
    rule(Topic::Storage, "disk-inodes", storage::inodes),
    rule(Topic::Storage, "file-system", storage::file_system),
    rule(Topic::Storage, "state-folder", storage::state_folder),
    rule(Topic::Storage, "reports-folder", storage::reports_folder),
    rule(Topic::Storage, "clock", host::clock),
    rule(Topic::Network, "dns", network::dns),
    rule(Topic::Network, "ip-forwarding", network::forwarding),
    rule(Topic::Network, "engine-proxy", network::engine_proxy),
    rule(Topic::Network, "address-pools", network::address_pools),
    rule(Topic::Network, "mtu", network::mtu),
    rule(Topic::Network, "listen-address", network::listen),
    rule(Topic::Gpus, "gpu-cards", fleet::cards),
    rule(Topic::Gpus, "gpu-driver", fleet::driver),
    rule(Topic::Gpus, "gpu-toolkit", fleet::toolkit),
    rule(Topic::Gpus, "gpu-reload", fleet::reload),
    rule(Topic::Fleet, "secrets-file", fleet::secrets_file),
];

/// Every check of these facts, by section.
#[must_use]
pub fn examine(facts: &Facts) -> Vec<Section> {
    let section = |topic: Topic| {
        let mut section = Section::new(topic.name());
        for rule in RULES.iter().filter(|rule| rule.topic == topic) {
            let found = (rule.judge)(facts).into_iter();
            section.checks.extend(found.map(|it| Check { id: Some(rule.id.to_owned()), ..it }));
        }
        section
    };
    Topic::ALL.into_iter().map(section).filter(|section| !section.checks.is_empty()).collect()
}

fn fine(message: impl Into<String>) -> Check {
    Check { id: None, level: CheckLevel::Ok, message: message.into(), advice: None }
}

fn warning(message: impl Into<String>, advice: impl Into<String>) -> Check {
    let advice = Some(advice.into());
    Check { level: CheckLevel::Warning, advice, ..fine(message) }
}

fn error(message: impl Into<String>, advice: impl Into<String>) -> Check {
    let advice = Some(advice.into());
    Check { level: CheckLevel::Error, advice, ..fine(message) }
}

fn skipped(message: impl Into<String>) -> Check {
    Check { level: CheckLevel::Skipped, ..fine(message) }
}

/// What a check says of an engine that does not answer.
fn no_engine(what: &str) -> Vec<Check> {
    vec![skipped(format!("{what}: the engine does not answer"))]
}

/// What a check says of what could not be read here.
fn unread(what: &str) -> Vec<Check> {
    vec![skipped(format!("{what} cannot be read here"))]
}
