//! The words for states, as the JSON has them; used wherever a state is printed or read.

use crate::fleet::attempt::RetryOn;
use crate::fleet::view::{Health, JobStatus, RunnerStatus};
use crate::ids::ParseIdError;
use crate::spec::{ForgeAccess, SecretSource};
use crate::units::Time;
use crate::units::words::{agree, all_of};

/// Every job state, in the order of a job's life.
pub const JOB_STATUSES: [JobStatus; 9] = [
    JobStatus::Queued,
    JobStatus::Assigned,
    JobStatus::Running,
    JobStatus::Succeeded,
    JobStatus::Failed,
    JobStatus::Cancelled,
    JobStatus::TimedOut,
    JobStatus::Oom,
    JobStatus::Lost,
];

/// `2.336.0` as numbers, for comparison.
#[must_use]
pub fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// A job's state in one word.
#[must_use]
pub fn job_status(status: JobStatus) -> &'static str {
    match status {
        JobStatus::Queued => "queued",
        JobStatus::Assigned => "assigned",
        JobStatus::Running => "running",
        JobStatus::Succeeded => "succeeded",
        JobStatus::Failed => "failed",
        JobStatus::Cancelled => "cancelled",
        JobStatus::TimedOut => "timed_out",
        JobStatus::Oom => "oom",
        JobStatus::Lost => "lost",
    }
}

/// Reads a job's state.
///
/// # Errors
/// The text is no state; the error lists them.
pub fn parse_job_status(text: &str) -> Result<JobStatus, ParseIdError> {
    JOB_STATUSES.into_iter().find(|status| job_status(*status) == text).ok_or_else(|| {
        ParseIdError {
            text: text.to_owned(),
            expected: "a job state: queued, assigned, running, succeeded, failed, cancelled, \
                       timed_out, oom or lost",
        }
    })
}

/// Reads after which attempts a job is tried again.
///
/// # Errors
/// The text is none of the words.
pub fn parse_retry_on(text: &str) -> Result<RetryOn, ParseIdError> {
    match text {
        "infrastructure" => Ok(RetryOn::Infrastructure),
        "oom" => Ok(RetryOn::Oom),
        "any" => Ok(RetryOn::Any),
        "never" => Ok(RetryOn::Never),
        _ => Err(ParseIdError {
            text: text.to_owned(),
            expected: "infrastructure, oom, any or never",
        }),
    }
}

/// Reads a runner's state.
///
/// # Errors
/// The text is no state; the error lists them.
pub fn parse_runner_status(text: &str) -> Result<RunnerStatus, ParseIdError> {
    let found = RunnerStatus::ALL.into_iter().find(|status| runner_status(*status) == text);
    found.ok_or_else(|| ParseIdError {
        text: text.to_owned(),
        expected: "a runner state: planned, creating, starting, registering, idle, running, \
                   stopping, removing, error, stale, oom or timed_out",
    })
}

/// A runner's state in one word.
#[must_use]
pub fn runner_status(status: RunnerStatus) -> &'static str {
    status.word()
}

/// A runner's health in one word.
#[must_use]
pub fn health(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Unhealthy => "unhealthy",
        Health::Unknown => "unknown",
    }
}

/// By what right runners register at a forge: names and places of secrets, never a secret.
#[must_use]
pub fn right(access: &ForgeAccess) -> String {
    match access {
        ForgeAccess::Tokens(variable) => {
            format!("a registration token for each runner in `{variable}`")
        }
        ForgeAccess::Personal(source) => format!("a personal access token from {}", place(source)),
        ForgeAccess::App(app) => format!("app {}, its key from {}", app.id, place(&app.key)),
    }
}

/// Where a secret is. Of a program only its name: an argument may be a secret, too.
fn place(source: &SecretSource) -> String {
    match source {
        SecretSource::Variable(name) => format!("`{name}`"),
        SecretSource::File(path) => path.display().to_string(),
        SecretSource::Command(line) => {
            format!("the program `{}`", line.first().map_or("", String::as_str))
        }
        SecretSource::Vault(it) => format!("Vault, {} of {}", it.field, it.path),
    }
}

/// That a fleet of so many runners needs no change.
#[must_use]
pub fn as_the_file_says(runners: usize) -> String {
    match runners {
        0 => "the file asks for no runner, and there is none".to_owned(),
        count => {
            let is = agree(&count, "is", "are");
            format!("{} {is} as the file says", all_of(count, "runner"))
        }
    }
}

/// The time of day in UTC: `16:14 UTC`.
#[must_use]
pub fn time_of_day(time: Time) -> String {
    let minutes = time.0 / 60_000;
    format!("{:02}:{:02} UTC", minutes / 60 % 24, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_json_and_read_back() {
        for status in JOB_STATUSES {
            let json = serde_json::to_string(&status).expect("serialises");
            assert_eq!(json.trim_matches('"'), job_status(status));
            assert_eq!(parse_job_status(job_status(status)), Ok(status));
        }
        for status in RunnerStatus::ALL {
            let json = serde_json::to_string(&status).expect("serialises");
            assert_eq!(json.trim_matches('"'), runner_status(status));
            assert_eq!(parse_runner_status(runner_status(status)), Ok(status));
        }
        assert!(parse_job_status("done").is_err());
    }

    #[test]
    fn a_right_names_where_its_secret_is_and_no_argument_of_a_program() {
        let line = ["pass", "show", "hunter2"].map(str::to_owned).to_vec();
        let text = right(&ForgeAccess::Personal(SecretSource::Command(line)));
        assert_eq!(text, "a personal access token from the program `pass`");
        assert_eq!(time_of_day(Time(1_770_552_000_000)), "12:00 UTC");
    }
}
