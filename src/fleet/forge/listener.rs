//! What agents say of their listeners, and where their runners stand by it.
//!
//! An agent says how it is, not what happened, so what is said is compared with what is on record:
//! a word that was lost costs time, and nothing else.

use super::fact::{ForgeJobFact, ListenerEnd, ListenerStage, ListenerStatus, WorkFact};
use super::labels::{self, Match};
use super::order::ListenMode;
use super::{ForgeCause, holds, names, register, revival};
use crate::fleet::effect::Effect;
use crate::fleet::failures;
use crate::fleet::runner::{Cause, Phase, Runner};
use crate::fleet::state::{Place, State};
use crate::fleet::transition::retire;
use crate::ids::IncarnationId;
use crate::units::Time;

/// The program was updated or is refused for its age (exit codes of GitHub's listener).
const TOO_OLD: [i32; 3] = [3, 4, 7];
/// Another process holds its session.
const SESSION_CONFLICT: i32 = 5;

/// An agent says where its listener stands.
pub(in crate::fleet) fn said(
    state: &mut State,
    now: Time,
    id: IncarnationId,
    status: ListenerStatus,
) {
    if state.runner(id).and_then(Runner::enlistment).is_none() {
        return;
    }
    state.forge.listener(id).status = Some(status);
    follow(state, now, id);
}

/// A session begins: its agent says anew how it is.
pub(in crate::fleet) fn connected(state: &mut State, id: IncarnationId) {
    if let Some(listener) = state.forge.listeners.get_mut(&id) {
        listener.status = None;
    }
}

/// Brings a runner to where its listener is.
pub(in crate::fleet) fn follow(state: &mut State, now: Time, id: IncarnationId) {
    let Some(status) = state.forge.listeners.get(&id).and_then(|it| it.status.clone()) else {
        return;
    };
    if state.runner(id).is_some_and(Runner::is_retiring) {
        revival::speaks(state, now, id, &status);
    }
    let Some(phase) = state.runner(id).map(|runner| runner.phase.clone()) else { return };
    let (container, is_leaving) = match &phase {
        Phase::Registering { container }
        | Phase::Idle { container }
        | Phase::Working { container } => (container.clone(), false),
        Phase::Leaving { container, .. } => (container.clone(), true),
        Phase::Planned
        | Phase::Created { .. }
        | Phase::Booting { .. }
        | Phase::Busy { .. }
        | Phase::Retiring { .. } => return,
    };
    register::seen(state, now, id);
    let is_working = matches!(phase, Phase::Working { .. });
    match status.stage {
        ListenerStage::Working(work) if is_leaving && status.stuck.is_some() => {
            note_work(state, now, id, work);
        }
        ListenerStage::Working(ref work) => {
            count(state, now, (id, &status));
            let work = work.clone();
            note_work(state, now, id, work.clone());
            if !is_working {
                state.forge.listener(id).stopping = None;
                state.enter(now, id, Phase::Working { container }, in_words(&work));
            }
        }
        ListenerStage::Over(ref end) => {
            count(state, now, (id, &status));
            over(state, now, (id, &phase), (end.clone(), status.jobs));
        }
        ListenerStage::Listening => {
            count(state, now, (id, &status));
            if !is_leaving && !matches!(phase, Phase::Idle { .. }) {
                let why = if is_working { "its job is over" } else { "it listens for jobs" };
                state.enter(now, id, Phase::Idle { container }, why);
            }
        }
        ListenerStage::Registering | ListenerStage::Starting => {
            count(state, now, (id, &status));
            if matches!(phase, Phase::Idle { .. } | Phase::Working { .. }) {
                state.forge.listener(id).ordered = Some(now);
                state.enter(now, id, Phase::Registering { container }, "its listener starts again");
            }
        }
    }
}

/// A job in words.
pub(super) fn in_words(work: &WorkFact) -> String {
    let place = work.repository.as_deref().unwrap_or("its forge");
    let name = work.name.as_deref().or(work.workflow.as_deref()).unwrap_or("a job");
    match work.run {
        Some(run) => format!("{place}: {name} (run {run})"),
        None => format!("{place}: {name}"),
    }
}

