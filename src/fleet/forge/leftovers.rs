//! Leftovers: entries at a forge of runners that are gone.
//!
//! An acknowledgement is no effect: an entry is done with only when a list that was begun later
//! does not show it. Entries that carry this fleet's mark and that no record knows become leftovers
//! too; entries of others are never touched.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::decision::{ForgeDecision, ForgeOpKind};
use super::fact::{ForgeErrorClass, ForgeOutcome, ForgeRunnerFact};
use super::order::{ForgeEntry, ListenMode};
use super::registration::Registered;
use super::{backoff, leave, names, register};
use crate::fleet::effect::ForgeAction;
use crate::fleet::plan::Decision;
use crate::fleet::runner::{Cause, Runner};
use crate::fleet::state::State;
use crate::ids::{IncarnationId, ScopeUrl};
use crate::units::Time;

/// A forge removes a one-job runner after its job by itself within this time.
const LAG: Duration = Duration::from_secs(120);
/// A registration whose outcome nobody knows shows up within this time.
const SUSPECT: Duration = Duration::from_secs(300);
/// An entry that nobody knows is looked at twice, at least so far apart.
const STRANGER: Duration = Duration::from_secs(30);
/// A list that was begun so long after a `down`, and after a registration of unknown outcome, is
/// enough for the `down`: the next `up` looks again.
const DOWN_LOOK: Duration = Duration::from_secs(30);
/// Entries that a forge does not let go hold up `down` for so long.
const DOWN_PATIENCE: Duration = Duration::from_secs(300);
/// By then a forge has removed it by its own rules.
const GIVEN_UP: Duration = Duration::from_secs(14 * 24 * 3600);

/// One entry; survives a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// Which entry.
    pub entry: ForgeEntry,
    /// Since when its runner is gone.
    pub since: Time,
    /// What has to be done about it.
    pub stage: LeftoverStage,
    /// A list that was begun before this says nothing of it.
    pub settled: Time,
}

impl Leftover {
    /// Whether its forge said that it is removed, so that only a list could add to that.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.stage == LeftoverStage::Removed
    }
}

/// What has to be done about a leftover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftoverStage {
    /// Nothing: the forge removes it by itself.
    Expected,
    /// It has to be removed.
    Wanted,
    /// Nobody knows whether it was registered, and it is not found by its name. Lists may hide it
    /// until it is settled.
    Hidden,
    /// The forge says that it is removed.
    Removed,
}

/// A runner goes out of service: what is left of it at its forge.
pub(in crate::fleet) fn begin(state: &mut State, now: Time, id: IncarnationId, why: &Cause) {
    let Some(runner) = state.runner(id) else { return };
    let is_one_job = runner.enlistment().is_some_and(|it| it.mode == ListenMode::OneJob);
    let Some(entry) = leave::entry(runner).filter(|_| is_one_job) else { return };
    let stands = runner.registration.as_ref().map(|it| it.stage);
    let (wish, settled) = match stands {
        None => return,
        Some(Registered::Removed) => (LeftoverStage::Removed, now),
        Some(Registered::Asked) => (LeftoverStage::Wanted, now + SUSPECT),
        Some(Registered::Yes(_)) if *why == Cause::Used => (LeftoverStage::Expected, now + LAG),
        Some(Registered::Yes(_)) => (LeftoverStage::Wanted, now),
    };
    let leftover = Leftover { entry, since: now, stage: wish, settled };
    state.meta_mut().leftovers.insert(id, leftover);
}

/// Removes what has to be removed, and looks whether it is.
pub(super) fn plan(state: &State, now: Time, plan: &mut Vec<Decision>) {
    for (id, leftover) in &state.meta.leftovers {
        let chore = state.forge.chores.get(id);
        let is_wanted = match leftover.stage {
            LeftoverStage::Wanted => true,
            // Whoever goes down does not wait for the forge to tidy up.
            LeftoverStage::Expected => state.is_going_down(),
            LeftoverStage::Hidden | LeftoverStage::Removed => false,
        };
        let is_free = chore.is_none_or(|it| now >= it.retry_at);
        // While its own operation is under way, that one is waited for.
        let is_asked = state.forge.ops.values().any(|op| op.incarnation == *id);
        if is_wanted && is_free && !is_asked && state.forge.is_good(&leftover.entry.scope) {
            plan.push(Decision::Forge(ForgeDecision::Clean(*id)));
        }
    }
}

/// Whether a list would tell something that is waited for.
pub(super) fn awaits_list(state: &State, scope: &ScopeUrl) -> bool {
    state
        .meta
        .leftovers
        .values()
        .filter(|it| it.entry.scope == *scope)
        .any(|it| matches!(it.stage, LeftoverStage::Hidden | LeftoverStage::Removed))
}

/// Asks the forge to remove one.
pub(super) fn clean(state: &mut State, id: IncarnationId) {
    let Some(leftover) = state.meta.leftovers.get(&id) else { return };
    let action = ForgeAction::Remove(leftover.entry.clone());
    register::operate(state, (id, ForgeOpKind::Clean), action);
}

