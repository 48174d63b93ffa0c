//! Published heuristics, as they are defined, over hosts of their own.
//!
//! First-fit and best-fit are textbook; the others follow Weng and others, "Beware of
//! Fragmentation" (USENIX ATC 2023), and Grandl and others, "Multi-Resource Packing for Cluster
//! Schedulers" (SIGCOMM 2014). All but first-fit and random-fit remember what they said of a host
//! until it changes, as a good implementation would.

use slate_fleet::fleet::cluster::{CardDemand, Demand, Kind, KindId, Placement};

use crate::openb::{CARD, CARDS, Dice, Shape, size};

/// What is left of a host.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    pub cpus: u32,
    /// MiB.
    pub memory: u64,
    /// Thousandths.
    pub cards: [u32; CARDS],
    /// How many tasks of each group run here, for clustering.
    pub groups: [u16; GROUPS],
}

impl Machine {
    pub fn new(shape: Shape) -> Self {
        let size = shape.host();
        Self {
            cpus: size.cpus.0,
            memory: size.memory.0 >> 20,
            cards: [CARD; CARDS],
            groups: [0; GROUPS],
        }
    }

    /// Free thousandths of cards.
    pub fn free(&self) -> u64 {
        self.cards.iter().map(|free| u64::from(*free)).sum()
    }

    pub fn wholes(&self) -> u32 {
        self.cards.iter().map(|free| u32::from(*free == CARD)).sum()
    }

    pub fn suits(&self, demand: &Demand) -> bool {
        let cards = match demand.cards {
            CardDemand::None => true,
            CardDemand::Part(part) => self.cards.iter().any(|free| *free >= part.0),
            CardDemand::Whole { cards, .. } => self.wholes() >= cards,
        };
        cards && self.cpus >= demand.cpus.0 && self.memory >= demand.memory.0 >> 20
    }

    pub fn take(&mut self, demand: &Demand, bits: u64) {
        self.cpus -= demand.cpus.0;
        self.memory -= demand.memory.0 >> 20;
        self.groups[group(demand)] += 1;
        for (_, free) in self.cards.iter_mut().enumerate().filter(|(at, _)| bits >> at & 1 == 1) {
            *free -= part(demand);
        }
    }

    pub fn release(&mut self, demand: &Demand, bits: u64) {
        self.groups[group(demand)] -= 1;
        self.cpus += demand.cpus.0;
        self.memory += demand.memory.0 >> 20;
        for (_, free) in self.cards.iter_mut().enumerate().filter(|(at, _)| bits >> at & 1 == 1) {
            *free += part(demand);
        }
    }

    fn after(mut self, demand: &Demand, bits: u64) -> Self {
        self.take(demand, bits);
        self
    }

    /// Every choice of cards that differs: parts by the free memory, whole ones the first.
    fn choices(&self, demand: &Demand) -> impl Iterator<Item = u64> {
        let whole = match demand.cards {
            CardDemand::Whole { cards, .. } => cards,
            _ => 0,
        };
        let part = part(demand);
        let is_part = matches!(demand.cards, CardDemand::Part(_));
        let cards = self.cards;
        let parts = (0..CARDS).filter(move |at| {
            let free = cards[*at];
            is_part && free >= part && !cards[..*at].contains(&free)
        });
        let fixed = (!is_part).then(|| first_wholes(&cards, whole));
        parts.map(|at| 1 << at).chain(fixed)
    }

    /// The fullest card that holds the part, or the first whole cards.
    fn tightest(&self, demand: &Demand) -> u64 {
        let free = |bits: &u64| self.cards.get(bits.trailing_zeros() as usize).copied();
        self.choices(demand).min_by_key(free).unwrap_or(0)
    }
}

fn first_wholes(cards: &[u32; CARDS], count: u32) -> u64 {
    let wholes = (0..CARDS).filter(|at| cards[*at] == CARD).take(count as usize);
    wholes.map(|at| 1_u64 << at).sum()
}

/// What a task takes of each of its cards.
fn part(demand: &Demand) -> u32 {
    match demand.cards {
        CardDemand::None => 0,
        CardDemand::Part(part) => part.0,
        CardDemand::Whole { .. } => CARD,
    }
}

/// Tasks without cards, with parts, with one whole card, with two, and so on.
const GROUPS: usize = CARDS + 2;

