//! The best fleet for a machine: the rule of which specification 1's 50 runners are one case.
//!
//! The rule chooses the numbers. Which runner gets which card is the core's decision: each step is
//! placed for real, so that what is proposed here is what `up` does on the empty machine.

use serde::Serialize;

use super::machine::{Basis, Card, Machine};
use crate::fleet::Fleet;
use crate::fleet::event::Event;
use crate::fleet::gpu::{GpuReading, GpuReport};
use crate::fleet::host::HostFacts;
use crate::fleet::state::Restored;
use crate::fleet::view::PlannedCard;
use crate::ids::{ProfileName, ProjectName};
use crate::spec::{Limits, Pool, Profile, Spec};
use crate::units::{Bytes, GpuMib, MilliCpu, Time};

const LIGHT: &str = "light";
const STANDARD: &str = "standard";
const GPU_LIGHT: &str = "gpu_light";
const GPU_HEAVY: &str = "gpu_heavy";

/// In the order of the pools: specification 1 numbers the GPU runners first.
const ORDER: [&str; 4] = [GPU_HEAVY, GPU_LIGHT, STANDARD, LIGHT];

/// Specification 1, "Profile Details": "Up to 25 parallel instances".
const LIGHTS: u32 = 25;
/// The same: "Up to 10 parallel instances".
const STANDARDS: u32 = 10;
/// Standard runners that prepare the work of a card with light runners only (its GPU pool 1).
const BESIDE: u32 = 4;
/// Specification 1 has one heavy runner for its two cards of 16,384 MiB.
const MEMORY_PER_HEAVY: u64 = 32_768;

/// The best fleet for a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Optimal {
    /// A word for the kind of machine: `dual_gpu_scaled`.
    pub strategy: String,
    /// The same in a sentence.
    pub description: String,
    /// Runners in all.
    #[serde(rename = "total_runners")]
    pub total: u32,
    /// Workflow runs that may be under way at a time.
    pub parallel_workflows: u32,
    /// The runners, by card and profile.
    #[serde(rename = "configuration")]
    pub rows: Vec<Row>,
    /// Ready containers beside each pool without GPU.
    pub spares: u32,
    /// The sum of the CPU limits, in thousandths.
    pub cpu_milli: MilliCpu,
    /// The sum of the memory limits, spares included, in bytes.
    pub memory: Bytes,
}

/// Some runners of one profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The index of the card that they are on or beside; none for the CPU pool.
    pub gpu: Option<u32>,
    /// Their profile.
    pub profile: ProfileName,
    /// How many.
    pub count: u32,
}

/// Numbers of runners, in the order of [`ORDER`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts([u32; 4]);

impl Counts {
    fn of(self, profile: &str) -> u32 {
        self.each().find(|(name, _)| *name == profile).map_or(0, |(_, count)| count)
    }

    fn each(self) -> impl Iterator<Item = (&'static str, u32)> {
        ORDER.into_iter().zip(self.0)
    }

    fn total(self) -> u32 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// With one more runner of a profile.
    fn and(mut self, profile: &str) -> Self {
        for (name, count) in ORDER.iter().zip(&mut self.0) {
            *count += u32::from(*name == profile);
        }
        self
    }
}

/// What runners may take together.
#[derive(Debug, Clone, Copy)]
struct Room {
    runners: u32,
    memory: Bytes,
    cpus: MilliCpu,
    spares: u32,
}

impl Room {
    /// A machine's room: jobs seldom use their whole limit, so CPUs are shared two and a half
    /// times over; of the memory an eighth stays for the host.
    fn all(machine: &Machine, limits: &Limits) -> [Self; 3] {
        let cpus = MilliCpu(machine.cpus.saturating_mul(2500));
        let Bytes(memory) = machine.memory;
        let room = |memory, spares| Self { runners: limits.scale_max, memory, cpus, spares };
        let most = Bytes(memory / 8 * 7);
        [room(most, 1), room(most, 0), room(Bytes(memory), 0)]
    }

    /// What GPU runners may take of it: the others keep a quarter, and half of the number.
    fn for_gpus(self) -> Self {
        Self {
            runners: self.runners.div_ceil(2),
            memory: Bytes(self.memory.0 / 4 * 3),
            cpus: MilliCpu(self.cpus.0 / 4 * 3),
            ..self
        }
    }
}

/// Places runners on the machine as the core would.
struct Placer<'a> {
    machine: &'a Machine,
    spec: Spec,
    fleet: Fleet,
}

