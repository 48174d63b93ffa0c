//! What there is at this Gitea.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};

/// A runner that was not heard of for this long is offline, as Gitea has it.
const OFFLINE: Duration = Duration::from_secs(60);

/// Where runners register, and what of it a repository is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Instance,
    Organization(String),
    Repository(String),
}

impl Scope {
    fn covers(&self, repository: &str) -> bool {
        match self {
            Self::Instance => true,
            Self::Organization(name) => repository.split('/').next() == Some(name),
            Self::Repository(name) => repository == name,
        }
    }
}

pub struct Runner {
    pub id: u64,
    pub uuid: String,
    /// What it proves itself by.
    pub secret: String,
    pub name: String,
    pub labels: Vec<String>,
    pub ephemeral: bool,
    pub disabled: bool,
    pub scope: Scope,
    /// The job that it has.
    pub job: Option<u64>,
    pub seen: Option<Instant>,
}

pub struct Job {
    pub id: u64,
    pub run: u64,
    pub repository: String,
    pub name: String,
    pub labels: Vec<String>,
    pub steps: Vec<String>,
    /// `queued`, `in_progress` or `completed`.
    pub status: &'static str,
    pub conclusion: Option<&'static str>,
    pub runner: Option<(u64, String)>,
    /// Names of the runners that began it.
    pub began: Vec<String>,
    pub log: String,
}

pub struct Run {
    pub id: u64,
    pub repository: String,
    pub event: String,
    pub workflow: String,
    pub inputs: Value,
}

pub struct World {
    /// An access token that may do all.
    pub token: String,
    pub registrations: BTreeMap<String, Scope>,
    pub runners: BTreeMap<u64, Runner>,
    pub jobs: BTreeMap<u64, Job>,
    pub runs: BTreeMap<u64, Run>,
    pub names: BTreeSet<String>,
    pub violations: Vec<String>,
    /// Each call of the API with its status.
    pub asked: Vec<String>,
    last: u64,
}

impl World {
    pub fn new() -> Self {
        Self {
            token: random(),
            registrations: BTreeMap::new(),
            runners: BTreeMap::new(),
            jobs: BTreeMap::new(),
            runs: BTreeMap::new(),
            names: BTreeSet::new(),
            violations: Vec::new(),
            asked: Vec::new(),
            last: 0,
        }
    }

    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub fn violation(&mut self, what: String) {
        self.violations.push(what);
    }

    /// The token of a scope: the same until it is reset, and good for any number of runners.
    pub fn registration(&mut self, scope: &Scope) -> String {
        let known = self.registrations.iter().find(|(_, of)| *of == scope);
        if let Some((token, _)) = known {
            return token.clone();
        }
        let token = random();
        self.registrations.insert(token.clone(), scope.clone());
        token
    }

    pub fn add_run(&mut self, run: Run, jobs: Vec<(String, Vec<String>, Vec<String>)>) -> Vec<u64> {
        let (number, repository) = (run.id, run.repository.clone());
        self.runs.insert(number, run);
        jobs.into_iter()
            .map(|(name, labels, steps)| {
                let id = self.number();
                let job = Job {
                    id,
                    run: number,
                    repository: repository.clone(),
                    name,
                    labels,
                    steps,
                    status: "queued",
                    conclusion: None,
                    runner: None,
                    began: Vec::new(),
                    log: String::new(),
                };
                self.jobs.insert(id, job);
                id
            })
            .collect()
    }

    /// Gives a runner the first job that it may have.
    pub fn give(&mut self, runner: u64) -> Option<u64> {
        let one = self.runners.get(&runner).filter(|one| !one.disabled)?;
        // Here capital and small letters are not the same.
        let fits = |job: &&Job| {
            job.status == "queued"
                && one.scope.covers(&job.repository)
                && job.labels.iter().all(|label| one.labels.contains(label))
        };
        let id = self.jobs.values().find(fits)?.id;
        let name = one.name.clone();
        let job = self.jobs.get_mut(&id)?;
        job.status = "in_progress";
        job.runner = Some((runner, name.clone()));
        job.began.push(name);
        let twice = job.began.len() > 1;
        if twice {
            self.violation(format!("job {id} began twice"));
        }
        self.runners.get_mut(&runner)?.job = Some(id);
        Some(id)
    }

    /// A job is over; a runner that registered for one goes with it.
    pub fn end(&mut self, id: u64, conclusion: &'static str) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.status = "completed";
        job.conclusion = Some(conclusion);
        let Some((runner, _)) = job.runner.clone() else { return };
        if let Some(one) = self.runners.get_mut(&runner) {
            one.job = None;
            if one.ephemeral {
                self.runners.remove(&runner);
            }
        }
    }

    pub fn runner_json(one: &Runner) -> Value {
        let online = one.seen.is_some_and(|seen| seen.elapsed() < OFFLINE);
        let label = |name: &String| json!({"id": 0, "name": name, "type": "custom"});
        json!({
            "id": one.id, "name": one.name, "status": if online { "online" } else { "offline" },
            "busy": one.job.is_some(), "disabled": one.disabled, "ephemeral": one.ephemeral,
            "labels": one.labels.iter().map(label).collect::<Vec<_>>(),
        })
    }

    pub fn job_json(&self, job: &Job) -> Value {
        let base = format!("http://gitea/api/v1/repos/{}/actions", job.repository);
        let (runner, name) = job.runner.clone().unwrap_or_default();
        let workflow = self.runs.get(&job.run).map(|run| run.workflow.clone());
        json!({
            "id": job.id, "url": format!("{base}/jobs/{}", job.id), "run_id": job.run,
            "run_url": format!("{base}/runs/{}", job.run), "name": job.name, "labels": job.labels,
            "run_attempt": 1, "status": job.status, "conclusion": job.conclusion,
            "runner_id": runner, "runner_name": name, "steps": [], "workflow_name": workflow,
            "created_at": "2026-11-21T18:00:00Z",
        })
    }

    pub fn run_json(&self, run: &Run) -> Value {
        let own: Vec<&Job> = self.jobs.values().filter(|job| job.run == run.id).collect();
        let all = |status: &str| own.iter().all(|job| job.status == status);
        let status = match (all("completed"), all("queued")) {
            (true, _) => "completed",
            (false, true) => "queued",
            (false, false) => "in_progress",
        };
        let good = own.iter().all(|job| job.conclusion == Some("success"));
        let conclusion = if good { "success" } else { "failure" };
        json!({
            "id": run.id, "event": run.event, "path": format!("{}@refs/heads/main", run.workflow),
            "status": status, "conclusion": (status == "completed").then_some(conclusion),
            "head_repository": null, "inputs": run.inputs,
        })
    }
}

/// Forty hexadecimal digits, as Gitea's tokens are.
pub fn random() -> String {
    let mut bytes = [0; 20];
    SystemRandom::new().fill(&mut bytes).expect("randomness");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
