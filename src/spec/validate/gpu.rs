//! How cards are asked for, watched and given up.

use std::collections::BTreeMap;

use super::limits::keep;
use super::{Context, Spot};
use crate::ids::GpuUuid;
use crate::spec::raw::RawGpu;
use crate::spec::{GpuPolicy, XidClasses, builtin, quantity};
use crate::units::GpuMib;

/// More words than this are a log parser, not a list.
const PATTERNS_MAX: usize = 64;

pub(super) fn policy(raw: Option<&RawGpu>, cx: &mut Context<'_>) -> GpuPolicy {
    let defaults = builtin::gpu_policy();
    let Some(raw) = raw else { return defaults };
    let spot = Spot::root(cx.root).key("gpu");
    let request = raw.request.as_ref().map(|request| request.0.as_str());
    let request = cx.read(spot.key("request"), request, quantity::gpu_request);
    GpuPolicy {
        request: request.unwrap_or(defaults.request),
        downgrade_for: keep(
            raw.downgrade_for.as_ref(),
            spot.key("downgrade_for"),
            defaults.downgrade_for,
            cx,
        ),
        oom_patterns: patterns(spot.key("oom_patterns"), raw, cx),
        xids: xids(spot.key("xids"), raw, cx),
        memory: memory(spot.key("memory"), raw, cx),
    }
}

fn patterns(spot: Spot<'_>, raw: &RawGpu, cx: &mut Context<'_>) -> Vec<String> {
    let patterns = raw.oom_patterns.clone().unwrap_or_default();
    let is_fine = |it: &String| (4..=256).contains(&it.trim().len()) && !it.contains('\n');
    if patterns.len() > PATTERNS_MAX {
        let message = format!("`oom_patterns` has more than {PATTERNS_MAX} entries");
        cx.findings.error(spot.span, message);
    }
    for pattern in patterns.iter().filter(|it| !is_fine(it)) {
        let item = spot.item(pattern);
        cx.findings
            .error(item.span, format!("`{}` would match by accident, or never", item.shown()))
            .help("write 4 to 256 characters of one line, as the job prints them");
    }
    patterns
}

fn xids(spot: Spot<'_>, raw: &RawGpu, cx: &mut Context<'_>) -> XidClasses {
    let Some(raw) = &raw.xids else { return XidClasses::default() };
    let list = |xids: &Option<Vec<u32>>| xids.clone().unwrap_or_default();
    let classes = XidClasses {
        application: list(&raw.application),
        degraded: list(&raw.degraded),
        fatal: list(&raw.fatal),
    };
    let mut all: Vec<u32> = [&classes.application, &classes.degraded, &classes.fatal]
        .into_iter()
        .flatten()
        .copied()
        .collect();
    all.sort_unstable();
    if let Some([twice, _]) = all.array_windows().find(|[a, b]| a == b) {
        cx.findings
            .error(spot.key, format!("the Xid {twice} is written twice"))
            .help("an Xid means one thing; keep one");
    }
    classes
}

fn memory(spot: Spot<'_>, raw: &RawGpu, cx: &mut Context<'_>) -> BTreeMap<GpuUuid, GpuMib> {
    let cards = raw.memory.iter().flatten();
    let read = cards.filter_map(|(uuid, size)| {
        let mib = cx.read(spot.key(uuid), Some(&size.0), quantity::gpu_memory)?;
        Some((GpuUuid::new(uuid), mib))
    });
    read.collect()
}
