//! Facts about containers: the list, the events, and the ends of operations.

use std::collections::BTreeMap;
use std::time::Duration;

use super::agent::in_service;
use crate::fleet::effect::Effect;
use crate::fleet::event::{
    ContainerExit, ContainerFact, ContainerState, EngineEvent, OpError, OpErrorClass, Outcome,
};
use crate::fleet::failures;
use crate::fleet::forge::{listener, revival};
use crate::fleet::runner::{Cause, Contact, OpKind, Phase};
use crate::fleet::state::{EngineContact, Image, State};
use crate::fleet::transition::{gone, retire};
use crate::ids::{ContainerId, ImageId, ImageRef, IncarnationId, OpId};
use crate::units::Time;

/// An image that is not to be had is asked for again after this long.
const IMAGE_RETRY: Duration = Duration::from_secs(30);
/// A removal that failed is tried again after this long, doubled each time …
const REMOVE_RETRY: Duration = Duration::from_secs(5);
/// … up to this.
const REMOVE_RETRY_MAX: Duration = Duration::from_secs(300);

/// Why the record follows the engine's list.
const LISTED: &str = "the engine lists it so";

pub(super) fn observe(state: &mut State, now: Time, event: EngineEvent) {
    match event {
        EngineEvent::Listed { begun, containers } => listed(state, now, begun, containers),
        EngineEvent::Ended { container, code } => {
            // The end of a job hangs on the cause; a runner without one is replaced at once.
            let runner = by_container(state, &container).and_then(|id| state.runner(id));
            let runner = runner.filter(|it| !it.is_at_work()).map(|it| it.id);
            if let Some(id) = runner.filter(|id| !revival::is_doubtful(state, *id)) {
                died(state, now, id, Cause::Died(ContainerExit { code, oom: false }));
            }
        }
        EngineEvent::Died { container, exit } => {
            if let Some(id) = by_container(state, &container) {
                let why = Cause::Died(exit);
                failures::learn(state, id, exit);
                match revival::is_doubtful(state, id) {
                    true => revival::look(state, now, id, &why),
                    false => died(state, now, id, why),
                }
            }
        }
        EngineEvent::Removed { container } => {
            if let Some(id) = by_container(state, &container) {
                vanished(state, now, id);
            }
        }
        EngineEvent::Unreachable { why } => {
            if !matches!(state.engine, EngineContact::Unreachable(_)) {
                state.tell(now, "engine", "unreachable", &why);
            }
            state.engine = EngineContact::Unreachable(why);
        }
        EngineEvent::Image { image, outcome } => resolved(state, now, image, outcome),
    }
}

fn resolved(state: &mut State, now: Time, image: ImageRef, outcome: Result<ImageId, String>) {
    let known = match outcome {
        Ok(id) => Image::Known(id),
        Err(why) => {
            state.tell(now, "fleet", "image missing", format!("{image}: {why}"));
            Image::Missing { why, retry_at: now + IMAGE_RETRY }
        }
    };
    state.images.insert(image, known);
}

fn by_container(state: &State, container: &ContainerId) -> Option<IncarnationId> {
    state.runners().find(|runner| runner.container() == Some(container)).map(|runner| runner.id)
}

/// A container's process ended: its runner goes, and the plan makes another.
fn died(state: &mut State, now: Time, id: IncarnationId, cause: Cause) {
    let removing = state.contact(id).op.is_some_and(|op| op.kind == OpKind::Remove);
    if !removing {
        retire(state, now, id, cause);
    }
}

/// A container is gone, with or without our doing.
fn vanished(state: &mut State, now: Time, id: IncarnationId) {
    if state.contact(id).op.is_some() {
        return;
    }
    retire(state, now, id, Cause::Vanished);
}

