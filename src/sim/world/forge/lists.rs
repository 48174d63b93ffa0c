//! What the forge tells: lists that are late, incomplete or doubled, and webhooks that are worse.

use std::time::Duration;

use super::{Entry, ForgeDue, ForgeJob, JobStage};
use crate::fleet::event::Event;
use crate::fleet::forge::{
    ForgeContact, ForgeEvent, ForgeJobFact, ForgeJobStatus, ForgeRunnerFact,
};
use crate::ids::{ForgeJobId, ForgeRunnerId, ScopeUrl};
use crate::sim::fault::Fault;
use crate::sim::world::{Due, Turn, World};
use crate::units::Time;

/// A webhook comes this late at most, in milliseconds.
const HOOK_LATE: u64 = 600_000;

impl World {
    /// The shell reads a scope.
    pub(in crate::sim::world) fn read_forge(&mut self, scope: ScopeUrl) {
        let begun = self.now();
        let late = if self.strikes(Fault::ForgeSlow) { 9_000 } else { 0 };
        let wait = self.span(200) + Duration::from_millis(self.rng.below(late + 1));
        self.due_at_forge(wait, ForgeDue::Lists(self.epoch, scope, begun));
    }

    pub(super) fn list_forge(&mut self, epoch: Turn, scope: &ScopeUrl, begun: Time) {
        if epoch != self.epoch || !self.is_watched || !self.forge.scopes.contains(scope) {
            return;
        }
        let contact = self.contact();
        let is_good = contact == ForgeContact::Good;
        self.tell_contact(epoch, scope, contact);
        if !is_good {
            return;
        }
        let runners = self.runner_facts(scope);
        let jobs = self.job_facts(scope);
        let (one, other) = (self.strikes(Fault::ForgeListLost), self.strikes(Fault::ForgeListLost));
        if !one {
            self.tell_forge(epoch, ForgeEvent::Runners { scope: scope.clone(), begun, runners });
        }
        if !other {
            self.tell_forge(epoch, ForgeEvent::Jobs { scope: scope.clone(), begun, jobs });
        }
    }

    fn contact(&mut self) -> ForgeContact {
        let fails = self.strikes(Fault::ForgeFails);
        let now = self.now();
        if self.is_forge_away() || fails {
            return ForgeContact::Unreachable("no connection".to_owned());
        }
        if self.forge.limited > now {
            let why = "too many requests".to_owned();
            return ForgeContact::Limited { until: self.forge.limited, why };
        }
        match self.forge.is_denied {
            true => ForgeContact::Denied("bad credentials".to_owned()),
            false => ForgeContact::Good,
        }
    }

    /// Tells how a scope answers, if that has changed. The shell tells it late, and in its order: a
    /// list that fails has told so before it goes well again.
    fn tell_contact(&mut self, epoch: Turn, scope: &ScopeUrl, contact: ForgeContact) {
        let before = self.forge.told.get(scope);
        if before.is_some_and(|(told, _)| *told == contact) {
            return;
        }
        let earliest = before.map_or(Time(0), |(_, at)| *at);
        let at = (self.now() + self.lateness()).max(earliest);
        self.forge.told.insert(scope.clone(), (contact.clone(), at));
        let event = ForgeEvent::Contact { scope: scope.clone(), contact };
        self.clock.at(at, Due::Tell(epoch, Box::new(Event::Forge(event))));
    }

    fn tell_forge(&mut self, epoch: Turn, event: ForgeEvent) {
        let wait = self.lateness();
        self.clock.after(wait, Due::Tell(epoch, Box::new(Event::Forge(event))));
    }

    fn lateness(&mut self) -> Duration {
        let late = if self.strikes(Fault::ForgeSlow) { 20_000 } else { 0 };
        self.span(5) + Duration::from_millis(self.rng.below(late + 1))
    }

    fn runner_facts(&mut self, scope: &ScopeUrl) -> Vec<ForgeRunnerFact> {
        let now = self.now();
        let is_listed = |(_, it): &(&ForgeRunnerId, &Entry)| it.scope == *scope && it.shown <= now;
        let listed = self.forge.entries.iter().filter(is_listed);
        let mut facts: Vec<ForgeRunnerFact> =
            listed.map(|(id, entry)| runner_fact(*id, entry, now)).collect();
        for fact in &mut facts {
            if fact.busy && self.strikes(Fault::ForgeForgetsBusy) {
                fact.busy = false;
            }
            if self.strikes(Fault::ForgeFlaps) {
                fact.online = if self.rng.chance(500) { Some(false) } else { None };
            }
        }
        if self.strikes(Fault::ForgeMessy) {
            let mut rng = self.rng.fork();
            let twice: Vec<_> = facts.iter().filter(|_| rng.chance(300)).cloned().collect();
            facts.retain(|_| !rng.chance(200));
            facts.extend(twice);
            facts.sort_by_cached_key(|_| rng.next());
        }
        facts
    }

    fn job_facts(&self, scope: &ScopeUrl) -> Vec<ForgeJobFact> {
        let open = self.forge.open_jobs().filter(|(_, job)| job.scope == *scope);
        open.map(|(id, job)| job_fact(*id, job)).collect()
    }

    /// A webhook tells of a job, if it does.
    pub(super) fn hook(&mut self, id: ForgeJobId) {
        if !self.forge.has_webhooks || self.forge.scopes.is_empty() {
            return;
        }
        let Some(job) = self.forge.jobs.get(&id) else { return };
        let scope = job.scope.clone();
        // A delivery does not say whose code it is.
        let fact = ForgeJobFact { fork: None, ..job_fact(id, job) };
        let (lost, twice) = (self.strikes(Fault::HookLost), self.strikes(Fault::HookDoubled));
        let late = if self.strikes(Fault::HookLate) { HOOK_LATE } else { 0 };
        let wait = self.span(100) + Duration::from_millis(self.rng.below(late + 1));
        let again = Duration::from_millis(self.rng.below(HOOK_LATE));
        if lost || !self.is_watched {
            return;
        }
        let event = Event::Forge(ForgeEvent::Job { scope, job: fact });
        if twice {
            self.tell(wait + again, event.clone());
        }
        self.tell(wait, event);
    }
}

fn runner_fact(id: ForgeRunnerId, entry: &Entry, now: Time) -> ForgeRunnerFact {
    ForgeRunnerFact {
        id,
        name: entry.name.clone(),
        online: Some(entry.is_online()),
        busy: entry.job.is_some() && entry.busy_from <= now,
        version: entry.was_online.then(|| "2.336.0".to_owned()),
    }
}

pub(super) fn job_fact(id: ForgeJobId, job: &ForgeJob) -> ForgeJobFact {
    let (status, runner) = match job.stage {
        JobStage::Held => (ForgeJobStatus::Held, None),
        JobStage::Queued | JobStage::Given(_) => (ForgeJobStatus::Queued, None),
        JobStage::Running(_) => (ForgeJobStatus::Running, job.begun.last().cloned()),
        JobStage::Over => {
            let how = job.ends.last().copied().unwrap_or("success");
            (ForgeJobStatus::Completed(how.to_owned()), job.begun.last().cloned())
        }
    };
    ForgeJobFact {
        id,
        run: job.run,
        attempt: 1,
        repository: "acme/site".to_owned(),
        workflow: Some("ci".to_owned()),
        name: format!("build-{id}"),
        labels: job.labels.clone(),
        status,
        runner,
        created: job.created,
        fork: Some(job.is_fork),
        url: None,
    }
}
