//! What happens at a forge in a story.

use std::time::Duration;

use super::{Act, Story};
use crate::ids::ForgeJobId;
use crate::sim::Sim;
use crate::sim::rng::Rng;
use crate::sim::world::forge::jobs::Push;
use crate::sim::world::forge::{JobStage, Token};

/// Labels that pools at the forge have; jobs ask for some of them, or for more.
pub(in crate::sim::explore) const LABELS: [&str; 3] = ["self-hosted", "linux", "big"];

impl Sim {
    /// Other people's runners, tokens, and webhooks or none.
    pub(super) fn prepare_forge(&mut self, rng: &mut Rng) {
        self.world.forge.has_webhooks = rng.chance(700);
        self.give_tokens(&[1, 2, 3, 4]);
        for number in 0..rng.below(3) {
            let most = if rng.chance(500) { 3 } else { 2 };
            let labels: Vec<&str> = LABELS.iter().take(most).copied().collect();
            self.world.add_foreign(&format!("demo-of-others-{number}"), &labels);
        }
    }
}

impl Story {
    pub(super) fn play_forge(&mut self, act: Act) {
        match act {
            Act::Push => {
                let push = random_push(&mut self.rng);
                self.sim.world.push(push);
            }
            Act::CancelPush => self.cancel_push(),
            Act::ForgeAway => {
                let span = self.long_or_short();
                self.sim.world.forge_away(span);
            }
            Act::ForgeLimits => {
                let span = self.span(5_000, 300_000);
                self.sim.world.limit_forge(span);
            }
            Act::ForgeDenies => {
                let is_denied = self.rng.chance(500);
                self.sim.world.deny_forge(is_denied);
            }
            Act::KillListener => self.strike(|sim, id| sim.world.kill_listener(id)),
            Act::FreezeListener => self.strike(|sim, id| sim.world.freeze_listener(id)),
            Act::Purge => {
                let own = self.sim.world.forge.own().filter(|(_, entry)| entry.job.is_none());
                let names: Vec<String> = own.map(|(_, entry)| entry.name.clone()).collect();
                if let Some(name) = self.rng.pick(&names) {
                    self.sim.world.purge(name);
                }
            }
            Act::Tokens => self.turn_tokens(),
            Act::TooOld => self.sim.world.forge.is_too_old = self.rng.chance(600),
            _ => {}
        }
    }

    fn cancel_push(&mut self) {
        let waiting = self.sim.world.forge.jobs.iter();
        let waiting: Vec<ForgeJobId> = waiting
            .filter(|(_, job)| matches!(job.stage, JobStage::Held | JobStage::Queued))
            .map(|(id, _)| *id)
            .collect();
        if let Some(id) = self.rng.pick(&waiting) {
            self.sim.world.cancel_push(*id);
        }
    }

    fn turn_tokens(&mut self) {
        for token in self.sim.world.forge.tokens.values_mut() {
            *token = if self.rng.chance(500) { Token::Expired } else { Token::Good };
        }
    }
}

fn random_push(rng: &mut Rng) -> Push {
    let most = if rng.chance(100) { 4 } else { 3 };
    let asked = usize::try_from(rng.between(1, most)).unwrap_or(1);
    let mut labels: Vec<String> = LABELS.iter().take(asked).map(|it| (*it).to_owned()).collect();
    if asked > LABELS.len() {
        labels.push("nobody-has-this".to_owned());
    }
    let held = if rng.chance(100) { rng.between(1, 60) } else { 0 };
    Push {
        labels,
        runs: Duration::from_millis(rng.between(100, 40_000)),
        is_fork: rng.chance(80),
        held: Duration::from_secs(held),
    }
}