/// The end of an operation on an entry whose runner is out of service.
pub(super) fn ended(
    state: &mut State,
    now: Time,
    (id, kind): (IncarnationId, ForgeOpKind),
    outcome: ForgeOutcome,
) {
    let Some(leftover) = state.meta.leftovers.get(&id) else { return };
    let name = leftover.entry.name.clone();
    let (class, why) = match (kind, outcome) {
        (ForgeOpKind::Register, ForgeOutcome::Registered(number)) => {
            if let Some(it) = state.meta_mut().leftovers.get_mut(&id) {
                it.entry.id = Some(number);
            }
            return;
        }
        (ForgeOpKind::Register, ForgeOutcome::Failed(_)) => {
            // It certainly was not registered.
            state.meta_mut().leftovers.remove(&id);
            return;
        }
        (ForgeOpKind::Register, ForgeOutcome::Unknown(_)) => {
            if let Some(it) = state.meta_mut().leftovers.get_mut(&id) {
                it.settled = now + SUSPECT;
            }
            return;
        }
        (ForgeOpKind::Register, _) | (_, ForgeOutcome::Registered(_)) => return,
        (_, ForgeOutcome::Removed) => {
            removed(state, now, id);
            return;
        }
        (_, ForgeOutcome::NotListed) => {
            not_listed(state, now, id);
            return;
        }
        (_, ForgeOutcome::Busy) => {
            let why = "it has a job, by its forge's word, though its runner is gone";
            (ForgeErrorClass::Retry, why.to_owned())
        }
        (_, ForgeOutcome::Failed(error)) => (error.class, error.message),
        (_, ForgeOutcome::Unknown(why)) => (ForgeErrorClass::Retry, why),
    };
    let chore = state.forge.chores.entry(id).or_default();
    chore.tries = chore.tries.saturating_add(1);
    chore.retry_at = backoff::next(now, class, chore.tries, id);
    if chore.why.as_ref() != Some(&why) {
        chore.why = Some(why.clone());
        state.tell(now, name, "still registered", why);
    }
}

/// Its forge says so. A registration is asked for once, so nothing more can come of it.
fn removed(state: &mut State, now: Time, id: IncarnationId) {
    state.forge.chores.remove(&id);
    let Some(leftover) = state.meta_mut().leftovers.get_mut(&id) else { return };
    (leftover.stage, leftover.settled) = (LeftoverStage::Removed, now);
    let name = leftover.entry.name.clone();
    state.tell(now, name, "deregistered", "its runner is gone");
}

/// It was looked for by its name, in vain.
fn not_listed(state: &mut State, now: Time, id: IncarnationId) {
    let Some(leftover) = state.meta.leftovers.get(&id) else { return };
    // A list that shows it came in while it was looked for: it is asked for by its number next.
    if leftover.entry.id.is_some() {
        let chore = state.forge.chores.entry(id).or_default();
        chore.tries = chore.tries.saturating_add(1);
        chore.retry_at = backoff::next(now, ForgeErrorClass::Retry, chore.tries, id);
        return;
    }
    if leftover.stage != LeftoverStage::Wanted || now >= leftover.settled {
        removed(state, now, id);
        return;
    }
    let name = leftover.entry.name.clone();
    state.forge.chores.remove(&id);
    if let Some(leftover) = state.meta_mut().leftovers.get_mut(&id) {
        leftover.stage = LeftoverStage::Hidden;
    }
    state.tell(now, name, "not listed", "nobody knows whether it was registered");
}

/// Compares the leftovers of a scope with a list.
pub(super) fn compare(state: &mut State, now: Time, scope: &ScopeUrl, begun: Time) {
    let of_scope = state.meta.leftovers.iter().filter(|(_, it)| it.entry.scope == *scope);
    let due: Vec<(IncarnationId, Leftover)> = of_scope
        .filter(|(_, it)| begun > it.settled || it.entry.id.is_none())
        .map(|(id, it)| (*id, it.clone()))
        .collect();
    for (id, leftover) in due {
        let fact =
            state.forge.scopes.get(scope).and_then(|it| it.runners.get(&leftover.entry.name));
        let number = fact.map(|fact| fact.id);
        let is_old = now.since(leftover.since) > GIVEN_UP;
        match (number, leftover.stage) {
            (Some(number), wish) => {
                let is_late = begun > leftover.settled || wish == LeftoverStage::Hidden;
                let is_back = wish != LeftoverStage::Wanted && is_late;
                if !is_back && leftover.entry.id == Some(number) {
                    continue;
                }
                if let Some(it) = state.meta_mut().leftovers.get_mut(&id) {
                    it.entry.id = Some(number);
                    it.stage = if is_back { LeftoverStage::Wanted } else { wish };
                }
            }
            (None, LeftoverStage::Wanted) if !is_old => {}
            (None, _) if begun > leftover.settled => forget(state, now, id),
            (None, _) => {}
        }
    }
}

