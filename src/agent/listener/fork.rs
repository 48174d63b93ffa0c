//! Whether a job runs another repository's code, by the event that caused it.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;

/// The parts of an event that tell. All else is passed over.
#[derive(Debug, Deserialize)]
struct Event {
    repository: Option<Repository>,
    pull_request: Option<PullRequest>,
    workflow_run: Option<WorkflowRun>,
}

#[derive(Debug, Deserialize)]
struct Repository {
    id: u64,
}

#[derive(Debug, Deserialize)]
struct PullRequest {
    head: Head,
}

#[derive(Debug, Deserialize)]
struct Head {
    /// None once the fork was deleted.
    repo: Option<Repository>,
}

#[derive(Debug, Deserialize)]
struct WorkflowRun {
    head_repository: Option<Repository>,
}

/// Why a job must not run here, if it must not. Repositories are compared by number: names change.
pub(super) fn refusal(name: &str, path: Option<&Path>) -> Option<String> {
    let may_be = name.starts_with("pull_request") || name == "workflow_run";
    let event = path.ok_or_else(|| "it has no event".to_owned()).and_then(|path| {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let event = serde_json::from_reader(BufReader::new(file));
        event.map_err(|error| error.to_string())
    });
    match event {
        Ok(event) if is_fork(&event) => Some(
            "this runner takes no jobs from forks, and this job runs a fork's code; its pool says \
             `fork_jobs: deny`"
                .to_owned(),
        ),
        Ok(_) => None,
        // Of other events a fork cannot be the cause.
        Err(_) if !may_be => None,
        Err(why) => Some(format!(
            "this runner takes no jobs from forks, and whether this is one cannot be told: {why}"
        )),
    }
}

fn is_fork(event: &Event) -> bool {
    let own = event.repository.as_ref().map(|repository| repository.id);
    let foreign = |head: Option<&Repository>| head.is_none() || head.map(|head| head.id) != own;
    event.pull_request.as_ref().is_some_and(|request| foreign(request.head.repo.as_ref()))
        || event.workflow_run.as_ref().is_some_and(|run| foreign(run.head_repository.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, event: &str) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("event.json");
        std::fs::write(&path, event).unwrap();
        refusal(name, Some(&path)).is_some()
    }

    #[test]
    fn a_forks_job_is_told_by_its_repositories_numbers() {
        let pull = |head: &str| {
            format!(r#"{{"repository":{{"id":1,"name":"x"}},"pull_request":{{"head":{head}}}}}"#)
        };
        assert!(!refused("pull_request", &pull(r#"{"repo":{"id":1}}"#)));
        assert!(refused("pull_request", &pull(r#"{"repo":{"id":2}}"#)));
        assert!(refused("pull_request_target", &pull(r#"{"repo":{"id":2}}"#)));
        assert!(refused("pull_request", &pull(r#"{"repo":null}"#)), "the fork was deleted");
        let run = |id| {
            format!(
                r#"{{"repository":{{"id":1}},"workflow_run":{{"head_repository":{{"id":{id}}}}}}}"#
            )
        };
        assert!(!refused("workflow_run", &run(1)));
        assert!(refused("workflow_run", &run(2)));
        assert!(!refused("push", r#"{"repository":{"id":1},"ref":"x"}"#));
    }

    #[test]
    fn what_cannot_be_told_is_refused_where_it_could_be_a_fork() {
        assert!(refused("pull_request", "no json"));
        assert!(refusal("pull_request", None).is_some());
        assert!(refusal("push", None).is_none());
        assert!(!refused("push", "no json"));
    }
}
