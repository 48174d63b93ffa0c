//! A runner that was leased to work from outside.

use std::fmt::Write as _;

use crate::api::tasks::Assignment;
use crate::api::words::job_status;

/// Everything about it, a fact per line.
#[must_use]
pub fn assignment(it: &Assignment) -> String {
    let mut out = String::new();
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            let _infallible = writeln!(out, "{:<11} {value}", format!("{name}:"));
        }
    };
    fact("Task", it.task.as_str());
    fact("Job", &it.job.to_string());
    fact("Status", job_status(it.status));
    fact("Reason", it.reason.as_deref().unwrap_or(""));
    fact("Position", &it.position.map(|place| place.to_string()).unwrap_or_default());
    if let Some(runner) = &it.runner {
        fact("ID", &runner.id);
        fact("Name", &runner.name);
        fact("Profile", runner.profile.as_str());
        fact("GPU", &runner.gpu_id.map_or_else(|| "-".to_owned(), |gpu| gpu.to_string()));
        fact("Container", runner.container_name.as_deref().unwrap_or(""));
        fact("Reports", &it.reports);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tasks::AssignedRunner;
    use crate::fleet::view::JobStatus;
    use crate::ids::{JobId, ProfileName, TaskName};

    #[test]
    fn the_runner_is_told_in_the_specifications_words() {
        let it = Assignment {
            task: TaskName::new("task-id-123"),
            job: JobId(7),
            status: JobStatus::Running,
            runner: Some(AssignedRunner {
                id: "runner-001".to_owned(),
                name: "slate-gpu-heavy-01".to_owned(),
                profile: ProfileName::new("gpu_heavy"),
                gpu_id: Some(0),
                container: None,
                container_name: Some("slate-heavy-i1".to_owned()),
            }),
            position: None,
            reason: None,
            reports: "/reports/jobs/job-7".to_owned(),
        };
        let expected = "\
Task:       task-id-123
Job:        job-7
Status:     running
ID:         runner-001
Name:       slate-gpu-heavy-01
Profile:    gpu_heavy
GPU:        0
Container:  slate-heavy-i1
Reports:    /reports/jobs/job-7
";
        assert_eq!(assignment(&it), expected);
        let waits = Assignment {
            status: JobStatus::Queued,
            runner: None,
            position: Some(1),
            reason: Some("the one runner in heavy is busy; next in line".to_owned()),
            ..it
        };
        let text = assignment(&waits);
        assert!(
            text.contains("Status:     queued\nReason:     the one runner in heavy is busy"),
            "{text}"
        );
        assert!(!text.contains("Container"), "{text}");
    }
}
