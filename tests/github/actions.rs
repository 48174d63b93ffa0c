//! Runs and jobs, as the published API has them.

use serde_json::{Value, json};

use crate::json::page;
use crate::reply::Reply;
use crate::rest::Ask;
use crate::world::{Job, JobOrder, JobStatus, Run, World};

/// A filtered list never shows more.
const FILTERED_MAX: usize = 1000;

impl World {
    pub fn actions_call(&mut self, ask: &Ask, full: &str, rest: &[&str]) -> Result<Reply, Reply> {
        match (ask.method.as_str(), rest) {
            ("GET", ["runs"]) => Ok(self.list_runs(ask, full)),
            ("GET", ["jobs", id]) => {
                let id: u64 = id.parse().map_err(|_| Reply::not_found())?;
                let job = self.jobs.get(&id).filter(|job| self.is_in(job.run, full));
                job.map(|job| Reply::json(200, self.job_json(job))).ok_or_else(Reply::not_found)
            }
            ("GET", ["workflows"]) => Ok(self.list_workflows(full)),
            ("POST", ["workflows", file, "dispatches"]) => self.dispatch(ask, full, file),
            (_, ["runs", id, rest @ ..]) => {
                let id: u64 = id.parse().map_err(|_| Reply::not_found())?;
                if !self.is_in(id, full) {
                    return Err(Reply::not_found());
                }
                self.run_call(ask, id, rest)
            }
            _ => Err(self.unknown(ask)),
        }
    }

    fn is_in(&self, run: u64, full: &str) -> bool {
        let at = self.runs.get(&run).map(|run| run.repository);
        at.is_some() && at == self.repository(full).map(|one| one.id)
    }

    fn run_call(&mut self, ask: &Ask, id: u64, rest: &[&str]) -> Result<Reply, Reply> {
        let Some(run) = self.runs.get(&id).cloned() else { return Err(Reply::not_found()) };
        match (ask.method.as_str(), rest) {
            ("GET", []) => Ok(Reply::json(200, self.run_json(&run))),
            ("GET", ["jobs"]) => {
                let latest = ask.word("filter") != Some("all");
                let jobs: Vec<Value> = self
                    .jobs_of(id)
                    .into_iter()
                    .filter(|job| !run.approval && (!latest || job.attempt == run.attempt))
                    .map(|job| self.job_json(job))
                    .collect();
                let total = jobs.len();
                let page = page(jobs, &ask.query, &ask.here());
                Ok(Reply::list(json!({"total_count": total, "jobs": page.items}), page.links))
            }
            ("POST", ["cancel" | "force-cancel"]) => {
                if self.run_status(&run).0 == "completed" {
                    return Err(Reply::error(
                        409,
                        "Cannot cancel a workflow run that is completed",
                    ));
                }
                self.violation(format!("the client cancelled the run {id}"));
                self.cancel_run(id);
                Ok(Reply::json(202, json!({})))
            }
            ("POST", ["rerun" | "rerun-failed-jobs"]) => {
                self.rerun(id, rest == ["rerun-failed-jobs"]);
                Ok(Reply::json(201, json!({})))
            }
            ("POST", ["approve"]) => {
                self.violation(format!("the client approved the run {id}"));
                self.approve(id);
                Ok(Reply::json(201, json!({})))
            }
            _ => Err(self.unknown(ask)),
        }
    }

    fn list_runs(&mut self, ask: &Ask, full: &str) -> Reply {
        const FILTERS: [&str; 8] = [
            "status",
            "event",
            "branch",
            "actor",
            "created",
            "head_sha",
            "check_suite_id",
            "exclude_pull_requests",
        ];
        let filtered = FILTERS.iter().any(|name| ask.query.contains_key(*name));
        let at = self.repository(full).map(|one| one.id);
        let status = ask.word("status");
        let mut runs: Vec<&Run> = self
            .runs
            .values()
            .filter(|run| Some(run.repository) == at)
            .filter(|run| {
                let (now, conclusion) = self.run_status(run);
                status.is_none_or(|wanted| now == wanted || conclusion == Some(wanted))
            })
            .filter(|run| ask.word("event").is_none_or(|event| run.event == event))
            .filter(|run| ask.word("branch").is_none_or(|branch| run.branch == branch))
            .filter(|run| created(ask.word("created"), run.created))
            .collect();
        runs.sort_by_key(|run| std::cmp::Reverse((run.created, run.id)));
        let total = runs.len();
        let most = if filtered { FILTERED_MAX } else { usize::MAX };
        let shown = runs.into_iter().take(most).map(|run| self.run_json(run)).collect();
        let page = page(shown, &ask.query, &ask.here());
        Reply::list(json!({"total_count": total, "workflow_runs": page.items}), page.links)
    }

    fn list_workflows(&self, full: &str) -> Reply {
        let own = self.repository(full).map(|one| one.workflows.clone()).unwrap_or_default();
        let shown = |one: &crate::world::Workflow| {
            json!({"id": 1, "name": one.name, "path": format!(".github/workflows/{}", one.file),
                "state": "active"})
        };
        let all: Vec<Value> = own.iter().map(shown).collect();
        Reply::json(200, json!({"total_count": all.len(), "workflows": all}))
    }