/// Compares the record with a complete list.
fn listed(state: &mut State, now: Time, begun: Time, containers: Vec<ContainerFact>) {
    // Lists may overtake one another, and an older one says nothing of what was seen since.
    if begun < state.listed {
        return;
    }
    state.listed = begun;
    state.engine = EngineContact::Listed;
    let listed: BTreeMap<IncarnationId, ContainerFact> =
        containers.into_iter().map(|fact| (fact.incarnation, fact)).collect();
    let ids: Vec<IncarnationId> = state.runners().map(|runner| runner.id).collect();
    for id in ids {
        let contact = state.contact(id);
        // Within one millisecond nobody knows which was first.
        if contact.op.is_none() && contact.op_ended < begun {
            if let Some(contact) = state.contacts.get_mut(&id) {
                contact.uncertain = false;
            }
            let was_known = knows_container(state, id);
            compare(state, now, (id, begun), listed.get(&id));
            if !was_known && knows_container(state, id) {
                seen(state, now, id);
            }
        }
    }
    forget_orphans(state, now, (begun, &listed));
    state.graves.retain(|_, gone| *gone >= begun);
    for fact in listed.into_values() {
        if is_orphan(state, &fact) {
            take_orphan(state, now, fact);
        }
    }
    if state.contacts.values().any(|contact| contact.uncertain) {
        state.effect(Effect::Relist);
    }
}

fn knows_container(state: &State, id: IncarnationId) -> bool {
    state.runner(id).is_some_and(|runner| runner.container().is_some())
}

/// A list has shown a container whose making had an unknown outcome. Lists that were asked for
/// before this moment may have been made before that container was, and say nothing of it.
fn seen(state: &mut State, now: Time, id: IncarnationId) {
    if let Some(contact) = state.contacts.get_mut(&id) {
        contact.op_ended = now;
    }
}

/// Orphans that somebody else has removed meanwhile.
fn forget_orphans(
    state: &mut State,
    now: Time,
    (begun, listed): (Time, &BTreeMap<IncarnationId, ContainerFact>),
) {
    let ids: Vec<IncarnationId> = state.orphans.keys().copied().collect();
    for id in ids {
        let contact = state.contact(id);
        if contact.op.is_some() || contact.op_ended >= begun {
            continue;
        }
        if listed.contains_key(&id) {
            state.contacts.entry(id).or_default().uncertain = false;
        } else {
            state.orphans.remove(&id);
            state.contacts.remove(&id);
            state.tell_orphan_gone(now, id, "somebody else removed the orphan");
            state.effect(Effect::Forget(id));
        }
    }
}

/// Whether nobody knows of this container. One that was removed after the list had begun is no
/// orphan, and one that the engine is removing already needs no care.
fn is_orphan(state: &State, fact: &ContainerFact) -> bool {
    state.runner(fact.incarnation).is_none()
        && !state.graves.contains_key(&fact.incarnation)
        && fact.state != ContainerState::Removing
}

fn compare(
    state: &mut State,
    now: Time,
    (id, begun): (IncarnationId, Time),
    fact: Option<&ContainerFact>,
) {
    let Some(runner) = state.runner(id) else { return };
    match (&runner.phase, fact) {
        (Phase::Retiring { .. }, None) => gone(state, now, id),
        (Phase::Retiring { container: None, why }, Some(fact)) => {
            let phase = Phase::Retiring { container: Some(fact.id.clone()), why: why.clone() };
            state.enter(now, id, phase, LISTED);
        }
        (Phase::Retiring { .. }, Some(fact)) if fact.state == ContainerState::Running => {
            revival::runs(state, now, id);
        }
        (Phase::Planned, None) | (Phase::Retiring { .. }, Some(_)) => {}
        (_, None) => retire(state, now, id, Cause::Vanished),
        (_, Some(fact))
            if matches!(fact.state, ContainerState::Exited(_))
                && revival::speaks_since(state, id, begun) => {}
        (phase, Some(fact)) => {
            let phase = phase.clone();
            exists(state, now, (id, &phase), fact);
        }
    }
}

/// The container of a runner in service is on the list.
fn exists(
    state: &mut State,
    now: Time,
    (id, phase): (IncarnationId, &Phase),
    fact: &ContainerFact,
) {
    let container = fact.id.clone();
    match (fact.state, phase) {
        (ContainerState::Created, Phase::Planned) => {
            state.enter(now, id, Phase::Created { container }, LISTED);
        }
        (ContainerState::Running, Phase::Planned | Phase::Created { .. }) => {
            boot(state, now, (id, container), LISTED);
        }
        (ContainerState::Created | ContainerState::Running, _) => {}
        (ContainerState::Exited(exit), _) => died(state, now, id, Cause::Died(exit)),
        (ContainerState::Removing, _) => retire(state, now, id, Cause::Vanished),
    }
}

