//! The closed set of reasons for waiting, in one word each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A [`WaitReason`](super::WaitReason) in one word, for programs.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "`WaitReason` says what each means")]
pub enum WaitCode {
    Held,
    GoingDown,
    DiskLow,
    WorkflowLimit,
    LaneLimit,
    NoPool,
    NoLabels,
    ForkDenied,
    HeldByForge,
    NotTaken,
    RunnerGone,
    NeedsOperator,
    ForgeLimited,
    ForgeUnreachable,
    EngineUnreachable,
    Paused,
    Cordoned,
    ImageMissing,
    Failing,
    NoGpu,
    CannotGrow,
    GrowthDelayed,
    NoRunners,
    Starting,
    AllBusy,
    Next,
}

impl WaitCode {
    /// All of them.
    pub const ALL: [Self; 26] = [
        Self::Held,
        Self::GoingDown,
        Self::DiskLow,
        Self::WorkflowLimit,
        Self::LaneLimit,
        Self::NoPool,
        Self::NoLabels,
        Self::ForkDenied,
        Self::HeldByForge,
        Self::NotTaken,
        Self::RunnerGone,
        Self::NeedsOperator,
        Self::ForgeLimited,
        Self::ForgeUnreachable,
        Self::EngineUnreachable,
        Self::Paused,
        Self::Cordoned,
        Self::ImageMissing,
        Self::Failing,
        Self::NoGpu,
        Self::CannotGrow,
        Self::GrowthDelayed,
        Self::NoRunners,
        Self::Starting,
        Self::AllBusy,
        Self::Next,
    ];

    /// Whether it is a runner that such a job waits for; some wait for somebody to let them go.
    #[must_use]
    pub fn is_for_runner(self) -> bool {
        !matches!(self, Self::Held | Self::HeldByForge | Self::ForkDenied | Self::RunnerGone)
    }

    /// As it is written in JSON, in labels of metrics and in the reference.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::GoingDown => "going_down",
            Self::DiskLow => "disk_low",
            Self::WorkflowLimit => "workflow_limit",
            Self::LaneLimit => "lane_limit",
            Self::NoPool => "no_pool",
            Self::NoLabels => "no_labels",
            Self::ForkDenied => "fork_denied",
            Self::HeldByForge => "held_by_forge",
            Self::NotTaken => "not_taken",
            Self::RunnerGone => "runner_gone",
            Self::NeedsOperator => "needs_operator",
            Self::ForgeLimited => "forge_limited",
            Self::ForgeUnreachable => "forge_unreachable",
            Self::EngineUnreachable => "engine_unreachable",
            Self::Paused => "paused",
            Self::Cordoned => "cordoned",
            Self::ImageMissing => "image_missing",
            Self::Failing => "failing",
            Self::NoGpu => "no_gpu",
            Self::CannotGrow => "cannot_grow",
            Self::GrowthDelayed => "growth_delayed",
            Self::NoRunners => "no_runners",
            Self::Starting => "starting",
            Self::AllBusy => "all_busy",
            Self::Next => "next",
        }
    }
}
