//! Pools: sizes, names of runners, and profiles made from instance types.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ids::{ImageRef, PoolName, ProfileName, ProjectName};

use super::super::raw::{RawFleet, RawPool};
use super::super::{Elastic, Limits, Pool, PoolSize, Profile, Reuse, builtin};
use super::forge::{self, Term};
use super::{Bounds, Context, Spot};

/// Longest name of a runner: it is also its host name, which Linux bounds to 64 with the end mark.
const RUNNER_NAME_MAX: usize = 63;

/// How often Docker asks runners that stay registered, where the file does not say.
const KEPT_INTERVAL: Duration = Duration::from_secs(30);

/// What pools need to know of the fleet.
pub(super) struct Fleet<'a> {
    pub(super) project: Option<&'a ProjectName>,
    pub(super) image: &'a ImageRef,
    pub(super) limits: Limits,
    /// Every profile; instance types add to them.
    pub(super) profiles: &'a mut BTreeMap<ProfileName, Profile>,
}

/// The pools in the order of the file; instance types add to the profiles.
pub(super) fn pools(raw: &RawFleet, fleet: &mut Fleet<'_>, cx: &mut Context<'_>) -> Vec<Pool> {
    let list = Spot::root(cx.root).key("pools");
    let mut pools = Vec::new();
    for (index, raw) in raw.pools.iter().flatten().enumerate() {
        let spot = list.index(index);
        let profile = profile(spot, raw, fleet, cx);
        let holds_gpu = profile.as_ref().is_some_and(|name| {
            fleet.profiles.get(name).is_some_and(|profile| profile.gpu.is_some())
        });
        let pool = pool(spot, raw, holds_gpu_as(holds_gpu), cx);
        let known = profile.as_ref().and_then(|name| fleet.profiles.get_key_value(name));
        let around = forge::Around { size: pool.size, profile: known };
        let forge = forge::pool(spot, raw, &around, cx);
        if forge.is_none() && forge::term(raw) != Term::None && !cx.findings.has_errors() {
            // Never happens; without it such a pool would take the fleet's own jobs.
            cx.findings.error(spot.span, "this pool's forge cannot be read");
        }
        let profile = profile.unwrap_or_else(|| ProfileName::new(""));
        pools.push(Pool { profile, forge, ..pool });
    }
    forge::check_rights(list, &pools, cx);
    if check_total(list, &pools, fleet, cx) {
        check_runner_names(list, &pools, cx);
    }
    pools
}

/// Whether a spare runner would hold GPU memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Card {
    Held,
    None,
}

fn holds_gpu_as(holds_gpu: bool) -> Card {
    if holds_gpu { Card::Held } else { Card::None }
}

fn profile(
    spot: Spot<'_>,
    raw: &RawPool,
    fleet: &mut Fleet<'_>,
    cx: &mut Context<'_>,
) -> Option<ProfileName> {
    match (raw.profile.as_deref(), raw.instance_type.as_deref()) {
        (Some(_), Some(_)) => {
            cx.findings
                .error(
                    spot.key("instance_type").key,
                    "a pool has a `profile` or an `instance_type`",
                )
                .help("remove one of them");
            None
        }
        (Some(name), None) => {
            let name = ProfileName::new(name);
            if !fleet.profiles.contains_key(&name) {
                let known: Vec<&str> = fleet.profiles.keys().map(ProfileName::as_str).collect();
                cx.unknown(spot.key("profile"), "profile", &known);
            }
            Some(name)
        }
        (None, Some(name)) => from_instance(spot.key("instance_type"), name, fleet, cx),
        (None, None) => {
            if !spot.key("profile").is_written() && !spot.key("instance_type").is_written() {
                let known: Vec<&str> = fleet.profiles.keys().map(ProfileName::as_str).collect();
                let known = known.join("`, `");
                cx.findings
                    .error(spot.span, "this pool has no `profile`")
                    .help(format!("add `profile:` with one of `{known}`"));
            }
            None
        }
    }
}

fn from_instance(
    spot: Spot<'_>,
    instance: &str,
    fleet: &mut Fleet<'_>,
    cx: &mut Context<'_>,
) -> Option<ProfileName> {
    let Some(resources) = builtin::instance_type(instance) else {
        cx.unknown(spot, "instance type", &builtin::instance_types());
        return None;
    };
    // Names of profiles are parts of container names and have no dots or capitals.
    let name = ProfileName::new(instance.to_ascii_lowercase().replace('.', "-"));
    let labels = builtin::default_labels(name.as_str(), None);
    let made = Profile { labels, ..builtin::bare(resources, fleet.image) };
    let known = fleet.profiles.entry(name.clone()).or_insert_with(|| made.clone());
    if (known.cpus, known.memory, known.gpu) != (made.cpus, made.memory, made.gpu) {
        cx.findings
            .error(spot.span, format!("there is a profile `{name}` with other resources"))
            .help(format!("write `profile: {name}` to use it, or rename it"));
    }
    Some(name)
}

