//! The best fleet of machines from one core to eight large cards.

use super::{card, cards, machine, spec};
use crate::capacity::machine::{Basis, Cordons, Machine};
use crate::capacity::optimal::{Optimal, minimal, optimal};
use crate::capacity::report;
use crate::capacity::terms::Terms;
use crate::fleet::Fleet;
use crate::fleet::event::Event;
use crate::fleet::gpu::{ComputeMode, GpuHealth, GpuReading, GpuReport, GpuVendor, MigMode};
use crate::fleet::host::HostFacts;
use crate::fleet::state::Restored;
use crate::ids::{GpuUuid, PoolName, ProfileName};
use crate::inventory::Inventory;
use crate::spec::{Pool, PoolSize, Profile, Reuse, Spec};
use crate::units::{Bytes, GpuMib, Time};

fn best(machine: &Machine) -> Optimal {
    optimal(machine, &spec().limits, Basis::Empty)
}

/// `strategy total: rows`.
fn shown(best: &Optimal) -> String {
    let row = |row: &crate::capacity::optimal::Row| {
        let seat = row.gpu.map_or_else(|| "cpu".to_owned(), |index| index.to_string());
        format!("{seat}:{}x{}", row.count, row.profile)
    };
    let rows: Vec<String> = best.rows.iter().map(row).collect();
    format!("{} {}: {}", best.strategy, best.total, rows.join(" "))
}

/// CPUs, memory, sizes of the cards, and the best fleet.
type Case = (u32, Bytes, &'static [u32], &'static str);

const CASES: [Case; 15] = [
    (1, Bytes::gib(1), &[], "cpu_only 1: cpu:1xlight"),
    (1, Bytes::gib(2), &[], "cpu_only 2: cpu:2xlight"),
    (1, Bytes::mib(512), &[], "cpu_only 1: cpu:1xlight"),
    (1, Bytes::mib(256), &[], "too_small 0: "),
    (2, Bytes::gib(24), &[], "cpu_only 4: cpu:1xstandard cpu:3xlight"),
    (64, Bytes::gib(256), &[], "cpu_only 35: cpu:10xstandard cpu:25xlight"),
    (8, Bytes::gib(32), &[8192], "single_gpu 13: 0:4xgpu_light cpu:3xstandard cpu:6xlight"),
    (
        16,
        Bytes::gib(64),
        &[24_564],
        "single_gpu 26: 0:1xgpu_heavy 0:5xgpu_light cpu:6xstandard cpu:14xlight",
    ),
    (
        8,
        Bytes::gib(16),
        &[24_564],
        "single_gpu 6: 0:1xgpu_heavy 0:1xgpu_light cpu:1xstandard cpu:3xlight",
    ),
    (
        16,
        Bytes::gib(64),
        &[24_564, 8192],
        "dual_gpu 23: 0:1xgpu_heavy 0:6xgpu_light 1:4xgpu_light cpu:4xstandard \
         cpu:8xlight",
    ),
    (
        16,
        Bytes::gib(64),
        &[8192, 24_564],
        "dual_gpu 23: 0:1xgpu_heavy 1:10xgpu_light cpu:4xstandard cpu:8xlight",
    ),
    (
        32,
        Bytes::gib(64),
        &[16_384, 16_384],
        "dual_gpu_scaled 50: 0:1xgpu_heavy 0:4xgpu_light 1:6xgpu_light 1:4xstandard \
         cpu:10xstandard cpu:25xlight",
    ),
    (
        64,
        Bytes::gib(512),
        &[81_559; 4],
        "multi_gpu_scaled 50: 0:3xgpu_heavy 0:4xgpu_light 1:2xgpu_heavy 1:4xgpu_light \
         2:2xgpu_heavy 2:4xgpu_light 3:2xgpu_heavy 3:4xgpu_light cpu:7xstandard \
         cpu:18xlight",
    ),
    (
        128,
        Bytes::gib(1024),
        &[81_559; 8],
        "multi_gpu_scaled 50: 0:3xgpu_heavy 0:1xgpu_light 1:3xgpu_heavy 2:3xgpu_heavy \
         3:2xgpu_heavy 3:1xgpu_light 4:2xgpu_heavy 4:1xgpu_light 5:2xgpu_heavy \
         5:1xgpu_light 6:2xgpu_heavy 6:1xgpu_light 7:2xgpu_heavy 7:1xgpu_light \
         cpu:7xstandard cpu:18xlight",
    ),
    (4, Bytes::gib(2), &[16_384], "cpu_only 2: cpu:2xlight"),
];

