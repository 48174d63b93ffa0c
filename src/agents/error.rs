//! What can go wrong on the supervisor's side of the agents.

use std::io;
use std::path::PathBuf;

/// The agents cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AgentsError {
    /// A file or folder of the state folder is not usable.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The fleet's CA on disk is damaged.
    #[error(
        "cannot use the fleet's CA in {} ({why}); delete the file to make a new one, which replaces \
         all runners' certificates",
        path.display()
    )]
    DamagedAuthority {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Certificate(#[source] rcgen::Error),
    /// TLS cannot be set up.
    #[error("cannot set up TLS for agents")]
    Tls(#[source] rustls::Error),
    /// The certificates of agents cannot be checked.
    #[error("cannot set up the check of agents' certificates")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl AgentsError {
    /// A failure on a file.
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File { action, path: path.into(), source }
    }
}
