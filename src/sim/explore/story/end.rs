//! How a story ends: in peace, or with a fleet that goes down.

use std::time::Duration;

use super::{Story, is_steered};
use crate::fleet::effect::Answer;
use crate::fleet::event::{Cordon, DownMode, Request};
use crate::ids::SlotId;
use crate::sim::fault::Faults;
use crate::sim::script::SETTLE_MAX;
use crate::sim::world::forge::Entry;

impl Story {
    pub(super) fn calm(&mut self) {
        self.sim.tell("peace");
        self.sim.world.faults = Faults::NONE;
        self.sim.world.free_names();
        self.sim.world.heal_cards();
        self.sim.world.heal_forge();
        self.peace_at = self.sim.now();
    }

    /// Nothing goes wrong any more, and what the operator closed is open again.
    pub(super) fn peace(&mut self) {
        self.calm();
        self.sim.run_till(|sim| sim.fleet().is_some() && !sim.world.is_asleep());
        let slots: Vec<SlotId> = self.sim.records.slots.keys().copied().collect();
        self.sim.ask(Request::Cordon { slots, to: Cordon::Open });
        if is_steered(self.seed) {
            self.let_go();
        }
        self.resume_cards();
        if self.spec.pools.iter().any(|pool| pool.forge.is_some()) {
            // Holds end when the operator, who has seen to their causes, says so.
            self.sim.up(self.spec.clone());
        }
    }

    /// The operator has seen to the cards, and their drivers say so.
    fn resume_cards(&mut self) {
        let cards: Vec<String> = self.sim.world.cards.keys().map(ToString::to_string).collect();
        let end = self.sim.now() + SETTLE_MAX;
        while !cards.is_empty() && self.sim.now() < end {
            self.sim.run_for(Duration::from_secs(5));
            let cards = cards.clone();
            let request = Request::CordonCards { cards, to: Cordon::Open };
            if self.sim.ask(request) == Some(Answer::Accepted) {
                return;
            }
        }
    }

    /// The fleet goes down under fire, then in peace; nothing is left.
    pub(super) fn down(&mut self) -> Result<(), String> {
        let mode = if self.rng.chance(500) { DownMode::Now } else { DownMode::Drain };
        loop {
            self.sim.run_till(|sim| sim.fleet().is_some() && !sim.world.is_asleep());
            if self.sim.down(mode).is_some() {
                break;
            }
        }
        self.run(Duration::from_secs(30))?;
        self.calm();
        let end = self.sim.now() + SETTLE_MAX;
        while !self.sim.is_finished() {
            self.run(Duration::from_secs(1))?;
            if self.sim.now() > end {
                let left: Vec<_> = self.sim.records.runners.keys().collect();
                return Err(format!("not down after an hour: {left:?}"));
            }
        }
        self.leftovers()
    }

    /// What an operation in limbo made after the end is not the core's; the next `down` sees it.
    fn leftovers(&self) -> Result<(), String> {
        let world = &self.sim.world;
        if !world.is_at_rest() {
            return Ok(());
        }
        let mut all = world.containers.iter();
        if let Some((id, it)) = all.find(|(_, it)| !world.truth.limbo.contains(&it.incarnation)) {
            return Err(format!("{id} of {} was left behind", it.incarnation));
        }
        // Kept runners stay registered; what lists hide nobody can know of.
        let is_left = |it: &&Entry| it.is_ephemeral && it.is_shown(self.peace_at);
        match world.forge.own().map(|(_, entry)| entry).find(is_left) {
            Some(entry) => Err(format!("{} was left at the forge", entry.name)),
            None => Ok(()),
        }
    }
}