impl<'a> Placer<'a> {
    fn new(machine: &'a Machine, limits: &Limits, basis: Basis) -> Self {
        let mut spec = Spec::built_in(ProjectName::new("slate"));
        spec.limits.scale_max = limits.scale_max;
        // Empty: nobody is on the card, and all that was read of it besides still holds.
        let read = |card: &Card| match basis {
            Basis::Now => card.reading.clone(),
            Basis::Empty => GpuReading {
                used: Some(GpuMib(0)),
                processes: Some(Vec::new()),
                ..card.reading.clone()
            },
        };
        let cards: Vec<GpuReading> = machine.open().map(read).collect();
        let facts = HostFacts {
            cpus: machine.cpus,
            memory: machine.memory,
            gpus: cards.iter().map(|reading| reading.card.clone()).collect(),
        };
        let report = GpuReport { cards, ..GpuReport::default() };
        let mut fleet = Fleet::restore(spec.clone(), Restored::default(), Time::default());
        // Nothing is decided before the first list of containers, so there is nothing to do.
        let _nothing = fleet.handle(Time::default(), vec![Event::Host(facts), Event::Gpus(report)]);
        Self { machine, spec, fleet }
    }

    fn profile(&self, name: &str) -> Option<&Profile> {
        self.spec.profiles.get(&ProfileName::new(name))
    }

    /// The cards with these runners on them; none if they cannot all be placed.
    fn place(&self, counts: Counts) -> Option<Vec<PlannedCard>> {
        let mut spec = self.spec.clone();
        spec.pools = counts.each().map(|(profile, count)| Pool::plain(profile, count)).collect();
        let plan = self.fleet.preview(&spec);
        plan.refusal.is_none().then_some(plan.cards)
    }

    /// The memory limits, with the ready containers of the pools without GPU.
    fn memory(&self, counts: Counts, spares: u32) -> Bytes {
        let each = counts.each().filter_map(|(name, count)| {
            let profile = self.profile(name)?;
            let spares = if profile.gpu.is_none() && count > 0 { spares } else { 0 };
            Some(profile.memory.0.saturating_mul(u64::from(count.saturating_add(spares))))
        });
        Bytes(each.fold(0, u64::saturating_add))
    }

    fn cpus(&self, counts: Counts) -> MilliCpu {
        let each = counts
            .each()
            .filter_map(|(name, count)| Some(self.profile(name)?.cpus.0.saturating_mul(count)));
        MilliCpu(each.fold(0, u32::saturating_add))
    }

    /// One more runner of a profile, if there is room and a card for it.
    fn one_more(&self, counts: Counts, name: &str, room: Room) -> Option<Counts> {
        let profile = self.profile(name)?;
        let more = counts.and(name);
        let alone = profile.cpus.0 <= self.machine.cpus.saturating_mul(1000);
        let fits = alone
            && more.total() <= room.runners
            && self.memory(more, room.spares) <= room.memory
            && self.cpus(more) <= room.cpus;
        let placed = fits && (profile.gpu.is_none() || self.place(more).is_some());
        placed.then_some(more)
    }

    /// Up to so many more runners of a profile.
    fn more(&self, mut counts: Counts, name: &str, most: u32, room: Room) -> Counts {
        for _ in 0..most {
            let Some(more) = self.one_more(counts, name, room) else { break };
            counts = more;
        }
        counts
    }

    /// The rule, in the order of its steps.
    fn grow(&self, room: Room, basis: Basis) -> Counts {
        let gpus = room.for_gpus();
        let counts = self.more(Counts::default(), GPU_HEAVY, self.heavies(basis), gpus);
        let counts = self.more(counts, GPU_LIGHT, u32::MAX, gpus);
        let counts = self.more(counts, GPU_HEAVY, u32::MAX, gpus);
        let counts = self.cpu_pool(counts, room);
        let is_full = counts.of(STANDARD) == STANDARDS && counts.of(LIGHT) == LIGHTS;
        if !is_full {
            return counts;
        }
        let cards = self.place(counts).unwrap_or_default();
        let fed = cards.iter().filter(|card| is_light(card)).count();
        let beside = u32::try_from(fed).unwrap_or(u32::MAX).saturating_mul(BESIDE);
        self.more(counts, STANDARD, beside, room)
    }

    /// Heavy runners that come before the light ones: none where a light one has no place beside
    /// one, because a small card serves more jobs with light ones.
    fn heavies(&self, basis: Basis) -> u32 {
        let size = |name| self.profile(name).and_then(|it| it.gpu).map_or(0, |gpu| gpu.memory.0);
        let pair = size(GPU_HEAVY).saturating_add(size(GPU_LIGHT));
        let cards = || self.machine.open().map(|card| card.memory_of(basis).0);
        if !cards().any(|memory| memory >= pair) {
            return 0;
        }
        let heavies = cards().map(u64::from).sum::<u64>() / MEMORY_PER_HEAVY;
        u32::try_from(heavies).unwrap_or(u32::MAX).max(1)
    }

    /// Light and standard runners side by side, in the proportion of the specification.
    fn cpu_pool(&self, mut counts: Counts, room: Room) -> Counts {
        loop {
            let (lights, standards) = (counts.of(LIGHT), counts.of(STANDARD));
            let light = (LIGHT, lights, LIGHTS);
            let standard = (STANDARD, standards, STANDARDS);
            let turns = match lights * STANDARDS <= standards * LIGHTS {
                true => [light, standard],
                false => [standard, light],
            };
            let open = turns.into_iter().filter(|(_, count, most)| count < most);
            let mut next = open.filter_map(|(name, ..)| self.one_more(counts, name, room));
            let Some(more) = next.next() else { return counts };
            counts = more;
        }
    }
}

