//! What GitHub sends, read with tolerance: unknown fields and words never fail, and one bad entry
//! does not spoil a list.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};
use serde_json::Value;

use crate::fleet::forge::{ForgeJobFact, ForgeJobStatus, ForgeRunnerFact};
use crate::forge::words::one_line;
use crate::ids::{ForgeJobId, ForgeRunId, ForgeRunnerId};
use crate::units::Time;

/// Longest name or label that is taken over.
const NAME_MAX: usize = 256;
/// Most labels of a job that are taken over; GitHub takes a hundred for a runner.
const LABELS_MAX: usize = 100;

/// A runner.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::forge) struct Runner {
    #[serde(deserialize_with = "number")]
    pub(super) id: u64,
    #[serde(deserialize_with = "text")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "text")]
    status: String,
    #[serde(default)]
    busy: Option<bool>,
    #[serde(default)]
    version: Option<String>,
}

impl Runner {
    pub(in crate::forge) fn fact(self) -> ForgeRunnerFact {
        let online = match self.status.to_ascii_lowercase().as_str() {
            "online" => Some(true),
            "offline" => Some(false),
            _ => None,
        };
        ForgeRunnerFact {
            id: ForgeRunnerId(self.id),
            name: self.name,
            online,
            busy: self.busy.unwrap_or(false),
            version: self.version.filter(|version| !version.is_empty()),
        }
    }
}

/// A registration for one job.
#[derive(Deserialize)]
pub(super) struct JitConfig {
    pub(super) runner: Runner,
    pub(super) encoded_jit_config: String,
}

/// A runner group.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Group {
    #[serde(deserialize_with = "number")]
    pub(super) id: u64,
    pub(super) name: String,
    #[serde(default)]
    pub(super) default: bool,
    #[serde(default)]
    pub(super) visibility: Option<String>,
    #[serde(default)]
    pub(super) allows_public_repositories: Option<bool>,
    #[serde(default)]
    pub(super) restricted_to_workflows: bool,
}

/// A repository.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Repository {
    #[serde(default, deserialize_with = "maybe_number")]
    pub(super) id: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    pub(super) full_name: String,
    #[serde(default)]
    pub(super) default_branch: Option<String>,
    #[serde(default)]
    pub(super) archived: bool,
    #[serde(default)]
    pub(super) disabled: bool,
    #[serde(default)]
    pub(super) private: Option<bool>,
    #[serde(default)]
    pub(super) visibility: Option<String>,
}

/// A run of a workflow.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Run {
    #[serde(deserialize_with = "number")]
    pub(super) id: u64,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    pub(super) event: String,
    #[serde(default)]
    pub(super) repository: Option<Repository>,
    #[serde(default)]
    pub(super) head_repository: Option<Repository>,
    #[serde(default)]
    pub(super) html_url: Option<String>,
    /// The workflow's file in the repository.
    #[serde(default)]
    pub(super) path: Option<String>,
    #[serde(default, deserialize_with = "maybe_number")]
    pub(super) workflow_id: Option<u64>,
}

impl Run {
    /// Whether it runs code of another repository than its own. The ids are compared, since names
    /// change; a repository that is gone was a fork. `pull_request_target` runs with the secrets of
    /// the base for the sake of strangers, so it counts as one.
    pub(super) fn is_fork(&self) -> Option<bool> {
        if self.event == "pull_request_target" {
            return Some(true);
        }
        let base = self.repository.as_ref()?.id?;
        Some(self.head_repository.as_ref().and_then(|head| head.id) != Some(base))
    }
}

/// A job, from a list or a webhook.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::forge) struct Job {
    #[serde(deserialize_with = "number")]
    id: u64,
    #[serde(deserialize_with = "number")]
    run_id: u64,
    #[serde(default, deserialize_with = "maybe_number")]
    run_attempt: Option<u64>,
    #[serde(default, deserialize_with = "text")]
    name: String,
    #[serde(default)]
    workflow_name: Option<String>,
    #[serde(default, deserialize_with = "text")]
    status: String,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default)]
    labels: Option<Vec<Value>>,
    #[serde(default)]
    runner_name: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    html_url: Option<String>,
}

impl Job {
    /// What the fleet makes of it; `now` stands for a time that is missing.
    pub(in crate::forge) fn fact(
        self,
        repository: &str,
        fork: Option<bool>,
        now: Time,
    ) -> ForgeJobFact {
        let labels = self.labels.unwrap_or_default();
        let labels = labels.iter().filter_map(Value::as_str).take(LABELS_MAX).map(short);
        ForgeJobFact {
            id: ForgeJobId(self.id),
            run: ForgeRunId(self.run_id),
            attempt: self.run_attempt.and_then(|n| u32::try_from(n).ok()).unwrap_or(1).max(1),
            repository: short(repository),
            workflow: self.workflow_name.as_deref().map(short),
            name: short(&self.name),
            labels: labels.collect(),
            status: status(&self.status, self.conclusion),
            runner: self.runner_name.as_deref().map(short).filter(|name| !name.is_empty()),
            created: self.created_at.as_deref().and_then(time).unwrap_or(now),
            fork,
            url: self.html_url.filter(|url| url.starts_with("http") && url.len() <= NAME_MAX * 2),
        }
    }
}

/// A word that nobody knows needs no runner yet: the next list tells more.
fn status(word: &str, conclusion: Option<String>) -> ForgeJobStatus {
    match word {
        "queued" => ForgeJobStatus::Queued,
        "in_progress" => ForgeJobStatus::Running,
        "completed" => {
            ForgeJobStatus::Completed(short(&conclusion.unwrap_or_else(|| "unknown".to_owned())))
        }
        _ => ForgeJobStatus::Held,
    }
}

