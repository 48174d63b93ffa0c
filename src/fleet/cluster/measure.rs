//! The score: how much room a placement costs. `docs/placement.md` publishes the formula.
//!
//! Integers only, so that every machine decides alike. Room is counted in sixteenths of a MiB of
//! GPU memory.

use super::HostSize;
use super::host::{Card, Host, MIB};
use super::mix::{CardDemand, Demand, Kind, KindId, Mix};

/// Sixteenths of a MiB.
const UNITS: u64 = 16;
/// Room is cut off here, at 8 TiB of GPU memory in one host, so that sums and products fit.
const ROOM_MAX: u64 = 1 << 27;
/// Rates and shares are counted in 65,536ths.
const ONE: u64 = 1 << 16;
/// The scarcer of cards and CPUs counts this often for each time that their balance counts.
const SCARCE: u64 = 16;

/// A demand in the units of the hosts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Need {
    pub cpus: u32,
    pub memory: u64,
    pub cards: NeedCards,
}

/// See [`CardDemand`]; in MiB.
#[derive(Debug, Clone, Copy)]
pub(super) enum NeedCards {
    None,
    Part(u32),
    Whole { cards: u32, memory: u32 },
}

impl Need {
    fn of(demand: &Demand) -> Self {
        let cards = match demand.cards {
            CardDemand::None => NeedCards::None,
            CardDemand::Part(part) if part.0 == 0 => NeedCards::None,
            CardDemand::Whole { cards: 0, .. } => NeedCards::None,
            CardDemand::Part(part) => NeedCards::Part(part.0),
            CardDemand::Whole { cards, memory } => NeedCards::Whole { cards, memory: memory.0 },
        };
        Self { cpus: demand.cpus.0, memory: demand.memory.0.div_ceil(MIB), cards }
    }
}

/// What a host offers: what it would lose of its room, and the cards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Offer {
    pub loss: u32,
    pub cards: u64,
}

/// The worth of the cards of a host.
#[derive(Debug, Clone, Copy)]
struct Cards {
    /// Of each by itself, together.
    worth: u32,
    wholes: u32,
    whole_size: u32,
}

/// How room is measured, for one mix.
#[derive(Debug, Clone)]
pub(super) struct Measure {
    needs: Vec<Need>,
    /// By the free MiB of a card.
    worths: Vec<u32>,
    /// By the number of whole cards of a host: the share of them that the next task can use.
    shares: Vec<u32>,
    /// Room that a thousandth of a CPU serves.
    per_cpu: u64,
    /// Room that a MiB of main memory serves.
    per_memory: u64,
}

impl Measure {
    pub fn new(mix: &Mix, sizes: &[HostSize]) -> Self {
        let largest = sizes.iter().flat_map(|size| &size.cards).map(|card| card.0).max();
        let most = sizes.iter().map(|size| size.cards.len()).max().unwrap_or(0);
        let typical = typical_card(sizes);
        let kinds: Vec<(Need, u64)> = mix
            .kinds()
            .iter()
            .map(|Kind { demand, weight }| (Need::of(demand), u64::from(*weight)))
            .filter(|(need, _)| !matches!(need.cards, NeedCards::None))
            .collect();
        let total: u64 = kinds.iter().map(|(_, weight)| weight).sum();
        let sum = |amount: &dyn Fn(&Need) -> u64| -> u128 {
            kinds.iter().map(|(need, weight)| u128::from(amount(need)) * u128::from(*weight)).sum()
        };
        let room = sum(&|need| need.cards.size(typical).saturating_mul(UNITS));
        Self {
            needs: mix.kinds().iter().map(|kind| Need::of(&kind.demand)).collect(),
            worths: worths(&kinds, total, largest.unwrap_or(0)),
            shares: (0..=most as u64).map(|wholes| share(&kinds, total, wholes)).collect(),
            per_cpu: rate(room, sum(&|need| u64::from(need.cpus))),
            per_memory: rate(room, sum(&|need| need.memory)),
        }
    }

    pub fn need(&self, kind: KindId) -> Option<&Need> {
        self.needs.get(usize::from(kind.0))
    }

    /// What the next task can use of a card by itself, on average, with so much free.
    pub fn worth(&self, free: u32) -> u32 {
        self.worths.get(free as usize).copied().unwrap_or(0)
    }

    /// The room of a host as it is.
    pub fn room_of(&self, host: &Host) -> u32 {
        let cards = Cards { worth: host.worth, wholes: host.wholes, whole_size: host.whole_size };
        self.room(cards, host.cpus, host.memory)
    }

    /// Those of these kinds that the host may suit: the others it does not.
    pub fn suited(&self, host: &Host, kinds: u64) -> u64 {
        let largest = host.cards.iter().map(|card| card.free).max().unwrap_or(0);
        let may = |need: &Need| {
            let cards = match need.cards {
                NeedCards::None => true,
                NeedCards::Part(part) => part <= largest,
                NeedCards::Whole { cards, .. } => cards <= host.wholes,
            };
            cards && need.cpus <= host.cpus && need.memory <= host.memory
        };
        let bits = self.needs.iter().enumerate().map(|(at, need)| u64::from(may(need)) << at);
        bits.sum::<u64>() & kinds
    }

