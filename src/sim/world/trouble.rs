//! Mishaps of the whole engine, of an agent for a while, and of the supervisor's own time.

use std::time::Duration;

use super::engine::KILLED;
use super::forge::ForgeDue;
use super::{Due, Turn, World};
use crate::fleet::event::{ContainerState, EngineEvent, Event};
use crate::ids::ContainerId;
use crate::spec::Reuse;
use crate::units::Time;

/// Whether containers live on without their engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveRestore {
    /// They do.
    On,
    /// They die with it.
    Off,
}

/// A supervisor that stood still for this long knows it by its missing ticks.
const SLEEP_NOTICED: Duration = Duration::from_millis(10_001);

impl World {
    /// The engine stops answering for a while.
    pub fn engine_away(&mut self, span: Duration) {
        if !self.is_engine_up {
            return;
        }
        self.is_engine_up = false;
        self.note("the engine stops answering".to_owned());
        let why = "connection refused".to_owned();
        let wait = self.span(5);
        self.tell(wait, Event::Engine(EngineEvent::Unreachable { why }));
        self.clock.after(span, Due::EngineBack);
    }

    pub(super) fn engine_back(&mut self) {
        self.is_engine_up = true;
        self.note("the engine answers again".to_owned());
        self.list_soon();
    }

    /// The engine restarts: what it was doing is lost, and so are its events. Without live-restore
    /// every container dies, and those with a restart policy come back when the engine does.
    pub fn engine_restarts(&mut self, away: Duration, live: LiveRestore) {
        if !self.is_engine_up {
            return;
        }
        self.engine_away(away);
        if live == LiveRestore::On {
            return;
        }
        self.note("every container dies with the engine".to_owned());
        let all: Vec<ContainerId> = self.containers.keys().cloned().collect();
        for id in all {
            if self.fall(&id, KILLED) {
                let wait = away + self.span(500);
                self.revive_after(wait, &id);
            }
        }
    }

    /// The engine accepts calls and answers none for a while; containers live on.
    pub fn engine_hangs(&mut self, span: Duration) {
        self.note("the engine hangs".to_owned());
        self.hung = self.now() + span;
    }

    /// When an engine that hangs goes on.
    pub(super) fn hung_until(&self) -> Option<Time> {
        (self.hung > self.now()).then_some(self.hung)
    }

    /// Lets the engine start a container that fell again, if it still lies there and has a policy.
    pub(super) fn revive_after(&mut self, wait: Duration, id: &ContainerId) {
        let Some(container) = self.containers.get(id) else { return };
        if container.reuse == Reuse::Persistent {
            self.clock.after(wait, Due::Revive(id.clone(), container.fall));
        }
    }

    pub(super) fn revive(&mut self, id: &ContainerId, fall: Turn) {
        let now = self.now();
        let Some(container) = self.containers.get_mut(id) else { return };
        let lies = matches!(container.state, ContainerState::Exited(_));
        if !lies || container.fall != fall || !self.is_engine_up {
            return;
        }
        (container.state, container.since) = (ContainerState::Running, now);
        self.note(format!("the engine starts {id} again"));
        self.boot(id);
    }

    /// The supervisor's process stands still: it hears nothing, then all at once.
    pub fn sleep(&mut self, span: Duration) {
        if !self.is_watched || self.asleep > self.now() {
            return;
        }
        self.note(format!("the supervisor stands still for {} s", span.as_secs()));
        self.asleep = self.now() + span;
        // Silence that nobody could have heard is none; a short sleep looks like a slow disk.
        if span >= SLEEP_NOTICED {
            for container in self.containers.values_mut() {
                container.agent.heard = container.agent.heard + span;
            }
        }
    }

    /// Whether the supervisor stands still.
    #[must_use]
    pub fn is_asleep(&self) -> bool {
        self.is_watched && self.asleep > self.now()
    }

    /// Whether this must wait because the supervisor stands still.
    pub(super) fn waits_for_supervisor(&self, due: &Due) -> bool {
        let is_told = matches!(
            due,
            Due::Tell(..)
                | Due::Say(..)
                | Due::Tick(_)
                | Due::ListAgain(_)
                | Due::Read(_)
                | Due::Forge(ForgeDue::Poll(_))
        );
        is_told && self.is_asleep()
    }

    /// Somebody else makes a container with this name.
    pub fn take_name(&mut self, name: &str) {
        self.note(format!("somebody else makes a container called {name}"));
        self.foreign.insert(name.to_owned());
    }

    /// Whoever made containers of his own removes them.
    pub fn free_names(&mut self) {
        self.foreign.clear();
    }

    /// The agent hangs for a while, then speaks on as if nothing had been.
    pub fn hang_for(&mut self, id: &ContainerId, span: Duration) {
        let Some(life) = self.containers.get(id).map(|it| it.agent.life) else { return };
        self.hang(id);
        self.clock.after(span, Due::Unhang(id.clone(), life));
    }

    pub(super) fn unhang(&mut self, id: &ContainerId, life: Turn) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.state != ContainerState::Running || container.agent.life != life {
            return;
        }
        container.agent.hangs = false;
        self.note(format!("the agent in {id} goes on"));
        // Its session was ended for its silence, or it notices that it stood still.
        self.disconnect(id);
        let wait = self.span(200);
        self.clock.after(wait, Due::Connect(id.clone(), life));
    }
}