/// Everything of a pool but its profile.
fn pool(spot: Spot<'_>, raw: &RawPool, card: Card, cx: &mut Context<'_>) -> Pool {
    const INTERVAL: Bounds<Duration> =
        Bounds::duration(Duration::from_secs(1), Duration::from_secs(3600));
    let name = raw.name.as_deref().unwrap_or_default();
    if raw.name.is_some() {
        cx.check_name(spot.key("name").span, name);
    }
    let size = size(spot, raw, cx);
    let term = forge::term(raw);
    let reuse = reuse(spot.key("ephemeral"), raw, term, cx);
    let health = raw.healthcheck.as_ref().map(|interval| interval.0.as_str());
    let health = health.filter(|text| !text.eq_ignore_ascii_case("false"));
    let docker_healthcheck = cx.read_within(spot.key("healthcheck"), health, &INTERVAL);
    let docker_healthcheck = match (term, &raw.healthcheck) {
        (Term::Kept, None) => Some(KEPT_INTERVAL),
        (Term::Kept | Term::OneJob | Term::None, _) => docker_healthcheck,
    };
    let spares = match (raw.spares, reuse, card) {
        (Some(spares), Reuse::Persistent, _) if spares > 0 => {
            cx.findings
                .error(spot.key("spares").span, "a pool that is not ephemeral has no spares")
                .help("its containers are not replaced after a job; remove `spares`");
            0
        }
        (Some(spares), Reuse::OneJob | Reuse::Persistent, _) => spares,
        (None, Reuse::OneJob, Card::None) => u32::from(size.most() > 0),
        (None, Reuse::OneJob, Card::Held) | (None, Reuse::Persistent, _) => 0,
    };
    let runner_name = runner_name(spot.key("runner_name"), raw, size, cx);
    let (name, profile) = (PoolName::new(name), ProfileName::new(""));
    Pool { name, profile, size, runner_name, reuse, spares, docker_healthcheck, forge: None }
}

/// Whether containers are used again.
fn reuse(spot: Spot<'_>, raw: &RawPool, term: Term, cx: &mut Context<'_>) -> Reuse {
    match (term, raw.ephemeral) {
        (Term::Kept, Some(true)) => {
            cx.findings
                .error(
                    spot.span,
                    "runners that register with `token_env` stay: its tokens are good for an \
                     hour, and a new runner for each job would need new ones",
                )
                .help("remove `ephemeral`, or register with `pat` or `app` instead of `token_env`");
            Reuse::Persistent
        }
        (Term::OneJob, Some(false)) => {
            cx.findings
                .error(spot.span, "runners that register with `pat`, `app` or `token` have one job")
                .help("remove `ephemeral: false`; runners that stay register with `token_env`");
            Reuse::OneJob
        }
        (Term::Kept, None | Some(false)) | (Term::None, Some(false)) => Reuse::Persistent,
        (Term::OneJob | Term::None, None | Some(true)) => Reuse::OneJob,
    }
}

