//! What runners call: the services of Gitea's runner protocol, in the JSON form of its messages.
//! Numbers of 64 bits are texts there.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::world::{Runner, World, random};
use crate::{Ask, Reply};

fn refused(code: &str, message: &str) -> Reply {
    (401, json!({"code": code, "message": message}))
}

fn number(value: &Value) -> u64 {
    let text = value.as_str().and_then(|text| text.parse().ok());
    text.or_else(|| value.as_u64()).unwrap_or(0)
}

fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().cloned().unwrap_or_default();
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

impl World {
    pub fn runner_call(&mut self, ask: &Ask, service: &str, call: &str) -> Reply {
        match (ask.method.as_str(), service, call) {
            ("POST", "ping.v1.PingService", "Ping") => (200, json!({"data": "Hello"})),
            ("POST", "runner.v1.RunnerService", "Register") => self.register(&ask.body),
            ("POST", "runner.v1.RunnerService", call) => {
                let (uuid, secret) = (ask.header("x-runner-uuid"), ask.header("x-runner-token"));
                let own = |one: &&mut Runner| one.uuid == uuid && one.secret == secret;
                let Some(one) = self.runners.values_mut().find(own) else {
                    return refused("unauthenticated", "unregistered runner");
                };
                one.seen = Some(Instant::now());
                let id = one.id;
                match call {
                    "Declare" => (200, json!({"runner": Self::runner_message(&self.runners[&id])})),
                    "FetchTask" => self.fetch(id),
                    "UpdateTask" => self.update(id, &ask.body["state"]),
                    "UpdateLog" => self.write(id, &ask.body),
                    _ => self.unknown(ask),
                }
            }
            _ => self.unknown(ask),
        }
    }

    fn register(&mut self, body: &Value) -> Reply {
        let token = body["token"].as_str().unwrap_or_default();
        let Some(scope) = self.registrations.get(token).cloned() else {
            return refused("unauthenticated", "runner registration token not found");
        };
        let name = body["name"].as_str().unwrap_or_default().to_owned();
        let labels = texts(&body["labels"]);
        if name.is_empty() || labels.is_empty() {
            return (400, json!({"code": "invalid_argument", "message": "missing name or labels"}));
        }
        if labels.iter().any(|label| label.contains(':')) {
            self.violation(format!("{name}: labels with where their jobs run: {labels:?}"));
        }
        if !self.names.insert(name.clone()) {
            self.violation(format!("the name {name} is used twice"));
        }
        if body["ephemeral"] != true {
            self.violation(format!("{name} is not registered for one job"));
        }
        let id = self.number();
        let one = Runner {
            id,
            uuid: random(),
            secret: random(),
            name,
            labels,
            ephemeral: body["ephemeral"] == true,
            disabled: false,
            scope,
            job: None,
            seen: None,
        };
        let shown = Self::runner_message(&one);
        self.runners.insert(id, one);
        (200, json!({"runner": shown}))
    }

    fn runner_message(one: &Runner) -> Value {
        json!({
            "id": one.id.to_string(), "uuid": one.uuid, "token": one.secret, "name": one.name,
            "labels": one.labels, "ephemeral": one.ephemeral,
        })
    }

    fn fetch(&mut self, runner: u64) -> Reply {
        if let Some(job) = self.runners.get(&runner).and_then(|one| one.job) {
            self.violation(format!("runner {runner} asks for a job beside job {job}"));
        }
        let nothing = (200, json!({"tasksVersion": "1"}));
        let Some(id) = self.give(runner) else { return nothing };
        let Some(job) = self.jobs.get(&id) else { return nothing };
        let steps: Vec<Value> = job.steps.iter().map(|step| json!({"run": step})).collect();
        let workflow = json!({
            "name": "CI", "on": "push",
            "jobs": {&job.name: {"runs-on": job.labels, "steps": steps}},
        });
        let task = json!({
            "id": id.to_string(),
            "workflowPayload": STANDARD.encode(workflow.to_string()),
            "context": {"repository": job.repository, "run_id": job.run.to_string(),
                "job": job.name, "workflow": "CI", "event_name": "push"},
            "secrets": {}, "vars": {},
        });
        (200, json!({"task": task, "tasksVersion": "1"}))
    }

    fn update(&mut self, runner: u64, state: &Value) -> Reply {
        let id = number(&state["id"]);
        if self.runners.get(&runner).and_then(|one| one.job) != Some(id) {
            self.violation(format!("runner {runner} tells of job {id}, which is not its own"));
            return refused("invalid_argument", "invalid runner for task");
        }
        let conclusion = match state["result"].as_str() {
            Some("RESULT_SUCCESS") => Some("success"),
            Some("RESULT_FAILURE") => Some("failure"),
            Some("RESULT_CANCELLED") => Some("cancelled"),
            _ => None,
        };
        if let Some(conclusion) = conclusion {
            self.end(id, conclusion);
        }
        (200, json!({"state": {"id": id.to_string(), "result": state["result"]}}))
    }

    fn write(&mut self, runner: u64, body: &Value) -> Reply {
        let id = number(&body["taskId"]);
        let own = self.runners.get(&runner).and_then(|one| one.job) == Some(id);
        let rows = body["rows"].as_array().cloned().unwrap_or_default();
        if let Some(job) = self.jobs.get_mut(&id).filter(|_| own) {
            for row in &rows {
                job.log += row["content"].as_str().unwrap_or_default();
                job.log.push('\n');
            }
        }
        (200, json!({"ackIndex": (number(&body["index"]) + rows.len() as u64).to_string()}))
    }
}
