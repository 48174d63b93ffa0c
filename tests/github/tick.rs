//! What happens by itself: jobs are given out, played, expire; runners are purged.

use serde_json::json;

use crate::json::{job_name, may_work};
use crate::world::{Job, JobStatus, Runner, Scope, World};

const DAY: i64 = 86_400_000;

impl World {
    /// Brings everything up to now.
    pub fn tick(&mut self) {
        self.expire_sessions();
        self.purge_runners();
        self.expire_jobs();
        self.play();
        self.give_out();
    }

    fn expire_sessions(&mut self) {
        let (now, lives) = (self.now(), World::ms(self.settings.session_seconds));
        for runner in self.runners.values_mut() {
            let over = |one: &mut crate::world::Session| one.polls == 0 && now - one.seen > lives;
            runner.session.take_if(over);
        }
    }

    fn purge_runners(&mut self) {
        let (now, lag) = (self.now(), World::ms(self.settings.removal_lag_seconds));
        let gone: Vec<(u64, &str)> = self
            .runners
            .values()
            .filter_map(|one| match (one.finished, one.connected) {
                (Some(at), _) if now - at >= lag => Some((one.id, "finished")),
                (None, None) if one.jit && now - one.created > DAY => Some((one.id, "unused")),
                (None, Some(_)) if self.online(one) => None,
                (None, Some(at)) if now - at > 14 * DAY && one.job.is_none() => {
                    Some((one.id, "silent"))
                }
                _ => None,
            })
            .collect();
        for (id, why) in gone {
            self.forget(id, why);
        }
    }

    /// Takes a runner off the list.
    pub fn forget(&mut self, id: u64, why: &str) {
        if let Some(runner) = self.runners.remove(&id) {
            let at = self.now();
            self.note(json!({"what": "removed", "runner": runner.name, "id": id, "why": why,
                "at": at, "job": runner.job}));
        }
    }

    fn expire_jobs(&mut self) {
        let now = self.now();
        let (claim, lock) =
            (World::ms(self.settings.claim_seconds), World::ms(self.settings.lock_seconds));
        let queue = World::ms(self.settings.queue_hours * 3600.0);
        let ids: Vec<u64> = self.jobs.keys().copied().collect();
        for id in ids {
            let Some(job) = self.jobs.get(&id) else { continue };
            match job.status {
                JobStatus::Queued if now - job.created > queue => self.complete(id, "cancelled"),
                JobStatus::Queued if job.offered.is_some_and(|(_, at)| now - at > claim) => {
                    self.take_back(id);
                }
                JobStatus::InProgress if now - job.renewed > lock => self.complete(id, "failure"),
                _ => {}
            }
        }
    }

    fn take_back(&mut self, id: u64) {
        let at = self.now();
        if let Some(job) = self.jobs.get_mut(&id) {
            let runner = job.offered.take();
            self.note(json!({"what": "requeued", "job": id, "runner": runner.map(|one| one.0),
                "at": at}));
        }
    }

    /// Jobs of runners whose listener the stand-in plays.
    fn play(&mut self) {
        let now = self.now();
        let played: Vec<u64> =
            self.runners.values().filter(|one| one.played).map(|one| one.id).collect();
        for id in played {
            let offered =
                self.jobs.values().find(|job| job.offered.is_some_and(|(to, _)| to == id));
            if let Some(job) = offered.map(|job| job.id) {
                self.begin(job, id);
            }
            let Some(at) = self.runners.get(&id).and_then(|one| one.job) else { continue };
            let Some(job) = self.jobs.get_mut(&at) else { continue };
            job.renewed = now;
            let over = now - job.started.unwrap_or(now) >= World::ms(job.order.seconds);
            let conclusion = job.order.conclusion.clone().unwrap_or_else(|| "success".to_owned());
            if job.cancel {
                self.complete(at, "cancelled");
            } else if over {
                self.complete(at, &conclusion);
            }
        }
    }

