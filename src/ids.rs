//! Names and numbers that identify things, each its own type so that none is taken for another.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A text that is not an id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseIdError {
    /// What was given.
    pub text: String,
    /// What would be right, with an example.
    pub expected: &'static str,
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "fleet", derive(schemars::JsonSchema))]
        #[serde(from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl $name {
            /// Wraps a text that was checked where it entered the program.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into().into())
            }

            /// The plain text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $number:ty, $prefix:literal, $width:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[cfg_attr(feature = "fleet", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub $number);

        impl $name {
            /// The id that follows this one.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format!(concat!($prefix, "{:0", $width, "}"), self.0))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            /// Reads the printed form; the prefix may be left out.
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix($prefix)
                    .unwrap_or(text)
                    .parse()
                    .map(Self)
                    .map_err(|_| ParseIdError { text: text.to_owned(), expected: $expected })
            }
        }
    };
}

number_id!(
    /// A place in the fleet that outlives its containers: stable number, name and history.
    ///
    /// Printed as specification 1 writes runner ids: `runner-001`.
    SlotId, u32, "runner-", "3", "a runner id such as `runner-001`"
);
number_id!(
    /// One container's life: a number that is never used again.
    IncarnationId, u64, "i", "1", "an incarnation such as `i17`"
);
number_id!(
    /// A job that the fleet has accepted.
    JobId, u64, "job-", "1", "a job id such as `job-42`"
);
number_id!(
    /// One numbered operation on the engine.
    OpId, u64, "op-", "1", "an operation such as `op-7`"
);
number_id!(
    /// One question put to the core by a client, answered once.
    RequestId, u64, "r", "1", "a request number"
);
number_id!(
    /// How often a job has been given out, counted from 1.
    AttemptNo, u32, "", "1", "an attempt number"
);
number_id!(
    /// A runner, as its forge numbers it.
    ForgeRunnerId, u64, "", "1", "a runner's number at its forge"
);
number_id!(
    /// A job of a workflow, as its forge numbers it; a job that is run again gets a new one.
    ForgeJobId, u64, "", "1", "a workflow job's number, as the forge shows it in its address"
);
number_id!(
    /// A run of a workflow, as its forge numbers it.
    ForgeRunId, u64, "", "1", "a workflow run's number, as the forge shows it in its address"
);
name_id!(
    /// Where runners register: the address of a repository, an organization or an enterprise, such
    /// as `https://github.com/me/site`, without a slash at its end.
    ScopeUrl
);
name_id!(
    /// A token of the API: eight hexadecimal digits, and nothing of its secret.
    TokenId
);
name_id!(
    /// The project: the fleet's name, used in container names and labels.
    ProjectName
);
name_id!(
    /// A random identity of one state folder, so that two fleets with one project name are told
    /// apart.
    FleetId
);
name_id!(
    /// Work that somebody drives from outside, as that somebody calls it: `task-id-123`.
    TaskName
);
name_id!(
    /// A set of resources that a runner offers and a job asks for.
    ProfileName
);
name_id!(
    /// A group of slots of one profile.
    PoolName
);
name_id!(
    /// Who may use which pools, and in what order.
    LaneName
);
name_id!(
    /// A cache that the runners of a pool share.
    CacheName
);
name_id!(
    /// The engine's id of a container; containers are never addressed by name.
    ContainerId
);
name_id!(
    /// An image as the fleet file names it, such as `slate-runner:latest`.
    ImageRef
);
name_id!(
    /// An image's content id (`sha256:…`).
    ImageId
);
name_id!(
    /// A GPU's UUID as NVML prints it (`GPU-…` or `MIG-…`).
    GpuUuid
);
name_id!(
    /// An uploaded working folder, named by its content's hash and a part of its own.
    BlobId
);

/// The name of a folder for something that people or forges have named: its letters, digits, `.`,
/// `_` and `-`, all else as `-`; not hidden, at most 100 long, never empty.
#[must_use]
pub fn folder_name(name: &str) -> String {
    let shown = name.trim_start_matches('.');
    let plain = shown.chars().map(|c| if is_plain(c) { c } else { '-' });
    let cut: String = plain.take(FOLDER_NAME_MAX).collect();
    if cut.is_empty() { "jobs".to_owned() } else { cut }
}

/// Longest name of a workflow or a run: both become folders.
pub const FOLDER_NAME_MAX: usize = 100;

/// Whether a workflow or a run may have this name: it becomes a folder of the report store.
#[must_use]
pub fn is_folder_name(name: &str) -> bool {
    let fits = !name.is_empty() && name.len() <= FOLDER_NAME_MAX;
    fits && !name.starts_with('.') && name.chars().all(is_plain)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_the_specification_writes_them_and_read_back() {
        assert_eq!(SlotId(1).to_string(), "runner-001");
        assert_eq!("runner-001".parse(), Ok(SlotId(1)));
        assert_eq!("42".parse(), Ok(JobId(42)));
        assert_eq!(JobId(42).to_string(), "job-42");
        assert!("runner-x".parse::<SlotId>().is_err());
    }

    #[test]
    fn any_name_becomes_a_folders_name() {
        assert_eq!(folder_name("multi-runner"), "multi-runner");
        assert_eq!(folder_name("CI / Build & Test"), "CI---Build---Test");
        assert_eq!(folder_name(".github/workflows/ci.yml"), "github-workflows-ci.yml");
        for nothing in ["", ".."] {
            assert_eq!(folder_name(nothing), "jobs");
        }
        assert_eq!(folder_name("../../etc"), "-..-etc");
        assert_eq!(folder_name(&"ü".repeat(200)).len(), 100);
    }
}
