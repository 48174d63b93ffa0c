//! The size of the fleet: what `up` and `scale` ask for, and what the host can carry.

use std::collections::BTreeMap;

use super::{pool_called, refuse, refuse_before_up, refuse_while_down};
use crate::fleet::desired::{self, Counts};
use crate::fleet::effect::{Answer, Refusal, RefusalKind};
use crate::fleet::event::{ScaleRequest, ScaleTarget};
use crate::fleet::failures;
use crate::fleet::forge;
use crate::fleet::resize::{Admitted, admit, refuse_total, rename, reshape, total_of};
use crate::fleet::scale::{Pressure, Standing, kept};
use crate::fleet::state::{EngineContact, State};
use crate::ids::PoolName;
use crate::spec::{Pool, PoolSize, Spec, show_duration};
use crate::units::Time;
use crate::units::words::{agree, counted};

pub(super) fn apply(state: &mut State, now: Time, spec: Spec) -> Result<Answer, Refusal> {
    // A supervisor that has just started on a fleet that was going down follows the newer wish.
    if state.engine != EngineContact::Unknown {
        refuse_while_down(state)?;
    }
    refuse_moving(state, &spec)?;
    let (counts, admitted) = admit_new(state, &spec)?;
    let before = state.meta.spec.as_ref().map_or_else(|| "none".to_owned(), digest);
    let states = (before, digest(&spec));
    let why = counted(total_of(&counts), "runner");
    state.tell_change(now, "fleet", ("spec applied", why), states);
    let meta = state.meta_mut();
    meta.spec = Some(spec.clone());
    meta.scaled.clear();
    meta.scaled_until.clear();
    meta.elastic = kept(&spec, &counts, &meta.elastic);
    meta.paused.retain(|pool, _| desired::pool(&spec, pool).is_some());
    meta.going_down = None;
    state.spec = spec;
    state.images.clear();
    failures::forgive_all(state);
    forge::holds::forgive_all(state);
    reshape(state, now, admitted);
    rename(state, now);
    Ok(Answer::Accepted)
}

/// Pools that have grown keep their size if the host can carry it with the new file.
fn admit_new(state: &State, spec: &Spec) -> Result<(Counts, Admitted), Refusal> {
    let none = BTreeMap::new();
    let grown = desired::counts(spec, &none, &state.meta.elastic);
    if let Ok(admitted) = admit(state, spec, &grown) {
        return Ok((grown, admitted));
    }
    let at_rest = desired::counts(spec, &none, &BTreeMap::new());
    let admitted = admit(state, spec, &at_rest)?;
    Ok((at_rest, admitted))
}

/// What every runner was made with cannot change under them.
fn refuse_moving(state: &State, spec: &Spec) -> Result<(), Refusal> {
    let is = &state.spec;
    let moved = [
        ("project", is.project != spec.project),
        ("reports", is.reports.path != spec.reports.path),
        ("reports.shared", is.reports.sharing != spec.reports.sharing),
        ("ca", is.ca != spec.ca),
    ];
    let has_runners = state.slots().next().is_some() || state.runners().next().is_some();
    match moved.iter().find(|(_, moved)| *moved && has_runners) {
        None => Ok(()),
        Some((key, _)) => {
            let message = format!(
                "`{key}` cannot change while the fleet is up: `slate-fleet down`, change it, then \
                 `slate-fleet up -d`"
            );
            Err(refuse(RefusalKind::Conflict, message))
        }
    }
}

pub(super) fn scale(
    state: &mut State,
    now: Time,
    request: &ScaleRequest,
) -> Result<Answer, Refusal> {
    refuse_before_up(state)?;
    refuse_while_down(state)?;
    let set = match &request.target {
        ScaleTarget::Total(total) => share_out(state, *total)?,
        ScaleTarget::Pools(pools) => pools
            .iter()
            .map(|(name, count)| Ok((pool_called(state, name)?, *count)))
            .collect::<Result<Counts, Refusal>>()?,
    };
    let mut scaled = state.meta.scaled.clone();
    scaled.extend(set.clone());
    let counts = desired::counts(&state.spec, &scaled, &state.meta.elastic);
    let admitted = admit(state, &state.spec, &counts)?;
    refuse_beyond_max(state, &set)?;
    let lasting = match request.lasting {
        Some(lasting) => format!("for {}", show_duration(lasting)),
        None => "until the next `up`".to_owned(),
    };
    let total = total_of(&counts);
    let before = desired::counts_now(state);
    let states = (in_words(&before), in_words(&counts));
    let why = format!("to {}, {lasting}", counted(total, "runner"));
    state.tell_change(now, "fleet", ("scaled", why), states);
    state.meta_mut().scaled = scaled;
    for (pool, count) in &set {
        set_pool(state, pool, *count, request.lasting.map(|lasting| now + lasting));
    }
    reshape(state, now, admitted);
    Ok(Answer::Accepted)
}

