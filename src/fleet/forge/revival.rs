//! Kept runners whose containers the engine starts again by itself, with all that they were
//! registered as.
//!
//! So a death that is told may be over already, and so may a retirement that is on record: the
//! container lives, and may have a job by now. Only a list that was begun later says that it is
//! dead, and whoever lives is taken back into service: what speaks against it is decided anew, with
//! the care that a runner in service has.

use super::fact::{ListenerStage, ListenerStatus};
use super::listener;
use super::order::ListenMode;
use crate::fleet::effect::Effect;
use crate::fleet::runner::{Cause, Phase, Runner};
use crate::fleet::state::State;
use crate::ids::{ContainerId, IncarnationId};
use crate::units::Time;

/// Whether the engine starts a runner again and its forge gives it jobs then. One that was never
/// told to listen gets none.
fn comes_back(runner: &Runner) -> bool {
    let is_kept = runner.enlistment().is_some_and(|it| it.mode != ListenMode::OneJob);
    is_kept && runner.registration.is_some()
}

/// Whether a death that is told proves nothing: it may be a former life's, told late or again.
pub(in crate::fleet) fn is_doubtful(state: &State, id: IncarnationId) -> bool {
    state.runner(id).is_some_and(|runner| !runner.is_retiring() && comes_back(runner))
}

/// A death that proves nothing: the next list says whether the engine has started it again.
pub(in crate::fleet) fn look(state: &mut State, now: Time, id: IncarnationId, why: &Cause) {
    state.tell_runner(now, id, "died", format!("{why}; the engine may start it again"));
    state.effect(Effect::Relist);
}

/// Whether a list that shows a runner as dead may be behind: its agent has spoken since.
pub(in crate::fleet) fn speaks_since(state: &State, id: IncarnationId, begun: Time) -> bool {
    let has_spoken = state.contact(id).spoke.is_some_and(|at| at >= begun);
    has_spoken && state.runner(id).is_some_and(comes_back)
}

/// The container of a retired runner that may be taken back, and why it was retired: whatever ended
/// it did so to its former life. One whose job's end was wanted, or could not be helped, goes.
fn of_retired(state: &State, id: IncarnationId) -> Option<(ContainerId, &Cause)> {
    let runner = state.runner(id).filter(|runner| comes_back(runner))?;
    let Phase::Retiring { container: Some(container), why } = &runner.phase else { return None };
    let was_told = state.forge.listeners.get(&id).is_some_and(|it| it.stopping.is_some());
    let is_final = match why {
        Cause::Forced | Cause::CardLost(_) | Cause::GpuOveruse(_) => true,
        // Its job was told to end, and had its grace.
        Cause::Down => was_told,
        _ => false,
    };
    (!is_final && state.contact(id).is_free()).then(|| (container.clone(), why))
}

/// A list shows that a retired runner's container runs. It is taken back if it died, so that it was
/// started again; and if this supervisor has done nothing about it yet, because nobody knows what
/// became of it meanwhile.
pub(in crate::fleet) fn runs(state: &mut State, now: Time, id: IncarnationId) {
    let contact = state.contact(id);
    let Some((container, why)) = of_retired(state, id) else { return };
    if contact.op_ended != Time(0) && !matches!(why, Cause::Died(_)) {
        return;
    }
    if !contact.is_connected() {
        // That was its former life's.
        state.forge.listener(id).status = None;
    }
    take_back(state, now, (id, container), "its container runs, so it may have a job");
    listener::follow(state, now, id);
}

/// A retired runner's agent says that its listener lives.
pub(super) fn speaks(state: &mut State, now: Time, id: IncarnationId, status: &ListenerStatus) {
    let is_over = matches!(status.stage, ListenerStage::Over(_)) || status.stuck.is_some();
    if let Some((container, _)) = of_retired(state, id).filter(|_| !is_over) {
        take_back(state, now, (id, container), "its listener was started again");
    }
}

fn take_back(
    state: &mut State,
    now: Time,
    (id, container): (IncarnationId, ContainerId),
    why: &str,
) {
    let slot = state.runner(id).and_then(|runner| runner.slot);
    if let Some(slot) = slot
        && state.slot(slot).is_some_and(|slot| slot.runner.is_none())
        && let Some(slot) = state.slot_mut(slot)
    {
        slot.runner = Some(id);
        slot.filled = now;
    }
    let listener = state.forge.listener(id);
    (listener.stopping, listener.ordered, listener.told) = (None, None, None);
    if let Some(contact) = state.contacts.get_mut(&id) {
        contact.heard = now;
    }
    state.enter(now, id, Phase::Registering { container }, why);
}