/// Keeps what is known of a runner's job.
fn note_work(state: &mut State, now: Time, id: IncarnationId, work: WorkFact) {
    let Some(known) = state.runner(id).and_then(|runner| runner.registration.as_ref()) else {
        return;
    };
    let is_new = known.worked.is_none() || known.is_over;
    if !is_new && known.work.as_ref() == Some(&work) {
        return;
    }
    if is_new {
        claim(state, now, id, &work);
    }
    let registration = state.runner_mut(id).and_then(|runner| runner.registration.as_mut());
    if let Some(registration) = registration {
        registration.work = Some(work);
        if is_new {
            registration.worked = Some(now);
            registration.is_over = false;
        }
    }
}

/// A job that a runner has begun waits no more, whatever the last list said.
fn claim(state: &mut State, now: Time, id: IncarnationId, work: &WorkFact) {
    let Some(runner) = state.runner(id) else { return };
    let (Some(enlistment), Some(it)) = (runner.enlistment(), &runner.registration) else { return };
    let (scope, name) = (enlistment.scope.clone(), it.name.clone());
    let pool = runner.build.template.pool.clone();
    let spec = &state.spec;
    let may_be = |fact: &ForgeJobFact| {
        let found = labels::pool(spec, &scope, &fact.labels);
        matches!(found, Match::Pool(it) if it.name == pool)
    };
    if let Some(known) = state.forge.scopes.get_mut(&scope) {
        known.jobs.begun_by(now, (&name, work), may_be);
    }
}

/// A runner's job is over, whatever the last list said.
pub(in crate::fleet) fn let_go(state: &mut State, now: Time, id: IncarnationId) {
    let Some(runner) = state.runner(id) else { return };
    let (Some(enlistment), Some(it)) = (runner.enlistment(), &runner.registration) else { return };
    let (scope, name) = (enlistment.scope.clone(), it.name.clone());
    if let Some(known) = state.forge.scopes.get_mut(&scope) {
        known.jobs.ended_by(now, &name);
    }
}

/// Counts the jobs that came to an end, and stores what the last of them wrote.
fn count(state: &mut State, now: Time, (id, status): (IncarnationId, &ListenerStatus)) {
    let under_way = u32::from(matches!(status.stage, ListenerStage::Working(_)));
    let done = status.jobs.saturating_sub(under_way);
    let known = state.runner(id).and_then(|runner| runner.registration.as_ref());
    let Some(before) = known.map(|it| it.done).filter(|before| *before != done) else { return };
    let slot = state.runner(id).and_then(|runner| runner.slot);
    if done > before {
        let_go(state, now, id);
        publish(state, now, id);
        if let Some(slot) = slot {
            failures::forgive(state, &Place::Slot(slot));
        }
        if let Some(slot) = slot.and_then(|slot| state.slot_mut(slot)) {
            slot.tasks_completed += u64::from(done - before);
        }
    }
    let registration = state.runner_mut(id).and_then(|runner| runner.registration.as_mut());
    if let Some(registration) = registration {
        registration.done = done;
        registration.is_over = registration.worked.is_some();
    }
}

/// Stores what a runner's last job wrote under `/reports`.
pub(in crate::fleet) fn publish(state: &mut State, now: Time, id: IncarnationId) {
    let registration = state.runner(id).and_then(|runner| runner.registration.as_ref());
    let work = registration.filter(|it| !it.is_over).and_then(|it| it.work.as_ref());
    let Some(reports) = work.and_then(names::reports) else { return };
    state.tell_runner(now, id, "reports stored next", &reports);
    state.meta_mut().publishing.entry(id).or_default().insert(reports.clone());
    state.effect(Effect::PublishForgeReports { incarnation: id, reports });
}

/// Reports are in the store, or cannot be.
pub(in crate::fleet) fn published(
    state: &mut State,
    now: Time,
    (id, reports): (IncarnationId, &str),
    outcome: Result<(), String>,
) {
    let Some(waiting) = state.meta.publishing.get(&id) else { return };
    if !waiting.contains(reports) {
        return;
    }
    if let Err(why) = outcome {
        state.tell_runner(now, id, "reports not stored", format!("{reports}: {why}"));
    }
    let meta = state.meta_mut();
    let is_last = meta.publishing.get_mut(&id).is_none_or(|waiting| {
        waiting.remove(reports);
        waiting.is_empty()
    });
    if is_last {
        meta.publishing.remove(&id);
        if state.runner(id).is_none() {
            state.effect(Effect::Forget(id));
        }
    }
}

