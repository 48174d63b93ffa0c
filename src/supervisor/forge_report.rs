//! What the supervisor knows of its forges beside the core: credentials, limits, webhooks.
//!
//! Only names and places of secrets are told, never a secret.

use std::path::PathBuf;

use crate::forge::Finding;
use crate::ids::{PoolName, ScopeUrl};
use crate::units::Time;

/// All of it, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgeReport {
    /// Every scope that a pool names, once for each right that it is used by.
    pub scopes: Vec<ScopeReport>,
    /// Every secret that the spec names.
    pub secrets: Vec<SecretReport>,
    /// The `.env` file that variables are read from, if there is one.
    pub env_file: Option<EnvFileReport>,
    /// Where webhooks come in, if anywhere.
    pub webhook: Option<WebhookReport>,
}

/// One scope and one right to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeReport {
    /// Which.
    pub scope: ScopeUrl,
    /// The pools that register there by this right.
    pub pools: Vec<PoolName>,
    /// What the adapter found; empty where the right is no access to the API.
    pub findings: Vec<Finding>,
    /// How many calls are left; none before the first one.
    pub limit: Option<LimitReport>,
}

/// What is left of a credential's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitReport {
    /// Calls in a window.
    pub limit: u64,
    /// Calls left in this one.
    pub remaining: u64,
    /// When the next window begins.
    pub reset: Time,
    /// No call before then, because the forge asked for that.
    pub silent_until: Option<Time>,
}

/// One secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretReport {
    /// Its name or place: `RUNNER_TOKEN_3`, `file /etc/app.pem`.
    pub source: String,
    /// Who needs it.
    pub of: SecretUser,
    /// Why it cannot be read; none if it can.
    pub trouble: Option<String>,
    /// Something to mend about it, though it can be read: a file that all may read.
    pub warning: Option<String>,
}

/// Who needs a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretUser {
    /// The door of the webhooks.
    Webhook,
    /// Messages to the operator.
    Notify,
    /// A pool, to speak with its forge.
    Pool(PoolName),
    /// Jobs and the fleet's own calls, to get through the network's proxy.
    Proxy,
    /// A runner of a pool, to register; by its number in the pool, from 1.
    Runner(PoolName, u32),
}

/// The `.env` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvFileReport {
    /// Where.
    pub path: PathBuf,
    /// Why it cannot be read; none if it can.
    pub trouble: Option<String>,
}

/// The door of the webhooks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookReport {
    /// Its address.
    pub listen: String,
    /// Why it is not open; none if it is.
    pub trouble: Option<String>,
    /// When a good delivery came last.
    pub last: Option<Time>,
    /// Good deliveries since the supervisor began.
    pub taken: u64,
    /// Deliveries with a wrong signature, or none.
    pub bad_signatures: u64,
    /// Deliveries that were turned away because too many waited.
    pub turned_away: u64,
}