/// The container runs. Its agent may have spoken before the engine said so.
fn boot(state: &mut State, now: Time, (id, container): (IncarnationId, ContainerId), why: &str) {
    let phase = if state.contact(id).is_connected() {
        in_service(state, id, container)
    } else {
        Phase::Booting { container }
    };
    state.enter(now, id, phase, why);
    listener::follow(state, now, id);
}

/// A container with this fleet's labels that the record does not know is removed. Its number is
/// never used again.
fn take_orphan(state: &mut State, now: Time, fact: ContainerFact) {
    if fact.incarnation.0 > state.meta.incarnation {
        state.meta_mut().incarnation = fact.incarnation.0;
    }
    if !state.orphans.contains_key(&fact.incarnation) {
        state.tell_orphan(now, fact.incarnation, format!("container {}", fact.id));
        state.contacts.insert(fact.incarnation, Contact::default());
    }
    state.orphans.insert(fact.incarnation, fact.id);
}

/// The end of an operation.
pub(super) fn operation(state: &mut State, now: Time, op: OpId, outcome: Outcome) {
    let found = state.contacts.iter().find_map(|(id, contact)| {
        contact.op.filter(|flight| flight.op == op).map(|f| (*id, f.kind))
    });
    let Some((id, kind)) = found else { return };
    if let Some(contact) = state.contacts.get_mut(&id) {
        contact.op = None;
        contact.op_ended = now;
    }
    match outcome {
        Outcome::Created(container) => created(state, now, id, container),
        Outcome::Done => done(state, now, id, kind),
        Outcome::Failed(error) => failed(state, now, (id, kind), error),
        Outcome::Unknown(why) => {
            state.tell_runner(now, id, "outcome unknown", format!("{kind:?}: {why}"));
            if let Some(contact) = state.contacts.get_mut(&id) {
                contact.uncertain = true;
            }
            state.effect(Effect::Relist);
        }
    }
}

fn created(state: &mut State, now: Time, id: IncarnationId, container: ContainerId) {
    let Some(runner) = state.runner(id) else { return };
    let told = format!("container {container}");
    let phase = match &runner.phase {
        Phase::Retiring { why, .. } => {
            Phase::Retiring { container: Some(container), why: why.clone() }
        }
        Phase::Planned => Phase::Created { container },
        Phase::Created { .. }
        | Phase::Booting { .. }
        | Phase::Registering { .. }
        | Phase::Idle { .. }
        | Phase::Working { .. }
        | Phase::Leaving { .. }
        | Phase::Busy { .. } => return,
    };
    state.enter(now, id, phase, told);
}

fn done(state: &mut State, now: Time, id: IncarnationId, kind: OpKind) {
    match kind {
        OpKind::Create | OpKind::Register | OpKind::Deregister => {}
        OpKind::Remove => gone(state, now, id),
        OpKind::Start => {
            let container = state.runner(id).and_then(|runner| match &runner.phase {
                Phase::Created { container } => Some(container.clone()),
                Phase::Planned
                | Phase::Booting { .. }
                | Phase::Registering { .. }
                | Phase::Idle { .. }
                | Phase::Working { .. }
                | Phase::Leaving { .. }
                | Phase::Busy { .. }
                | Phase::Retiring { .. } => None,
            });
            if let Some(container) = container {
                boot(state, now, (id, container), "");
            }
        }
    }
}

fn failed(state: &mut State, now: Time, (id, kind): (IncarnationId, OpKind), error: OpError) {
    match (kind, error.class) {
        (OpKind::Remove, OpErrorClass::Gone) => gone(state, now, id),
        (OpKind::Remove, OpErrorClass::Conflict | OpErrorClass::Retry | OpErrorClass::Fatal) => {
            state.tell_runner(now, id, "removal failed", &error.message);
            if let Some(contact) = state.contacts.get_mut(&id) {
                let wait = REMOVE_RETRY.saturating_mul(1 << contact.removals_failed.min(6));
                contact.removals_failed = contact.removals_failed.saturating_add(1);
                contact.retry_at = now + wait.min(REMOVE_RETRY_MAX);
            }
            // Its agent may have said meanwhile that it has a job.
            listener::follow(state, now, id);
        }
        (OpKind::Start, OpErrorClass::Gone) => retire(state, now, id, Cause::Vanished),
        (OpKind::Register | OpKind::Deregister, _) => {}
        (OpKind::Create | OpKind::Start, _) => {
            retire(state, now, id, Cause::Failed(error.message));
        }
    }
}
