//! The published API: `/api/v1`.

use serde_json::{Value, json};

use crate::world::{Run, Runner, Scope, World};
use crate::{Ask, Reply};

/// Gitea gives no more entries at once unless it is told to.
const PAGE_MAX: usize = 50;

pub fn error(status: u16, message: &str) -> Reply {
    (status, json!({"message": message, "url": "http://gitea/api/swagger"}))
}

impl World {
    pub fn rest(&mut self, ask: &Ask, parts: &[&str]) -> Reply {
        if ask.header("authorization") != format!("token {}", self.token) {
            return error(401, "token is required");
        }
        if !ask.body.is_null() && !ask.header("content-type").starts_with("application/json") {
            self.violation(format!("{}: a body without its type", ask.what()));
        }
        match parts {
            ["admin", "actions", rest @ ..] => self.actions(ask, &Scope::Instance, rest),
            ["orgs", name, "actions", rest @ ..] => {
                self.actions(ask, &Scope::Organization((*name).to_owned()), rest)
            }
            ["repos", owner, name, "actions", rest @ ..] => {
                let full = format!("{owner}/{name}");
                match rest {
                    ["runs", id] if ask.method == "GET" => self.run(id),
                    ["workflows", file, "dispatches"] if ask.method == "POST" => {
                        self.dispatch(ask, &full, file)
                    }
                    _ => self.actions(ask, &Scope::Repository(full), rest),
                }
            }
            _ => self.unknown(ask),
        }
    }

    fn actions(&mut self, ask: &Ask, scope: &Scope, parts: &[&str]) -> Reply {
        match (ask.method.as_str(), parts) {
            ("POST", ["runners", "registration-token"]) => {
                (200, json!({"token": self.registration(scope)}))
            }
            ("GET", ["runners"]) => {
                let own = self.runners.values().filter(|one| one.scope == *scope);
                let all = own.map(Self::runner_json).collect();
                self.page(ask, all, "runners")
            }
            ("GET", ["jobs"]) => {
                let wanted = ask.word("status").unwrap_or_default();
                let of_scope = |repository: &str| match scope {
                    Scope::Instance => true,
                    Scope::Organization(name) => repository.split('/').next() == Some(name),
                    Scope::Repository(name) => repository == name,
                };
                let fits = |job: &&crate::world::Job| {
                    of_scope(&job.repository) && (wanted.is_empty() || job.status == wanted)
                };
                let all = self.jobs.values().filter(fits).map(|job| self.job_json(job)).collect();
                self.page(ask, all, "jobs")
            }
            (method, ["runners", id]) => {
                let id: u64 = id.parse().unwrap_or(0);
                let here = self.runners.get(&id).is_some_and(|one| one.scope == *scope);
                match (method, here) {
                    ("GET" | "PATCH" | "DELETE", false) => error(404, "runner does not exist"),
                    ("GET", true) => (200, self.shown(id)),
                    ("PATCH", true) => self.change(ask, id),
                    ("DELETE", true) => self.remove(id),
                    _ => self.unknown(ask),
                }
            }
            _ => self.unknown(ask),
        }
    }

    fn page(&mut self, ask: &Ask, all: Vec<Value>, key: &str) -> Reply {
        let number = |name: &str, otherwise: usize| {
            ask.word(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
        };
        let (page, limit) = (number("page", 1), number("limit", 30));
        if page == 0 || limit == 0 || limit > PAGE_MAX {
            self.violation(format!("{}: page {page} of {limit}", ask.what()));
        }
        let limit = limit.clamp(1, PAGE_MAX);
        let count = all.len();
        let shown: Vec<Value> =
            all.into_iter().skip((page.max(1) - 1) * limit).take(limit).collect();
        (200, json!({"total_count": count, key: shown}))
    }

    fn shown(&self, id: u64) -> Value {
        self.runners.get(&id).map(Self::runner_json).unwrap_or_default()
    }

    fn change(&mut self, ask: &Ask, id: u64) -> Reply {
        let Some(disabled) = ask.body["disabled"].as_bool() else {
            return error(422, "nothing to change");
        };
        if let Some(one) = self.runners.get_mut(&id) {
            one.disabled = disabled;
        }
        (200, self.shown(id))
    }

    /// Gitea removes a runner even while it has a job, and the job is lost with it.
    fn remove(&mut self, id: u64) -> Reply {
        if let Some(Runner { name, job: Some(job), .. }) = self.runners.remove(&id) {
            self.violation(format!("{name} was removed with a job"));
            self.end(job, "failure");
        }
        (204, Value::Null)
    }

    fn run(&mut self, id: &str) -> Reply {
        let run = id.parse().ok().and_then(|id: u64| self.runs.get(&id));
        run.map_or_else(|| error(404, "run does not exist"), |run| (200, self.run_json(run)))
    }

    /// Every workflow here has one job, which shows its inputs.
    fn dispatch(&mut self, ask: &Ask, repository: &str, file: &str) -> Reply {
        if ask.body["ref"].as_str().is_none_or(str::is_empty) {
            return error(422, "ref is required");
        }
        let id = self.number();
        let inputs = ask.body["inputs"].clone();
        let event = "workflow_dispatch".to_owned();
        let (repository, workflow) = (repository.to_owned(), file.to_owned());
        let run = Run { id, repository, event, workflow, inputs: inputs.clone() };
        let step = format!("echo '{inputs}'");
        let labels = vec!["self-hosted".to_owned()];
        self.add_run(run, vec![("dispatched".to_owned(), labels, vec![step])]);
        (204, Value::Null)
    }
}
