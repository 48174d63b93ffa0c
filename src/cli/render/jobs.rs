//! Jobs as a table, and one job in full.

use std::fmt::Write as _;

use super::ago::{ago, took};
use super::explain::attempt_line;
use super::table::{Cell, Table};
use super::{Paint, Tone, one_line};
use crate::api::words::job_status;
use crate::cli::clock::utc;
use crate::fleet::view::{JobStatus, JobView, WaitCode, WaitReason};
use crate::units::Time;

/// Longest command in the table.
const COMMAND_MAX: usize = 40;

/// Why a job waits in one word, and when that is expected to change, if anybody knows.
pub(super) fn code(wait: Option<&WaitReason>) -> String {
    let Some(wait) = wait else { return String::new() };
    let word = wait.code().word();
    wait.expected().map_or_else(|| word.to_owned(), |at| format!("{word}, until {}", utc(at)))
}

/// The table that `jobs` prints.
#[must_use]
pub fn table(jobs: &[JobView], now: Time, paint: Paint) -> String {
    let mut table =
        Table::new(&["ID", "STATUS", "PROFILE", "RUNNER", "COMMAND", "SUBMITTED", "TOOK", "NOTE"]);
    for job in jobs {
        table.row(vec![
            job.id.to_string().into(),
            status(job),
            job.profile.as_str().into(),
            job.runner_name.as_deref().unwrap_or("-").into(),
            short(&command(job)).into(),
            ago(now.since(job.queued_at)).into(),
            duration(job, now).into(),
            job.reason.as_deref().unwrap_or("").into(),
        ]);
    }
    table.render(paint)
}

/// The table that `jobs --format wide` prints.
#[must_use]
pub fn wide(jobs: &[JobView], now: Time, paint: Paint) -> String {
    let mut table = Table::new(&[
        "ID",
        "STATUS",
        "PROFILE",
        "RUNNER",
        "WORKFLOW",
        "PRIORITY",
        "ATTEMPT",
        "BY",
        "SUBMITTED",
        "WAITED",
        "TOOK",
        "COMMAND",
        "NOTE",
    ]);
    for job in jobs {
        let waited = job.started_at.or(job.ended_at).unwrap_or(now).since(job.queued_at);
        table.row(vec![
            job.id.to_string().into(),
            status(job),
            job.profile.as_str().into(),
            job.runner_name.as_deref().unwrap_or("-").into(),
            job.reports.as_str().into(),
            job.spec.priority.to_string().into(),
            job.attempt.to_string().into(),
            job.spec.submitter.as_str().into(),
            ago(now.since(job.queued_at)).into(),
            took(waited).into(),
            duration(job, now).into(),
            command(job).into(),
            job.reason.as_deref().unwrap_or("").into(),
        ]);
    }
    table.render(paint)
}

/// Everything about one job, a fact per line.
#[must_use]
pub fn detail(job: &JobView, now: Time) -> String {
    let mut out = String::new();
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            let _infallible = writeln!(out, "{:<12} {value}", format!("{name}:"));
        }
    };
    fact("Job", &job.id.to_string());
    fact("Status", &status_text(job));
    fact("Reason", job.reason.as_deref().unwrap_or(""));
    fact("Position", &job.position.map(|place| place.to_string()).unwrap_or_default());
    fact("Command", &command(job));
    fact("Profile", job.profile.as_str());
    fact("Type", job.spec.task_type.as_deref().unwrap_or(""));
    fact("Pool", job.spec.pool.as_ref().map_or("", |pool| pool.as_str()));
    fact("Lane", job.spec.lane.as_ref().map_or("", |lane| lane.as_str()));
    fact("Runner", job.runner_name.as_deref().unwrap_or(""));
    fact("Attempt", &job.attempt.to_string());
    fact("Reports", &job.reports);
    fact("Priority", &job.spec.priority.to_string());
    fact("By", &job.spec.submitter);
    let env: Vec<&str> = job.spec.env.keys().map(String::as_str).collect();
    fact("Environment", &env.join(", "));
    fact("Submitted", &utc(job.queued_at));
    fact("Assigned", &job.assigned_at.map(utc).unwrap_or_default());
    fact("Started", &job.started_at.map(utc).unwrap_or_default());
    fact("Ended", &job.ended_at.map(utc).unwrap_or_default());
    fact("Took", &duration(job, now));
    fact("Fault", &job.fault.map(|fault| fault.to_string()).unwrap_or_default());
    // One attempt is told by the facts above.
    for attempt in job.attempts.iter().filter(|_| job.attempts.len() > 1) {
        fact("Attempt", &attempt_line(job, attempt, now));
    }
    out
}

