//! Pools in which nothing begins, because an operator said so. What runs there goes on.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::audit::Client;
use super::event::Cordon;
use super::slot::Slot;
use super::state::State;
use super::view::WaitReason;
use crate::ids::PoolName;
use crate::spec::Pool;
use crate::units::Time;

/// An operator's word that nothing begins in a pool; survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pause {
    /// Since when.
    pub since: Time,
    /// Who said so.
    pub by: Client,
}

pub(super) fn is_paused(state: &State, pool: &PoolName) -> bool {
    state.meta.paused.contains_key(pool)
}

/// Whether jobs may begin in a slot: neither it nor its pool is closed.
pub(super) fn is_open(state: &State, slot: &Slot) -> bool {
    slot.cordon == Cordon::Open && !is_paused(state, &slot.pool)
}

/// Why jobs wait for these pools; none unless all of them are paused.
pub(super) fn reason(state: &State, pools: &[&Pool]) -> Option<WaitReason> {
    let pause = |pool: &&Pool| state.meta.paused.get(&pool.name);
    let pauses: Vec<&Pause> = pools.iter().map(pause).collect::<Option<_>>()?;
    // Before the last of them was paused, somebody served these jobs.
    let last = pauses.into_iter().max_by_key(|pause| pause.since)?;
    Some(WaitReason::Paused {
        pools: pools.iter().map(|pool| pool.name.clone()).collect(),
        since: last.since,
        by: last.by.clone(),
    })
}
