//! How runners, runs and jobs are shown, with the oddities that are seen in the field.

use serde_json::{Map, Value, json};

use crate::world::{Job, JobStatus, Repository, Run, Runner, World, older, stamp};

impl World {
    /// Whether the service sees a listener's session as alive.
    pub fn online(&self, runner: &Runner) -> bool {
        let lives = World::ms(self.settings.online_seconds);
        let seen = |session: &crate::world::Session| {
            session.polls > 0 || self.now() - session.seen < lives
        };
        runner.played || runner.session.as_ref().is_some_and(seen)
    }

    pub fn runner_json(&mut self, id: u64) -> Value {
        let flap = self.settings.flapping && self.random(2) == 0;
        let Some(runner) = self.runners.get(&id) else { return Value::Null };
        let online = self.online(runner) != flap;
        let status = match &runner.status {
            Some(status) => status.clone(),
            None if online => "online".to_owned(),
            None => "offline".to_owned(),
        };
        let busy = runner.busy.unwrap_or(runner.job.is_some() && !self.settings.busy_lies);
        let mut shown = json!({
            "id": runner.id, "name": runner.name, "os": runner.os, "status": status, "busy": busy,
            "labels": runner.labels.iter().map(label_json).collect::<Vec<_>>(),
            "runner_group_id": runner.group, "ephemeral": runner.ephemeral,
            "new_field_of_tomorrow": {"a": [1]},
        });
        if let (Some(version), Some(shown)) = (&runner.version, shown.as_object_mut()) {
            shown.insert("version".to_owned(), json!(version));
        }
        shown
    }

    pub fn job_json(&self, job: &Job) -> Value {
        let Some(run) = self.runs.get(&job.run) else { return Value::Null };
        let Some(repository) = self.repositories.get(&run.repository) else { return Value::Null };
        let api = format!("{}/repos/{}/actions", self.advertise, repository.full_name);
        let page = format!("{}/{}/actions/runs/{}", self.advertise, repository.full_name, run.id);
        // An unassigned job's runner is null or zero, as both are seen.
        let odd = job.id % 2 == 1;
        let (runner_id, runner_name) = match &job.runner {
            Some((id, name)) => (json!(id), json!(name)),
            None if odd => (json!(0), json!("")),
            None => (Value::Null, Value::Null),
        };
        let group = job.runner.as_ref().map(|_| 1);
        json!({
            "id": job.id, "run_id": run.id, "run_attempt": job.attempt,
            "run_url": format!("{api}/runs/{}", run.id), "node_id": "CR_x",
            "head_sha": sha(run), "head_branch": run.branch,
            "url": format!("{api}/jobs/{}", job.id),
            "html_url": format!("{page}/job/{}", job.id),
            "status": job.status, "conclusion": job.conclusion,
            "created_at": stamp(job.created, odd),
            // Filled for queued jobs, too.
            "started_at": stamp(job.started.unwrap_or(job.created), odd),
            "completed_at": job.completed.map(|at| stamp(at, odd)),
            "name": job_name(job), "steps": [], "labels": job.order.labels,
            "check_run_url": format!("{}/repos/{}/check-runs/{}",
                self.advertise, repository.full_name, job.id),
            "runner_id": runner_id, "runner_name": runner_name,
            "runner_group_id": group, "runner_group_name": group.map(|_| "Default"),
            "workflow_name": run.workflow, "new_field_of_tomorrow": null,
        })
    }

    pub fn run_json(&self, run: &Run) -> Value {
        let Some(repository) = self.repositories.get(&run.repository) else { return Value::Null };
        let api =
            format!("{}/repos/{}/actions/runs/{}", self.advertise, repository.full_name, run.id);
        let (status, conclusion) = self.run_status(run);
        let actor = json!({"id": 1, "login": "octocat", "type": "User"});
        json!({
            "id": run.id, "name": run.workflow, "node_id": "WFR_x", "head_branch": run.branch,
            "head_sha": sha(run), "path": ".github/workflows/ci.yml", "run_number": 1,
            "run_attempt": run.attempt, "event": run.event, "status": status,
            "conclusion": conclusion, "workflow_id": 1, "check_suite_id": 1, "pull_requests": [],
            "created_at": stamp(run.created, false), "updated_at": stamp(self.now(), false),
            "run_started_at": stamp(run.created, false), "actor": actor,
            "triggering_actor": actor, "display_title": run.workflow,
            "repository": repository_json(repository), "head_repository": self.head_json(run),
            "url": api, "html_url": format!("{}/{}/actions/runs/{}",
                self.advertise, repository.full_name, run.id),
            "jobs_url": format!("{api}/jobs"), "cancel_url": format!("{api}/cancel"),
            "referenced_workflows": [],
        })
    }