/// A listener ended: its runner is used up, or goes because of it.
fn over(
    state: &mut State,
    now: Time,
    (id, phase): (IncarnationId, &Phase),
    (end, jobs): (ListenerEnd, u32),
) {
    let Some(runner) = state.runner(id) else { return };
    let is_one_job = runner.enlistment().is_some_and(|it| it.mode == ListenMode::OneJob);
    let leaving = match phase {
        Phase::Leaving { why, .. } => Some(why.clone()),
        _ => None,
    };
    let slot = runner.slot;
    let cause = match end {
        ListenerEnd::Exited { .. } if is_one_job && jobs > 0 => Cause::Used,
        ListenerEnd::Exited { code, said } if is_too_old(code, &said) => {
            let why = if said.is_empty() { format!("exit code {code}") } else { said };
            Cause::Forge(ForgeCause::NeedsUpgrade(why))
        }
        ListenerEnd::Exited { code, said } => {
            leaving.unwrap_or_else(|| Cause::Forge(exited(code, said)))
        }
        ListenerEnd::NeedsToken => needs_token(state, runner, "it is not registered", true),
        ListenerEnd::TokenRefused(why) => needs_token(state, runner, &why, false),
        ListenerEnd::NameTaken(why) | ListenerEnd::NotRegistered(why) => {
            Cause::Forge(ForgeCause::NotRegistered(why))
        }
        ListenerEnd::NotStarted(why) => Cause::Forge(ForgeCause::NoListener(why)),
    };
    let cause = match state.is_going_down() && cause != Cause::Used {
        true => Cause::Down,
        false => cause,
    };
    match (&cause, slot) {
        (Cause::Forge(ForgeCause::NeedsToken { .. }), Some(slot)) => {
            holds::need_token(state, now, slot, cause.to_string());
        }
        (Cause::Forge(ForgeCause::NeedsUpgrade(_)), _) => {
            holds::need_upgrade(state, now, id, cause.to_string());
        }
        _ => {}
    }
    retire(state, now, id, cause);
}

/// What an exit code means for a listener that had no job, or should have gone on.
fn exited(code: i32, said: String) -> ForgeCause {
    match code {
        SESSION_CONFLICT => ForgeCause::SessionConflict,
        code => ForgeCause::Ended { code, said },
    }
}

/// By its code, or by its words: without a setting that older programs do not know, the code is 1.
fn is_too_old(code: i32, said: &str) -> bool {
    TOO_OLD.contains(&code) || (code != 0 && said.to_ascii_lowercase().contains("deprecated"))
}

fn needs_token(state: &State, runner: &Runner, why: &str, is_missing: bool) -> Cause {
    let Some(variable) = register::variable(state, runner) else {
        return Cause::Forge(ForgeCause::NotRegistered(why.to_owned()));
    };
    let why = match is_missing {
        true => format!("{why}, and {variable} is not set"),
        false => format!("its forge does not take {variable} ({why})"),
    };
    Cause::Forge(ForgeCause::NeedsToken { variable, why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exit_code_has_its_meaning() {
        let ended = |code, said: &str| ForgeCause::Ended { code, said: said.to_owned() };
        for code in [0, 1, 2, 6, 137, 143] {
            assert!(!is_too_old(code, "Runner connect error"), "{code}");
            assert_eq!(exited(code, "x".to_owned()), ended(code, "x"));
        }
        assert_eq!(exited(5, String::new()), ForgeCause::SessionConflict);
        for code in [3, 4, 7] {
            assert!(is_too_old(code, ""), "{code}");
        }
        let words = "Runner version v2.300.0 is Deprecated and cannot receive messages.";
        assert!(is_too_old(1, words));
        assert!(!is_too_old(0, "a step said: deprecated"), "it ended well");
    }
}