fn short(text: &str) -> String {
    one_line(text).chars().take(NAME_MAX).collect()
}

/// A time as GitHub writes it, with or without a fraction.
pub(super) fn time(text: &str) -> Option<Time> {
    let stamp: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(stamp.as_millisecond()).ok().map(Time)
}

/// A time as GitHub reads it.
pub(super) fn written(time: Time) -> String {
    let millis = i64::try_from(time.0).unwrap_or(i64::MAX);
    let stamp = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Reads each entry of a list, and how many could not be read.
pub(in crate::forge) fn entries<T: DeserializeOwned>(list: Vec<Value>) -> (Vec<T>, usize) {
    let all = list.len();
    let read: Vec<T> =
        list.into_iter().filter_map(|entry| serde_json::from_value(entry).ok()).collect();
    let bad = all - read.len();
    (read, bad)
}

/// A number of 64 bits that some descriptions call a floating one.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let value = Value::deserialize(from)?;
    as_number(&value).ok_or_else(|| serde::de::Error::custom("not a number"))
}

fn maybe_number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    Ok(as_number(&Value::deserialize(from)?))
}

fn as_number(value: &Value) -> Option<u64> {
    if let Some(number) = value.as_u64() {
        return Some(number);
    }
    // Up to 2^53 a floating number is exact; printed without an exponent it reads as an integer.
    let float = value.as_f64().filter(|float| (0.0..9_007_199_254_740_992.0).contains(float))?;
    format!("{float}").parse().ok()
}

fn text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Time = Time(5);

    #[test]
    fn oddities_of_jobs_are_read() {
        let job: Job = serde_json::from_value(json!({
            "id": 9_223_372_036_854_775_000u64, "run_id": 71.0, "name": "build",
            "status": "queued", "labels": ["Self-Hosted", 7, "linux"], "runner_id": 0,
            "runner_name": "", "created_at": "2026-01-02T03:04:05.678Z", "surprise": {}
        }))
        .unwrap();
        let fact = job.fact("a/b", None, NOW);
        assert_eq!(fact.id, ForgeJobId(9_223_372_036_854_775_000));
        assert_eq!((fact.run, fact.attempt, fact.runner), (ForgeRunId(71), 1, None));
        assert_eq!(fact.labels, ["Self-Hosted", "linux"]);
        assert_eq!(fact.created, Time(1_767_323_045_678));
        let job: Job = serde_json::from_value(json!({
            "id": 1, "run_id": 2, "run_attempt": 3, "name": null, "status": "completed",
            "conclusion": null, "labels": null, "created_at": "yesterday", "html_url": "javascript:"
        }))
        .unwrap();
        let fact = job.fact("a/b", Some(true), NOW);
        assert_eq!((fact.attempt, fact.created, fact.url), (3, NOW, None));
        assert_eq!(fact.status, ForgeJobStatus::Completed("unknown".to_owned()));
    }

    #[test]
    fn only_queued_jobs_need_a_runner() {
        for word in ["waiting", "pending", "requested", "", "something-new"] {
            assert_eq!(status(word, None), ForgeJobStatus::Held, "{word}");
        }
        assert_eq!(status("queued", None), ForgeJobStatus::Queued);
        assert_eq!(status("in_progress", None), ForgeJobStatus::Running);
    }

    #[test]
    fn forks_are_told_by_ids() {
        let run = |value: Value| serde_json::from_value::<Run>(value).unwrap().is_fork();
        let with = |base: Value, head: Value, event: &str| {
            run(json!({"id": 1, "event": event, "repository": base, "head_repository": head}))
        };
        let (one, two) = (json!({"id": 1, "full_name": "a/b"}), json!({"id": 2}));
        assert_eq!(with(one.clone(), one.clone(), "push"), Some(false));
        assert_eq!(with(one.clone(), two.clone(), "pull_request"), Some(true));
        assert_eq!(with(one.clone(), Value::Null, "pull_request"), Some(true), "a deleted fork");
        assert_eq!(with(one.clone(), one.clone(), "pull_request_target"), Some(true));
        assert_eq!(with(Value::Null, two, "push"), None, "nobody knows");
    }

    #[test]
    fn an_unknown_status_of_a_runner_is_not_offline() {
        let runner = |status: Value| {
            let value =
                json!({"id": 1, "name": "x", "status": status, "busy": null, "version": ""});
            serde_json::from_value::<Runner>(value).unwrap().fact()
        };
        assert_eq!(runner(json!("online")).online, Some(true));
        assert_eq!(runner(json!("offline")).online, Some(false));
        assert_eq!(runner(json!("asleep")).online, None);
        assert_eq!(runner(Value::Null).online, None);
        assert_eq!(runner(Value::Null).version, None);
    }

    #[test]
    fn a_bad_entry_does_not_spoil_a_list() {
        let list = vec![json!({"id": 1, "name": "a"}), json!("x"), json!({"id": "7", "name": "b"})];
        let (runners, bad) = entries::<Runner>(list);
        assert_eq!((runners.len(), bad), (1, 2));
    }

    #[test]
    fn times_are_written_as_github_reads_them() {
        assert_eq!(written(Time(1_767_323_045_678)), "2026-01-02T03:04:05Z");
        assert_eq!(time("2026-01-02T03:04:05Z"), Some(Time(1_767_323_045_000)));
    }
}