fn status(job: &JobView) -> Cell {
    let tone = match job.status {
        JobStatus::Queued | JobStatus::Cancelled => Tone::Dim,
        JobStatus::Assigned | JobStatus::Running => Tone::Busy,
        JobStatus::Succeeded => Tone::Good,
        JobStatus::Failed | JobStatus::TimedOut | JobStatus::Oom | JobStatus::Lost => Tone::Bad,
    };
    Cell::toned(Some(tone), status_text(job))
}

pub(super) fn status_text(job: &JobView) -> String {
    if job.reason_code == Some(WaitCode::Held) {
        return "held".to_owned();
    }
    match (job.status, job.position) {
        (JobStatus::Queued, Some(position)) => format!("queued ({position})"),
        (status, _) => ended_text(status, job.exit_code),
    }
}

/// A state, with the exit code where that is what went wrong.
pub(super) fn ended_text(status: JobStatus, exit_code: Option<i32>) -> String {
    match (status, exit_code) {
        (JobStatus::Failed, Some(code)) => format!("failed ({code})"),
        (status, _) => job_status(status).to_owned(),
    }
}

pub(super) fn duration(job: &JobView, now: Time) -> String {
    match (job.started_at, job.ended_at) {
        (Some(started), ended) => took(ended.unwrap_or(now).since(started)),
        (None, _) => "-".to_owned(),
    }
}

/// The command as one could type it into a shell.
pub(super) fn command(job: &JobView) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,@%+".contains(c);
    let word = |word: &String| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    if let Some(task) = &job.spec.task {
        return one_line(&format!("task {task}"));
    }
    one_line(&job.spec.command.iter().map(word).collect::<Vec<_>>().join(" "))
}

fn short(text: &str) -> String {
    match text.chars().count() > COMMAND_MAX {
        true => text.chars().take(COMMAND_MAX - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::fixture::{NOW, failed_job, queued_job};
    use crate::fleet::attempt::{Attempt, AttemptEnd, Fault};
    use crate::fleet::event::JobEnd;
    use crate::fleet::job::Verdict;
    use crate::ids::{AttemptNo, IncarnationId, SlotId};

    #[test]
    fn the_table_says_why_a_job_waits_and_how_one_ended() {
        let expected = include_str!("expected/jobs.txt");
        assert_eq!(table(&[queued_job(), failed_job()], NOW, Paint::Off), expected);
    }

    #[test]
    fn one_job_in_full_has_its_times_and_only_facts_that_exist() {
        let expected = "\
Job:         job-41
Status:      failed (1)
Command:     ruff check .
Profile:     light
Runner:      slate-light-12
Attempt:     1
Reports:     attrs/45
Priority:    0
By:          ana
Submitted:   2026-02-08T11:55:00.000Z
Assigned:    2026-02-08T11:55:00.000Z
Started:     2026-02-08T11:55:00.000Z
Ended:       2026-02-08T11:55:00.420Z
Took:        0.42s
";
        assert_eq!(detail(&failed_job(), NOW), expected);
    }

    #[test]
    fn every_attempt_is_shown_with_its_end_and_whose_fault_that_was() {
        let attempt = |number, verdict| Attempt {
            number: AttemptNo(number),
            slot: SlotId(12),
            runner_name: "slate-light-12".to_owned(),
            incarnation: IncarnationId(u64::from(number)),
            given_at: NOW,
            started_at: Some(NOW),
            gpu_time: None,
            end: Some(AttemptEnd::of(NOW, &verdict)),
            late: None,
        };
        let lost = attempt(1, Verdict::lost("the container was removed by somebody else"));
        let red = attempt(2, Verdict::of(&JobEnd::Exited(1), None));
        let job = JobView { attempts: vec![lost, red], fault: Some(Fault::Job), ..failed_job() };
        let text = detail(&job, NOW);
        let told: Vec<&str> = text.lines().filter(|line| line.contains("fault: ")).collect();
        assert_eq!(told.len(), 2, "{text}");
        assert!(text.contains("Fault:       job\n"), "{text}");
        assert!(text.contains("infrastructure: the container was removed"), "{text}");
    }

    #[test]
    fn the_wide_table_shows_how_long_a_job_waited() {
        let text = wide(&[failed_job()], NOW, Paint::Off);
        assert!(text.contains("attrs/45"), "{text}");
        assert!(text.contains("0.00s    0.42s"), "{text}");
    }
}
