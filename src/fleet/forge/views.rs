//! What readers see of forges, made from the state.

use std::collections::BTreeSet;

use super::known::Listener;
use super::order::ListenMode;
use super::registration::Registration;
use super::view::{ForgeRunnerView, ForgeView};
use super::{holds, register};
use crate::fleet::desired;
use crate::fleet::runner::{Phase, Runner};
use crate::fleet::slot::Slot;
use crate::fleet::state::State;
use crate::ids::ScopeUrl;
use crate::spec::ForgeAccess;
use crate::units::Time;

/// Every scope that pools name, or that something is left over in.
pub(in crate::fleet) fn scopes(state: &State, now: Time) -> Vec<ForgeView> {
    let named = state.spec.pools.iter().filter_map(|pool| Some(&pool.forge.as_ref()?.scope));
    let left = state.meta.leftovers.values().map(|it| &it.entry.scope);
    let scopes: BTreeSet<&ScopeUrl> = named.chain(left).collect();
    scopes.into_iter().map(|scope| view(state, now, scope)).collect()
}

fn view(state: &State, now: Time, scope: &ScopeUrl) -> ForgeView {
    let known = state.forge.scopes.get(scope);
    let left = state.meta.leftovers.values().filter(|it| it.entry.scope == *scope);
    ForgeView {
        scope: scope.clone(),
        contact: known.and_then(|known| known.contact.clone()),
        since: known.map_or(now, |known| known.since),
        runners_listed: known.and_then(|known| known.runners_begun),
        jobs_listed: known.and_then(|known| known.jobs.begun),
        leftovers: left.map(|it| it.entry.name.clone()).collect(),
        newest_runner: known.and_then(|known| known.newest.clone()),
    }
}

/// What is known of a slot's runner at its forge.
pub(in crate::fleet) fn runner(
    state: &State,
    slot: &Slot,
    runner: Option<&Runner>,
) -> Option<ForgeRunnerView> {
    let forge = desired::pool(&state.spec, &slot.pool)?.forge.as_ref()?;
    let scope = runner.and_then(Runner::enlistment).map_or(&forge.scope, |it| &it.scope);
    let registration = runner.and_then(|runner| runner.registration.as_ref());
    let listener = runner.and_then(|runner| state.forge.listeners.get(&runner.id));
    let fact = listener.and_then(|it| it.seen.fact.as_ref());
    let told = |listener: &Listener| listener.status.as_ref().and_then(|status| status.runner);
    let id = registration.and_then(Registration::id).or_else(|| listener.and_then(told));
    Some(ForgeRunnerView {
        scope: scope.clone(),
        name: registration.map(|it| it.name.clone()),
        id,
        online: fact.and_then(|fact| fact.online),
        busy: fact.map(|fact| fact.busy),
        work: registration.and_then(|it| it.work.clone()),
        version: fact.and_then(|fact| fact.version.clone()),
        hold: holds::of_slot(state, slot).map(str::to_owned),
    })
}

/// What stands in the way of a slot of a forge's pool, or of its runner.
pub(in crate::fleet) fn reason(state: &State, now: Time, slot: &Slot) -> Option<String> {
    desired::pool(&state.spec, &slot.pool)?.forge.as_ref()?;
    let Some(runner) = slot.runner.and_then(|id| state.runner(id)) else {
        return holds::of_slot(state, slot).map(str::to_owned);
    };
    let listener = state.forge.listeners.get(&runner.id);
    let tried = listener.and_then(|it| it.why.clone());
    match &runner.phase {
        Phase::Registering { .. } if runner.registration.is_none() => {
            let is_one_job = runner.enlistment()?.mode == ListenMode::OneJob;
            let why = is_one_job.then(|| register::obstacle(state, now, (runner, slot)))?;
            why.filter(|why| !why.is_empty())
        }
        Phase::Leaving { why, .. } => Some(match tried {
            Some(tried) => format!("{why}; its forge does not let it go yet: {tried}"),
            None => why.to_string(),
        }),
        Phase::Idle { .. } | Phase::Working { .. } => {
            let listener = listener?;
            let refused = "its forge says that it has a job, so it stays";
            match (listener.stuck(), &listener.seen.fact) {
                (Some(how), _) if listener.refused.is_some() => Some(format!("{how}; {refused}")),
                (Some(how), _) => Some(how.to_owned()),
                (None, Some(fact)) if fact.online == Some(false) => {
                    Some("its forge calls it offline".to_owned())
                }
                (None, _) => None,
            }
        }
        _ => None,
    }
}

/// Scopes that cannot be spoken to, and pools that wait for an operator.
pub(in crate::fleet) fn troubles(state: &State) -> Vec<String> {
    let asked = state.spec.pools.iter().filter_map(|pool| pool.forge.as_ref());
    let asked = asked.filter(|forge| !matches!(forge.access, ForgeAccess::Tokens(_)));
    let scopes: BTreeSet<&ScopeUrl> = asked.map(|forge| &forge.scope).collect();
    let silent = scopes.into_iter().filter_map(|scope| {
        state.forge.scopes.get(scope)?.contact.as_ref()?;
        holds::silence(state, scope)
    });
    let held = state.spec.pools.iter().filter_map(|pool| {
        let has_slots = state.slots().any(|slot| slot.pool == pool.name);
        let why = state.meta.pool_holds.get(&pool.name).and(holds::of_pool(state, pool))?;
        (!has_slots).then(|| format!("pool {}: {why}", pool.name))
    });
    silent.chain(held).collect()
}