#[test]
fn every_machine_gets_a_sane_fleet() {
    let shown =
        CASES.map(|(cpus, memory, sizes, _)| shown(&best(&machine(cpus, memory, cards(sizes)))));
    let expected = CASES.map(|(.., expected)| expected);
    assert_eq!(shown, expected);
}

/// The fleet as a spec, placed by a core that knows the machine as empty.
fn placed(machine: &Machine, best: &Optimal) -> Option<String> {
    let pool = |(profile, count): (ProfileName, u32)| Pool {
        name: PoolName::new(profile.as_str()),
        profile,
        size: PoolSize::Fixed(count),
        runner_name: None,
        reuse: Reuse::OneJob,
        spares: 0,
        docker_healthcheck: None,
        forge: None,
    };
    let spec = Spec { pools: best.pools().into_iter().map(pool).collect(), ..spec() };
    let cards: Vec<GpuReading> = machine.open().map(|card| card.reading.clone()).collect();
    let gpus = cards.iter().map(|reading| reading.card.clone()).collect();
    let facts = HostFacts { cpus: machine.cpus, memory: machine.memory, gpus };
    let report = GpuReport { cards, ..GpuReport::default() };
    let mut fleet = Fleet::restore(spec.clone(), Restored::default(), Time::default());
    fleet.handle(Time::default(), vec![Event::Host(facts), Event::Gpus(report)]);
    fleet.preview(&spec).refusal
}

#[test]
fn every_best_fleet_is_placeable_on_its_machine_when_empty() {
    let sizes: [&[u32]; 9] = [
        &[],
        &[6144],
        &[8192],
        &[12_288],
        &[16_303, 16_303],
        &[24_564, 8192],
        &[49_140, 16_384, 4096],
        &[81_559; 4],
        &[81_559; 8],
    ];
    for cpus in [1, 2, 4, 8, 32, 128] {
        for mib in [512, 1024, 2048, 6000, 16_384, 65_536, 524_288] {
            for sizes in sizes {
                let machine = machine(cpus, Bytes::mib(mib), cards(sizes));
                let best = best(&machine);
                let what = format!("{cpus} CPUs, {mib} MiB, {sizes:?}: {best:?}");
                assert_eq!(placed(&machine, &best), None, "{what}");
                assert!(best.total >= 1 && best.total <= 50, "{what}");
                assert!(best.memory <= machine.memory, "{what}");
                assert!(best.cpu_milli.0 <= cpus * 2500, "{what}");
                let small = minimal(&machine, &spec().limits, Basis::Empty);
                assert!(small.iter().all(|(_, count)| *count == 1) && !small.is_empty(), "{what}");
            }
        }
    }
}

#[test]
fn a_machine_without_cards_has_a_report() {
    let machine = machine(4, Bytes::gib(8), Vec::new());
    let text = report::full(&machine, &spec(), &best(&machine));
    assert!(text.contains("  GPUs: 0\n  CPU Cores: 4\n  RAM: 8,192 / 8,192 MB free\n"), "{text}");
    assert!(text.contains("  Light Runner         4      cpu      []\n"), "{text}");
    assert!(text.contains("  GPU Light Runner     0      gpu      []\n"), "{text}");
    assert!(text.contains("  Strategy: cpu_only\n"), "{text}");
}

#[test]
fn full_cards_count_nothing_now_and_all_when_empty() {
    let full = vec![card(0, 16_384, 16_384), card(1, 16_384, 20_000)];
    let machine = machine(32, Bytes::gib(64), full);
    assert_eq!(
        shown(&best(&machine)),
        shown(&best(&super::machine(32, Bytes::gib(64), cards(&[16_384; 2]))))
    );
    let now = optimal(&machine, &spec().limits, Basis::Now);
    assert!(now.rows.iter().all(|row| row.gpu.is_none()), "{now:?}");
    let text = report::full(&machine, &spec(), &now);
    assert!(text.contains("  GPU Light Runner     0      gpu      [0, 0]\n"), "{text}");
    assert!(text.contains("    GPU 0: 0 / 16,384 MB free (unknown utilized)\n"), "{text}");
}