fn forget(state: &mut State, now: Time, id: IncarnationId) {
    state.forge.chores.remove(&id);
    if let Some(leftover) = state.meta_mut().leftovers.remove(&id) {
        state.tell(now, leftover.entry.name, "entry gone", "its forge does not list it any more");
    }
}

/// Finds the entries of this fleet that no record knows.
pub(super) fn find_strangers(state: &mut State, now: Time, scope: &ScopeUrl, begun: Time) {
    let Some(fleet) = state.forge.fleet.clone() else { return };
    let Some(known) = state.forge.scopes.get(scope) else { return };
    let ours = known.runners.values().filter_map(|fact| {
        let id = names::incarnation(&fact.name, &fleet)?;
        (!is_known(state, id, fact)).then(|| (id, fact.clone()))
    });
    let ours: Vec<(IncarnationId, ForgeRunnerFact)> = ours.collect();
    let mut strangers = std::collections::BTreeMap::new();
    for (id, fact) in ours {
        // A number that was given is not given again, even where the record of it is lost.
        if id.0 > state.meta.incarnation {
            state.meta_mut().incarnation = id.0;
        }
        if fact.online != Some(false) || fact.busy {
            continue;
        }
        let before = state.forge.scopes.get(scope).and_then(|it| it.strangers.get(&fact.name));
        let first = before.copied().unwrap_or(begun);
        strangers.insert(fact.name.clone(), first);
        if begun.since(first) >= STRANGER && !state.meta.leftovers.contains_key(&id) {
            state.tell(now, &fact.name, "ghost found", "no runner of this fleet has this entry");
            let entry = ForgeEntry { scope: scope.clone(), name: fact.name, id: Some(fact.id) };
            let wish = LeftoverStage::Wanted;
            let leftover = Leftover { entry, since: now, stage: wish, settled: now };
            state.meta_mut().leftovers.insert(id, leftover);
        }
    }
    if let Some(known) = state.forge.scopes.get_mut(scope) {
        known.strangers = strangers;
    }
}

fn is_known(state: &State, id: IncarnationId, fact: &ForgeRunnerFact) -> bool {
    let is_its =
        |runner: &Runner| runner.registration.as_ref().is_some_and(|it| it.name == fact.name);
    state.runner(id).is_some_and(is_its)
        || state.meta.leftovers.get(&id).is_some_and(|it| it.entry.name == fact.name)
}

/// Whether nothing at the forges holds up the end of a fleet that goes down: it takes the forge's
/// word that an entry is removed, and the next `up` looks whether that was true.
pub(in crate::fleet) fn let_finish(state: &State, now: Time) -> bool {
    state.meta.leftovers.values().filter(|it| !is_done_with(state, it)).all(|it| {
        let asked = it.since.max(state.forge.down_since);
        let silent = asked.max(state.forge.contact_since(&it.entry.scope));
        match state.forge.is_good(&it.entry.scope) {
            true => state.awake.patience_used(now, asked) > DOWN_PATIENCE,
            false => now.since(silent) > leave::DOWN_PATIENCE,
        }
    })
}

/// Whether a fleet that goes down has done with an entry all that it can.
fn is_done_with(state: &State, leftover: &Leftover) -> bool {
    if leftover.stage != LeftoverStage::Hidden {
        return leftover.is_answered();
    }
    let registered = leftover.settled.before(SUSPECT);
    let enough = registered.max(state.forge.down_since) + DOWN_LOOK;
    let listed = state.forge.scopes.get(&leftover.entry.scope).and_then(|it| it.runners_begun);
    listed.is_some_and(|begun| begun >= enough)
}

/// A forge answers again: what it did not remove is asked for anew.
pub(super) fn again(state: &mut State, scope: &ScopeUrl) {
    for (id, leftover) in &state.meta.leftovers {
        if leftover.entry.scope == *scope
            && let Some(chore) = state.forge.chores.get_mut(id)
        {
            chore.retry_at = Time(0);
        }
    }
}

/// A fleet that goes down tells once what it leaves behind.
pub(in crate::fleet) fn tell_rest(state: &mut State, now: Time) {
    if std::mem::replace(&mut state.forge.is_rest_told, true) {
        return;
    }
    let rest: Vec<(ForgeEntry, Option<String>)> = state
        .meta
        .leftovers
        .iter()
        .filter(|(_, it)| !is_done_with(state, it))
        .map(|(id, it)| {
            let why = state.forge.chores.get(id).and_then(|chore| chore.why.clone());
            (it.entry.clone(), why)
        })
        .collect();
    for (entry, why) in rest {
        let why = why.unwrap_or_else(|| "its forge was not reached".to_owned());
        state.tell(now, entry.name, "left behind", format!("at {}: {why}", entry.scope));
    }
}
