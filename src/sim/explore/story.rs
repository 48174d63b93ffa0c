//! One story: requests and mishaps as a seed makes them up, then peace, then a look at whether all
//! is well.

mod end;
mod forges;
mod steer;

use std::time::Duration;

pub(super) use forges::LABELS;

use super::Told;
use super::cut::{Cut, Part};
use super::invent::{edited, random_job, random_spec, with_cards, with_forge};
use crate::fleet::event::{Cordon, Request, RestartTime, TaskEnd};
use crate::fleet::gpu::GpuHealth;
use crate::fleet::job::JobState;
use crate::ids::{ContainerId, GpuUuid, JobId, SlotId};
use crate::sim::Sim;
use crate::sim::fault::Faults;
use crate::sim::rng::Rng;
use crate::sim::script::{host, task};
use crate::sim::transcript::Writing;
use crate::sim::world::cards::Card;
use crate::sim::world::trouble::LiveRestore;
use crate::sim::world::{BEGIN, Pace};
use crate::spec::Spec;
use crate::units::Time;

/// The supervisor's process stands still for this long at most, in milliseconds.
const SLEEP_MAX: u64 = 600_000;

/// What an operator, a client or the world does in one act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Submit,
    Cancel,
    Hold,
    Release,
    Pause,
    Resume,
    Scale,
    Edit,
    Cordon,
    Restart,
    Kill,
    RemoveByHand,
    Disconnect,
    Hang,
    HangForAWhile,
    EngineAway,
    EngineRestarts,
    EngineHangs,
    Sleep,
    Crash,
    Build,
    TakeName,
    OthersUse,
    SickCard,
    CordonCard,
    Overuse,
    Assign,
    Complete,
    Push,
    CancelPush,
    ForgeAway,
    ForgeLimits,
    ForgeDenies,
    KillListener,
    FreezeListener,
    Purge,
    Tokens,
    TooOld,
}

/// Acts and how often they are played. A story has jobs, and a random part of the other kinds.
const ACTS: [(u64, Act); 20] = [
    (45, Act::Submit),
    (7, Act::Cancel),
    (6, Act::Scale),
    (7, Act::Edit),
    (3, Act::Cordon),
    (2, Act::Restart),
    (7, Act::Kill),
    (5, Act::RemoveByHand),
    (5, Act::Disconnect),
    (2, Act::Hang),
    (3, Act::HangForAWhile),
    (3, Act::EngineAway),
    (3, Act::EngineRestarts),
    (3, Act::EngineHangs),
    (3, Act::Sleep),
    (5, Act::Crash),
    (2, Act::Build),
    (2, Act::TakeName),
    (5, Act::Assign),
    (4, Act::Complete),
];

/// What is played beside them where cards are read.
const CARD_ACTS: [(u64, Act); 4] =
    [(10, Act::OthersUse), (4, Act::SickCard), (4, Act::CordonCard), (5, Act::Overuse)];

/// What is played beside them where runners are at a forge.
const FORGE_ACTS: [(u64, Act); 10] = [
    (50, Act::Push),
    (4, Act::CancelPush),
    (4, Act::ForgeAway),
    (3, Act::ForgeLimits),
    (2, Act::ForgeDenies),
    (5, Act::KillListener),
    (4, Act::FreezeListener),
    (3, Act::Purge),
    (2, Act::Tokens),
    (1, Act::TooOld),
];

/// What is played beside them where the operator steers what begins.
const STEERING_ACTS: [(u64, Act); 4] =
    [(6, Act::Hold), (5, Act::Release), (4, Act::Pause), (6, Act::Resume)];

/// A story that is being told.
pub(super) struct Story {
    pub(super) sim: Sim,
    seed: u64,
    rng: Rng,
    spec: Spec,
    acts: usize,
    kinds: Vec<(u64, Act)>,
    goes_down: bool,
    peace_at: Time,
    faults: Faults,
}

/// How long an engine takes to say why a container was killed: it cleans up first.
const ASKING: Duration = Duration::from_millis(80);

