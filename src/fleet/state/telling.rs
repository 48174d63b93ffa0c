//! Changes that are told: each makes its entry of the audit log with the change itself, so that
//! neither can be without the other.

use super::State;
use crate::fleet::audit::{Actor, AuditEntry, ORPHAN};
use crate::fleet::job::Job;
use crate::fleet::runner::{Phase, Runner};
use crate::ids::{IncarnationId, JobId};
use crate::units::Time;

/// The states before and after, in words; none where there is none.
type Move = (Option<String>, Option<String>);

/// What an entry is about.
struct About {
    object: String,
    incarnation: Option<IncarnationId>,
}

impl State {
    /// Tells of something that is no change of a runner's or a job's state.
    pub fn tell(&mut self, now: Time, object: impl ToString, what: &str, why: impl ToString) {
        let about = About { object: object.to_string(), incarnation: None };
        self.write(now, about, (what, why.to_string()), (None, None));
    }

    /// Tells of a change of something that is neither a runner nor a job.
    pub fn tell_change(
        &mut self,
        now: Time,
        object: impl ToString,
        (what, why): (&str, impl ToString),
        (before, after): (impl ToString, impl ToString),
    ) {
        let about = About { object: object.to_string(), incarnation: None };
        let states = (Some(before.to_string()), Some(after.to_string()));
        self.write(now, about, (what, why.to_string()), states);
    }

    /// Tells of something about a container that leaves its runner's state as it is.
    pub fn tell_runner(&mut self, now: Time, id: IncarnationId, what: &str, why: impl ToString) {
        let about = self.about(id);
        self.write(now, about, (what, why.to_string()), (None, None));
    }

    /// Tells that an orphan was found.
    pub fn tell_orphan(&mut self, now: Time, id: IncarnationId, why: impl ToString) {
        let about = self.about(id);
        let states = (None, Some(ORPHAN.to_owned()));
        self.write(now, about, ("orphan found", why.to_string()), states);
    }

    /// Tells that an orphan is gone.
    pub fn tell_orphan_gone(&mut self, now: Time, id: IncarnationId, why: impl ToString) {
        let about = self.about(id);
        let states = (Some(ORPHAN.to_owned()), None);
        self.write(now, about, ("removed", why.to_string()), states);
    }

    /// A runner is decided on.
    pub fn begin_runner(&mut self, now: Time, runner: Runner) {
        let (id, why) = (runner.id, format!("container {}", runner.name));
        let after = runner.phase.word().to_owned();
        self.insert_runner(runner, now);
        let about = self.about(id);
        self.write(now, about, ("planned", why), (None, Some(after)));
    }

    /// A runner comes into a phase.
    pub fn enter(&mut self, now: Time, id: IncarnationId, phase: Phase, why: impl ToString) {
        let Some(runner) = self.runner_mut(id) else { return };
        let before = std::mem::replace(&mut runner.phase, phase);
        runner.since = now;
        let (from, to) = (before.word(), runner.phase.word());
        if from == to {
            return;
        }
        let what = runner.phase.arrival(&before);
        let about = self.about(id);
        self.write(now, about, (what, why.to_string()), (Some(from.into()), Some(to.into())));
    }

    /// A runner is known to be gone.
    pub fn end_runner(&mut self, now: Time, id: IncarnationId, why: impl ToString) {
        let Some(before) = self.runner(id).map(|runner| runner.phase.word().to_owned()) else {
            return;
        };
        let about = self.about(id);
        self.remove_runner(id, now);
        self.write(now, about, ("removed", why.to_string()), (Some(before), None));
    }

    /// A job is accepted.
    pub fn begin_job(&mut self, now: Time, job: Job) {
        let (id, why) = (job.id, job.spec.words());
        let after = job.word();
        self.insert_job(job);
        let about = About { object: id.to_string(), incarnation: None };
        self.write(now, about, (after, why), (None, Some(after.to_owned())));
    }

    /// A job comes into another state.
    pub fn turn_job(
        &mut self,
        now: Time,
        id: JobId,
        (what, why): (&str, impl ToString),
        change: impl FnOnce(&mut Job),
    ) {
        let Some(before) = self.job(id).map(Job::word) else { return };
        self.change_job(id, change);
        let Some(after) = self.job(id).map(Job::word) else { return };
        if before != after {
            let about = About { object: id.to_string(), incarnation: None };
            let states = (Some(before.into()), Some(after.into()));
            self.write(now, about, (what, why.to_string()), states);
        }
    }

    /// A job that ended long ago is not kept any longer.
    pub fn end_job(&mut self, now: Time, id: JobId, why: impl ToString) {
        let Some(before) = self.job(id).map(Job::word) else { return };
        self.remove_job(id);
        let about = About { object: id.to_string(), incarnation: None };
        self.write(now, about, ("forgotten", why.to_string()), (Some(before.into()), None));
    }

    /// Who acts from now on.
    pub fn act_as(&mut self, actor: Actor) {
        self.acting = actor;
    }

    /// People know a runner by its slot.
    fn about(&self, id: IncarnationId) -> About {
        let slot = self.runner(id).and_then(|runner| runner.slot);
        let object = slot.map_or_else(|| id.to_string(), |slot| slot.to_string());
        About { object, incarnation: Some(id) }
    }

    fn write(&mut self, at: Time, about: About, (what, why): (&str, String), states: Move) {
        self.audit_seq += 1;
        let (before, after) = states;
        self.notes.audit.push(AuditEntry {
            seq: self.audit_seq,
            at,
            actor: self.acting.clone(),
            object: about.object,
            incarnation: about.incarnation,
            what: what.to_owned(),
            why,
            before,
            after,
        });
    }
}
