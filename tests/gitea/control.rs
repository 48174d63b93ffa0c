//! The tests' own side: what is queued here, and what was seen.

use serde_json::{Value, json};

use crate::world::{Run, World};
use crate::{Ask, Reply};

impl World {
    pub fn control(&mut self, ask: &Ask, parts: &[&str]) -> Reply {
        match (ask.method.as_str(), parts) {
            ("GET", ["violations"]) => (200, json!(self.violations)),
            ("GET", ["requests"]) => (200, json!(self.asked)),
            ("GET", ["runners"]) => {
                let all: Vec<Value> = self.runners.values().map(Self::runner_json).collect();
                (200, json!(all))
            }
            ("GET", ["jobs"]) => {
                let all: Vec<Value> = self.jobs.keys().map(|id| self.told(*id)).collect();
                (200, json!(all))
            }
            ("GET", ["jobs", id]) => (200, self.told(id.parse().unwrap_or(0))),
            ("POST", ["runs"]) => self.queue(&ask.body),
            _ => (400, json!({"error": format!("there is no {parts:?}")})),
        }
    }

    fn told(&self, id: u64) -> Value {
        let Some(job) = self.jobs.get(&id) else { return Value::Null };
        let mut shown = self.job_json(job);
        if let Some(map) = shown.as_object_mut() {
            map.insert("began".to_owned(), json!(job.began));
            map.insert("log".to_owned(), json!(job.log));
        }
        shown
    }

    fn queue(&mut self, body: &Value) -> Reply {
        let text = |key: &str, otherwise: &str| body[key].as_str().unwrap_or(otherwise).to_owned();
        let run = Run {
            id: self.number(),
            repository: text("repository", "me/site"),
            event: text("event", "push"),
            workflow: text("workflow", "ci.yml"),
            inputs: Value::Null,
        };
        let number = run.id;
        let list = |value: &Value| -> Vec<String> {
            let list = value.as_array().cloned().unwrap_or_default();
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let jobs = body["jobs"].as_array().cloned().unwrap_or_default();
        let jobs = jobs.iter().map(|job| {
            let name = job["name"].as_str().unwrap_or("build").to_owned();
            (name, list(&job["labels"]), list(&job["steps"]))
        });
        let ids = self.add_run(run, jobs.collect());
        (200, json!({"run": number, "jobs": ids}))
    }
}