/// Whether the operator of a story steers what begins. None of the seeds that went wrong once is
/// among these, so each of them tells still what it told.
fn is_steered(seed: u64) -> bool {
    seed % 22 >= 17
}

impl Story {
    /// The story of a seed, at its beginning.
    pub(super) fn new(seed: u64, cut: &Cut, writing: Writing) -> Self {
        let mut rng = Rng::new(seed ^ 0x0005_1A7E);
        let has_cards = seed.is_multiple_of(4);
        let mut spec = random_spec(&mut rng);
        if has_cards {
            spec = with_cards(&mut Rng::new(seed), spec);
        }
        let has_forge = seed % 5 == 1;
        if has_forge {
            spec = with_forge(&mut Rng::new(seed.rotate_left(7)), spec);
        }
        if is_steered(seed) {
            let most = Rng::new(seed.rotate_left(23)).below(3);
            spec = spec.limiting("fast", u32::try_from(most).unwrap_or(0));
        }
        let mut sim = Sim::new(rng.next(), writing, (spec.clone(), host()));
        sim.world.pace = if rng.chance(800) { Pace::Uneven } else { Pace::Even };
        sim.world.tick_every = Duration::from_secs(5);
        sim.world.asking = seed.is_multiple_of(2).then_some(ASKING);
        let acts = usize::try_from(rng.between(5, 40)).unwrap_or(5);
        let goes_down = rng.chance(300);
        let faults = cut.faults(Faults::random(&mut rng));
        let played = |(_, act): &(u64, Act)| *act == Act::Submit || rng.chance(600);
        let mut kinds: Vec<(u64, Act)> = ACTS.iter().copied().filter(played).collect();
        if has_cards {
            kinds.extend(CARD_ACTS.iter().copied().filter(|_| rng.chance(600)));
            sim.world.read_cards(&host().gpus);
        }
        if has_forge {
            let own = &mut Rng::new(seed.rotate_left(11));
            kinds.extend(FORGE_ACTS.iter().copied().filter(|(_, act)| {
                let is_played = own.chance(600);
                *act == Act::Push || is_played
            }));
            sim.prepare_forge(own);
        }
        if is_steered(seed) {
            let own = &mut Rng::new(seed.rotate_left(19));
            kinds.extend(STEERING_ACTS.iter().copied().filter(|_| own.chance(800)));
        }
        Self { sim, seed, rng, spec, acts, kinds, goes_down, peace_at: BEGIN, faults }
    }

    /// Tells it, but for what is cut out.
    pub(super) fn tell(&mut self, cut: &Cut) -> Result<(), String> {
        self.turn(0);
        self.sim.up(self.spec.clone());
        self.sim.world.faults = self.faults;
        for act in 0..self.acts {
            let part = cut.part(act);
            if part == Part::Nothing {
                continue;
            }
            self.turn(act + 1);
            let pause = self.pause();
            self.run(pause)?;
            if part == Part::Whole {
                self.act();
            }
        }
        self.turn(self.acts + 1);
        if self.goes_down {
            return self.down();
        }
        self.peace();
        self.sim.settle()
    }

    /// A new part of the story has chances of its own: what was left out before does not matter.
    fn turn(&mut self, part: usize) {
        let part = u64::try_from(part).unwrap_or(u64::MAX).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        self.rng = Rng::new(self.seed.rotate_left(17) ^ part).fork();
        self.sim.reseed(self.rng.next());
    }

    /// What became of it.
    pub(super) fn told(&self) -> Told {
        Told {
            jobs: self.sim.records.jobs.len(),
            containers: self.sim.records.meta.incarnation,
            history: self.sim.records.audit.len(),
            steps: self.sim.steps,
            calm_after: self.sim.now().since(self.peace_at),
            edges: self.sim.oracle.edges.clone(),
        }
    }

    /// The number of its acts, and its faults.
    pub(super) fn size(&self) -> (usize, Faults) {
        (self.acts, self.faults)
    }

