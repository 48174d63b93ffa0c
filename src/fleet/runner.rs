//! A runner: one container's life, from the decision to make it until it is known to be gone.
//!
//! A phase goes back only where a forge's runner stays after all. What is *wanted* next is the
//! plan's business; here is what *is*.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::attempt::Fault;
use super::effect::Template;
use super::event::ContainerExit;
use super::forge::{Enlistment, ForgeCause, Registration};
use super::oom::GpuOom;
use super::view::RunnerStatus;
use crate::ids::{AttemptNo, ContainerId, GpuUuid, ImageId, IncarnationId, JobId, OpId, SlotId};
use crate::spec::GpuDemand;
use crate::units::Time;

/// One incarnation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// Its number, never used again.
    pub id: IncarnationId,
    /// The slot that it fills; none while it is a spare.
    pub slot: Option<SlotId>,
    /// The container's name.
    pub name: String,
    /// What it was made to.
    pub build: Build,
    /// Where it stands.
    pub phase: Phase,
    /// Since when.
    pub since: Time,
    /// How it stands with its forge, if it has one and that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<Registration>,
}

/// What a runner is made to; a runner whose build differs from its slot's is outdated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The pool's template.
    pub template: Template,
    /// The image's content.
    pub image: ImageId,
    /// What it holds of a card.
    pub gpu: Option<GpuHold>,
}

/// Memory of a card, held from the decision to make a container until that is known to be gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GpuHold {
    /// The card.
    pub card: GpuUuid,
    /// How much of it.
    pub demand: GpuDemand,
}

/// Where a runner stands. Each variant holds exactly what exists then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Decided and recorded; no container is known.
    Planned,
    /// The container exists and was never started.
    Created {
        /// Which.
        container: ContainerId,
    },
    /// The container runs; its agent has not spoken yet.
    Booting {
        /// Which.
        container: ContainerId,
    },
    /// Its agent speaks, and it is on its way into its forge's list, or to being online there.
    Registering {
        /// Which.
        container: ContainerId,
    },
    /// Ready for a job.
    Idle {
        /// Which.
        container: ContainerId,
    },
    /// Has a job of its forge.
    Working {
        /// Which.
        container: ContainerId,
    },
    /// Should go, and its forge is asked to let it.
    Leaving {
        /// Which.
        container: ContainerId,
        /// Why.
        why: Cause,
    },
    /// Has a job.
    Busy {
        /// Which.
        container: ContainerId,
        /// The job.
        job: JobId,
        /// The attempt.
        attempt: AttemptNo,
    },
    /// To be removed, whatever state its container is in.
    Retiring {
        /// The container, where one is known.
        container: Option<ContainerId>,
        /// Why.
        why: Cause,
    },
}

impl Runner {
    /// Its container, where one is known.
    #[must_use]
    pub fn container(&self) -> Option<&ContainerId> {
        match &self.phase {
            Phase::Planned => None,
            Phase::Created { container }
            | Phase::Booting { container }
            | Phase::Registering { container }
            | Phase::Idle { container }
            | Phase::Working { container }
            | Phase::Leaving { container, .. }
            | Phase::Busy { container, .. } => Some(container),
            Phase::Retiring { container, .. } => container.as_ref(),
        }
    }

    /// The job that it holds.
    #[must_use]
    pub fn job(&self) -> Option<(JobId, AttemptNo)> {
        match &self.phase {
            Phase::Busy { job, attempt, .. } => Some((*job, *attempt)),
            Phase::Planned
            | Phase::Created { .. }
            | Phase::Booting { .. }
            | Phase::Registering { .. }
            | Phase::Idle { .. }
            | Phase::Working { .. }
            | Phase::Leaving { .. }
            | Phase::Retiring { .. } => None,
        }
    }

    /// Whether it has a job, the fleet's own or its forge's.
    #[must_use]
    pub fn is_at_work(&self) -> bool {
        matches!(self.phase, Phase::Busy { .. } | Phase::Working { .. })
    }

    /// How it serves a forge, if it does.
    #[must_use]
    pub fn enlistment(&self) -> Option<&Enlistment> {
        self.build.template.forge.as_ref()
    }

    /// Whether it is on its way out.
    #[must_use]
    pub fn is_retiring(&self) -> bool {
        matches!(self.phase, Phase::Retiring { .. })
    }
}

