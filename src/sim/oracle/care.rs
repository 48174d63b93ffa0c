//! Nothing is done to a container before the engine was looked at, nor while it is not known what
//! became of what was done last.

use std::collections::BTreeMap;

use crate::fleet::effect::Effect;
use crate::fleet::event::{EngineEvent, Event, Outcome};
use crate::ids::{IncarnationId, OpId};
use crate::units::Time;

/// What is known of the engine by what was told.
#[derive(Debug, Default)]
pub(super) struct Care {
    is_engine_known: bool,
    listed: Time,
    begun: BTreeMap<IncarnationId, OpId>,
    uncertain: BTreeMap<IncarnationId, Time>,
}

impl Care {
    /// Whether there was a list since the engine was last away.
    pub(super) fn is_engine_known(&self) -> bool {
        self.is_engine_known
    }

    /// When the newest list was begun.
    pub(super) fn listed(&self) -> Time {
        self.listed
    }

    /// A supervisor starts and knows nothing.
    pub(super) fn started(&mut self) {
        *self = Self::default();
    }

    /// The core is told of something.
    pub(super) fn heard(&mut self, now: Time, event: &Event) {
        match event {
            Event::Engine(EngineEvent::Listed { begun, .. }) => {
                if *begun < self.listed {
                    return;
                }
                self.listed = *begun;
                self.is_engine_known = true;
                self.uncertain.retain(|_, since| *since >= *begun);
            }
            Event::Engine(EngineEvent::Unreachable { .. }) => self.is_engine_known = false,
            Event::Operation { op, outcome } => {
                let of = self.begun.iter().find(|(_, begun)| *begun == op).map(|(id, _)| *id);
                let Some(id) = of else { return };
                self.begun.remove(&id);
                if matches!(outcome, Outcome::Unknown(_)) {
                    self.uncertain.insert(id, now);
                }
            }
            _ => {}
        }
    }

    /// What is about to be done without care.
    pub(super) fn check(&mut self, effects: &[Effect]) -> Vec<String> {
        let mut breaches = Vec::new();
        for effect in effects {
            let Effect::Engine { op, incarnation, .. } = effect else { continue };
            if !self.is_engine_known {
                breaches.push(format!("{incarnation} is worked on before the engine is known"));
            }
            if self.uncertain.contains_key(incarnation) {
                breaches.push(format!("{incarnation} is worked on in doubt, without a look"));
            }
            self.begun.insert(*incarnation, *op);
        }
        breaches
    }
}