    fn pause(&mut self) -> Duration {
        let most = match self.rng.below(10) {
            0..=5 => 1_500,
            6..=8 => 8_000,
            _ => 60_000,
        };
        Duration::from_millis(self.rng.below(most))
    }

    /// Lets time pass, and stops at the first breach.
    fn run(&mut self, span: Duration) -> Result<(), String> {
        let end = self.sim.now() + span;
        while self.sim.world.next_at().is_some_and(|next| next <= end) {
            self.sim.step();
            if let Some(what) = self.sim.oracle.violations.first() {
                return Err(what.clone());
            }
        }
        self.sim.world.skip_to(end);
        Ok(())
    }

    fn act(&mut self) {
        let total: u64 = self.kinds.iter().map(|(weight, _)| weight).sum();
        let mut left = self.rng.below(total);
        let chosen = self.kinds.iter().find_map(|(weight, act)| match left.checked_sub(*weight) {
            Some(rest) => {
                left = rest;
                None
            }
            None => Some(*act),
        });
        if let Some(act) = chosen {
            self.play(act);
        }
    }

    fn play(&mut self, act: Act) {
        match act {
            Act::Submit => self.submit(),
            Act::Cancel => self.cancel(),
            Act::Hold => self.hold(),
            Act::Release => self.release(),
            Act::Pause => self.turn_pools(Cordon::Closed),
            Act::Resume => self.turn_pools(Cordon::Open),
            Act::Scale => self.scale(),
            Act::Edit => self.edit(),
            Act::Cordon => self.cordon(),
            Act::Restart => self.restart(),
            Act::Kill => self.strike(|sim, id| sim.world.die(id, 137)),
            Act::RemoveByHand => self.strike(|sim, id| sim.world.remove_by_hand(id)),
            Act::Disconnect => self.strike(|sim, id| sim.world.disconnect(id)),
            Act::Hang => self.strike(|sim, id| sim.world.hang(id)),
            Act::HangForAWhile => {
                let span = self.span(1_000, 400_000);
                self.strike(|sim, id| sim.world.hang_for(id, span));
            }
            Act::EngineAway => {
                let span = self.long_or_short();
                self.sim.world.engine_away(span);
            }
            Act::EngineRestarts => {
                let span = self.span(500, 60_000);
                let live = if self.rng.chance(300) { LiveRestore::On } else { LiveRestore::Off };
                self.sim.world.engine_restarts(span, live);
            }
            Act::EngineHangs => {
                let span = self.span(1_000, 90_000);
                self.sim.world.engine_hangs(span);
            }
            Act::Sleep => {
                let span = self.span(1_000, SLEEP_MAX);
                self.sim.world.sleep(span);
            }
            Act::Crash => {
                let pause = self.span(1, 30_000);
                self.sim.crash(pause);
            }
            Act::Build => self.sim.world.image_build += 1,
            Act::TakeName => self.take_name(),
            Act::Assign => self.assign(),
            Act::Complete => self.complete(),
            Act::OthersUse => self.others_use(),
            Act::SickCard => self.sicken(),
            Act::CordonCard => {
                let cards = vec![self.some_card().to_string()];
                let to = if self.rng.chance(600) { Cordon::Open } else { Cordon::Closed };
                self.sim.ask(Request::CordonCards { cards, to });
            }
            Act::Overuse => {
                let memory = u32::try_from(self.rng.between(500, 14_000)).unwrap_or(500);
                self.strike(|sim, id| sim.world.use_by(id, memory));
            }
            _ => self.play_forge(act),
        }
    }

    fn others_use(&mut self) {
        let card = self.some_card();
        let memory = self.rng.below(12_000) / 1_000 * 1_000;
        let memory = u32::try_from(memory).unwrap_or(0);
        self.sim.world.use_by_others(&card, memory);
    }

    fn some_card(&mut self) -> GpuUuid {
        let number = self.rng.below(2);
        GpuUuid::new(format!("GPU-{number}"))
    }

