//! Specs, edits and jobs as chance makes them.

use std::time::Duration;

use super::story::LABELS;
use crate::fleet::attempt::RetryOn;
use crate::fleet::event::JobSpec;
use crate::ids::{ImageRef, PoolName};
use crate::sim::rng::Rng;
use crate::sim::script::{command, pool, spec};
use crate::sim::world::memory::random_need;
use crate::spec::{Elastic, GpuWatchdog, Overcommit, Pool, PoolSize, Reuse, Spec};
use crate::units::MilliCpu;

/// A fleet as an operator may have written it.
pub(super) fn random_spec(rng: &mut Rng) -> Spec {
    let mut spec = spec().with_lane("fast", &["light", "standard"], 5);
    spec.limits.max_parallel_workflows = u32::try_from(rng.between(1, 4)).unwrap_or(1);
    spec.limits.scale_max = 20;
    spec.gpu.downgrade_for = rng.chance(800).then(|| Duration::from_secs(rng.between(5, 60)));
    for profile in ["light", "standard"] {
        if rng.chance(800) {
            spec.pools.push(random_pool(rng, profile));
        }
    }
    if rng.chance(400) {
        spec.pools.push(random_pool(rng, "standard").named("stay").persistent());
    }
    for profile in ["gpu_light", "gpu_heavy", "gpu_max"] {
        if rng.chance(250) {
            spec.pools.push(random_pool(rng, profile));
        }
    }
    spec
}

/// The same with a few pools that need cards, as many as the cards of the simulated host take.
pub(super) fn with_cards(rng: &mut Rng, mut spec: Spec) -> Spec {
    spec.limits.overcommit_memory = Overcommit::Allow;
    spec.pools.retain(|pool| !pool.profile.as_str().starts_with("gpu"));
    for (profile, most) in [("gpu_light", 3), ("gpu_heavy", 3), ("gpu_max", 2)] {
        let count = u32::try_from(rng.below(most)).unwrap_or(0);
        let mut made = pool(profile, count);
        if rng.chance(300) {
            made = made.persistent();
        }
        if rng.chance(400) {
            let size = PoolSize::Elastic(Elastic {
                min: 0,
                max: count + 2,
                scale_up_threshold: 0,
                scale_up_delay: Duration::from_secs(2),
                scale_down_delay: Duration::from_secs(20),
                warm: 0,
            });
            made = Pool { size, ..made };
        }
        spec.pools.push(made);
        let watchdog = if rng.chance(500) { GpuWatchdog::Kill } else { GpuWatchdog::Warn };
        spec = spec.edit(profile, |it| it.gpu_watchdog = watchdog);
    }
    spec
}

/// The same with a pool or two whose runners are at a forge.
pub(super) fn with_forge(rng: &mut Rng, mut spec: Spec) -> Spec {
    spec.limits.overcommit_memory = Overcommit::Allow;
    let most = if rng.chance(500) { 3 } else { 2 };
    let labels: Vec<&str> = LABELS.iter().take(most).copied().collect();
    let profile = if rng.chance(500) { "light" } else { "standard" };
    let made = random_pool(rng, profile).named("ci").at_forge(&labels);
    spec.pools.push(made);
    if rng.chance(400) {
        let count = u32::try_from(rng.between(1, 3)).unwrap_or(1);
        spec.pools.push(pool("light", count).named("homelab").kept_at_forge(&labels));
    }
    spec
}

fn random_pool(rng: &mut Rng, profile: &str) -> Pool {
    let count = u32::try_from(rng.below(4)).unwrap_or(0);
    let made = pool(profile, count).spares(u32::try_from(rng.below(3)).unwrap_or(0));
    Pool { size: random_size(rng, count), ..made }
}

