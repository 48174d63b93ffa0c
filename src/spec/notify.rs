//! Messages to a webhook: where they go, and about what.

use std::collections::BTreeSet;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SecretSource;

/// A webhook that is told when something stands in the fleet's way, and when that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notify {
    /// Where its address is: whoever has it may write into the channel.
    pub url: SecretSource,
    /// What its messages look like.
    pub style: NotifyStyle,
    /// What is told.
    pub events: BTreeSet<NotifyEvent>,
    /// A queue is too deep with more jobs than this …
    pub queue_above: u32,
    /// … for longer than this.
    pub queue_for: Duration,
}

impl Notify {
    /// Specification 4: more than 20 …
    pub const QUEUE_ABOVE: u32 = 20;
    /// … for more than 5 minutes.
    pub const QUEUE_FOR: Duration = Duration::from_secs(5 * 60);
}

/// What a message looks like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotifyStyle {
    /// `{"text": …}`, as Slack, Mattermost, Rocket.Chat and others take it.
    #[default]
    Slack,
    /// The notices with all their parts, for programs.
    Json,
}

/// What a message is about.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum NotifyEvent {
    /// Too many jobs wait for a pool for too long.
    Queue,
    /// A runner fails again and again.
    CrashLoop,
    /// The fleet is not as its file says for a while.
    Degraded,
    /// A disk has so little space that no job is given out.
    Disk,
    /// A forge cannot be spoken to for a while.
    Forge,
}

impl NotifyEvent {
    /// All there are.
    pub const ALL: [Self; 5] =
        [Self::Queue, Self::CrashLoop, Self::Degraded, Self::Disk, Self::Forge];

    /// The event in one word, as the fleet file writes it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::CrashLoop => "crash_loop",
            Self::Degraded => "degraded",
            Self::Disk => "disk",
            Self::Forge => "forge",
        }
    }
}