    /// A card falls ill, in one of the ways that cards do.
    fn sicken(&mut self) {
        let card = self.some_card();
        let world = &mut self.sim.world;
        let lost = |card: &mut Card| card.health = GpuHealth::Lost("off the bus".to_owned());
        match self.rng.below(6) {
            0 => world.report_xid(&card, 79, None),
            1 => world.report_xid(&card, 48, None),
            2 => world.report_xid(&card, 31, None),
            3 => world.turn_card(&card, "has a memory error", |card| card.ecc += 1),
            4 => world.turn_card(&card, "is lost", lost),
            _ => world.turn_card(&card, "is not listed", |card| card.is_listed = false),
        }
    }

    fn span(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(self.rng.between(from, to))
    }

    fn long_or_short(&mut self) -> Duration {
        match self.rng.chance(200) {
            true => self.span(60_000, 600_000),
            false => self.span(100, 40_000),
        }
    }

    /// Somebody else makes a container with the name that a slot's own container has.
    fn take_name(&mut self) {
        let names: Vec<String> =
            self.sim.records.slots.values().map(|slot| slot.name.clone()).collect();
        if let Some(name) = self.rng.pick(&names) {
            self.sim.world.take_name(name);
        }
    }

    fn submit(&mut self) {
        let job = random_job(&mut self.rng, &self.spec);
        self.sim.submit(job);
    }

    /// Somebody leases a runner for work from outside, under one of a few names.
    fn assign(&mut self) {
        let name = format!("task-{}", self.rng.below(4));
        let profile = self.rng.pick(&["light", "standard", "gpu_light"]).copied();
        let job = task(&name).on(profile.unwrap_or("light")).timeout(self.rng.between(5, 90));
        self.sim.submit(job);
    }

    /// Somebody says that such work is over, be that so or not.
    fn complete(&mut self) {
        let jobs = self.sim.records.jobs.values();
        let open: Vec<JobId> = jobs
            .filter(|job| job.is_external() && !matches!(job.state, JobState::Ended { .. }))
            .map(|job| job.id)
            .collect();
        let end = if self.rng.chance(700) { TaskEnd::Succeeded } else { TaskEnd::Failed };
        if let Some(job) = self.rng.pick(&open) {
            self.sim.ask(Request::Complete { job: *job, end });
        }
    }

    fn scale(&mut self) {
        if self.rng.chance(300) {
            let total = u32::try_from(self.rng.below(9)).unwrap_or(0);
            self.sim.scale_all(total);
        } else if let Some(pool) = self.rng.pick(&self.spec.pools) {
            let count = u32::try_from(self.rng.below(5)).unwrap_or(0);
            let name = pool.name.to_string();
            if self.rng.chance(300) {
                let span = Duration::from_secs(self.rng.between(1, 60));
                self.sim.scale_for(&name, count, span);
            } else {
                self.sim.scale(&[(&name, count)]);
            }
        }
    }

    fn edit(&mut self) {
        let next = edited(&mut self.rng, self.spec.clone());
        self.sim.up(next);
        if let Some(spec) = &self.sim.records.meta.spec {
            self.spec = spec.clone();
        }
    }

    fn some_slot(&mut self) -> Option<SlotId> {
        let slots: Vec<SlotId> = self.sim.records.slots.keys().copied().collect();
        self.rng.pick(&slots).copied()
    }

    fn cordon(&mut self) {
        if let Some(slot) = self.some_slot() {
            let to = if self.rng.chance(500) { Cordon::Open } else { Cordon::Closed };
            self.sim.ask(Request::Cordon { slots: vec![slot], to });
        }
    }

    fn restart(&mut self) {
        if let Some(slot) = self.some_slot() {
            let when = if self.rng.chance(500) { RestartTime::AfterJob } else { RestartTime::Now };
            self.sim.ask(Request::Restart { slots: vec![slot], when });
        }
    }

    fn strike(&mut self, how: impl FnOnce(&mut Sim, &ContainerId)) {
        let all: Vec<ContainerId> = self.sim.containers().into_iter().collect();
        if let Some(id) = self.rng.pick(&all) {
            how(&mut self.sim, id);
        }
    }
}
