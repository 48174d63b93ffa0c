//! What the plan may decide about forges, and its carrying out.

use super::{leave, leftovers, listener, register};
use crate::fleet::effect::{AgentOrder, Effect, Patience};
use crate::fleet::runner::Cause;
use crate::fleet::state::State;
use crate::ids::{IncarnationId, OpId, ScopeUrl};
use crate::units::Time;

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) enum ForgeDecision {
    /// Ask the forge to register a runner for one job.
    Register(IncarnationId),
    /// Let the runner's agent take the forge's jobs.
    Listen(IncarnationId),
    /// Let a runner go, if its forge lets it.
    Leave(IncarnationId, Cause),
    /// It is wanted again, and nothing was asked yet.
    Stay(IncarnationId),
    /// Ask the forge to remove it.
    Deregister(IncarnationId),
    /// Ask its agent to end the listener.
    Stop(IncarnationId, Patience),
    /// Ask the forge to remove the entry of a runner that is gone.
    Clean(IncarnationId),
    /// Read a scope's lists soon.
    Look(ScopeUrl),
}

/// An operation at a forge whose outcome is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) struct ForgeOp {
    /// The runner that it is about.
    pub incarnation: IncarnationId,
    /// What it does.
    pub kind: ForgeOpKind,
}

/// What an operation at a forge does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum ForgeOpKind {
    /// Registers a runner.
    Register,
    /// Removes one that is to leave.
    Deregister,
    /// Removes a leftover.
    Clean,
}

pub(in crate::fleet) fn commit(state: &mut State, now: Time, decision: ForgeDecision) {
    match decision {
        ForgeDecision::Register(id) => register::register(state, now, id),
        ForgeDecision::Listen(id) => register::listen(state, now, id),
        ForgeDecision::Leave(id, why) => leave::begin(state, now, id, why),
        ForgeDecision::Stay(id) => leave::back(state, now, id, "it is wanted again"),
        ForgeDecision::Deregister(id) => leave::deregister(state, id),
        ForgeDecision::Stop(incarnation, patience) => {
            let listener = state.forge.listener(incarnation);
            let since = listener.stopping.map_or(now, |(since, _)| since);
            listener.stopping = Some((since, now));
            let order = AgentOrder::StopListening(patience);
            state.effect(Effect::Agent { incarnation, order });
        }
        ForgeDecision::Clean(id) => leftovers::clean(state, id),
        ForgeDecision::Look(scope) => {
            if let Some(known) = state.forge.scopes.get_mut(&scope) {
                known.looked = now;
            }
            state.effect(Effect::LookAtForge(scope));
        }
    }
}

/// The end of an operation.
pub(in crate::fleet) fn operation(
    state: &mut State,
    now: Time,
    op: OpId,
    outcome: super::ForgeOutcome,
) {
    let Some(ForgeOp { incarnation: id, kind }) = state.forge.ops.remove(&op) else { return };
    if let Some(contact) = state.contacts.get_mut(&id)
        && contact.op.is_some_and(|flight| flight.op == op)
    {
        contact.op = None;
    }
    let in_service = state.runner(id).is_some_and(|runner| !runner.is_retiring());
    match (kind, in_service) {
        (ForgeOpKind::Register, true) => register::ended(state, now, id, outcome),
        (ForgeOpKind::Deregister, true) => leave::ended(state, now, id, outcome),
        _ => leftovers::ended(state, now, (id, kind), outcome),
    }
    // Its agent may have said something meanwhile that is to be looked at by its new place.
    listener::follow(state, now, id);
}
