//! Bounds of the fleet, and how long what is over is kept.

use std::time::Duration;

use super::{Bounds, Context, Spot};
use crate::spec::builtin;
use crate::spec::raw::{Keep, RawLimits, RawRetention, Size};
use crate::spec::{Limits, Overcommit, Retention};
use crate::units::Bytes;

pub(super) fn limits(raw: Option<&RawLimits>, cx: &mut Context<'_>) -> Limits {
    const TIMEOUT: Bounds<Duration> =
        Bounds::duration(Duration::from_secs(1), Duration::from_secs(30 * 86_400));
    const LOG: Bounds<Bytes> = Bounds::size(Bytes(64 << 10), Bytes::gib(4));
    const WORKSPACE: Bounds<Bytes> = Bounds::size(Bytes::mib(1), Bytes::gib(64));
    const FLOOR: Bounds<Bytes> = Bounds::size(Bytes::mib(1), Bytes::gib(1024));
    const DAY: Duration = Duration::from_secs(86_400);
    // Six heartbeats: less would take a short stall for a death.
    const STALE: Bounds<Duration> = Bounds::duration(Duration::from_secs(30), DAY);
    const START: Bounds<Duration> = Bounds::duration(Duration::from_secs(10), DAY);
    let defaults = cx.options.over(builtin::LIMITS);
    let Some(raw) = raw else { return defaults };
    let spot = Spot::root(cx.root).key("limits");
    let timeout = raw.task_timeout.as_ref().map(|value| value.0.as_str());
    let log = raw.log_max.as_ref().map(|value| value.0.as_str());
    let workspace = raw.workspace_max.as_ref().map(|value| value.0.as_str());
    let task_timeout = cx.read_within(spot.key("task_timeout"), timeout, &TIMEOUT);
    let log_max = cx.read_within(spot.key("log_max"), log, &LOG);
    let workspace_max = cx.read_within(spot.key("workspace_max"), workspace, &WORKSPACE);
    let floor = raw.disk_floor.as_ref().map(|value| value.0.as_str());
    let disk_floor = cx.read_within(spot.key("disk_floor"), floor, &FLOOR);
    let stale = raw.stale_after.as_ref().map(|value| value.0.as_str());
    let start = raw.start_timeout.as_ref().map(|value| value.0.as_str());
    let stale_after = cx.read_within(spot.key("stale_after"), stale, &STALE);
    let start_timeout = cx.read_within(spot.key("start_timeout"), start, &START);
    let overcommit = raw.overcommit.as_ref().and_then(|overcommit| overcommit.memory);
    Limits {
        max_parallel_workflows: raw
            .max_parallel_workflows
            .unwrap_or(defaults.max_parallel_workflows),
        task_timeout: task_timeout.unwrap_or(defaults.task_timeout),
        scale_max: raw.scale_max.unwrap_or(defaults.scale_max),
        queue_max: raw.queue_max.unwrap_or(defaults.queue_max),
        log_max: log_max.unwrap_or(defaults.log_max),
        workspace_max: workspace_max.unwrap_or(defaults.workspace_max),
        disk_floor: disk_floor.unwrap_or(defaults.disk_floor),
        overcommit_memory: match overcommit {
            Some(true) => Overcommit::Allow,
            Some(false) => Overcommit::Refuse,
            None => defaults.overcommit_memory,
        },
        retries: raw.retries.unwrap_or(defaults.retries),
        stale_after: stale_after.unwrap_or(defaults.stale_after),
        start_timeout: start_timeout.unwrap_or(defaults.start_timeout),
    }
}

/// A time to keep something for: as written, for ever for `false`, or the default.
pub(super) fn keep(
    raw: Option<&Keep>,
    spot: Spot<'_>,
    default: Option<Duration>,
    cx: &mut Context<'_>,
) -> Option<Duration> {
    const KEEP: Bounds<Duration> =
        Bounds::duration(Duration::from_secs(60), Duration::from_secs(3650 * 86_400));
    match raw.map(|keep| keep.0.as_str()) {
        None => default,
        Some(text) if text.eq_ignore_ascii_case("false") => None,
        Some(text) => cx.read_within(spot, Some(text), &KEEP),
    }
}

pub(super) fn retention(raw: Option<&RawRetention>, cx: &mut Context<'_>) -> Retention {
    const TOTAL: Bounds<Bytes> = Bounds::size(Bytes::mib(1), Bytes::gib(16 * 1024));
    let defaults = builtin::RETENTION;
    let Some(raw) = raw else { return defaults };
    let spot = Spot::root(cx.root).key("retention");
    let mut size = |name, value: Option<&Size>, default| {
        let text = value.map(|value| value.0.as_str());
        cx.read_within(spot.key(name), text, &TOTAL).unwrap_or(default)
    };
    let logs_max = size("logs_max", raw.logs_max.as_ref(), defaults.logs_max);
    let reports_max = size("reports_max", raw.reports_max.as_ref(), defaults.reports_max);
    let mut age = |name, value: Option<&Keep>, default| keep(value, spot.key(name), default, cx);
    Retention {
        logs: age("logs", raw.logs.as_ref(), defaults.logs),
        logs_max,
        audit: age("audit", raw.audit.as_ref(), defaults.audit),
        post_mortems: age("post_mortems", raw.post_mortems.as_ref(), defaults.post_mortems),
        reports_max,
        images: age("images", raw.images.as_ref(), defaults.images),
    }
}