/// Tasks are alike when they want as many cards; parts are one group.
fn group(demand: &Demand) -> usize {
    match demand.cards {
        CardDemand::None => 0,
        CardDemand::Part(_) => 1,
        CardDemand::Whole { cards, .. } => (cards as usize + 1).min(GROUPS - 1),
    }
}

/// FGD's fragmentation: the free cards that a task of the mix cannot use, times its weight.
///
/// A task that does not fit can use nothing; one that fits can use the cards that are large enough.
pub fn fragmentation(machine: &Machine, kinds: &[Kind]) -> u64 {
    let free = machine.free();
    let lost = |Kind { demand, weight }: &Kind| {
        let part = part(demand);
        let lost = match machine.suits(demand) && part > 0 {
            false => free,
            true => {
                let small = machine.cards.iter().filter(|free| **free < part);
                small.map(|free| u64::from(*free)).sum()
            }
        };
        lost * u64::from(*weight)
    };
    kinds.iter().map(lost).sum()
}

/// A heuristic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The first host and its first card.
    First,
    /// Any host, any card.
    Random,
    /// The host with least left of CPUs and cards, weighed alike.
    Best,
    /// The smallest product of demand and what is free, as in the paper's simulator.
    DotProduct,
    /// The largest: the alignment of Tetris.
    Alignment,
    /// Cards in use first, then free cards of hosts in use, then empty hosts.
    Packing,
    /// Hosts with tasks that want as many cards first.
    Clustering,
    /// The steepest descent of fragmentation.
    Gradient,
}

impl Rule {
    pub const ALL: [Self; 8] = [
        Self::First,
        Self::Random,
        Self::Best,
        Self::DotProduct,
        Self::Alignment,
        Self::Packing,
        Self::Clustering,
        Self::Gradient,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first-fit",
            Self::Random => "random-fit",
            Self::Best => "best-fit",
            Self::DotProduct => "dot product (least)",
            Self::Alignment => "alignment (Tetris)",
            Self::Packing => "GPU packing",
            Self::Clustering => "GPU clustering",
            Self::Gradient => "FGD",
        }
    }

    /// What a task would cost here, and on which cards; it fits.
    fn bid(self, machine: &Machine, demand: &Demand, full: &Machine, kinds: &[Kind]) -> (i64, u64) {
        let cards = machine.tightest(demand);
        let free = i64::try_from(machine.free()).unwrap_or(i64::MAX);
        let cpu = |cpus: u32| i64::from(cpus) * 1_000_000 / i64::from(full.cpus);
        match self {
            Self::First | Self::Random => (0, machine.choices(demand).next().unwrap_or(0)),
            Self::Best => {
                let left = machine.after(demand, cards);
                (cpu(left.cpus) + i64::try_from(left.free()).unwrap_or(0) * 125, cards)
            }
            Self::DotProduct => (product(machine, demand, full, cards), cards),
            Self::Alignment => (-product(machine, demand, full, cards), cards),
            Self::Packing => (packing(machine, demand, cards), cards),
            Self::Clustering => (clustering(machine, group(demand)) + free, cards),
            Self::Gradient => {
                let cost = |bits| fragmentation(&machine.after(demand, bits), kinds);
                let best = machine.choices(demand).map(|bits| (cost(bits), bits)).min();
                let (after, cards) = best.unwrap_or((u64::MAX, 0));
                (after.cast_signed() - fragmentation(machine, kinds).cast_signed(), cards)
            }
        }
    }
}

/// Demand times what is free, each as a share of a whole host; of a part's card, as a share of it.
fn product(machine: &Machine, demand: &Demand, full: &Machine, cards: u64) -> i64 {
    let share = |amount: u64, of: u64| i64::try_from(amount * 10_000 / of.max(1)).unwrap_or(0);
    let cpus = share(machine.cpus.into(), full.cpus.into())
        * share(demand.cpus.0.into(), full.cpus.into());
    let (free, of) = match demand.cards {
        CardDemand::Part(_) => {
            let card = machine.cards.get(cards.trailing_zeros() as usize);
            (u64::from(card.copied().unwrap_or(0)), u64::from(CARD))
        }
        _ => (machine.free(), full.free()),
    };
    cpus + share(free, of) * share(size(demand), of)
}

fn packing(machine: &Machine, demand: &Demand, cards: u64) -> i64 {
    let card = machine.cards.get(cards.trailing_zeros() as usize).copied().unwrap_or(0);
    match demand.cards {
        CardDemand::None => 0,
        _ if machine.wholes() as usize == CARDS => 1_000_000,
        CardDemand::Whole { cards, .. } => 100_000 + i64::from(cards),
        CardDemand::Part(_) if card == CARD => 100_001,
        CardDemand::Part(_) => i64::from(card),
    }
}

