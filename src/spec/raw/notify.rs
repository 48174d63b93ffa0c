//! What a fleet file says of messages.

use schemars::JsonSchema;
use serde::Deserialize;

use super::RawSecret;
use super::values::{Duration, NotifyEvent, NotifyStyle};

/// A webhook that is told when something stands in the fleet's way, and when that is over.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RawNotify {
    /// Where the webhook's address is. Whoever has it may write into the channel, so it is a
    /// secret.
    #[schemars(required)]
    pub(in super::super) url: Option<RawSecret>,
    /// What a message looks like: `slack` for `{"text": …}`, which many chat servers take; `json`
    /// for programs.
    #[schemars(extend("default" = "slack"))]
    pub(in super::super) style: Option<NotifyStyle>,
    /// What is told: `queue`, `crash_loop`, `degraded`, `disk`, `forge`; all of them by default.
    #[schemars(length(min = 1), example = ["queue", "disk"])]
    pub(in super::super) events: Option<Vec<NotifyEvent>>,
    /// `queue`: a pool's queue is too deep with more jobs than this …
    #[schemars(range(min = 0, max = 10_000_000), extend("default" = 20))]
    pub(in super::super) queue_above: Option<u32>,
    /// … for longer than this; at most `1d`.
    #[schemars(extend("default" = "5m"))]
    pub(in super::super) queue_for: Option<Duration>,
}
