//! What will happen, and whether it is something that a fleet at rest still waits for.

use super::Turn;
use super::forge::ForgeDue;
use crate::fleet::effect::{AgentOrder, EngineAction};
use crate::fleet::event::{AgentEvent, EngineEvent, Event, JobEnd};
use crate::ids::{AttemptNo, ContainerId, GpuUuid, ImageRef, IncarnationId, JobId, OpId};
use crate::units::Time;

/// Something that will happen.
#[derive(Debug, Clone)]
pub(in crate::sim) enum Due {
    /// A supervisor of this epoch hears of something.
    Tell(Turn, Box<Event>),
    /// A message of an agent arrives, if its session is still open.
    Say(ContainerId, Turn, AgentEvent),
    /// An order arrives at an agent, if the session is still open.
    Order(ContainerId, Turn, Box<AgentOrder>),
    /// The engine carries out an operation.
    Operate(Box<Operation>),
    /// A slow removal comes to its end.
    Vanish(ContainerId, Option<(Turn, OpId)>),
    /// An agent tries to open a session.
    Connect(ContainerId, Turn),
    /// An agent shows that it lives.
    Beat(ContainerId, Turn),
    /// A job's first process starts.
    Begin(ContainerId, JobId, AttemptNo),
    /// A job's processes end.
    End(ContainerId, JobId, AttemptNo, JobEnd),
    /// The shell asks for a list, again and again.
    ListAgain(Turn),
    /// The engine makes a list that was asked for earlier.
    Snapshot(Turn, Time),
    /// Time passes for a supervisor.
    Tick(Turn),
    /// An image is looked up.
    Lookup(Turn, ImageRef),
    /// The engine answers again.
    EngineBack,
    /// The engine starts a container again that fell, unless it fell once more.
    Revive(ContainerId, Turn),
    /// A hanging agent goes on, in the same life.
    Unhang(ContainerId, Turn),
    /// A supervisor's shell reads the cards.
    Read(Turn),
    /// What a container left on a card goes, with this much memory.
    Clean(GpuUuid, ContainerId, u32),
    /// Something at a forge, or in a listener.
    Forge(ForgeDue),
    /// A new supervisor starts.
    Start,
}

/// An operation on its way to the engine.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Operation {
    pub epoch: Turn,
    pub op: OpId,
    pub incarnation: IncarnationId,
    pub action: EngineAction,
    /// Whether anybody waits for the outcome.
    pub told: Told,
}

/// Whether the outcome of an operation is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sim) enum Told {
    Yes,
    GivenUp,
}

impl Due {
    /// Whether it may still change what a fleet at rest looks like.
    pub(super) fn is_awaited(&self) -> bool {
        match self {
            Due::Operate(_) | Due::Vanish(..) | Due::Lookup(..) => true,
            Due::Tell(_, event) => !is_news_of_all(event),
            Due::Say(_, _, event) => *event != AgentEvent::Heartbeat,
            Due::Order(..)
            | Due::Revive(..)
            | Due::Unhang(..)
            | Due::Connect(..)
            | Due::Begin(..)
            | Due::End(..)
            | Due::EngineBack
            | Due::Clean(..)
            | Due::Start => true,
            Due::Forge(due) => due.is_awaited(),
            Due::Read(_) | Due::Beat(..) | Due::ListAgain(_) | Due::Snapshot(..) | Due::Tick(_) => {
                false
            }
        }
    }
}

/// What is told again and again, whether anything changed or not.
fn is_news_of_all(event: &Event) -> bool {
    matches!(event, Event::Engine(EngineEvent::Listed { .. }) | Event::Gpus(_) | Event::Forge(_))
}
