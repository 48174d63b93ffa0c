//! The `gpu:` section as YAML.

use super::{Yaml, duration};
use crate::spec::{GpuPolicy, GpuRequestKind, GpuWatchdog};

pub(super) fn policy(policy: &GpuPolicy) -> Yaml {
    let xids = &policy.xids;
    let list = |xids: &[u32]| {
        (!xids.is_empty()).then(|| Yaml::List(xids.iter().map(Yaml::plain).collect()))
    };
    let classes = [
        ("application", list(&xids.application)),
        ("degraded", list(&xids.degraded)),
        ("fatal", list(&xids.fatal)),
    ];
    let any = classes.iter().any(|(_, xids)| xids.is_some());
    let memory = policy.memory.iter();
    let memory = memory.map(|(uuid, mib)| (uuid.to_string(), Yaml::plain(mib.0)));
    let patterns = (!policy.oom_patterns.is_empty()).then(|| Yaml::texts(&policy.oom_patterns));
    Yaml::map([
        ("request", Some(Yaml::text(request(policy.request)))),
        ("downgrade_for", Some(policy.downgrade_for.map_or(Yaml::plain(false), duration))),
        ("oom_patterns", patterns),
        ("xids", any.then(|| Yaml::map(classes))),
        ("memory", (!policy.memory.is_empty()).then(|| Yaml::Map(memory.collect()))),
    ])
}

fn request(kind: GpuRequestKind) -> &'static str {
    match kind {
        GpuRequestKind::Auto => "auto",
        GpuRequestKind::Nvidia => "nvidia",
        GpuRequestKind::Cdi => "cdi",
    }
}

pub(super) fn watchdog(watchdog: GpuWatchdog) -> Yaml {
    Yaml::text(match watchdog {
        GpuWatchdog::Off => "off",
        GpuWatchdog::Warn => "warn",
        GpuWatchdog::Kill => "kill",
    })
}
