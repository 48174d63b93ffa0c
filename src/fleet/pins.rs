//! Cards that `gpu_reservation` in specification 1's file gives to runners.
//!
//! The fleet writes there which card each runner has, so what the file says is a wish only where it
//! differs from that, and only once: with the `up` that brings it.

use std::collections::BTreeMap;

use super::desired::Shape;
use super::effect::{Refusal, RefusalKind};
use super::state::State;
use crate::ids::SlotId;
use crate::spec::Spec;

/// The index of the card that each of these runners is to have.
pub(super) type Pins = BTreeMap<SlotId, u32>;

/// What a spec asks for that is not so.
///
/// # Errors
/// It names a runner that there will not be.
pub(super) fn wished(state: &State, spec: &Spec, shape: &Shape) -> Result<Pins, Refusal> {
    let Some(asked) = reservation(spec) else { return Ok(Pins::new()) };
    if state.meta.spec.as_ref().and_then(reservation) == Some(asked) {
        return Ok(Pins::new());
    }
    let mut pins = Pins::new();
    for (id, card) in asked.iter().flat_map(|(card, ids)| ids.iter().map(move |id| (*id, *card))) {
        let has = state.slot(id).and_then(|slot| slot.gpu.as_ref()).map(|lease| lease.index);
        let is_new = shape.add.iter().any(|place| place.id == id);
        if state.slot(id).is_none() && !is_new {
            return Err(refuse(id, card, "this fleet has no such runner"));
        }
        if has != Some(card) && !shape.leave.contains(&id) {
            pins.insert(id, card);
        }
    }
    Ok(pins)
}

fn reservation(spec: &Spec) -> Option<&BTreeMap<u32, Vec<SlotId>>> {
    spec.runners_file.as_ref()?.options.gpu_reservation.as_ref()
}

/// The file asks for what cannot be.
pub(super) fn refuse(id: SlotId, card: u32, why: &str) -> Refusal {
    let message = format!(
        "`gpu_reservation` in `.slate_runners.json` gives GPU {card} to {id}: {why}; change it \
         there, or write \"auto\""
    );
    Refusal { kind: RefusalKind::NoCapacity, message }
}
