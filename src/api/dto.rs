//! What crosses the wire beside the view types. Border types: checked here, then never again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::problem::{Problem, ProblemKind};
use crate::fleet::attempt::RetryOn;
use crate::fleet::event::{Cordon, DownMode, JobSpec, RestartTime};
use crate::fleet::view::{Health, JobOrder};
use crate::ids::{BlobId, JobId, LaneName, PoolName, ProfileName, SlotId};
use crate::units::Time;

/// Header of the answer to `POST /api/v1/run`: the job's id, known before its first byte of output.
pub const JOB_HEADER: &str = "x-slate-job";
/// Content type of job output (see [`super::record`]).
pub const LOG_TYPE: &str = "application/vnd.slate.log";
/// Content type of one JSON document per line.
pub const JSON_LINES_TYPE: &str = "application/jsonl";

/// Most arguments of a job; the kernel's own bound on their bytes comes first for long ones.
const ARGUMENTS_MAX: usize = 65_536;
/// Longest workflow or run id: it names a folder.
const NAME_MAX: usize = 100;

/// Largest body of one JSON document per line: ten thousand jobs of 3 KiB.
pub const LINES_MAX: usize = 32 * 1024 * 1024;
/// Most jobs in one `POST /api/v1/jobs/batch`, `hold` or `release`: half a second of the loop.
pub const BATCH_MAX: usize = 10_000;

/// Body of `POST /api/v1/jobs` and `POST /api/v1/run`. Only `command` is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitBody {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment beside the profile's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The profile it needs at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The type of work, mapped to a profile by `task_types`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
    /// Only this pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<String>,
    /// The workflow; the job is a run of its own if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The run within the workflow; the job's id if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Higher starts first.
    #[serde(default)]
    pub priority: i32,
    /// Ends the job after this many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// A working folder that `POST /api/v1/blobs` took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<BlobId>,
    /// Who submits; `api` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitter: Option<String>,
    /// How often it is tried again at most; `limits.retries` if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// After which attempts: `infrastructure` (the default), `any` or `never`.
    #[serde(default)]
    pub retry_on: RetryOn,
    /// Keeps it from starting until somebody releases it.
    #[serde(default)]
    pub hold: bool,
}

impl SubmitBody {
    /// Checks what can be checked without the fleet.
    ///
    /// # Errors
    /// [`ProblemKind::Invalid`] with the first finding.
    pub fn into_spec(self) -> Result<JobSpec, Problem> {
        check_command(&self.command)?;
        for (key, value) in &self.env {
            check_variable(key, value)?;
        }
        if let Some(workflow) = &self.workflow {
            check_folder_name("workflow", workflow)?;
        }
        if let Some(run_id) = &self.run_id {
            check_folder_name("run_id", run_id)?;
        }
        let timeout = timeout(self.timeout_seconds)?;
        Ok(JobSpec {
            command: self.command,
            task: None,
            env: self.env,
            profile: self.profile.map(ProfileName::new),
            task_type: self.task_type,
            pool: self.pool.map(PoolName::new),
            lane: self.lane.map(LaneName::new),
            workflow: self.workflow,
            run_id: self.run_id,
            priority: self.priority,
            timeout,
            workspace: self.workspace,
            submitter: self.submitter.unwrap_or_else(|| "api".to_owned()),
            retries: self.retries,
            retry_on: self.retry_on,
            hold: self.hold,
        })
    }
}

fn check_command(command: &[String]) -> Result<(), Problem> {
    match command.first() {
        None => return Err(invalid("`command` is empty; the first entry is the program")),
        Some(program) if program.is_empty() => {
            return Err(invalid("`command` begins with an empty text; it must name a program"));
        }
        Some(_) => {}
    }
    if command.len() > ARGUMENTS_MAX {
        return Err(invalid(&format!("`command` has more than {ARGUMENTS_MAX} entries")));
    }
    match command.iter().any(|argument| argument.contains('\0')) {
        true => Err(invalid("`command` contains a NUL byte, which no program can be given")),
        false => Ok(()),
    }
}

fn check_variable(key: &str, value: &str) -> Result<(), Problem> {
    if key.is_empty() || key.contains(['=', '\0']) {
        return Err(invalid(&format!("`{key}` is no name of an environment variable")));
    }
    match value.contains('\0') {
        true => Err(invalid(&format!("the value of `{key}` contains a NUL byte"))),
        false => Ok(()),
    }
}

