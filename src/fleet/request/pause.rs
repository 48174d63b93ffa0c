//! Pools that are paused, and opened again.

use super::{ASKED, pool_called, refuse_before_up};
use crate::fleet::audit::Client;
use crate::fleet::effect::{Answer, Refusal};
use crate::fleet::event::Cordon;
use crate::fleet::pause::{Pause, is_paused};
use crate::fleet::state::State;
use crate::ids::PoolName;
use crate::units::Time;

/// Closes or opens these pools, all pools if none is named; what stands so already stays so.
pub(super) fn pause(
    state: &mut State,
    now: Time,
    (names, to): (&[String], Cordon),
    by: &Client,
) -> Result<Answer, Refusal> {
    refuse_before_up(state)?;
    let pools: Vec<PoolName> = match names.is_empty() {
        true => state.spec.pools.iter().map(|pool| pool.name.clone()).collect(),
        false => names.iter().map(|name| pool_called(state, name)).collect::<Result<_, _>>()?,
    };
    for pool in pools {
        match (to, is_paused(state, &pool)) {
            (Cordon::Closed, false) => {
                let states = ("open", "paused");
                state.tell_change(now, format!("pool {pool}"), ("paused", ASKED), states);
                state.meta_mut().paused.insert(pool, Pause { since: now, by: by.clone() });
            }
            (Cordon::Open, true) => {
                let states = ("paused", "open");
                state.tell_change(now, format!("pool {pool}"), ("resumed", ASKED), states);
                state.meta_mut().paused.remove(&pool);
            }
            (Cordon::Closed, true) | (Cordon::Open, false) => {}
        }
    }
    Ok(Answer::Accepted)
}
