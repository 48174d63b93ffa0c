//! A forge's list of runners beside the record.
//!
//! A list is no snapshot, and lags: one list proves nothing. Whoever is not in it is looked for
//! again before anything follows.

use std::time::Duration;

use super::fact::ForgeRunnerFact;
use super::known::Listener;
use super::leftovers;
use super::registration::Registered;
use crate::fleet::runner::{Phase, Runner};
use crate::fleet::state::State;
use crate::ids::{IncarnationId, ScopeUrl};
use crate::units::Time;

/// A list may not show a runner before it is registered for this long.
const HIDDEN: Duration = Duration::from_secs(300);
/// A runner that no list ever showed is missing only after this long.
const NEVER_SEEN: Duration = Duration::from_secs(900);
/// Lists that do not have it before it is held to be gone, and how far they are apart at least.
const MISSING: (u32, Duration) = (3, Duration::from_secs(30));
/// Lists that call it offline before it is held to be, and how far they are apart at least.
const OFFLINE: (u32, Duration) = (3, Duration::from_secs(900));
/// Lists are asked for no more often than this for what they may tell.
const LOOK: Duration = Duration::from_secs(30);

/// Takes in a complete list.
pub(super) fn observe(
    state: &mut State,
    now: Time,
    (scope, begun): (ScopeUrl, Time),
    runners: Vec<ForgeRunnerFact>,
) {
    let known = super::observe::of(state, now, &scope);
    // Lists may overtake one another.
    if known.runners_begun.is_some_and(|before| begun < before) {
        return;
    }
    known.runners_begun = Some(begun);
    known.runners = runners.into_iter().map(|fact| (fact.name.clone(), fact)).collect();
    let is_of = |runner: &&Runner| runner.enlistment().is_some_and(|it| it.scope == scope);
    let ours: Vec<IncarnationId> = state.runners().filter(is_of).map(|runner| runner.id).collect();
    for id in ours {
        compare(state, (&scope, begun), id);
    }
    leftovers::compare(state, now, &scope, begun);
    leftovers::find_strangers(state, now, &scope, begun);
}

fn compare(state: &mut State, (scope, begun): (&ScopeUrl, Time), id: IncarnationId) {
    let Some(runner) = state.runner(id) else { return };
    let Some(registration) = &runner.registration else { return };
    let fact = state.forge.scopes.get(scope).and_then(|it| it.runners.get(&registration.name));
    let fact = fact.cloned();
    let is_idle = matches!(runner.phase, Phase::Idle { .. });
    let (since, stands) = (runner.since, registration.stage);
    let listener = state.forge.listener(id);
    let is_expected = is_idle && listener.is_listening();
    let Some(fact) = fact else {
        let age = begun.since(since);
        let is_old = age >= HIDDEN && (listener.seen.fact.is_some() || age >= NEVER_SEEN);
        let is_missing = is_expected && is_old && matches!(stands, Registered::Yes(_));
        listener.seen.missing = is_missing.then(|| more(listener.seen.missing, begun));
        return;
    };
    let is_off = is_expected && begun > since && fact.online == Some(false);
    listener.seen.missing = None;
    listener.seen.offline = is_off.then(|| more(listener.seen.offline, begun));
    let number = fact.id;
    listener.seen.fact = Some(fact);
    if stands == Registered::Yes(None)
        && let Some(registration) = state.runner_mut(id).and_then(|it| it.registration.as_mut())
    {
        registration.stage = Registered::Yes(Some(number));
    }
}

fn more(before: Option<(u32, Time)>, begun: Time) -> (u32, Time) {
    before.map_or((1, begun), |(count, first)| (count.saturating_add(1), first))
}

/// Whether enough lists agree.
fn agree(seen: Option<(u32, Time)>, last: Option<Time>, (count, span): (u32, Duration)) -> bool {
    let Some(((seen, first), last)) = seen.zip(last) else { return false };
    seen >= count && last.since(first) >= span
}

/// What the lists say against a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is not in the list any more.
    Missing,
    /// It is offline, though its listener listens.
    Offline,
}

/// What the lists say against a runner, if they agree.
pub(super) fn verdict(state: &State, scope: &ScopeUrl, listener: &Listener) -> Option<Verdict> {
    let last = state.forge.scopes.get(scope)?.runners_begun;
    if agree(listener.seen.missing, last, MISSING) {
        return Some(Verdict::Missing);
    }
    agree(listener.seen.offline, last, OFFLINE).then_some(Verdict::Offline)
}

/// The scopes whose lists should be read soon. `asked`: those that something else waits for.
pub(super) fn to_look_at<'a>(
    state: &'a State,
    now: Time,
    asked: &'a [&'a ScopeUrl],
) -> impl Iterator<Item = &'a ScopeUrl> {
    state.forge.scopes.iter().filter_map(move |(scope, known)| {
        let is_missing = |runner: &Runner| {
            let listener = state.forge.listeners.get(&runner.id);
            runner.enlistment().is_some_and(|it| it.scope == *scope)
                && listener.is_some_and(|it| it.seen.missing.is_some())
        };
        let last = known.looked.max(known.runners_begun.unwrap_or_default());
        let is_due = known.is_good() && now.since(last) >= LOOK;
        let is_wanted = || {
            asked.contains(&scope)
                || leftovers::awaits_list(state, scope)
                || state.runners().any(is_missing)
        };
        (is_due && is_wanted()).then_some(scope)
    })
}