/// The best fleet for a machine, of the locked profiles and within a fleet's limits.
#[must_use]
pub fn optimal(machine: &Machine, limits: &Limits, basis: Basis) -> Optimal {
    let placer = Placer::new(machine, limits, basis);
    // Ready containers only where they do not take the place of a second runner, and the host's
    // own memory only where there is no other.
    let tries = Room::all(machine, limits).into_iter().zip([2, 1, 1]);
    let mut grown = tries.map(|(room, least)| (placer.grow(room, basis), room.spares, least));
    let found = grown.find(|(counts, _, least)| counts.total() >= *least);
    let (counts, spares, _) = found.unwrap_or_default();
    let cards = placer.place(counts).unwrap_or_default();
    let total = counts.total();
    Optimal {
        strategy: strategy(&cards, total, limits),
        description: description(&cards, total),
        total,
        parallel_workflows: limits.max_parallel_workflows.min(total),
        rows: rows(&cards, counts),
        spares,
        cpu_milli: placer.cpus(counts),
        memory: placer.memory(counts, spares),
    }
}

/// The smallest fleet of use: a light runner, a standard one where the machine has room for it,
/// and a light one on a card where there is a card.
#[must_use]
pub fn minimal(machine: &Machine, limits: &Limits, basis: Basis) -> Vec<(ProfileName, u32)> {
    let placer = Placer::new(machine, limits, basis);
    let [_, room, all] = Room::all(machine, limits);
    let fill = |room| {
        let counts = Counts::default();
        let wanted = [LIGHT, STANDARD, GPU_LIGHT];
        wanted.into_iter().fold(counts, |counts, name| placer.more(counts, name, 1, room))
    };
    let counts = fill(room);
    pools(if counts.total() > 0 { counts } else { fill(all) })
}

impl Optimal {
    /// The number of runners of each profile, in the order of the pools.
    #[must_use]
    pub fn pools(&self) -> Vec<(ProfileName, u32)> {
        let sum = |name: &str| {
            let rows = self.rows.iter().filter(|row| row.profile.as_str() == name);
            rows.map(|row| row.count).sum()
        };
        pools(Counts(ORDER.map(sum)))
    }
}

fn pools(counts: Counts) -> Vec<(ProfileName, u32)> {
    let some = counts.each().filter(|(_, count)| *count > 0);
    some.map(|(name, count)| (ProfileName::new(name), count)).collect()
}

/// A card with light runners and no heavy one.
fn is_light(card: &PlannedCard) -> bool {
    let has = |name| card.runners.contains_key(&ProfileName::new(name));
    has(GPU_LIGHT) && !has(GPU_HEAVY)
}

fn rows(cards: &[PlannedCard], counts: Counts) -> Vec<Row> {
    let row = |gpu, name: &str, count| Row { gpu, profile: ProfileName::new(name), count };
    let mut beside = counts.of(STANDARD).saturating_sub(STANDARDS);
    let mut rows = Vec::new();
    for card in cards {
        for name in [GPU_HEAVY, GPU_LIGHT] {
            let count = card.runners.get(&ProfileName::new(name)).copied().unwrap_or(0);
            rows.push(row(Some(card.index), name, count));
        }
        let fed = if is_light(card) { beside.min(BESIDE) } else { 0 };
        rows.push(row(Some(card.index), STANDARD, fed));
        beside -= fed;
    }
    rows.push(row(None, STANDARD, counts.of(STANDARD).min(STANDARDS) + beside));
    rows.push(row(None, LIGHT, counts.of(LIGHT)));
    rows.retain(|row| row.count > 0);
    rows
}

fn used(cards: &[PlannedCard]) -> impl Iterator<Item = &PlannedCard> {
    cards.iter().filter(|card| !card.runners.is_empty())
}

fn strategy(cards: &[PlannedCard], total: u32, limits: &Limits) -> String {
    let kind = match (total, used(cards).count()) {
        (0, _) => return "too_small".to_owned(),
        (_, 0) => "cpu_only",
        (_, 1) => "single_gpu",
        (_, 2) => "dual_gpu",
        (_, _) => "multi_gpu",
    };
    // As many runners as the fleet may have.
    let scaled = if total == limits.scale_max { "_scaled" } else { "" };
    format!("{kind}{scaled}")
}

fn description(cards: &[PlannedCard], total: u32) -> String {
    let indices: Vec<String> = used(cards).map(|card| card.index.to_string()).collect();
    match (total, indices.is_empty()) {
        (0, _) => "no profile fits into this machine's memory".to_owned(),
        (_, true) => format!("{total}-runner config: CPU pool for parallelism"),
        (_, false) => format!(
            "{total}-runner config: GPU {} for inference, CPU pool for parallelism",
            indices.join("/")
        ),
    }
}