    /// Gives queued jobs to runners that poll; any that matches, whoever made it.
    fn give_out(&mut self) {
        let queued: Vec<u64> = self
            .jobs
            .values()
            .filter(|job| {
                job.status == JobStatus::Queued && job.offered.is_none() && !job.order.hosted
            })
            .map(|job| job.id)
            .collect();
        for id in queued {
            let Some(job) = self.jobs.get(&id) else { continue };
            let fit: Vec<u64> = self
                .runners
                .values()
                .filter(|runner| self.may_serve(runner, job))
                .map(|runner| runner.id)
                .collect();
            if fit.is_empty() {
                continue;
            }
            let chosen = self.random(fit.len() as u64);
            let now = self.now();
            let to = fit[usize::try_from(chosen).unwrap_or(0)];
            if let Some(job) = self.jobs.get_mut(&id) {
                job.offered = Some((to, now));
            }
        }
    }

    fn may_serve(&self, runner: &Runner, job: &Job) -> bool {
        let Some(run) = self.runs.get(&job.run) else { return false };
        let Some(repository) = self.repositories.get(&run.repository) else { return false };
        let polls = runner.played || runner.session.as_ref().is_some_and(|one| one.polls > 0);
        let free = runner.job.is_none() && (!runner.ephemeral || runner.jobs == 0);
        let offered = self
            .jobs
            .values()
            .any(|one| one.offered.is_some_and(|(to, _)| to == runner.id && one.id != job.id));
        let fits = job.order.labels.iter().all(|label| {
            runner.labels.iter().any(|(own, _)| own.eq_ignore_ascii_case(label.trim()))
        });
        let groups = self.groups(&runner.scope);
        let group = groups.iter().find(|group| group.id == runner.group);
        let open = group.is_some_and(|group| {
            let named =
                job.order.group.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(&group.name));
            let seen = group.repositories.as_ref().is_none_or(|ids| ids.contains(&run.repository));
            let repository_scope = matches!(runner.scope, Scope::Repository(_));
            named && seen && (repository.private || group.public || repository_scope)
        });
        let version = may_work(runner.version.as_deref(), self.settings.job_floor.as_deref());
        polls && free && !offered && fits && open && version && runner.scope.covers(repository)
    }

    /// A runner has the job now.
    pub fn begin(&mut self, job: u64, runner: u64) {
        let now = self.now();
        let Some(holder) = self.runners.get_mut(&runner) else { return };
        (holder.job, holder.jobs) = (Some(job), holder.jobs + 1);
        let name = holder.name.clone();
        let Some(job) = self.jobs.get_mut(&job) else { return };
        job.offered = None;
        job.status = JobStatus::InProgress;
        (job.started, job.renewed) = (Some(now), now);
        job.runner = Some((runner, name.clone()));
        job.began.push(name.clone());
        let (id, twice, shown) = (job.id, job.began.len() > 1, job_name(job));
        if twice {
            self.violation(format!("the job {shown} ({id}) was begun twice"));
        }
        self.note(json!({"what": "began", "job": id, "name": shown, "runner": name, "at": now}));
        self.tell_job(id, "in_progress");
    }

    /// A job is over; a runner for one job goes soon.
    pub fn complete(&mut self, id: u64, conclusion: &str) {
        let now = self.now();
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.status == JobStatus::Completed {
            return;
        }
        job.status = JobStatus::Completed;
        job.conclusion = Some(conclusion.to_owned());
        job.completed = Some(now);
        job.offered = None;
        let (runner, run) = (job.runner.as_ref().map(|one| one.0), job.run);
        if let Some(runner) = runner.and_then(|id| self.runners.get_mut(&id)) {
            runner.job = None;
            if runner.ephemeral {
                runner.finished = Some(now);
            }
        }
        self.note(json!({"what": "completed", "job": id, "conclusion": conclusion, "at": now}));
        self.tell_job(id, "completed");
        let over = self.runs.get(&run).is_some_and(|run| self.run_status(run).0 == "completed");
        if over {
            self.tell_run(run, "completed");
        }
    }
}