#[test]
fn cards_that_take_no_runner_count_nothing_and_say_why() {
    let mut all = cards(&[16_384; 7]);
    all[0].health = GpuHealth::Lost("GPU is lost".to_owned());
    all[1].health = GpuHealth::Unresponsive("no answer in 5s".to_owned());
    all[2].mig = Some(MigMode::On);
    all[3].compute_mode = Some(ComputeMode::Prohibited);
    all[4].compute_mode = Some(ComputeMode::OneProcess);
    all[5].used = None;
    let cordons = Cordons::from([(GpuUuid::new("GPU-6"), "Xid 79".to_owned())]);
    let inventory = super::inventory(32, Bytes::gib(64), all);
    let machine = Machine::new(&inventory, &cordons);
    let text = report::full(&machine, &spec(), &best(&machine));
    let row = "  GPU Light Runner     9      gpu      [0, 0, 0, 0, 1, 8, 0]\n";
    assert!(text.contains(row), "{text}");
    let notes = machine.notes();
    assert_eq!(notes.len(), 6, "{notes:?}");
    assert_eq!(notes[5], "GPU 6 takes no runner: cordoned: Xid 79");
    assert!(notes[4].contains("not known"), "{notes:?}");
}

#[test]
fn a_mig_instance_takes_one_runner_in_the_formulas_and_in_the_core() {
    let mut all = cards(&[20_096; 3]);
    for slice in &mut all {
        slice.card.parent = Some(GpuUuid::new("GPU-parent"));
    }
    let machine = machine(32, Bytes::gib(64), all);
    let text = report::full(&machine, &spec(), &best(&machine));
    assert!(text.contains("  GPU Light Runner     3      gpu      [1, 1, 1]\n"), "{text}");
    let on_cards =
        best(&machine).rows.into_iter().filter(|row| row.profile.as_str().starts_with("gpu"));
    assert_eq!(on_cards.map(|row| row.count).sum::<u32>(), 3, "{text}");
}

#[test]
fn what_the_driver_keeps_is_never_counted() {
    let mut all = cards(&[16_384]);
    all[0].card.reserved = GpuMib(400);
    let machine = machine(32, Bytes::gib(64), all);
    assert_eq!(machine.cards[0].free(), GpuMib(15_984));
    assert!(shown(&best(&machine)).contains("0:1xgpu_heavy 0:3xgpu_light"));
}

#[test]
fn a_machine_never_has_more_free_than_it_has() {
    let odd = super::inventory(2, Bytes::gib(1), vec![card(0, 4096, 9999)]);
    let odd = Inventory { memory_free: Some(Bytes::gib(8)), ..odd };
    let machine = Machine::new(&odd, &Cordons::new());
    assert_eq!(machine.memory_free, Bytes::gib(1));
    assert_eq!(machine.cards[0].free(), GpuMib(0));
}

#[test]
fn the_bound_of_the_file_bounds_the_fleet() {
    let machine = machine(32, Bytes::gib(64), cards(&[16_384; 2]));
    let mut limits = spec().limits;
    for most in [1, 2, 10, 30, 200] {
        limits.scale_max = most;
        let best = optimal(&machine, &limits, Basis::Empty);
        assert!(best.total <= most && best.total >= 1, "{most}: {best:?}");
    }
}

#[test]
fn a_profile_for_cuda_counts_nvidia_s_cards_only() {
    let mut all = cards(&[16_384, 16_384]);
    all[0].card.vendor = GpuVendor::Amd;
    let machine = machine(32, Bytes::gib(64), all);
    let text = report::full(&machine, &spec(), &best(&machine));
    assert!(text.contains("  GPU Light Runner     8      gpu      [0, 8]\n"), "{text}");
    let spec = spec();
    let open =
        Profile { labels: Vec::new(), ..spec.profiles[&ProfileName::new("gpu_light")].clone() };
    let terms = Terms::new(&machine, &open, 50, Basis::Empty);
    assert_eq!((terms.per_gpu, terms.gpu), (Some(vec![8, 8]), Some(10)));
}