    fn dispatch(&mut self, ask: &Ask, full: &str, file: &str) -> Result<Reply, Reply> {
        let body = ask.json()?;
        let Some(repository) = self.repository(full).cloned() else {
            return Err(Reply::not_found());
        };
        let found = repository.workflows.iter().find(|one| one.file == file);
        let workflow = found.ok_or_else(Reply::not_found)?;
        let Some(branch) = body["ref"].as_str() else {
            return Err(Reply::error(422, "Invalid request.\n\n\"ref\" wasn't supplied."));
        };
        let inputs = body["inputs"].as_object().cloned().unwrap_or_default();
        if let Some(name) = inputs.keys().find(|name| !workflow.inputs.contains(name)) {
            let words = format!("Unexpected inputs provided: [\"{name}\"]");
            return Err(Reply::error(422, &words));
        }
        if inputs.len() > 25 || branch.is_empty() {
            return Err(Reply::error(422, "Invalid request."));
        }
        let run = Run {
            id: self.number(),
            repository: repository.id,
            workflow: workflow.name.clone(),
            event: "workflow_dispatch".to_owned(),
            branch: branch.to_owned(),
            attempt: 1,
            created: self.now(),
            head: Some(repository.id),
            approval: false,
            cancelled: false,
            inputs: Value::Object(inputs),
            orders: workflow.jobs.clone(),
        };
        let (id, page) = (run.id, format!("{}/{full}/actions/runs", self.advertise));
        self.begin_run(run);
        let modern = ask.header("x-github-api-version") == Some("2026-03-10")
            || body["return_run_details"] == true;
        if self.settings.old_dispatch || !modern {
            return Ok(Reply::empty(204));
        }
        let url = format!("{}/repos/{full}/actions/runs/{id}", self.advertise);
        Ok(Reply::json(
            200,
            json!({
                "workflow_run_id": id, "run_url": url, "html_url": format!("{page}/{id}"),
            }),
        ))
    }

    /// A run begins: its jobs are queued, unless it waits for an approval.
    pub fn begin_run(&mut self, run: Run) -> Vec<u64> {
        let (id, orders, approval) = (run.id, run.orders.clone(), run.approval);
        self.runs.insert(id, run);
        self.tell_run(id, "requested");
        match approval {
            true => Vec::new(),
            false => orders.into_iter().map(|order| self.queue(id, order)).collect(),
        }
    }

    /// Adds a job to a run.
    pub fn queue(&mut self, run: u64, order: JobOrder) -> u64 {
        let (id, now) = (self.number(), self.now());
        let attempt = self.runs.get(&run).map_or(1, |run| run.attempt);
        let status = order.held.unwrap_or(JobStatus::Queued);
        let job = Job {
            id,
            run,
            attempt,
            order,
            status,
            conclusion: None,
            created: now,
            offered: None,
            runner: None,
            started: None,
            completed: None,
            renewed: now,
            cancel: false,
            began: Vec::new(),
            first_step: None,
            log: String::new(),
        };
        self.jobs.insert(id, job);
        if matches!(status, JobStatus::Queued | JobStatus::Waiting) {
            self.tell_job(id, status.word());
        }
        id
    }

    pub fn approve(&mut self, id: u64) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.approval = false;
        for order in run.orders.clone() {
            self.queue(id, order);
        }
    }

    /// Jobs that run are told to stop; those that wait are over.
    pub fn cancel_run(&mut self, id: u64) {
        if let Some(run) = self.runs.get_mut(&id) {
            run.cancelled = true;
        }
        let jobs: Vec<u64> = self.jobs_of(id).iter().map(|job| job.id).collect();
        for id in jobs {
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            match job.status {
                JobStatus::Completed => {}
                JobStatus::InProgress => job.cancel = true,
                JobStatus::Waiting | JobStatus::Pending | JobStatus::Queued => {
                    self.complete(id, "cancelled");
                }
            }
        }
    }

    /// New ids for what runs again; the kept jobs of a partial rerun are told as completed anew.
    pub fn rerun(&mut self, id: u64, failed: bool) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let before = run.attempt;
        run.attempt += 1;
        run.cancelled = false;
        let old: Vec<Job> =
            self.jobs_of(id).into_iter().filter(|job| job.attempt == before).cloned().collect();
        for job in old {
            let kept = failed && job.conclusion.as_deref() == Some("success");
            let new = self.queue_silently(id, &job);
            if kept {
                if let Some(again) = self.jobs.get_mut(&new) {
                    again.status = JobStatus::Completed;
                    again.conclusion.clone_from(&job.conclusion);
                    again.completed = job.completed;
                    again.runner.clone_from(&job.runner);
                }
                self.tell_job(new, "completed");
            } else {
                self.tell_job(new, "queued");
            }
        }
    }

    fn queue_silently(&mut self, run: u64, old: &Job) -> u64 {
        let told = self.outbox.len();
        let id = self.queue(run, old.order.clone());
        self.outbox.truncate(told);
        id
    }
}

/// `>=2026-10-01T12:00:00Z` and the like; other forms match all.
fn created(wanted: Option<&str>, at: i64) -> bool {
    let Some(from) = wanted.and_then(|text| text.strip_prefix(">=")) else { return true };
    let from = from.replace("%3A", ":");
    let parsed: Result<jiff::Timestamp, _> = from.parse();
    parsed.is_ok_and(|from| at >= from.as_millisecond())
}