/// Records how long a number holds, and where a pool that follows its queue goes on from then.
fn set_pool(state: &mut State, pool: &PoolName, count: u32, until: Option<Time>) {
    let size = desired::pool(&state.spec, pool).map(|pool| pool.size);
    let meta = state.meta_mut();
    if let Some(PoolSize::Elastic(elastic)) = size {
        let standing = Standing { count: elastic.bound(count), pressure: Pressure::Calm };
        meta.elastic.insert(pool.clone(), standing);
    }
    match until {
        Some(until) => meta.scaled_until.insert(pool.clone(), until),
        None => meta.scaled_until.remove(pool),
    };
}

/// `max_runners` is a promise about the host that `scale` does not break.
fn refuse_beyond_max(state: &State, set: &Counts) -> Result<(), Refusal> {
    for pool in &state.spec.pools {
        let count = set.get(&pool.name).copied().unwrap_or(0);
        if count > most(pool) {
            let message = format!(
                "{} {} more than `max_runners` of the pool {} ({}); raise it in the fleet file and \
                 `slate-fleet up -d`, or ask for fewer",
                counted(count, "runner"),
                agree(&count, "is", "are"),
                pool.name,
                most(pool)
            );
            return Err(refuse(RefusalKind::NoCapacity, message));
        }
    }
    Ok(())
}

/// Shares a total out in the proportions of the file; what does not divide goes to the first pools.
fn share_out(state: &State, total: u32) -> Result<Counts, Refusal> {
    let base = desired::counts(&state.spec, &BTreeMap::new(), &BTreeMap::new());
    let sum: u64 = base.values().map(|count| u64::from(*count)).sum();
    let pools = &state.spec.pools;
    if pools.is_empty() {
        return Err(refuse(RefusalKind::Invalid, "this fleet has no pools to scale"));
    }
    if total > state.spec.limits.scale_max {
        return Err(refuse_total(total, state.spec.limits.scale_max));
    }
    let mut counts = Counts::new();
    let mut left = total;
    for pool in pools {
        let weight =
            if sum == 0 { 1 } else { u64::from(base.get(&pool.name).copied().unwrap_or(0)) };
        let whole = if sum == 0 { pools.len() as u64 } else { sum };
        let share = u32::try_from(u64::from(total) * weight / whole).unwrap_or(total);
        let share = share.min(most(pool));
        left -= share;
        counts.insert(pool.name.clone(), share);
    }
    while left > 0 {
        let before = left;
        for pool in pools {
            if let Some(count) = counts.get_mut(&pool.name)
                && left > 0
                && *count < most(pool)
            {
                *count += 1;
                left -= 1;
            }
        }
        if left == before {
            let message = format!(
                "{} {} {left} more than the pools' `max_runners`; raise them in the fleet file and \
                 `slate-fleet up -d`, or ask for fewer",
                counted(total, "runner"),
                agree(&total, "is", "are")
            );
            return Err(refuse(RefusalKind::NoCapacity, message));
        }
    }
    Ok(counts)
}

/// The numbers of all pools.
fn in_words(counts: &Counts) -> String {
    let pools: Vec<String> = counts.iter().map(|(pool, count)| format!("{pool} {count}")).collect();
    pools.join(", ")
}

/// A short name of a spec, by its content.
fn digest(spec: &Spec) -> String {
    // A spec that cannot be written as JSON cannot be recorded either; the store tells of it.
    let body = serde_json::to_vec(spec).unwrap_or_default();
    let hash = ring::digest::digest(&ring::digest::SHA256, &body);
    let short: String = hash.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{short}")
}

/// The most runners that `scale` may set for a pool.
fn most(pool: &Pool) -> u32 {
    match pool.size {
        PoolSize::Fixed(_) => u32::MAX,
        PoolSize::Elastic(elastic) => elastic.max,
    }
}