    /// The head's repository; null where a fork was deleted.
    pub fn head_json(&self, run: &Run) -> Value {
        match run.head {
            None => Value::Null,
            Some(id) => match self.repositories.get(&id) {
                Some(own) => repository_json(own),
                None => json!({"id": id, "name": "site", "full_name": "stranger/site",
                    "fork": true, "private": false}),
            },
        }
    }

    pub fn jobs_of(&self, run: u64) -> Vec<&Job> {
        self.jobs.values().filter(|job| job.run == run).collect()
    }

    pub fn run_status(&self, run: &Run) -> (&'static str, Option<&'static str>) {
        if run.approval {
            return ("completed", Some("action_required"));
        }
        let jobs: Vec<&Job> =
            self.jobs_of(run.id).into_iter().filter(|job| job.attempt == run.attempt).collect();
        let any = |status| jobs.iter().any(|job| job.status == status);
        let ended = |how: &str| jobs.iter().any(|job| job.conclusion.as_deref() == Some(how));
        if jobs.iter().all(|job| job.status == JobStatus::Completed) {
            let how = if ended("failure") || ended("timed_out") {
                "failure"
            } else if run.cancelled || ended("cancelled") {
                "cancelled"
            } else {
                "success"
            };
            return ("completed", Some(how));
        }
        match () {
            () if any(JobStatus::InProgress) || any(JobStatus::Completed) => ("in_progress", None),
            () if any(JobStatus::Queued) => ("queued", None),
            () if any(JobStatus::Waiting) => ("waiting", None),
            () => ("pending", None),
        }
    }
}

pub fn job_name(job: &Job) -> String {
    job.order.name.clone().unwrap_or_else(|| "build".to_owned())
}

fn sha(run: &Run) -> String {
    format!("{:040x}", run.id)
}

fn label_json((name, system): &(String, bool)) -> Value {
    let name = if *system { name.to_ascii_lowercase() } else { name.clone() };
    match system {
        true => json!({"id": 1, "name": name, "type": "read-only"}),
        false => json!({"id": 2, "name": name, "type": "custom"}),
    }
}

pub fn repository_json(repository: &Repository) -> Value {
    let (owner, name) = repository.full_name.split_once('/').unwrap_or_default();
    json!({
        "id": repository.id, "name": name, "full_name": repository.full_name,
        "private": repository.private, "fork": false, "default_branch": "main",
        "visibility": if repository.private { "private" } else { "public" },
        "pushed_at": stamp(repository.pushed, false), "archived": false, "disabled": false,
        "owner": {"login": owner, "id": 1},
        "permissions": {"admin": true, "push": true, "pull": true},
    })
}

/// Labels that the service treats as its own.
pub fn is_system(label: &str) -> bool {
    ["self-hosted", "linux", "x64", "arm64"].iter().any(|one| label.eq_ignore_ascii_case(one))
}

/// Whether a runner of this version is given jobs.
pub fn may_work(version: Option<&str>, floor: Option<&str>) -> bool {
    match (version, floor) {
        (Some(version), Some(floor)) => !older(version, floor),
        _ => true,
    }
}

/// A page of a list, with links as GitHub gives them.
pub struct Page {
    pub items: Vec<Value>,
    pub links: Option<String>,
}

pub fn page(all: Vec<Value>, query: &Map<String, Value>, url: &str) -> Page {
    let number = |name: &str| {
        query.get(name).and_then(Value::as_str).and_then(|text| text.parse::<usize>().ok())
    };
    let size = number("per_page").unwrap_or(30).clamp(1, 100);
    let at = number("page").unwrap_or(1).max(1);
    let last = all.len().div_ceil(size).max(1);
    let others: String = query
        .iter()
        .filter(|(name, _)| *name != "page")
        .map(|(name, value)| format!("{name}={}&", value.as_str().unwrap_or_default()))
        .collect();
    let link = |page: usize, rel: &str| format!("<{url}?{others}page={page}>; rel=\"{rel}\"");
    let mut links = Vec::new();
    if at > 1 {
        links.extend([link(at - 1, "prev"), link(1, "first")]);
    }
    if at < last {
        links.extend([link(at + 1, "next"), link(last, "last")]);
    }
    let items = all.into_iter().skip((at - 1) * size).take(size).collect();
    Page { items, links: (!links.is_empty()).then(|| links.join(", ")) }
}
