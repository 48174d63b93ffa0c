//! The report store, to be read: what jobs left under `/reports/{workflow}/{run_id}/`.
//!
//! All of it was written by hostile code. [`Store`] opens things beneath its folder and nowhere
//! else, and only plain files and folders; `junit` and `sarif` read results within bounds; [`Runs`]
//! puts a run together. No HTTP here, and nothing is written.

mod junit;
mod runs;
mod sarif;
mod store;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Bytes, Time};

pub use runs::{RESULTS_MAX, Runs};
pub use store::{Entry, EntryKind, Found, Listing, Place, Store, StoreError};

/// The page that a folder shows for itself.
pub const INDEX: &str = "index.html";
/// Most failures and findings that are told of a run.
const TOLD_MAX: usize = 20;
/// Longest text of a message that is told; people read the rest in the report.
const TEXT_MAX: usize = 300;

/// One run in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunReport {
    /// Its workflow; jobs of none are under `jobs`.
    pub workflow: String,
    /// The run of it, or the job.
    pub run_id: String,
    /// When something was put there last.
    pub at: Time,
    /// Plain files in it.
    pub files: usize,
    /// Their size together.
    pub bytes: Bytes,
    /// Whether there is more than was looked at; the numbers are those of the part.
    pub is_partial: bool,
    /// Folders with a page of their own (`index.html`), relative to the run; empty is the run
    /// itself.
    pub pages: Vec<String>,
    /// What its JUnit files say together; none if it has none.
    pub tests: Option<TestCounts>,
    /// What its SARIF files say together; none if it has none.
    pub findings: Option<FindingCounts>,
    /// Where the report server shows it; none without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// One run with what went wrong in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunDetails {
    /// The run.
    #[serde(flatten)]
    pub run: RunReport,
    /// The first tests that failed.
    pub failures: Vec<TestFailure>,
    /// The first findings, the worst level first.
    pub worst: Vec<Finding>,
    /// Files whose results are in the counts, relative to the run.
    pub sources: Vec<String>,
    /// Files that look like results and are in no count, and why.
    pub unread: Vec<Unread>,
}

/// Tests by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestCounts {
    /// Went well.
    pub passed: u32,
    /// Did not: an assertion, or an error.
    pub failed: u32,
    /// Were not run.
    pub skipped: u32,
    /// What they took together, in milliseconds, as far as the files say.
    pub took_ms: u64,
}

/// A test that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TestFailure {
    /// Its class and name, as the file has them.
    pub name: String,
    /// The first line of why.
    pub message: String,
    /// The file that says so, relative to the run.
    pub source: String,
}

/// Findings by level, as SARIF 2.1.0 has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FindingCounts {
    /// A serious problem.
    pub error: u32,
    /// A problem.
    pub warning: u32,
    /// Something minor.
    pub note: u32,
    /// No problem: a result without a level.
    pub none: u32,
    /// Suppressed in the source or elsewhere; in none of the others.
    pub suppressed: u32,
}

/// How bad a finding is; the worst is the first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A serious problem.
    Error,
    /// A problem.
    Warning,
    /// Something minor.
    Note,
    /// No problem.
    None,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The rule's id, if it names one.
    pub rule: Option<String>,
    /// Where: `src/main.rs:12`, if it says so.
    pub place: Option<String>,
    /// What is wrong.
    pub message: String,
    /// The file that says so, relative to the run.
    pub source: String,
}

/// A file of results that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unread {
    /// Which, relative to the run.
    pub path: String,
    /// Why.
    pub why: String,
}

impl TestCounts {
    fn add(&mut self, other: Self) {
        self.passed = self.passed.saturating_add(other.passed);
        self.failed = self.failed.saturating_add(other.failed);
        self.skipped = self.skipped.saturating_add(other.skipped);
        self.took_ms = self.took_ms.saturating_add(other.took_ms);
    }
}

impl FindingCounts {
    fn add(&mut self, other: Self) {
        self.error = self.error.saturating_add(other.error);
        self.warning = self.warning.saturating_add(other.warning);
        self.note = self.note.saturating_add(other.note);
        self.none = self.none.saturating_add(other.none);
        self.suppressed = self.suppressed.saturating_add(other.suppressed);
    }
}

/// The first line that says something, without control characters, bounded.
fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let plain = line.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = plain.clone().take(TEXT_MAX).collect();
    if plain.count() > TEXT_MAX {
        short.push('…');
    }
    short
}
