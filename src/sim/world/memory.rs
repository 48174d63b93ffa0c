//! The GPU memory that simulated jobs need: one whose runner has less fails, and says so.

use std::time::Duration;

use super::{Container, World};
use crate::fleet::event::Event;
use crate::fleet::oom::Finding;
use crate::ids::{AttemptNo, ContainerId, JobId, ProfileName};
use crate::sim::fault::Fault;
use crate::sim::rng::Rng;

/// What such a job prints.
pub const SHORT: &str = "CUDA out of memory. Tried to allocate 2.00 GiB";

/// The GPU memory of the profiles that stories have, in MiB.
#[must_use]
pub fn of_profile(profile: &ProfileName) -> u32 {
    match profile.as_str() {
        "gpu_light" => 2000,
        "gpu_heavy" => 8000,
        "gpu_max" => 14_000,
        _ => 0,
    }
}

/// `needs MIB` among a job's words.
fn need(command: &[String]) -> u32 {
    let place = command.iter().position(|word| word == "needs");
    let number = place.and_then(|place| command.get(place + 1));
    number.and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// Whether a job has less GPU memory in a container than it needs. One without a card has a job
/// that asks for none.
fn is_short(container: &Container, command: &[String]) -> bool {
    container.gpu.is_some() && of_profile(&container.profile) < need(command)
}

impl World {
    /// The exit code of a job in a container: one that runs out of GPU memory fails.
    pub(super) fn exit_code(
        &mut self,
        id: &ContainerId,
        key: (JobId, AttemptNo),
        (command, code): (&[String], i32),
    ) -> i32 {
        let is_short = self.containers.get(id).is_some_and(|it| is_short(it, command));
        if is_short {
            self.truth.short.insert(key);
        }
        if is_short { 1 } else { code }
    }

    /// What a job left is stored, and its output is looked into.
    pub(super) fn publish(&mut self, (job, attempt): (JobId, AttemptNo), is_searched: bool) {
        let outcome = match self.strikes(Fault::PublishFails) {
            true => Err("the disk is full".to_owned()),
            false => Ok(()),
        };
        let found = match (is_searched, self.truth.short.contains(&(job, attempt))) {
            (false, _) => Finding::NotAsked,
            (true, false) => Finding::Nothing,
            (true, true) => Finding::Line(SHORT.to_owned()),
        };
        let wait = self.span(5);
        let again = Duration::from_millis(self.rng.between(1, 20_000));
        let event = Event::Published { job, attempt, outcome, found };
        if self.strikes(Fault::PublishTwice) {
            self.tell(wait + again, event.clone());
        }
        self.tell(wait, event);
    }
}

/// A need that some of the profiles meet.
pub fn random_need(rng: &mut Rng) -> u32 {
    rng.pick(&[1000, 3000, 9000, 15_000]).copied().unwrap_or(1000)
}
