//! What operators ask of cards: `cordon --gpu`, `resume --gpu`.

use super::card::Sickness;
use super::{ledger, sickness, sweep};
use crate::fleet::effect::{Answer, Refusal, RefusalKind};
use crate::fleet::event::Cordon;
use crate::fleet::gpu::GpuHealth;
use crate::fleet::state::State;
use crate::ids::GpuUuid;
use crate::units::Time;

/// Closes cards for new leases, or opens them again; each by its UUID or index.
pub(in crate::fleet) fn cordon(
    state: &mut State,
    now: Time,
    cards: &[String],
    to: Cordon,
) -> Result<Answer, Refusal> {
    let cards: Vec<GpuUuid> =
        cards.iter().map(|card| called(state, card)).collect::<Result<_, _>>()?;
    if to == Cordon::Open {
        cards.iter().try_for_each(|card| refuse_lost(state, card))?;
    }
    for card in &cards {
        match to {
            Cordon::Closed => sickness::cordon(state, now, card, Sickness::Asked),
            Cordon::Open => {
                if ledger::cordon(state, card).is_some_and(|it| it.cause == Sickness::Missing) {
                    state.host.gpus.retain(|it| it.uuid != *card);
                }
                sickness::uncordon(state, now, card, "an operator asked for it");
                sweep::forgive(state, now, card);
                state.xids.remove(card);
            }
        }
    }
    Ok(Answer::Accepted)
}

fn called(state: &State, name: &str) -> Result<GpuUuid, Refusal> {
    let is_it = |uuid: &GpuUuid, index: Option<u32>| {
        uuid.as_str() == name || index.is_some_and(|index| index.to_string() == name)
    };
    let there = state.host.gpus.iter().find(|card| is_it(&card.uuid, Some(card.index)));
    let recorded = || state.meta.cards.keys().find(|uuid| is_it(uuid, None));
    there.map(|card| &card.uuid).or_else(recorded).cloned().ok_or_else(|| {
        let known: Vec<String> =
            state.host.gpus.iter().map(|card| format!("{} ({})", card.index, card.uuid)).collect();
        let known = match known.is_empty() {
            true => "this host has none that the supervisor can see".to_owned(),
            false => format!("this host has {}", known.join(", ")),
        };
        let message = format!("there is no GPU {name}; {known}");
        Refusal { kind: RefusalKind::NotFound, message }
    })
}

/// A card that its driver calls lost would be cordoned again with the next reading.
fn refuse_lost(state: &State, card: &GpuUuid) -> Result<(), Refusal> {
    match ledger::reading(state, card).map(|it| &it.health) {
        Some(GpuHealth::Lost(why) | GpuHealth::Unresponsive(why)) => {
            let message = format!(
                "{card} is not fit for use: {why}; reset the card or restart the host first"
            );
            Err(Refusal { kind: RefusalKind::Conflict, message })
        }
        Some(GpuHealth::Ok | GpuHealth::Degraded(_)) | None => Ok(()),
    }
}