/// Only tasks alike, some alike, nobody, only others.
fn clustering(machine: &Machine, group: usize) -> i64 {
    let alike = machine.groups[group] > 0;
    // Tasks without cards have no group.
    let others = (1..GROUPS).any(|it| it != group && machine.groups[it] > 0);
    let tier = match (alike, others) {
        _ if group == 0 => 0,
        (true, false) => 0,
        (true, true) => 1,
        (false, false) => 2,
        (false, true) => 3,
    };
    tier * 100_000
}

/// A bid that no host made.
const NONE: (i64, u64) = (i64::MAX, 0);

/// A heuristic at work: the hosts, and what was said of each for each kind.
pub struct Rival {
    rule: Rule,
    kinds: Vec<Kind>,
    full: Machine,
    machines: Vec<Machine>,
    bids: Vec<Vec<(i64, u64)>>,
    stale: Vec<Vec<u32>>,
    pending: Vec<u64>,
    dice: Dice,
}

impl Rival {
    pub fn new(rule: Rule, shape: Shape, kinds: &[Kind], hosts: usize) -> Self {
        let full = Machine::new(shape);
        let all = u32::try_from(hosts).unwrap_or(u32::MAX);
        Self {
            rule,
            kinds: kinds.to_vec(),
            full,
            machines: vec![full; hosts],
            bids: vec![vec![NONE; hosts]; kinds.len()],
            stale: vec![(0..all).collect(); kinds.len()],
            pending: vec![u64::MAX; hosts],
            dice: Dice(1),
        }
    }

    pub fn place(&mut self, kind: usize) -> Option<Placement> {
        let demand = self.kinds.get(kind)?.demand;
        let (host, cards) = match self.rule {
            Rule::First => self.first(&demand)?,
            Rule::Random => self.random(&demand)?,
            _ => self.cheapest(kind, &demand)?,
        };
        self.machines[host].take(&demand, cards);
        self.changed(host);
        Some(Placement {
            kind: KindId(u8::try_from(kind).ok()?),
            host: u32::try_from(host).ok()?,
            cards,
        })
    }

    pub fn release(&mut self, placement: &Placement) {
        let host = placement.host as usize;
        let demand = self.kinds[usize::from(placement.kind.0)].demand;
        self.machines[host].release(&demand, placement.cards);
        self.changed(host);
    }

    fn first(&self, demand: &Demand) -> Option<(usize, u64)> {
        let host = self.machines.iter().position(|machine| machine.suits(demand))?;
        Some((host, self.machines[host].choices(demand).next().unwrap_or(0)))
    }

    fn random(&mut self, demand: &Demand) -> Option<(usize, u64)> {
        let fit = |machine: &&Machine| machine.suits(demand);
        let count = self.machines.iter().filter(fit).count() as u64;
        let at = usize::try_from(self.dice.below(count.max(1))).unwrap_or(0);
        let suiting = self.machines.iter().enumerate().filter(|(_, machine)| fit(machine));
        let (host, machine) = suiting.clone().nth(at)?;
        let choices: Vec<u64> = machine.choices(demand).collect();
        let at = usize::try_from(self.dice.below(choices.len() as u64)).unwrap_or(0);
        Some((host, choices.get(at).copied().unwrap_or(0)))
    }

    fn cheapest(&mut self, kind: usize, demand: &Demand) -> Option<(usize, u64)> {
        while let Some(host) = self.stale[kind].pop() {
            let host = host as usize;
            let machine = &self.machines[host];
            self.pending[host] &= !(1 << kind);
            self.bids[kind][host] = match machine.suits(demand) {
                true => self.rule.bid(machine, demand, &self.full, &self.kinds),
                false => NONE,
            };
        }
        let bids = self.bids[kind].iter().enumerate();
        let (host, bid) = bids.min_by_key(|(host, bid)| (bid.0, *host))?;
        (*bid != NONE).then_some((host, bid.1))
    }

    fn changed(&mut self, host: usize) {
        for (kind, stale) in self.stale.iter_mut().enumerate() {
            if self.pending[host] >> kind & 1 == 0 {
                stale.push(u32::try_from(host).unwrap_or(u32::MAX));
            }
        }
        self.pending[host] = u64::MAX;
    }
}
