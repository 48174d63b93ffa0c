//! Tasks in the shape of a public trace: what they ask for, how often, in which order they come.
//!
//! The shares are those of the 8,152 tasks of `openb_pod_list_default.csv` in Alibaba's GPU trace
//! of 2023 (<https://github.com/alibaba/clusterdata/tree/master/cluster-trace-gpu-v2023>), put
//! together to 31 kinds by their cards and CPUs, each with its mean CPUs and memory, rounded. The
//! hosts are its 8-card nodes. The trace itself is not part of this project.

use slate_fleet::fleet::cluster::{CardDemand, Demand, HostSize, Kind, Mix, Unfit};
use slate_fleet::units::{Bytes, GpuMib, MilliCpu};

/// Cards are cut in thousandths, as the trace cuts them.
pub const CARD: u32 = 1000;
/// Cards of each host.
pub const CARDS: usize = 8;

/// Tasks in 10,000, half CPUs, GiB of memory, whole cards, thousandths of one card.
const KINDS: [(u32, u32, u64, u32, u32); 31] = [
    (227, 16, 29, 0, 0),
    (469, 25, 56, 0, 0),
    (283, 32, 50, 0, 0),
    (356, 64, 48, 0, 0),
    (93, 8, 16, 0, 140),
    (37, 12, 23, 0, 140),
    (209, 8, 25, 0, 230),
    (45, 16, 30, 0, 230),
    (385, 8, 19, 0, 330),
    (91, 16, 30, 0, 320),
    (172, 11, 13, 0, 460),
    (448, 16, 30, 0, 470),
    (483, 24, 46, 0, 470),
    (180, 7, 8, 0, 570),
    (310, 23, 45, 0, 650),
    (1322, 6, 6, 0, 810),
    (800, 7, 11, 1, 0),
    (277, 16, 25, 1, 0),
    (2053, 22, 48, 1, 0),
    (656, 24, 34, 1, 0),
    (595, 31, 58, 1, 0),
    (416, 40, 70, 1, 0),
    (4, 12, 64, 2, 0),
    (10, 32, 64, 2, 0),
    (2, 35, 42, 2, 0),
    (4, 60, 157, 2, 0),
    (15, 64, 129, 4, 0),
    (4, 120, 313, 4, 0),
    (26, 128, 257, 8, 0),
    (22, 176, 320, 8, 0),
    (6, 240, 682, 8, 0),
];

/// A kind of host, and tasks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// 128 CPUs and 768 GiB for 8 cards, as in the trace: cards run out first.
    Roomy,
    /// 96 CPUs and 384 GiB for 8 cards, as most of the trace: CPUs run out first.
    Tight,
    /// Roomy hosts, and three times as many tasks that want a part of a card.
    Parts,
    /// Roomy hosts, and twenty times as many tasks that want several cards.
    Several,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Roomy, Self::Tight, Self::Parts, Self::Several];

    /// Its hosts.
    pub fn host(self) -> HostSize {
        let (cpus, memory) = if self == Self::Tight { (96, 384) } else { (128, 768) };
        HostSize {
            cpus: MilliCpu::cpus(cpus),
            memory: Bytes::gib(memory),
            cards: vec![GpuMib(CARD); CARDS],
        }
    }

    /// Its tasks.
    pub fn mix(self) -> Result<Mix, Unfit> {
        Mix::new(KINDS.iter().map(|kind| self.kind(*kind)).collect())
    }

    fn kind(self, (weight, half_cpus, gib, whole, part): (u32, u32, u64, u32, u32)) -> Kind {
        let cards = match (whole, part) {
            (0, 0) => CardDemand::None,
            (0, part) => CardDemand::Part(GpuMib(part)),
            (cards, _) => CardDemand::Whole { cards, memory: GpuMib(0) },
        };
        let times = match self {
            Self::Parts if part > 0 => 3,
            Self::Several if whole > 1 => 20,
            _ => 1,
        };
        let demand = Demand { cpus: MilliCpu(half_cpus * 500), memory: Bytes::gib(gib), cards };
        Kind { demand, weight: weight * times }
    }
}

/// Thousandths of cards that a task takes.
pub fn size(demand: &Demand) -> u64 {
    match demand.cards {
        CardDemand::None => 0,
        CardDemand::Part(part) => u64::from(part.0),
        CardDemand::Whole { cards, .. } => u64::from(cards * CARD),
    }
}

/// Numbers that only look random, the same everywhere (`SplitMix64`).
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// The next number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut it = self.0;
        it = (it ^ (it >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        it = (it ^ (it >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        it ^= it >> 31;
        u64::try_from((u128::from(it) * u128::from(end)) >> 64).unwrap_or(0)
    }
}

/// Tasks of the mix, by their shares, for ever.
pub fn arrivals(mix: &Mix, seed: u64) -> impl Iterator<Item = usize> {
    let weights: Vec<u64> = mix.kinds().iter().map(|kind| u64::from(kind.weight)).collect();
    let total: u64 = weights.iter().sum();
    let mut dice = Dice(seed);
    std::iter::repeat_with(move || {
        let mut at = dice.below(total);
        for (kind, weight) in weights.iter().enumerate() {
            if at < *weight {
                return kind;
            }
            at -= weight;
        }
        0
    })
}
