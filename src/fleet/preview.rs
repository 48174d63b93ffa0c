//! What a spec would change, for `plan`: the same comparison that `up` makes, and no change.

use std::collections::BTreeMap;

use super::desired::{self, Counts};
use super::effect::{Refusal, Template};
use super::forge::{Enlistment, ListenMode};
use super::gpu::GpuFacts;
use super::resize::{Admitted, admit, memory_of, total_of};
use super::slot::{GpuLease, Slot};
use super::state::{Image, State};
use super::view::{Change, PlanView, PlannedCard, PlannedChange};
use crate::ids::{CacheName, PoolName};
use crate::spec::{Cache, Overcommit, Pool, Spec};
use crate::units::MilliCpu;

pub(super) fn preview(state: &State, spec: &Spec) -> PlanView {
    let counts = desired::counts(spec, &BTreeMap::new(), &state.meta.elastic);
    if total_of(&counts) > spec.limits.scale_max {
        return PlanView {
            refusal: refused(state, spec, &counts).map(|it| it.message),
            warnings: warnings(state, spec, &counts),
            ..PlanView::default()
        };
    }
    let shape = desired::shape(state, spec, &counts);
    let mut changes: Vec<PlannedChange> = Vec::new();
    for place in &shape.add {
        let Some(pool) = desired::pool(spec, &place.pool) else { continue };
        changes.push(PlannedChange {
            id: place.id,
            name: place.name.clone(),
            pool: place.pool.clone(),
            profile: pool.profile.clone(),
            change: Change::Create,
            reason: format!("pool {} wants {}", pool.name, counts.get(&pool.name).unwrap_or(&0)),
        });
    }
    for slot in shape.stay.iter().filter_map(|id| state.slot(*id)) {
        let Some(pool) = desired::pool(spec, &slot.pool) else { continue };
        let (change, reason) = kept(state, spec, pool, slot);
        let name = desired::renamed(state, spec, slot).unwrap_or_else(|| slot.name.clone());
        changes.push(PlannedChange {
            id: slot.id,
            name,
            pool: slot.pool.clone(),
            profile: pool.profile.clone(),
            change,
            reason,
        });
    }
    for slot in shape.leave.iter().filter_map(|id| state.slot(*id)) {
        let reason = match desired::pool(spec, &slot.pool) {
            Some(pool) => {
                format!("pool {} wants {}", pool.name, counts.get(&pool.name).unwrap_or(&0))
            }
            None => format!("pool {} is not in the file any more", slot.pool),
        };
        changes.push(PlannedChange {
            id: slot.id,
            name: slot.name.clone(),
            pool: slot.pool.clone(),
            profile: slot.profile.clone(),
            change: Change::Remove,
            reason,
        });
    }
    changes.sort_by_key(|change| change.id);
    let admitted = admit(state, spec, &counts);
    PlanView {
        changes,
        cards: admitted.as_ref().map_or_else(|_| Vec::new(), |it| cards(state, spec, it)),
        refusal: admitted.err().map(|it| it.message),
        warnings: warnings(state, spec, &counts),
    }
}

fn refused(state: &State, spec: &Spec, counts: &Counts) -> Option<Refusal> {
    admit(state, spec, counts).err()
}

/// What each card would hold.
fn cards(state: &State, spec: &Spec, admitted: &Admitted) -> Vec<PlannedCard> {
    let stay = admitted.shape.stay.iter().filter_map(|id| state.slot(*id));
    let kept = stay.filter_map(|slot| Some((&slot.pool, lease_of(slot, admitted)?)));
    let add = admitted.shape.add.iter();
    let added = add.filter_map(|place| Some((&place.pool, admitted.leases.get(&place.id)?)));
    let leases: Vec<(&PoolName, &GpuLease)> = kept.chain(added).collect();
    let one = |card: &GpuFacts| {
        let mut planned = PlannedCard::empty(card);
        for (pool, _) in leases.iter().filter(|(_, lease)| lease.uuid == card.uuid) {
            let profile = desired::pool(spec, pool).map(|pool| &pool.profile);
            let demand = profile.and_then(|name| Some((name, spec.profiles.get(name)?.gpu?)));
            let Some((name, demand)) = demand else { continue };
            planned.leased.0 = planned.leased.0.saturating_add(demand.memory.0);
            *planned.runners.entry(name.clone()).or_default() += 1;
        }
        planned
    };
    state.host.gpus.iter().map(one).collect()
}

/// The lease that a slot that stays gets, or keeps.
fn lease_of<'a>(slot: &'a Slot, admitted: &'a Admitted) -> Option<&'a GpuLease> {
    admitted.leases.get(&slot.id).or(slot.gpu.as_ref())
}