/// Workflow and run id name folders in the report store, so they must not lead out of it.
fn check_folder_name(what: &str, name: &str) -> Result<(), Problem> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let good = !name.is_empty()
        && name.len() <= NAME_MAX
        && name.chars().all(plain)
        && !name.starts_with(['.', '-']);
    match good {
        true => Ok(()),
        false => Err(invalid(&format!(
            "`{what}` is `{name}`; it names a folder: letters, digits, `.`, `_` and `-`, \
             at most {NAME_MAX}, not beginning with `.` or `-`"
        ))),
    }
}

/// A timeout in seconds; none for the fleet's default.
pub(super) fn timeout(seconds: Option<u64>) -> Result<Option<Duration>, Problem> {
    match seconds {
        Some(0) => Err(invalid("`timeout_seconds` is 0; leave it out for the fleet's default")),
        seconds => Ok(seconds.map(Duration::from_secs)),
    }
}

fn invalid(detail: &str) -> Problem {
    Problem::new(ProblemKind::Invalid, detail)
}

/// Answer to a submitted job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Submitted {
    /// Its id (a number; printed as `job-42`).
    pub id: JobId,
}

/// Answer to `POST /api/v1/jobs/batch`: the jobs' numbers follow each other, in the order of the
/// lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubmittedAll {
    /// The first job.
    pub first: JobId,
    /// The last.
    pub last: JobId,
}

/// Answer to an accepted change: it is recorded and will be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accepted {
    /// Recorded.
    Accepted,
}

/// Answer to an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Uploaded {
    /// What to name in a job's `workspace`.
    pub blob: BlobId,
    /// Bytes received.
    pub bytes: u64,
}

/// Body of `POST /api/v1/down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DownBody {
    /// What happens to running jobs.
    pub mode: DownMode,
}

/// Body of `POST /api/v1/scale`: `total` or `pools`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleBody {
    /// Runners in all, shared out in the proportions of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u32>,
    /// Runners of each pool, by its name or its profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pools: Option<BTreeMap<String, u32>>,
    /// After this long the pools are as the file and their queue say; without it, after the next
    /// `up`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<u64>,
}

/// Body of `POST /api/v1/cordon`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CordonBody {
    /// Names or ids of runners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runners: Vec<String>,
    /// Cards by index or UUID; either these or runners.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// Closed or open.
    pub to: Cordon,
}

/// Body of `POST /api/v1/pause`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseBody {
    /// Pools by name, or by the profile that one pool has; all pools if there are none.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub pools: BTreeSet<String>,
    /// Closed or open.
    pub to: Cordon,
}

/// Body of `POST /api/v1/restart`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestartBody {
    /// Names or ids.
    pub runners: Vec<String>,
    /// When those that have a job: `after_job` (the default) or `now`.
    #[serde(default)]
    pub when: RestartTime,
}

/// Body of `POST /api/v1/jobs/hold` and `POST /api/v1/jobs/release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldBody {
    /// The jobs: 1 to 10,000.
    pub jobs: Vec<JobId>,
}

impl HoldBody {
    /// Checks how many there are.
    ///
    /// # Errors
    /// [`ProblemKind::Invalid`] where there are none or too many.
    pub fn into_jobs(self) -> Result<Vec<JobId>, Problem> {
        match self.jobs.len() {
            1..=BATCH_MAX => Ok(self.jobs),
            count => Err(invalid(&format!("`jobs` has {count} entries; name 1 to {BATCH_MAX}"))),
        }
    }
}

/// Answer of `/api/v1/runners/{name}/health`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunnerHealth {
    /// The slot.
    pub id: SlotId,
    /// Its name.
    pub name: String,
    /// What is known.
    pub health: Health,
    /// The last failure, or what it waits for.
    pub reason: Option<String>,
}

/// Answer of `/healthz` and `/readyz` when all is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum Healthy {
    /// The process and its loop answer.
    Ok,
    /// Every runner is as the spec says.
    Ready,
}