/// Half of the pools follow their queue, with delays that stories are long enough for.
fn random_size(rng: &mut Rng, count: u32) -> PoolSize {
    let mut small = |bound: u64| u32::try_from(rng.below(bound)).unwrap_or(0);
    if small(2) == 0 {
        return PoolSize::Fixed(count);
    }
    let max = count + small(4);
    PoolSize::Elastic(Elastic {
        min: count.min(small(3)),
        max,
        scale_up_threshold: small(4),
        scale_up_delay: Duration::from_secs(u64::from(small(10))),
        scale_down_delay: Duration::from_secs(u64::from(5 + small(40))),
        warm: small(3).min(max),
    })
}

/// A job as somebody may submit it.
pub(super) fn random_job(rng: &mut Rng, spec: &Spec) -> JobSpec {
    let number = rng.below(15_000);
    let runs = number.to_string();
    let code = if rng.chance(700) { "0" } else { "1" };
    let mut job = command(&["work", &runs, code]);
    if number.is_multiple_of(3) {
        "ana".clone_into(&mut job.submitter);
    }
    if rng.chance(50) {
        job.command.push("stubborn".to_owned());
    }
    if rng.chance(500) {
        job = job.needing(random_need(rng));
    }
    job.retries = rng.chance(300).then(|| u32::try_from(rng.below(4)).unwrap_or(0));
    job.retry_on = match rng.below(7) {
        0 => RetryOn::Any,
        1 => RetryOn::Never,
        2 => RetryOn::Oom,
        _ => RetryOn::Infrastructure,
    };
    job.timeout = Some(Duration::from_secs(rng.between(5, 60)));
    job.priority = i32::try_from(rng.below(3)).unwrap_or(0);
    let profiles = ["light", "standard", "gpu_light", "gpu_heavy"];
    if let Some(profile) = rng.pick(&profiles).filter(|_| rng.clone().chance(700)) {
        job = job.on(profile);
    }
    match rng.below(6) {
        0 => job = job.in_lane("fast"),
        1 => {
            if let Some(pool) = rng.pick(&spec.pools) {
                job = job.in_pool(pool.name.as_str());
            }
        }
        2 | 3 => job = job.of("ci", &rng.below(5).to_string()),
        _ => {}
    }
    job
}

/// The spec as an operator may have changed it.
pub(super) fn edited(rng: &mut Rng, mut spec: Spec) -> Spec {
    let profile = if rng.chance(500) { "light" } else { "standard" };
    let number = rng.below(4);
    match rng.below(8) {
        0 => spec
            .edit(profile, |it| it.cpus = MilliCpu::cpus(1 + u32::try_from(number).unwrap_or(0))),
        1 => spec.edit(profile, |it| {
            it.env.insert("STAMP".to_owned(), number.to_string());
        }),
        2 => spec.edit(profile, |it| it.image = ImageRef::new(format!("runner:{number}"))),
        3 => {
            spec.pools.retain(|pool| pool.profile.as_str() != profile);
            spec
        }
        4 => {
            if !spec.pools.iter().any(|pool| pool.name == PoolName::new(profile)) {
                spec.pools.push(random_pool(rng, profile));
            }
            spec
        }
        _ => {
            let count = u32::try_from(number).unwrap_or(0);
            let spares = u32::try_from(rng.below(3)).unwrap_or(0);
            let turn = rng.chance(200);
            let index = usize::try_from(rng.below(spec.pools.len() as u64)).unwrap_or(0);
            if let Some(pool) = spec.pools.get_mut(index) {
                pool.size = random_size(rng, count);
                pool.spares = spares;
                if turn {
                    turn_over(pool);
                }
            }
            spec
        }
    }
}

fn turn_over(pool: &mut Pool) {
    pool.reuse = match pool.reuse {
        Reuse::OneJob if pool.forge.is_none() => Reuse::Persistent,
        Reuse::OneJob => Reuse::OneJob,
        Reuse::Persistent if pool.forge.is_none() => Reuse::OneJob,
        Reuse::Persistent => Reuse::Persistent,
    };
}
