//! Why a verb failed: the exit code, the words, and what to do about it.

use std::fmt::Write as _;
use std::io;

use crate::api::problem::{Problem, ProblemKind};
use crate::causes::with_causes;
use crate::client::ClientError;
use crate::exit::Exit;
use crate::fleet::effect::{Refusal, RefusalKind};

/// A failure that is shown to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    message: Option<String>,
    help: Option<String>,
    findings: Option<String>,
}

impl Failure {
    /// A failure with its words.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: Some(message.into()), help: None, findings: None }
    }

    /// An end without words: the reader of our output went away, as `head` does.
    #[must_use]
    pub fn reader_left() -> Self {
        Self { exit: Exit::Done, message: None, help: None, findings: None }
    }

    /// Everything that is wrong with a fleet file, already in words.
    pub fn findings(text: String) -> Self {
        Self { exit: Exit::Usage, message: None, help: None, findings: Some(text) }
    }

    /// What the core refused.
    #[must_use]
    pub fn from_refusal(refusal: &Refusal) -> Self {
        let exit = match refusal.kind {
            RefusalKind::NotFound => Exit::NotFound,
            RefusalKind::Invalid => Exit::Usage,
            RefusalKind::NoCapacity | RefusalKind::NotNow => Exit::NoCapacity,
            RefusalKind::Conflict => Exit::Failed,
        };
        Self::new(exit, refusal.message.clone())
    }

    /// A failure of the system, with what was tried.
    pub fn system(what: impl std::fmt::Display, error: &io::Error) -> Self {
        Self::new(Exit::Failed, format!("{what}: {error}"))
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What is printed to stderr; nothing for an end without words.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.findings.clone().map(|found| found + "\n").unwrap_or_default();
        if let Some(message) = &self.message {
            // Writing to a String cannot fail.
            let _infallible = writeln!(text, "error: {message}");
        }
        if let Some(help) = &self.help {
            let _infallible = writeln!(text, "\n  help: {help}");
        }
        text
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::NotAllowed { .. } => Exit::NotAllowed,
            ClientError::Refused(problem) => exit_of(problem.kind),
            ClientError::NotUp { .. }
            | ClientError::Connect { .. }
            | ClientError::Broken(_)
            | ClientError::Timeout { .. } => Exit::Unreachable,
            ClientError::Answer(_) => Exit::Failed,
        };
        let findings = match &error {
            ClientError::Refused(problem) if problem.kind == ProblemKind::Invalid => {
                (!problem.reasons.is_empty()).then(|| problem.reasons.join("\n"))
            }
            _ => None,
        };
        Self { findings, ..Self::new(exit, with_causes(&error)) }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::new(exit_of(problem.kind), problem.detail)
    }
}

/// The exit code for what the supervisor answered.
fn exit_of(kind: ProblemKind) -> Exit {
    match kind {
        ProblemKind::NotFound => Exit::NotFound,
        ProblemKind::Invalid => Exit::Usage,
        ProblemKind::NoCapacity | ProblemKind::NotNow => Exit::NoCapacity,
        ProblemKind::NotAllowed | ProblemKind::Unauthenticated => Exit::NotAllowed,
        ProblemKind::Unavailable | ProblemKind::Timeout => Exit::Unreachable,
        ProblemKind::Conflict
        | ProblemKind::WrongMethod
        | ProblemKind::WrongType
        | ProblemKind::TooLarge
        | ProblemKind::Busy
        | ProblemKind::Internal => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot start: {0}")]
    struct Told(#[source] io::Error);

    #[test]
    fn a_cause_is_told_once_and_help_follows_after_a_line() {
        let error = Told(io::Error::other("the disk is full"));
        assert_eq!(with_causes(&error), "cannot start: the disk is full");
        let failure = Failure::new(Exit::Failed, with_causes(&error)).help("make room");
        assert_eq!(
            failure.render(),
            "error: cannot start: the disk is full\n\n  help: make room\n"
        );
        assert_eq!(Failure::reader_left().render(), "");
    }
}