    /// What the tasks of one kind cost on this host, and the cards that cost least.
    pub fn offer(&self, host: &Host, need: &Need) -> Option<Offer> {
        let cpus = host.cpus.checked_sub(need.cpus)?;
        let memory = host.memory.checked_sub(need.memory)?;
        let now = Cards { worth: host.worth, wholes: host.wholes, whole_size: host.whole_size };
        let (left, cards) = match need.cards {
            NeedCards::None => (now, 0),
            NeedCards::Part(part) => self.part(host, now, part)?,
            NeedCards::Whole { cards, memory } => self.whole(host, now, cards, memory)?,
        };
        let loss = host.room.saturating_sub(self.room(left, cpus, memory));
        Some(Offer { loss, cards })
    }

    /// The card where a part costs least, the first of equals.
    fn part(&self, host: &Host, now: Cards, part: u32) -> Option<(Cards, u64)> {
        let mut best: Option<(u64, usize, Card)> = None;
        let mut seen = None;
        for (at, card) in host.cards.iter().enumerate() {
            if card.free < part || seen == Some((card.free, card.size)) {
                continue;
            }
            seen = Some((card.free, card.size));
            let cost = self.cards(now).saturating_sub(self.cards(self.without(now, *card, part)));
            if best.is_none_or(|(least, ..)| cost < least) {
                best = Some((cost, at, *card));
            }
        }
        let (_, at, card) = best?;
        Some((self.without(now, card, part), 1 << at))
    }

    /// The first whole cards that are large enough.
    fn whole(&self, host: &Host, now: Cards, cards: u32, memory: u32) -> Option<(Cards, u64)> {
        if now.wholes < cards {
            return None;
        }
        let large = |(_, card): &(usize, &Card)| card.is_whole() && card.size >= memory;
        let (mut left, mut bits, mut count) = (now, 0, 0);
        for (at, card) in host.cards.iter().enumerate().filter(large) {
            if count == cards {
                break;
            }
            left = self.without(left, *card, card.free);
            (bits, count) = (bits | 1 << at, count + 1);
        }
        (count == cards).then_some((left, bits))
    }

    /// The cards after a part of this one is taken.
    fn without(&self, now: Cards, card: Card, part: u32) -> Cards {
        let broken = u32::from(card.is_whole());
        let lost = self.worth(card.free).saturating_sub(self.worth(card.free.saturating_sub(part)));
        Cards {
            worth: now.worth.saturating_sub(lost),
            wholes: now.wholes.saturating_sub(broken),
            whole_size: now.whole_size.saturating_sub(card.size * broken),
        }
    }

    /// What the next task can use of all cards, on average.
    fn cards(&self, cards: Cards) -> u64 {
        let share = self.shares.get(cards.wholes as usize).copied().unwrap_or(0);
        let whole = u64::from(cards.whole_size) * u64::from(share) * UNITS / ONE;
        (u64::from(cards.worth) + whole).min(ROOM_MAX)
    }

    /// What the next tasks can use of the cards with the CPUs and the memory that are left.
    fn room(&self, cards: Cards, cpus: u32, memory: u64) -> u32 {
        let cards = self.cards(cards);
        let cpus = u64::from(cpus).saturating_mul(self.per_cpu) / ONE;
        let memory = memory.saturating_mul(self.per_memory) / ONE;
        let served = cpus.min(memory).min(ROOM_MAX);
        let balance = cards * served / (cards + served).max(1);
        u32::try_from(SCARCE * cards.min(served) + balance).unwrap_or(u32::MAX)
    }
}

impl NeedCards {
    /// The MiB that it takes, where whole cards have this size.
    fn size(self, card: u64) -> u64 {
        match self {
            Self::None => 0,
            Self::Part(part) => u64::from(part),
            Self::Whole { cards, .. } => u64::from(cards).saturating_mul(card),
        }
    }
}

/// The size of a card, on average.
fn typical_card(sizes: &[HostSize]) -> u64 {
    let cards = || sizes.iter().flat_map(|size| &size.cards);
    let sum: u64 = cards().map(|card| u64::from(card.0)).sum();
    sum / u64::try_from(cards().count().max(1)).unwrap_or(u64::MAX)
}

/// For each free memory: all of it, times the share of tasks whose part it can hold.
fn worths(kinds: &[(Need, u64)], total: u64, largest: u32) -> Vec<u32> {
    let mut parts: Vec<(u32, u64)> = kinds
        .iter()
        .filter_map(|(need, weight)| match need.cards {
            NeedCards::Part(part) => Some((part, *weight)),
            _ => None,
        })
        .collect();
    parts.sort_unstable();
    let (mut held, mut next) = (0, parts.iter().peekable());
    let worth = |free: u32| {
        while let Some((_, weight)) = next.next_if(|(part, _)| *part <= free) {
            held += weight;
        }
        let worth = u128::from(free) * u128::from(UNITS) * u128::from(held);
        u32::try_from(worth / u128::from(total.max(1))).unwrap_or(u32::MAX)
    };
    (0..=largest).map(worth).collect()
}

/// The share of so many whole cards that the next task can use, if it wants whole ones.
fn share(kinds: &[(Need, u64)], total: u64, wholes: u64) -> u32 {
    let used: u128 = kinds
        .iter()
        .map(|(need, weight)| match need.cards {
            NeedCards::Whole { cards, .. } => {
                u128::from(wholes - wholes % u64::from(cards)) * u128::from(*weight)
            }
            _ => 0,
        })
        .sum();
    let of = u128::from(total.max(1)) * u128::from(wholes.max(1));
    u32::try_from(used * u128::from(ONE) / of).unwrap_or(u32::MAX)
}

/// Room for each unit of another resource, in the proportion in which the mix wants both.
fn rate(room: u128, other: u128) -> u64 {
    u64::try_from(room * u128::from(ONE) / other.max(1)).unwrap_or(u64::MAX)
}