/// Why a runner goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// Its one job is over.
    Used,
    /// The spec changed.
    Outdated,
    /// There are more than wanted.
    Surplus,
    /// The fleet goes down.
    Down,
    /// An operator asked for a new one.
    Restart,
    /// Its first process ended.
    Died(ContainerExit),
    /// Its container disappeared.
    Vanished,
    /// It could not be made or started; the engine's words.
    Failed(String),
    /// Its agent did not speak within the boot deadline.
    NeverSpoke,
    /// Its agent fell silent.
    Stale,
    /// Its agent lost the job that it held.
    LostJob,
    /// Its job did not end when it was asked to.
    Stuck,
    /// Its job did not end when its time was up.
    TimedOut,
    /// Its agent answers, and does not begin the job that it was given.
    NoProgress,
    /// It could not prepare its job; the agent's words.
    Unfit(String),
    /// The host took a device from its container; the device's node.
    DeviceLost(String),
    /// An operator asked for a new one at once, whatever it did.
    Forced,
    /// Its job ran out of GPU memory: its card is to be cleared.
    GpuOom(Box<GpuOom>),
    /// Its card was lost under it; why.
    CardLost(String),
    /// It was idle on a card that takes no new work; why.
    CardOut(String),
    /// It used more of its card than it leased, and others were short for it; how much.
    GpuOveruse(String),
    /// It was idle, and a job needed its lease; which.
    Reclaimed(String),
    /// Its forge or its listener.
    Forge(ForgeCause),
}

impl Cause {
    /// Whether it counts against the slot, so that the next try backs off.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Used
            | Self::Outdated
            | Self::Surplus
            | Self::Down
            | Self::Restart
            | Self::Stuck
            | Self::TimedOut
            | Self::Forced
            | Self::GpuOom(_)
            | Self::CardLost(_)
            | Self::CardOut(_)
            | Self::GpuOveruse(_)
            | Self::Reclaimed(_) => false,
            Self::Died(_)
            | Self::Vanished
            | Self::Failed(_)
            | Self::NeverSpoke
            | Self::Stale
            | Self::LostJob
            | Self::NoProgress
            | Self::DeviceLost(_)
            | Self::Unfit(_) => true,
            Self::Forge(cause) => cause.is_failure(),
        }
    }

    /// The state that specification 1 gives a runner that went so; none where nothing went wrong.
    #[must_use]
    pub fn error_state(&self) -> Option<RunnerStatus> {
        match self {
            Self::Used
            | Self::Outdated
            | Self::Surplus
            | Self::Down
            | Self::Restart
            | Self::Forced
            | Self::CardOut(_)
            | Self::Reclaimed(_) => None,
            Self::GpuOom(_) => Some(RunnerStatus::Oom),
            Self::Died(exit) if exit.oom => Some(RunnerStatus::Oom),
            Self::Died(_)
            | Self::Vanished
            | Self::Failed(_)
            | Self::NeverSpoke
            | Self::LostJob
            | Self::DeviceLost(_)
            | Self::Unfit(_)
            | Self::CardLost(_)
            | Self::GpuOveruse(_) => Some(RunnerStatus::Error),
            Self::Stale | Self::NoProgress => Some(RunnerStatus::Stale),
            Self::Stuck | Self::TimedOut => Some(RunnerStatus::TimedOut),
            Self::Forge(cause) => cause.error_state(),
        }
    }

    /// Whose fault it is when a job loses its runner so.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Down | Self::Restart | Self::Forced | Self::Outdated | Self::Surplus => {
                Fault::Operator
            }
            Self::Used | Self::Stuck | Self::TimedOut | Self::GpuOveruse(_) => Fault::Job,
            Self::GpuOom(oom) => oom.fault(),
            Self::Forge(cause) => cause.fault(),
            Self::Died(_)
            | Self::Vanished
            | Self::Failed(_)
            | Self::NeverSpoke
            | Self::Stale
            | Self::LostJob
            | Self::NoProgress
            | Self::DeviceLost(_)
            | Self::Unfit(_)
            | Self::CardLost(_)
            | Self::CardOut(_)
            | Self::Reclaimed(_) => Fault::Infrastructure,
        }
    }
}

