//! Whether the event stream still tells what the lists show: a stream can be open and dead.

use std::collections::BTreeSet;

use crate::fleet::event::{ContainerFact, ContainerState, EngineEvent};
use crate::ids::ContainerId;

/// What was listed, and what was told.
#[derive(Debug, Default)]
pub(super) struct Ears {
    running: BTreeSet<ContainerId>,
    /// Ended since it was listed, as the stream told.
    told: BTreeSet<ContainerId>,
    /// Ended by the last list; the stream has not told of it yet.
    missing: BTreeSet<ContainerId>,
}

/// What a list says of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hearing {
    /// An end that the list before this one showed was still not told.
    pub is_deaf: bool,
}

impl Ears {
    /// The stream told of something.
    pub(super) fn told(&mut self, event: &EngineEvent) {
        match event {
            EngineEvent::Ended { container, .. }
            | EngineEvent::Died { container, .. }
            | EngineEvent::Removed { container } => {
                self.missing.remove(container);
                if self.running.contains(container) {
                    self.told.insert(container.clone());
                }
            }
            EngineEvent::Listed { .. }
            | EngineEvent::Unreachable { .. }
            | EngineEvent::Image { .. } => {}
        }
    }

    /// A list came.
    pub(super) fn listed(&mut self, containers: &[ContainerFact]) -> Hearing {
        let is_deaf = !self.missing.is_empty();
        let is_running = |fact: &&ContainerFact| fact.state == ContainerState::Running;
        let running: BTreeSet<ContainerId> =
            containers.iter().filter(is_running).map(|fact| fact.id.clone()).collect();
        let ended = self.running.difference(&running).filter(|id| !self.told.contains(*id));
        self.missing = ended.cloned().collect();
        self.told.clear();
        self.running = running;
        Hearing { is_deaf }
    }

    /// Whether the stream has to tell of something that a list has shown.
    pub(super) fn is_waiting(&self) -> bool {
        !self.missing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::event::ContainerExit;
    use crate::ids::IncarnationId;

    fn list(running: &[&str]) -> Vec<ContainerFact> {
        let fact = |id: &&str| ContainerFact {
            id: ContainerId::new(*id),
            incarnation: IncarnationId(1),
            state: ContainerState::Running,
        };
        running.iter().map(fact).collect()
    }

    fn died(id: &str) -> EngineEvent {
        let exit = ContainerExit { code: 0, oom: false };
        EngineEvent::Died { container: ContainerId::new(id), exit }
    }

    #[test]
    fn an_end_that_two_lists_show_and_no_event_tells_means_that_the_stream_is_dead() {
        let mut ears = Ears::default();
        assert!(!ears.listed(&list(&["a", "b"])).is_deaf);
        assert!(!ears.listed(&list(&["a"])).is_deaf);
        assert!(ears.is_waiting());
        assert!(ears.listed(&list(&["a"])).is_deaf);
    }

    #[test]
    fn an_end_that_is_told_before_or_soon_after_the_list_is_heard() {
        let mut ears = Ears::default();
        ears.listed(&list(&["a", "b"]));
        ears.told(&died("a"));
        ears.listed(&list(&["b"]));
        assert!(!ears.is_waiting());
        ears.listed(&list(&[]));
        ears.told(&died("b"));
        assert!(!ears.is_waiting());
        assert!(!ears.listed(&list(&[])).is_deaf);
    }
}
