//! Runs: tasks come until the cluster is full and beyond, or come and go.

use std::time::Duration;

use slate_fleet::fleet::cluster::{Cluster, Kind, KindId, Mix, Placement, Unfit};

use crate::openb::{CARDS, Dice, Shape, arrivals, size};
use crate::rivals::{Machine, Rival, Rule, fragmentation};

/// Who places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// This project.
    Ours,
    /// The same score, by asking every host.
    Scan,
    /// A published heuristic.
    Rival(Rule),
}

impl Who {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "**slate-fleet**",
            Self::Scan => "slate-fleet, no index",
            Self::Rival(rule) => rule.name(),
        }
    }
}

enum Placer {
    Ours(Cluster),
    Scan(Cluster),
    Rival(Box<Rival>),
}

impl Placer {
    fn place(&mut self, kind: usize) -> Option<Placement> {
        let id = KindId(u8::try_from(kind).ok()?);
        match self {
            Self::Ours(cluster) => cluster.place(id),
            Self::Scan(cluster) => {
                let placement = cluster.scan(id)?;
                cluster.take(&placement).ok().map(|()| placement)
            }
            Self::Rival(rival) => rival.place(kind),
        }
    }

    fn release(&mut self, placement: &Placement) {
        match self {
            Self::Ours(cluster) | Self::Scan(cluster) => {
                let _ = cluster.release(placement);
            }
            Self::Rival(rival) => rival.release(placement),
        }
    }
}

/// A cluster and what comes.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub shape: Shape,
    pub hosts: usize,
    pub seed: u64,
}

/// How a run went. Shares are of all cards.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Cards that nobody had: at the end, or on average.
    pub unallocated: f64,
    /// Fragmentation by FGD's measure when so much had come: 50, 80, 100 and 130% of the cards.
    pub fragmented: Vec<f64>,
    pub tasks: u64,
    /// The share of the cards asked for that was turned away.
    pub refused: f64,
    /// Processor time of the decisions.
    pub took: Duration,
}

/// Sees to it that nobody takes what is not there, by a book of its own.
struct Book {
    machines: Vec<Machine>,
    kinds: Vec<Kind>,
}

impl Book {
    fn fragmented(&self) -> f64 {
        let gpus: Vec<Kind> =
            self.kinds.iter().filter(|kind| size(&kind.demand) > 0).copied().collect();
        let lost: u64 = self.machines.iter().map(|it| fragmentation(it, &gpus)).sum();
        let weights: u64 = gpus.iter().map(|kind| u64::from(kind.weight)).sum();
        share(lost, weights * capacity(self.machines.len()))
    }

    /// Panics on an overcommitted host: the subtractions are checked in tests and benches.
    fn take(&mut self, placement: &Placement) -> u64 {
        let demand = self.kinds[usize::from(placement.kind.0)].demand;
        let machine = &mut self.machines[placement.host as usize];
        assert!(machine.suits(&demand), "{placement:?} does not fit {machine:?}");
        let before = machine.free();
        machine.take(&demand, placement.cards);
        let taken = before - machine.free();
        assert_eq!(taken, size(&demand), "{placement:?} took too little");
        taken
    }

    fn release(&mut self, placement: &Placement) -> u64 {
        let demand = self.kinds[usize::from(placement.kind.0)].demand;
        self.machines[placement.host as usize].release(&demand, placement.cards);
        size(&demand)
    }
}

/// To nine digits after the point.
fn share(part: u64, of: u64) -> f64 {
    let billionths = u128::from(part) * 1_000_000_000 / u128::from(of.max(1));
    f64::from(u32::try_from(billionths).unwrap_or(u32::MAX)) / 1e9
}

/// Thousandths of cards.
fn capacity(hosts: usize) -> u64 {
    hosts as u64 * CARDS as u64 * 1000
}

impl Setting {
    fn placer(self, who: Who, mix: &Mix) -> Result<Placer, Unfit> {
        let cluster = || Cluster::new(mix, &vec![self.shape.host(); self.hosts]);
        Ok(match who {
            Who::Ours => Placer::Ours(cluster()?),
            Who::Scan => Placer::Scan(cluster()?),
            Who::Rival(rule) => {
                Placer::Rival(Box::new(Rival::new(rule, self.shape, mix.kinds(), self.hosts)))
            }
        })
    }

    fn book(self, mix: &Mix) -> Book {
        let machines = vec![Machine::new(self.shape); self.hosts];
        Book { machines, kinds: mix.kinds().to_vec() }
    }

