//! What always holds of the formulas, on machines made up at random.

use super::{card, inventory, spec};
use crate::capacity::machine::{Basis, Cordons, Machine};
use crate::capacity::terms::Terms;
use crate::fleet::gpu::GpuReading;
use crate::inventory::Inventory;
use crate::sim::rng::Rng;
use crate::spec::{GpuDemand, GpuSharing, Profile};
use crate::units::{Bytes, GpuMib, MilliCpu};

const BASES: [Basis; 2] = [Basis::Now, Basis::Empty];

fn number(rng: &mut Rng, below: u64) -> u32 {
    u32::try_from(rng.below(below)).expect("small")
}

fn some_machine(rng: &mut Rng) -> Inventory {
    let cards: Vec<GpuReading> = (0..number(rng, 9))
        .map(|index| {
            let memory = number(rng, 100_000);
            card(index, memory, number(rng, 110_000))
        })
        .collect();
    let memory = Bytes::mib(rng.below(1 << 20));
    let free = Bytes(rng.below(memory.0 + 1));
    Inventory { memory_free: Some(free), ..inventory(number(rng, 256), memory, cards) }
}

/// A profile of any size, nothing at all among them.
fn some_profile(rng: &mut Rng) -> Profile {
    let spec = spec();
    let profile = spec.profiles.values().next().expect("a profile").clone();
    let sharing = match rng.below(3) {
        0 => GpuSharing::Exclusive,
        1 => GpuSharing::AtMost(number(rng, 9)),
        _ => GpuSharing::Shared,
    };
    let gpu = GpuDemand { memory: GpuMib(number(rng, 20_000)), sharing };
    Profile {
        cpus: MilliCpu(number(rng, 9000)),
        memory: Bytes::mib(rng.below(20_000)),
        gpu: rng.chance(700).then_some(gpu),
        ..profile
    }
}

fn machine(inventory: &Inventory) -> Machine {
    Machine::new(inventory, &Cordons::new())
}

#[test]
fn the_number_is_the_smallest_term_and_the_limit_is_its_name() {
    for seed in 0..2000 {
        let mut rng = Rng::new(seed);
        let (inventory, profile) = (some_machine(&mut rng), some_profile(&mut rng));
        let cap = number(&mut rng, 100);
        for basis in BASES {
            let it = Terms::new(&machine(&inventory), &profile, cap, basis);
            let all = [it.gpu, it.cpu, it.ram, Some(it.cap)];
            let least = all.into_iter().flatten().min();
            assert_eq!(Some(it.max), least, "{it:?}");
            let first = all.iter().position(|term| *term == least);
            let word = first.map(|place| ["gpu", "cpu", "ram", "cap"][place]);
            assert_eq!(Some(it.limiting.word()), word, "{it:?}");
            assert!(it.gpu <= it.sum, "{it:?}");
            assert_eq!(it.sum, it.per_gpu.map(|all| all.iter().sum()));
        }
    }
}

#[test]
fn more_of_anything_never_gives_fewer_runners() {
    for seed in 0..2000 {
        let mut rng = Rng::new(seed);
        let (mut inventory, profile) = (some_machine(&mut rng), some_profile(&mut rng));
        let before = BASES.map(|basis| Terms::new(&machine(&inventory), &profile, 50, basis));
        match rng.below(5) {
            0 => inventory.cpus += 1,
            1 => inventory.memory.0 += 1 << 30,
            2 => inventory.memory_free = Some(inventory.memory),
            3 => inventory.gpus.push(card(99, number(&mut rng, 90_000), 0)),
            _ => {
                for reading in &mut inventory.gpus {
                    reading.used = reading.used.map(|used| GpuMib(used.0 / 2));
                }
            }
        }
        let after = BASES.map(|basis| Terms::new(&machine(&inventory), &profile, 50, basis));
        for (before, after) in before.iter().zip(&after) {
            assert!(after.max >= before.max, "seed {seed}: {before:?} {after:?}");
        }
        assert!(after[0].max <= after[1].max, "an empty machine takes no fewer: {after:?}");
    }
}

#[test]
fn the_order_of_the_cards_is_the_order_of_the_vector_and_nothing_else() {
    for seed in 0..500 {
        let mut rng = Rng::new(seed);
        let (inventory, profile) = (some_machine(&mut rng), some_profile(&mut rng));
        let before = Terms::new(&machine(&inventory), &profile, 50, Basis::Now);
        let mut turned = inventory.clone();
        turned.gpus.reverse();
        let same = Terms::new(&machine(&turned), &profile, 50, Basis::Now);
        assert_eq!(before, same, "cards are in the order of their indices");
        for (index, reading) in (0..).zip(&mut turned.gpus) {
            reading.card.index = index;
        }
        let mut after = Terms::new(&machine(&turned), &profile, 50, Basis::Now);
        after.per_gpu.iter_mut().for_each(|all| all.reverse());
        assert_eq!(before, after);
    }
}