impl Cause {
    /// The cause in one word, for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Used => "used",
            Self::Outdated => "outdated",
            Self::Surplus => "surplus",
            Self::Down => "down",
            Self::Restart => "restart",
            Self::Died(_) => "died",
            Self::Vanished => "vanished",
            Self::Failed(_) => "failed",
            Self::NeverSpoke => "never_spoke",
            Self::Stale => "stale",
            Self::LostJob => "lost_job",
            Self::Stuck => "stuck",
            Self::TimedOut => "timed_out",
            Self::NoProgress => "no_progress",
            Self::Unfit(_) => "unfit",
            Self::DeviceLost(_) => "device_lost",
            Self::Forced => "forced",
            Self::GpuOom(oom) => oom.word(),
            Self::CardLost(_) => "card_lost",
            Self::CardOut(_) => "card_out",
            Self::GpuOveruse(_) => "gpu_overuse",
            Self::Reclaimed(_) => "reclaimed",
            Self::Forge(cause) => cause.word(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Used => f.write_str("its job is over"),
            Self::Outdated => f.write_str("the fleet file or its image changed"),
            Self::Surplus => f.write_str("there are more runners than wanted"),
            Self::Down => f.write_str("the fleet goes down"),
            Self::Restart => f.write_str("an operator asked for a new one"),
            Self::Died(exit) if exit.oom => {
                write!(f, "the container ran out of memory (exit code {})", exit.code)
            }
            Self::Died(exit) => write!(f, "the container ended with exit code {}", exit.code),
            Self::Vanished => f.write_str("the container was removed by somebody else"),
            Self::Failed(message) => f.write_str(message),
            Self::NeverSpoke => f.write_str("its agent did not connect in time"),
            Self::Stale => f.write_str("its agent fell silent"),
            Self::LostJob => f.write_str("its agent was restarted and lost the job"),
            Self::Stuck => f.write_str("its job did not stop when it had to"),
            Self::TimedOut => f.write_str("its job did not stop when its time was up"),
            Self::NoProgress => {
                f.write_str("its agent answers, but did not start the job that it was given")
            }
            Self::Unfit(why) => write!(f, "it could not prepare its job: {why}"),
            Self::DeviceLost(node) => write!(
                f,
                "the host took {node} from its container: systemd does so at `daemon-reload` where \
                 it does not know the device (`gpu.request: cdi` avoids it)"
            ),
            Self::Forced => f.write_str("an operator asked for a new one at once"),
            Self::GpuOom(oom) => write!(f, "its job ran {oom}"),
            Self::CardLost(why) => write!(f, "its card was lost under it ({why})"),
            Self::CardOut(why) => write!(f, "its card takes no new work ({why})"),
            Self::GpuOveruse(how) => write!(f, "it took more GPU memory than it leased: {how}"),
            Self::Reclaimed(why) => write!(f, "it was idle and its card is needed: {why}"),
            Self::Forge(cause) => cause.fmt(f),
        }
    }
}

/// An operation whose outcome is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// Its number.
    pub op: OpId,
    /// What it does.
    pub kind: OpKind,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpKind {
    /// Make the container.
    Create,
    /// Start it.
    Start,
    /// Remove it.
    Remove,
    /// Register it with its forge.
    Register,
    /// Remove it from its forge's list.
    Deregister,
}

/// What is known of a runner that is not worth recording: it is learned again after a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Contact {
    /// The operation in flight; one at most.
    pub op: Option<InFlight>,
    /// When the last operation ended: a list begun earlier says nothing of it.
    pub op_ended: Time,
    /// An operation's outcome is unknown: nothing is done before the next list.
    pub uncertain: bool,
    /// Removals that failed in a row.
    pub removals_failed: u32,
    /// A removal failed: not again before this.
    pub retry_at: Time,
    /// Its job runs without a device that the container was given.
    pub device_lost: bool,
    /// Since when the agent's session has been open, if it is.
    pub session_since: Option<Time>,
    /// The agent's last sign of life, or what stands for one: its container's start, ours.
    pub heard: Time,
    /// The agent's last sign of life that was truly heard.
    pub spoke: Option<Time>,
}

impl Contact {
    /// Whether something may be done now: nothing is in flight, and nothing is in doubt.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.op.is_none() && !self.uncertain
    }

    /// Whether the agent's session is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.session_since.is_some()
    }
}
