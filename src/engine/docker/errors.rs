//! Sorts the engine's failures once, at the edge: gone, conflict, retry, fatal, or unknown.

use std::future::Future;
use std::time::Duration;

use bollard::errors::Error;

use crate::engine::EngineError;
use crate::failpoint;
use crate::fleet::event::OpErrorClass;

/// How long each kind of call may take. Generous: an engine under load is slow, not broken.
pub(super) mod deadline {
    use std::time::Duration;

    /// Version and info: the engine answers from memory.
    pub const INFO: Duration = Duration::from_secs(5);
    /// Lists walk every container under locks that starts and removals hold.
    pub const LIST: Duration = Duration::from_secs(10);
    /// One object.
    pub const INSPECT: Duration = Duration::from_secs(5);
    /// Unpacks nothing, but may wait behind other creates for the layer store.
    pub const CREATE: Duration = Duration::from_secs(60);
    /// Mounts, network, runtime.
    pub const START: Duration = Duration::from_secs(60);
    /// Beside the grace that the container is given.
    pub const STOP: Duration = Duration::from_secs(30);
    /// Deleting a full work volume takes time.
    pub const REMOVE: Duration = Duration::from_secs(120);
    /// A whole image over a slow line.
    pub const PULL: Duration = Duration::from_secs(30 * 60);
    /// A pull that says nothing for this long is stuck.
    pub const PULL_PROGRESS: Duration = Duration::from_secs(120);
}

/// One call: what it is for, in words that follow "cannot", and its deadline.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub action: String,
    pub host: String,
    pub deadline: Duration,
}

impl Call {
    /// Waits for an answer until the deadline and sorts what comes.
    pub async fn run<T>(
        &self,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, EngineError> {
        self.point("before");
        let answer = tokio::time::timeout(self.deadline, answer).await;
        self.point("after");
        match answer {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.sort(error)),
            Err(_) => Err(self.overdue()),
        }
    }

    /// The action without its object: `create container` of all containers is one point.
    fn point(&self, when: &str) {
        failpoint::reach(|| {
            let words: Vec<&str> = self.action.split(' ').take(2).collect();
            format!("{when} the call {}", words.join(" "))
        });
    }

    /// The error of a call that took too long.
    pub fn overdue(&self) -> EngineError {
        EngineError::Overdue { action: self.action.clone(), after: self.deadline }
    }

    /// An error that this program found itself.
    pub fn refused(&self, class: OpErrorClass, message: impl Into<String>) -> EngineError {
        EngineError::Refused { action: self.action.clone(), class, message: message.into() }
    }

    /// Sorts an error of the client library.
    pub fn sort(&self, error: Error) -> EngineError {
        match error {
            Error::DockerResponseServerError { status_code, message } => {
                self.refused(class_of(status_code, &message), message.trim())
            }
            Error::DockerStreamError { error } => self.refused(OpErrorClass::Retry, error),
            Error::RequestTimeoutError => self.overdue(),
            Error::SocketNotFoundError(_) => self.unreachable(error),
            Error::HyperLegacyError { ref err } if err.is_connect() => self.unreachable(error),
            other => EngineError::Broken { action: self.action.clone(), source: Box::new(other) },
        }
    }

    fn unreachable(&self, error: Error) -> EngineError {
        EngineError::Unreachable {
            action: self.action.clone(),
            host: self.host.clone(),
            source: Box::new(error),
        }
    }
}

/// Words of the engine that mean: it will fail again until somebody changes something.
///
/// The engine answers 500 to these, as it does to trouble that passes.
const LASTING: [&str; 5] = [
    "could not select device driver",
    "unknown or invalid runtime",
    "invalid mount config",
    "non-overlapping IPv4 address pool",
    "error setting rlimit",
];

fn class_of(status: u16, message: &str) -> OpErrorClass {
    match status {
        404 => OpErrorClass::Gone,
        409 => OpErrorClass::Conflict,
        400..=499 => OpErrorClass::Fatal,
        _ if LASTING.iter().any(|words| message.contains(words)) => OpErrorClass::Fatal,
        _ => OpErrorClass::Retry,
    }
}

/// Whether the engine said that there is no such thing.
pub(super) fn is_gone(error: &EngineError) -> bool {
    error.class() == Some(OpErrorClass::Gone)
}

/// Whether the engine said that something else is in the way.
pub(super) fn is_conflict(error: &EngineError) -> bool {
    error.class() == Some(OpErrorClass::Conflict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::event::Outcome;

    fn call() -> Call {
        Call {
            action: "start c1".to_owned(),
            host: "unix:///x".to_owned(),
            deadline: Duration::from_millis(5),
        }
    }

    fn answered(status: u16, message: &str) -> EngineError {
        call().sort(Error::DockerResponseServerError {
            status_code: status,
            message: message.to_owned(),
        })
    }

    #[test]
    fn answers_of_the_engine_are_sorted_by_what_to_do_next() {
        let class = |status, message| answered(status, message).class();
        assert_eq!(class(404, "No such container: x"), Some(OpErrorClass::Gone));
        assert_eq!(class(409, "name in use"), Some(OpErrorClass::Conflict));
        assert_eq!(class(400, "no such file"), Some(OpErrorClass::Fatal));
        assert_eq!(class(500, "no space left on device"), Some(OpErrorClass::Retry));
        assert_eq!(class(503, "busy"), Some(OpErrorClass::Retry));
        let no_gpu = "could not select device driver \"nvidia\" with capabilities: [[gpu]]";
        assert_eq!(class(500, no_gpu), Some(OpErrorClass::Fatal));
    }

    #[test]
    fn a_broken_connection_leaves_the_outcome_unknown() {
        let broken = call().sort(Error::IOError { err: std::io::Error::other("reset") });
        assert_eq!(broken.class(), None);
        let Outcome::Unknown(why) = broken.into_outcome() else { panic!("known") };
        assert!(why.contains("start c1") && why.contains("reset"), "{why}");
    }

    #[test]
    fn a_missing_socket_means_that_nothing_was_sent() {
        let gone = call().sort(Error::SocketNotFoundError("/x".to_owned()));
        assert_eq!(gone.class(), Some(OpErrorClass::Retry));
    }

    #[tokio::test]
    async fn a_call_past_its_deadline_is_overdue_and_unknown() {
        let never = std::future::pending::<Result<(), Error>>();
        let error = call().run(never).await.expect_err("it never answers");
        assert!(matches!(error, EngineError::Overdue { .. }));
        assert_eq!(error.class(), None);
    }
}
