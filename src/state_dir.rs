//! Where the supervisor keeps its things: every path of the state folder, in one place.

pub mod write;

use std::path::{Path, PathBuf};

use crate::ids::{BlobId, IncarnationId, JobId};

/// The state folder (`.slate` beside the fleet file unless told otherwise), absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// Wraps an absolute path; the bind mounts of runners name it on the engine's host.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self(root)
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.0.join("fleet.db")
    }

    /// Everything that a supervisor keeps here, files and folders; what else there is, is not its.
    #[must_use]
    pub fn all(&self) -> Vec<PathBuf> {
        let database = self.database();
        let beside = |file: &Path, suffix: &str| {
            let mut path = file.to_owned().into_os_string();
            path.push(suffix);
            PathBuf::from(path)
        };
        vec![
            beside(&database, "-wal"),
            beside(&database, "-shm"),
            beside(&database, "-journal"),
            database,
            self.audit_head(),
            self.tokens(),
            self.dashboard(),
            self.reserve(),
            self.pulled_images(),
            self.lock(),
            self.api_socket(),
            beside(&self.supervisor_log(), ".1"),
            self.supervisor_log(),
            self.ca(),
            self.shared_with_runners(),
            self.runners(),
            self.logs(),
            self.post_mortems(),
            self.published(),
            self.blobs(),
            self.gitignore(),
        ]
    }

    /// Keeps the folder out of commits.
    #[must_use]
    pub fn gitignore(&self) -> PathBuf {
        self.0.join(".gitignore")
    }

    /// What a fleet leaves here beside its database: where one of them is, there was a state.
    #[must_use]
    pub fn traces(&self) -> [PathBuf; 1] {
        [self.ca()]
    }

    /// Which runs' reports in the store are this fleet's: an empty file each, as old as the last.
    #[must_use]
    pub fn published(&self) -> PathBuf {
        self.0.join("published")
    }

    /// Which images the fleet itself pulled.
    #[must_use]
    pub fn pulled_images(&self) -> PathBuf {
        self.0.join("pulled-images.json")
    }

    /// Hashes of the API's tokens, readable by the owner alone.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.0.join("tokens.json")
    }

    /// A page that leads a browser to the dashboard with its token, readable by the owner alone.
    #[must_use]
    pub fn dashboard(&self) -> PathBuf {
        self.0.join("dashboard.html")
    }

    /// Space that is kept for the record.
    #[must_use]
    pub fn reserve(&self) -> PathBuf {
        self.0.join("reserve")
    }

    /// Where the audit log ended a moment ago.
    #[must_use]
    pub fn audit_head(&self) -> PathBuf {
        self.0.join("audit.head")
    }

    /// Held locked by the one supervisor; contains its process id.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.0.join("supervisor.lock")
    }

    /// The API's socket.
    #[must_use]
    pub fn api_socket(&self) -> PathBuf {
        self.0.join("api.sock")
    }

    /// The background supervisor's log.
    #[must_use]
    pub fn supervisor_log(&self) -> PathBuf {
        self.0.join("supervisor.log")
    }

    /// The fleet's CA: key and certificate, readable by the owner alone.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.0.join("ca")
    }

    /// Mounted read-only into every runner: the agent and the socket that it connects to.
    #[must_use]
    pub fn shared_with_runners(&self) -> PathBuf {
        self.0.join("runner")
    }

    /// The agent's program, inside [`Self::shared_with_runners`].
    #[must_use]
    pub fn agent(&self) -> PathBuf {
        self.shared_with_runners().join("slate-runner")
    }

    /// The socket that agents connect to, inside [`Self::shared_with_runners`].
    #[must_use]
    pub fn agent_socket(&self) -> PathBuf {
        self.shared_with_runners().join("agent.sock")
    }

    /// What only one incarnation each sees.
    #[must_use]
    pub fn runners(&self) -> PathBuf {
        self.0.join("runners")
    }

    /// What only one incarnation sees: its enrolment, and its narrowed view of the machine.
    #[must_use]
    pub fn private(&self, incarnation: IncarnationId) -> PathBuf {
        self.runners().join(incarnation.to_string())
    }

    /// The output of all jobs, a file each.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The output of one job.
    #[must_use]
    pub fn job_log(&self, job: JobId) -> PathBuf {
        self.logs().join(format!("{job}.log"))
    }

    /// What is left of runners that failed, a file each.
    #[must_use]
    pub fn post_mortems(&self) -> PathBuf {
        self.0.join("post-mortems")
    }

    /// The folder of uploaded working folders.
    #[must_use]
    pub fn blobs(&self) -> PathBuf {
        self.0.join("blobs")
    }

    /// An uploaded working folder.
    #[must_use]
    pub fn blob(&self, blob: &BlobId) -> PathBuf {
        self.blobs().join(blob.as_str())
    }
}