/// Query of `GET /api/v1/jobs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobsQuery {
    /// States, separated by commas; all if none.
    pub status: Option<String>,
    /// Only those that were handed in for this pool.
    pub pool: Option<PoolName>,
    /// Only those that need this profile.
    pub profile: Option<ProfileName>,
    /// Only those of this lane.
    pub lane: Option<LaneName>,
    /// Only those that this submitter handed in.
    pub submitter: Option<String>,
    /// Only those of this workflow.
    pub workflow: Option<String>,
    /// The newest first, or those that wait in their order.
    #[serde(default)]
    pub order: JobOrder,
    /// At most this many: 100, at most 10,000.
    pub limit: Option<usize>,
    /// Only those that come after this job in the list: older ones. Not with `order=queue`.
    pub after: Option<String>,
}

/// Query of `GET /api/v1/runners`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunnersQuery {
    /// States, separated by commas; all if none.
    pub status: Option<String>,
    /// Only those of this pool.
    pub pool: Option<PoolName>,
    /// Only those that have this profile now.
    pub profile: Option<ProfileName>,
    /// At most this many; all if none.
    pub limit: Option<usize>,
    /// Only those that come after this one in the list.
    pub after: Option<String>,
}

/// Query of `GET /api/v1/explain/{name}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuery {
    /// The name is the number of a forge's job or run, whatever the fleet's own jobs are called.
    #[serde(default)]
    pub forge: bool,
}

/// Query of `GET /api/v1/forge/jobs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgeJobsQuery {
    /// At most this many.
    pub limit: Option<usize>,
}

/// Query of `GET /api/v1/jobs/{id}/logs`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogsQuery {
    /// Wait for more until the job ends.
    #[serde(default)]
    pub follow: bool,
    /// Byte to begin at; must be the beginning of a record.
    #[serde(default)]
    pub from: u64,
    /// With `follow`: also tell how the job stands, as `POST /api/v1/run` does.
    #[serde(default)]
    pub job: bool,
}

/// Query of `GET /api/v1/jobs/{id}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobQuery {
    /// Answer when the job is over, or after this many seconds as it is then.
    #[serde(default)]
    pub wait_seconds: u64,
}

/// Query of the routes of post-mortems.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PostMortemsQuery {
    /// At most this many, newest first.
    pub limit: Option<usize>,
}

/// Query of `GET /api/v1/events`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Entries after this number; the newest ones if 0.
    #[serde(default)]
    pub after: u64,
    /// At most this many before following.
    pub limit: Option<usize>,
    /// Wait for more.
    #[serde(default)]
    pub follow: bool,
}

/// Query of `GET /api/v1/stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatsQuery {
    /// Jobs that ended from this moment on; all that are kept if none.
    #[serde(default)]
    pub since: Time,
}

/// Query of `PUT /api/v1/spec`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyQuery {
    /// Where the API is reached beside its socket, such as `127.0.0.1:7373`, instead of where this
    /// spec and later ones say; until the supervisor ends.
    pub listen: Option<SocketAddr>,
}

/// Query of `GET /api/v1/fleet`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FleetQuery {
    /// One view per line, a new one whenever something changed.
    #[serde(default)]
    pub follow: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str) -> Result<JobSpec, Problem> {
        serde_json::from_str::<SubmitBody>(json).expect("test JSON is well formed").into_spec()
    }

    #[test]
    fn a_command_alone_is_a_whole_job() {
        let spec = body(r#"{"command": ["true"]}"#).expect("accepted");
        assert_eq!(spec.workflow, None);
        assert_eq!(spec.submitter, "api");
    }

    #[test]
    fn names_that_lead_out_of_the_report_store_are_refused() {
        for name in ["..", ".hidden", "a/b", "", "-x", "a\\u0000b"] {
            let json = format!(r#"{{"command": ["true"], "workflow": "{name}"}}"#);
            let problem = body(&json).expect_err(name);
            assert_eq!(problem.kind, ProblemKind::Invalid, "{name}");
        }
    }

    #[test]
    fn a_job_without_a_program_or_with_a_broken_variable_is_refused() {
        for json in [
            r#"{"command": []}"#,
            r#"{"command": [""]}"#,
            r#"{"command": ["true"], "env": {"A=B": "x"}}"#,
            r#"{"command": ["true"], "timeout_seconds": 0}"#,
        ] {
            assert!(body(json).is_err(), "{json}");
        }
    }
}
