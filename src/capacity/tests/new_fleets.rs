//! The files that `init` writes are valid and placeable on any machine, as it is now.

use std::path::PathBuf;

use super::{card, cards, machine};
use crate::capacity::machine::Machine;
use crate::capacity::new_fleet::{Extent, new_fleet};
use crate::fleet::Fleet;
use crate::fleet::event::Event;
use crate::fleet::gpu::{GpuReading, GpuReport};
use crate::fleet::host::HostFacts;
use crate::fleet::state::Restored;
use crate::ids::ProjectName;
use crate::spec::{Env, Overcommit, Source, Spec, load, template};
use crate::units::{Bytes, Time};

const EXTENTS: [Extent; 2] = [Extent::Optimal, Extent::Minimal];

fn written(machine: &Machine, extent: Extent) -> (Spec, Vec<String>) {
    let (fleet, notes) = new_fleet(machine, extent, &ProjectName::new("slate"));
    let text = match extent {
        Extent::Optimal => template::full(&fleet),
        Extent::Minimal => template::minimal(&fleet),
    };
    let (path, base) = ("slate.yaml".to_owned(), PathBuf::from("/fleet"));
    let loaded = load(&[Source { path, text: text.clone(), base }], &Env::new());
    let loaded = loaded.unwrap_or_else(|found| panic!("{text}\n{found}"));
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
    (loaded.spec, notes)
}

/// Why a core that knows the machine as it is would not place it.
fn refusal(machine: &Machine, spec: &Spec) -> Option<String> {
    let cards: Vec<GpuReading> = machine.cards.iter().map(|card| card.reading.clone()).collect();
    let gpus = cards.iter().map(|reading| reading.card.clone()).collect();
    let facts = HostFacts { cpus: machine.cpus, memory: machine.memory, gpus };
    let report = GpuReport { cards, ..GpuReport::default() };
    let mut fleet = Fleet::restore(spec.clone(), Restored::default(), Time::default());
    fleet.handle(Time::default(), vec![Event::Host(facts), Event::Gpus(report)]);
    fleet.preview(spec).refusal
}

fn counts(spec: &Spec) -> Vec<String> {
    let pools = spec.pools.iter();
    pools.map(|pool| format!("{} {}", pool.profile, pool.size.at_rest())).collect()
}

#[test]
fn every_new_fleet_is_valid_and_can_come_up() {
    let taken = |used: &[u32]| -> Vec<GpuReading> {
        (0..).zip(used).map(|(index, used)| card(index, 16_384, *used)).collect()
    };
    let sets = [
        Vec::new(),
        cards(&[8192]),
        cards(&[24_564, 8192]),
        cards(&[81_559; 8]),
        taken(&[2176, 512]),
        taken(&[16_384, 16_384]),
        taken(&[9000, 1]),
    ];
    for cpus in [1, 2, 8, 64] {
        for mib in [64, 512, 1024, 4096, 65_536] {
            for set in &sets {
                let machine = machine(cpus, Bytes::mib(mib), set.clone());
                for extent in EXTENTS {
                    let (spec, _) = written(&machine, extent);
                    let what = format!("{cpus} CPUs, {mib} MiB, {} cards", set.len());
                    assert!(!spec.pools.is_empty(), "{what}");
                    assert_eq!(refusal(&machine, &spec), None, "{what}: {:?}", counts(&spec));
                    let risk = spec.limits.overcommit_memory == Overcommit::Allow;
                    assert_eq!(risk, mib < 512, "{what}");
                }
            }
        }
    }
}

#[test]
fn a_fleet_is_sized_for_what_others_leave_of_the_cards() {
    let fifty = ["gpu_heavy 1", "gpu_light 10", "standard 14", "light 25"];
    let sample = machine(32, Bytes::gib(64), vec![card(0, 16_384, 2176), card(1, 16_384, 512)]);
    let (spec, notes) = written(&sample, Extent::Optimal);
    assert_eq!((counts(&spec), notes.len()), (fifty.map(str::to_owned).to_vec(), 0));
    let full = machine(32, Bytes::gib(64), vec![card(0, 16_384, 16_384), card(1, 16_384, 0)]);
    let (spec, notes) = written(&full, Extent::Optimal);
    assert_eq!(counts(&spec), ["gpu_heavy 1", "gpu_light 4", "standard 10", "light 25"]);
    assert!(notes[0].starts_with("GPU 0 has 0 of 16,384 MiB free now"), "{notes:?}");
}

#[test]
fn the_smallest_fleet_has_one_of_each_that_the_machine_can_run() {
    let small = |cpus, memory, sizes: &[u32]| {
        counts(&written(&machine(cpus, memory, cards(sizes)), Extent::Minimal).0)
    };
    assert_eq!(small(1, Bytes::gib(1), &[]), ["light 1"]);
    assert_eq!(small(2, Bytes::gib(2), &[]), ["standard 1", "light 1"]);
    assert_eq!(small(8, Bytes::gib(16), &[8192]), ["gpu_light 1", "standard 1", "light 1"]);
    assert_eq!(small(8, Bytes::gib(16), &[1024]), ["standard 1", "light 1"]);
}
