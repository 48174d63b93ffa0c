//! Facts from forges: lists, webhooks, and whether they can be spoken to.

use super::fact::{ForgeContact, ForgeEvent};
use super::known::Scope;
use super::{holds, leftovers, lists};
use crate::fleet::state::State;
use crate::ids::{ForgeRunId, ScopeUrl};
use crate::units::Time;

pub(in crate::fleet) fn observe(state: &mut State, now: Time, event: ForgeEvent) {
    match event {
        ForgeEvent::Identity(fleet) => state.forge.fleet = Some(fleet),
        ForgeEvent::Runners { scope, begun, runners } => {
            answers(state, now, &scope);
            lists::observe(state, now, (scope, begun), runners);
        }
        ForgeEvent::Jobs { scope, begun, jobs } => {
            answers(state, now, &scope);
            of(state, now, &scope).jobs.listed(now, begun, jobs);
        }
        ForgeEvent::Job { scope, job } => of(state, now, &scope).jobs.told(now, job),
        ForgeEvent::Contact { scope, contact } => contacted(state, now, &scope, contact),
        ForgeEvent::RunnerVersion { scope, newest } => {
            of(state, now, &scope).newest = Some(newest);
        }
        ForgeEvent::Dispatched { by, scope, repository, workflow, run } => {
            let run = run.map_or_else(String::new, |run: ForgeRunId| format!(": run {run}"));
            let why = format!("{workflow} of {repository} for {by}{run}");
            state.tell(now, scope, "workflow started", why);
        }
    }
}

/// What is known of a scope.
pub(super) fn of<'a>(state: &'a mut State, now: Time, scope: &ScopeUrl) -> &'a mut Scope {
    let new = || Scope { since: now, ..Scope::default() };
    state.forge.scopes.entry(scope.clone()).or_insert_with(new)
}

/// Whoever gives a list can be spoken to, if nothing else was said before.
fn answers(state: &mut State, now: Time, scope: &ScopeUrl) {
    if of(state, now, scope).contact.is_none() {
        contacted(state, now, scope, ForgeContact::Good);
    }
}

fn contacted(state: &mut State, now: Time, scope: &ScopeUrl, contact: ForgeContact) {
    let known = of(state, now, scope);
    if known.contact.as_ref() == Some(&contact) {
        return;
    }
    let is_kind =
        |it: &ForgeContact| std::mem::discriminant(it) == std::mem::discriminant(&contact);
    let is_news = !known.contact.as_ref().is_some_and(is_kind);
    let is_first = known.contact.is_none();
    let was_denied = matches!(known.contact, Some(ForgeContact::Denied(_)));
    if is_news {
        known.since = now;
    }
    known.contact = Some(contact.clone());
    if was_denied && contact == ForgeContact::Good {
        holds::forgive_scope(state, scope);
    }
    if contact == ForgeContact::Good {
        leftovers::again(state, scope);
    }
    let (what, why) = match contact {
        ForgeContact::Good if is_first => return,
        ForgeContact::Good => ("reachable", "it answers again".to_owned()),
        ForgeContact::Unreachable(why) => ("unreachable", why),
        ForgeContact::Limited { why, .. } => ("limited", why),
        ForgeContact::Denied(why) => ("denied", why),
    };
    if is_news {
        state.tell(now, scope, what, why);
    }
}