fn size(spot: Spot<'_>, raw: &RawPool, cx: &mut Context<'_>) -> PoolSize {
    const DELAY: Bounds<Duration> = Bounds::duration(Duration::ZERO, Duration::from_secs(86_400));
    const ELASTIC: [&str; 6] = [
        "min_runners",
        "max_runners",
        "scale_up_threshold",
        "scale_up_delay",
        "scale_down_delay",
        "warm",
    ];
    let Some(first) = ELASTIC.into_iter().find(|key| spot.key(key).is_written()) else {
        return PoolSize::Fixed(raw.count.unwrap_or(1));
    };
    if spot.key("count").is_written() {
        cx.findings
            .error(spot.key("count").key, format!("`count` is a fixed size, `{first}` is not"))
            .help(match first {
                "warm" => "a fixed size keeps ready containers with `spares: 2`; remove `warm`",
                _ => "keep `count`, or `min_runners` and `max_runners`",
            });
    } else if !spot.key("max_runners").is_written() {
        cx.findings.error(spot.key(first).key, format!("`{first}` needs `max_runners`")).help(
            match first {
                "warm" => "add `max_runners: 20`; a fixed size has `spares` instead",
                _ => "add `max_runners: 20`, or write `count:` for a fixed size",
            },
        );
    }
    let up = raw.scale_up_delay.as_ref().map(|delay| delay.0.as_str());
    let down = raw.scale_down_delay.as_ref().map(|delay| delay.0.as_str());
    let up = cx.read_within(spot.key("scale_up_delay"), up, &DELAY);
    let down = cx.read_within(spot.key("scale_down_delay"), down, &DELAY);
    let max = raw.max_runners.unwrap_or(u32::MAX);
    let min = raw.min_runners.unwrap_or(1.min(max));
    if min > max {
        cx.findings
            .error(
                spot.key("min_runners").span,
                format!("`min_runners` is {min}, but `max_runners` is {max}"),
            )
            .help("raise `max_runners` or lower `min_runners`");
    }
    let warm = raw.warm.unwrap_or(0);
    if warm > max {
        cx.findings
            .error(spot.key("warm").span, format!("`warm` is {warm}, but `max_runners` is {max}"))
            .help("raise `max_runners` or lower `warm`");
    }
    PoolSize::Elastic(Elastic {
        min,
        max: if raw.max_runners.is_some() { max } else { min },
        warm,
        scale_up_threshold: raw.scale_up_threshold.unwrap_or(5),
        scale_up_delay: up.unwrap_or(Duration::from_secs(30)),
        scale_down_delay: down.unwrap_or(Duration::from_secs(600)),
    })
}

fn runner_name(
    spot: Spot<'_>,
    raw: &RawPool,
    size: PoolSize,
    cx: &mut Context<'_>,
) -> Option<String> {
    let template = raw.runner_name.as_deref()?;
    let longest = expand(template, size.most());
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fine = longest.starts_with(|c: char| c.is_ascii_alphanumeric())
        && longest.chars().all(is_part)
        && longest.len() <= RUNNER_NAME_MAX;
    if !fine {
        cx.findings.error(spot.span, format!("`{}` makes no names of runners", spot.shown())).help(
            format!(
                "names have up to {RUNNER_NAME_MAX} letters, digits, `-`, `_` and `.`, and `{{n}}` \
                 for the number, such as `homelab-runner-{{n}}`"
            ),
        );
        return None;
    }
    if size.most() > 1 && !template.contains("{n}") {
        cx.findings
            .error(spot.span, format!("{} runners cannot all be named `{template}`", size.most()))
            .help(format!("write `{template}-{{n}}`; `{{n}}` counts from 1"));
        return None;
    }
    Some(template.to_owned())
}

fn expand(template: &str, number: u32) -> String {
    template.replace("{n}", &number.to_string())
}

/// Whether there are not more runners than there may be, so that each can be looked at.
fn check_total(list: Spot<'_>, pools: &[Pool], fleet: &Fleet<'_>, cx: &mut Context<'_>) -> bool {
    let total: u64 = pools.iter().map(|pool| u64::from(pool.size.most())).sum();
    let bound = fleet.limits.scale_max;
    if total > u64::from(bound) {
        cx.findings
            .error(
                list.key,
                format!("the pools have up to {total} runners, more than `scale_max` ({bound})"),
            )
            .help(format!("lower a pool's count, or write `limits: {{scale_max: {total}}}`"));
    }
    if let Some(project) = fleet.project {
        for (index, pool) in pools.iter().enumerate() {
            let name = format!("{project}-{}-{bound}", pool.profile);
            if pool.runner_name.is_none() && name.len() > RUNNER_NAME_MAX {
                cx.findings
                    .error(
                        list.index(index).key("profile").span,
                        format!("`{name}` would be longer than {RUNNER_NAME_MAX} characters"),
                    )
                    .help("shorten the project's or the profile's name, or write `runner_name`");
            }
        }
    }
    total <= u64::from(bound)
}

/// Names of runners are host names; two alike could not be told apart.
fn check_runner_names(list: Spot<'_>, pools: &[Pool], cx: &mut Context<'_>) {
    let mut seen: BTreeMap<String, &PoolName> = BTreeMap::new();
    for (index, pool) in pools.iter().enumerate() {
        let Some(template) = &pool.runner_name else { continue };
        let names = (1..=pool.size.most().min(10_000)).map(|number| expand(template, number));
        for name in names {
            if let Some(other) = seen.get(&name).copied().filter(|other| *other != &pool.name) {
                cx.findings
                    .error(
                        list.index(index).key("runner_name").span,
                        format!(
                            "the pools `{other}` and `{}` both name a runner `{name}`",
                            pool.name
                        ),
                    )
                    .help("give each pool another `runner_name`");
                break;
            }
            seen.insert(name, &pool.name);
        }
    }
}