/// A slot that stays: is its runner as the new spec says?
fn kept(state: &State, spec: &Spec, pool: &Pool, slot: &Slot) -> (Change, String) {
    let Some(runner) = slot.runner.and_then(|id| state.runner(id)) else {
        return (Change::Create, "it has no runner".to_owned());
    };
    // A slot that is lighter for a while stays so, unless the file gives its pool another profile.
    let lighter = slot.downgrade.as_ref().filter(|it| it.from == pool.profile);
    let profile = lighter.map_or(&pool.profile, |it| &it.to);
    let Some(wanted) = desired::template_as(spec, pool, profile) else {
        return (Change::Keep, String::new());
    };
    let mut differences = differences(&runner.build.template, &wanted);
    let held = runner.build.gpu.as_ref().map(|hold| hold.demand);
    let demand = spec.profiles.get(profile).and_then(|profile| profile.gpu);
    if held != demand {
        differences.push("gpu".to_owned());
    }
    if let Some(Image::Known(image)) = state.images.get(&wanted.image)
        && *image != runner.build.image
    {
        differences.push("the image was built anew".to_owned());
    }
    if differences.is_empty() {
        return (Change::Keep, String::new());
    }
    let when = if runner.is_at_work() { ", after its job" } else { "" };
    let token = new_token(state, slot, (&runner.build.template, &wanted));
    let token = token.map_or_else(String::new, |name| {
        format!("; it registers anew and needs a new token in {name}")
    });
    (Change::Recreate, format!("{}{when}{token}", differences.join(", ")))
}

/// The variable of the token that a kept runner needs, if its registration is of no use any more.
fn new_token(state: &State, slot: &Slot, (is, wanted): (&Template, &Template)) -> Option<String> {
    let (is, wanted) = (is.forge.as_ref()?, wanted.forge.as_ref()?);
    let ListenMode::Kept { variable } = &wanted.mode else { return None };
    let is_same = (&is.scope, &is.labels, &is.group, is.mode == ListenMode::OneJob)
        == (&wanted.scope, &wanted.labels, &wanted.group, false);
    let number = desired::number(state, slot).to_string();
    (!is_same).then(|| variable.replace("{n}", &number))
}

/// The fields in which two templates differ, in words.
fn differences(is: &Template, wanted: &Template) -> Vec<String> {
    let mut all = Vec::new();
    let mut compare = |name: &str, is: String, wanted: String| {
        if is != wanted {
            all.push(format!("{name} {is} -> {wanted}"));
        }
    };
    compare("profile", is.profile.to_string(), wanted.profile.to_string());
    compare("image", is.image.to_string(), wanted.image.to_string());
    compare("cpus", is.cpus.to_string(), wanted.cpus.to_string());
    compare("memory", is.memory.to_string(), wanted.memory.to_string());
    compare("pids", is.pids.to_string(), wanted.pids.to_string());
    compare("shm", is.shm.to_string(), wanted.shm.to_string());
    compare("labels", is.labels.join(" "), wanted.labels.join(" "));
    compare("cache", shown(&is.caches), shown(&wanted.caches));
    if let (Some(is), Some(wanted)) = (&is.forge, &wanted.forge) {
        let group = |it: &Enlistment| it.group.clone().unwrap_or_else(|| "default".to_owned());
        compare("scope", is.scope.to_string(), wanted.scope.to_string());
        compare("forge labels", is.labels.join(" "), wanted.labels.join(" "));
        compare("group", group(is), group(wanted));
    }
    if is.env != wanted.env {
        all.push("env".to_owned());
    }
    if all.is_empty() && is != wanted {
        all.push("settings".to_owned());
    }
    all
}

/// Caches in words, each with its path and bound.
fn shown(caches: &BTreeMap<CacheName, Cache>) -> String {
    let one = |(name, it): (&CacheName, &Cache)| {
        format!("{name} at {} up to {}", it.path.display(), it.size)
    };
    match caches.is_empty() {
        true => "none".to_owned(),
        false => caches.iter().map(one).collect::<Vec<_>>().join(" and "),
    }
}

/// What the jobs of a pool share, which the operator should have meant.
fn shared(spec: &Spec) -> impl Iterator<Item = String> {
    let pools =
        spec.pools.iter().filter_map(|pool| Some((pool, spec.profiles.get(&pool.profile)?)));
    pools.filter(|(_, profile)| !profile.caches.is_empty()).map(|(pool, profile)| {
        let names: Vec<&str> = profile.caches.keys().map(CacheName::as_str).collect();
        format!(
            "the jobs of pool {} share its caches ({}): one can spoil what the next one reads, so \
             let only jobs in that trust each other",
            pool.name,
            names.join(", ")
        )
    })
}

fn warnings(state: &State, spec: &Spec, counts: &BTreeMap<PoolName, u32>) -> Vec<String> {
    let mut warnings = Vec::new();
    let refusal = admit(state, spec, counts).err();
    warnings.extend(refusal.map(|refusal| format!("`up` would refuse this: {refusal}")));
    let cpus = cpus_of(spec, counts);
    if cpus.0 > state.host.cpus.saturating_mul(1000) {
        warnings.push(format!(
            "the runners' CPU limits add up to {cpus} of {} CPUs; when all are busy, each gets less",
            state.host.cpus
        ));
    }
    let memory = memory_of(spec, counts);
    if memory > state.host.memory && spec.limits.overcommit_memory == Overcommit::Allow {
        warnings.push(format!(
            "the runners' memory limits add up to {memory} of {}; jobs may be killed for memory",
            state.host.memory
        ));
    }
    warnings.extend(shared(spec));
    warnings
}

fn cpus_of(spec: &Spec, counts: &BTreeMap<PoolName, u32>) -> MilliCpu {
    let per_pool = spec.pools.iter().map(|pool| {
        let cpus = spec.profiles.get(&pool.profile).map_or(0, |profile| profile.cpus.0);
        cpus.saturating_mul(counts.get(&pool.name).copied().unwrap_or(0))
    });
    MilliCpu(per_pool.fold(0, u32::saturating_add))
}
