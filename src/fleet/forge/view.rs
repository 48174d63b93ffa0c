//! What readers see of forges.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fact::{ForgeContact, ForgeJobFact, WorkFact};
use crate::fleet::view::{WaitCode, WaitReason};
use crate::ids::{ForgeRunnerId, PoolName, ScopeUrl};
use crate::units::Time;

/// One scope at a forge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForgeView {
    /// Which.
    pub scope: ScopeUrl,
    /// Whether it can be spoken to; none before it was.
    pub contact: Option<ForgeContact>,
    /// Since when that is so.
    pub since: Time,
    /// When its runners were last listed.
    pub runners_listed: Option<Time>,
    /// When its jobs were last listed.
    pub jobs_listed: Option<Time>,
    /// Entries of runners that are gone, which the forge still lists or may list.
    pub leftovers: Vec<String>,
    /// The newest version of the runner that it offers.
    pub newest_runner: Option<String>,
}

/// What a forge knows of a runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForgeRunnerView {
    /// Where it is registered.
    pub scope: ScopeUrl,
    /// Under which name.
    pub name: Option<String>,
    /// Under which number.
    pub id: Option<ForgeRunnerId>,
    /// Whether the forge sees it online; none if it has not said so yet.
    pub online: Option<bool>,
    /// Whether the forge calls it busy.
    pub busy: Option<bool>,
    /// The job that it has.
    pub work: Option<WorkFact>,
    /// The version of its program.
    pub version: Option<String>,
    /// Why no runner is made in its slot before an operator does something; none if it waits for
    /// nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<String>,
}

/// A workflow's job, and what the fleet makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ForgeJobView {
    /// Which scope told of it.
    pub scope: ScopeUrl,
    /// What the forge says.
    #[serde(flatten)]
    pub job: ForgeJobFact,
    /// The pool that it counts for, if one may serve it.
    pub pool: Option<PoolName>,
    /// Why it waits, in words; none if it does not.
    pub reason: Option<String>,
    /// The same in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<WaitCode>,
    /// The same with its numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitReason>,
}