    /// Tasks come until they have asked for 130% of the cards, as in the paper; none leaves.
    pub fn fill(self, who: Who) -> Result<Outcome, Unfit> {
        let mix = self.shape.mix()?;
        let (mut placer, mut book) = (self.placer(who, &mix)?, self.book(&mix));
        let mut out = Outcome::default();
        let mut tasks = arrivals(&mix, self.seed);
        let ask = |kind: usize| size(&mix.kinds()[kind].demand);
        let (mut asked, mut refused, all) = (0, 0, capacity(self.hosts));
        for part in [50, 80, 100, 130] {
            let mut wave = Vec::new();
            while asked * 100 < all * part {
                wave.extend(tasks.next());
                asked += wave.last().map_or(0, |kind| ask(*kind));
            }
            out.tasks += wave.len() as u64;
            let begun = cpu_time();
            let placed: Vec<Option<Placement>> =
                wave.iter().map(|kind| placer.place(*kind)).collect();
            out.took += cpu_time().saturating_sub(begun);
            placed.iter().flatten().for_each(|it| {
                book.take(it);
            });
            let failed = wave.iter().zip(&placed).filter(|(_, placed)| placed.is_none());
            refused += failed.map(|(kind, _)| ask(*kind)).sum::<u64>();
            out.fragmented.push(book.fragmented());
        }
        let free: u64 = book.machines.iter().map(Machine::free).sum();
        out.unallocated = share(free, all);
        out.refused = share(refused, asked);
        Ok(out)
    }

    /// Tasks come and leave, a tenth more than the cards could hold, for six lives; the second half
    /// counts.
    pub fn churn(self, who: Who) -> Result<Outcome, Unfit> {
        let mix = self.shape.mix()?;
        let (mut placer, mut book) = (self.placer(who, &mix)?, self.book(&mix));
        let (mut used, mut sum, mut asked, mut refused) = (0, 0, 0, 0);
        let mut out = Outcome::default();
        let life = life(&mix, self.hosts);
        let mut tasks = lives(&mix, self.seed, life);
        let mut leaving = vec![Vec::new(); 2 * life + 1];
        for wave in 0..WAVES {
            let begun = cpu_time();
            let log: Vec<Tick> = (wave * life..(wave + 1) * life)
                .zip(&mut tasks)
                .map(|(tick, (kind, stays))| tick_of(&mut placer, &mut leaving, tick, kind, stays))
                .collect();
            out.took += cpu_time().saturating_sub(begun);
            out.tasks += log.len() as u64;
            for tick in log {
                used -= tick.left.iter().map(|it| book.release(it)).sum::<u64>();
                used += tick.placed.as_ref().map_or(0, |it| book.take(it));
                if wave >= WAVES / 2 {
                    let size = size(&mix.kinds()[tick.kind].demand);
                    asked += size;
                    refused += if tick.placed.is_none() { size } else { 0 };
                    sum += used;
                }
            }
        }
        let ticks = life * (WAVES - WAVES / 2);
        out.unallocated = 1.0 - share(sum, ticks as u64 * capacity(self.hosts));
        out.refused = share(refused, asked);
        Ok(out)
    }
}

/// Lives that a run with departures lasts.
const WAVES: usize = 6;

/// Ticks that a task stays on average, when one comes each tick.
fn life(mix: &Mix, hosts: usize) -> usize {
    let sum = |of: &dyn Fn(&Kind) -> u64| -> u64 { mix.kinds().iter().map(of).sum() };
    let weights = sum(&|kind| kind.weight.into());
    let asked = sum(&|kind| u64::from(kind.weight) * size(&kind.demand));
    (capacity(hosts) * weights * 11 / asked / 10) as usize
}

/// Tasks and how long each stays: none to twice a life, all as likely, whoever places them.
fn lives(mix: &Mix, seed: u64, life: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut dice = Dice(seed ^ 0x5EED);
    arrivals(mix, seed).map(move |kind| (kind, dice.below(2 * life as u64) as usize))
}

/// What happened in a tick.
struct Tick {
    left: Vec<Placement>,
    kind: usize,
    placed: Option<Placement>,
}

fn tick_of(
    placer: &mut Placer,
    leaving: &mut [Vec<Placement>],
    tick: usize,
    kind: usize,
    stays: usize,
) -> Tick {
    let slots = leaving.len();
    let left = std::mem::take(&mut leaving[tick % slots]);
    left.iter().for_each(|it| placer.release(it));
    let placed = placer.place(kind);
    leaving[(tick + 1 + stays) % slots].extend(placed);
    Tick { left, kind, placed }
}

/// The time that this thread had a processor: others may be at work on the machine too.
fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(now).unwrap_or_default()
}
