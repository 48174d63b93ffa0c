//! Fleets for the page to show. The real core keeps them in a simulated world, so nothing that is
//! shown of them contradicts the rest; only what a shell would measure is made here.

use std::collections::BTreeMap;
use std::time::Duration;

use slate_fleet::fleet::audit::{Actor, AuditEntry};
use slate_fleet::fleet::event::{Cordon, JobSpec, Request};
use slate_fleet::fleet::gpu::{GpuAccess, GpuFacts, GpuVendor};
use slate_fleet::fleet::host::HostFacts;
use slate_fleet::fleet::view::{
    FleetView, GpuView, JobFilter, JobStatus, JobView, PoolView, RunnerStatus, RunnerView,
    SizeReason,
};
use slate_fleet::ids::{ContainerId, GpuUuid, JobId};
use slate_fleet::sim::Sim;
use slate_fleet::sim::rng::Rng;
use slate_fleet::sim::script::command;
use slate_fleet::sim::transcript::Writing;
use slate_fleet::spec::{self, Source, Spec};
use slate_fleet::supervisor::usage::{RunnerUsage, UsageReport};
use slate_fleet::units::{Bytes, GpuMib, MilliCpu, Time};

use crate::cli::fake::World;

/// The fleet that specification 1 draws, as far as its own bounds let it: five light GPU runners
/// on a card at most.
const WORKSTATION: &str = "\
version: 1
project: slate
pools:
  - {name: gpu_heavy, profile: gpu_heavy, count: 1}
  - {name: gpu_light, profile: gpu_light, count: 9}
  - {name: standard, profile: standard, count: 10}
  - name: light
    profile: light
    min_runners: 4
    max_runners: 25
    scale_up_threshold: 1
    scale_up_delay: 1s
lanes:
  intake: {pools: [light]}
  verify: {pools: [standard, gpu_light, gpu_heavy], priority: 100}
";

/// What people hand in: the pool, its lane, how many of the pool work at a time, and the commands.
const WORK: [(&str, &str, u32, &[&str]); 4] = [
    ("gpu_heavy", "verify", 1, &["python3 finetune.py --epochs 3"]),
    ("gpu_light", "verify", 6, &["python3 embed.py --batch 64", "pytest -q tests/gpu"]),
    (
        "standard",
        "verify",
        7,
        &["cargo nextest run", "pytest -q tests/unit", "npm test", "bazel test //core/..."],
    ),
    ("light", "intake", 25, &["ruff check .", "mypy src", "npm run lint", "python3 -m build"]),
];

/// Jobs that wait for light runners, when all of those are busy.
pub const WAITING: u32 = 3;

/// Words before those of people: how long a simulated job takes, and how it ends.
const STAGE_WORDS: usize = 3;

/// A workstation of two cards at work: some jobs are over, all light runners are busy, and a few
/// jobs wait for one.
pub fn workstation(world: &mut World) {
    show(world, &at_work().0);
}

/// The same with trouble: a runner that fails again and again, one that takes no job, and a card
/// with an error in its memory.
pub fn troubled(world: &mut World) {
    let (mut sim, mut dice) = at_work();
    let idle = |sim: &Sim, pool: &str| {
        let is_it = |it: &&RunnerView| it.pool.as_str() == pool && it.status == RunnerStatus::Idle;
        view(sim).runners.iter().find(is_it).expect("one idles").id
    };
    let closed = idle(&sim, "standard");
    sim.ask(Request::Cordon { slots: vec![closed], to: Cordon::Closed });
    let failing = idle(&sim, "gpu_light");
    let status = |sim: &Sim| sim.slot(failing.0).map(|it| it.status);
    for _ in 0..5 {
        sim.run_till(|sim| status(sim) == Some(RunnerStatus::Idle));
        let container = sim.container(failing.0).expect("it has a container");
        sim.world.die(&container, 1);
        sim.run_for(Duration::from_millis(100));
    }
    sim.world.turn_card(&GpuUuid::new("GPU-1"), "has a memory error", |card| card.ecc += 1);
    let is_so = |sim: &Sim| view(sim).queued == WAITING && status(sim) == Some(RunnerStatus::Error);
    go_on(&mut sim, &mut dice, is_so);
    show(world, &sim);
}

/// So many light runners, most of them at work.
pub fn crowd(world: &mut World, runners: u32) {
    let file = format!(
        "version: 1\nproject: slate\nlimits: {{scale_max: {runners}}}\n\
         pools: [{{name: light, profile: light, count: {runners}, spares: 0}}]\n"
    );
    let mut sim = up(&file, &host(256, 1024, 0));
    for _ in 0..runners * 4 / 5 {
        sim.submit(command(&["work", "3600000", "0", "ruff", "check", "."]));
    }
    sim.run_for(Duration::from_secs(5));
    show(world, &sim);
}

/// The workstation, and the chance that goes on with it.
fn at_work() -> (Sim, Rng) {
    let mut sim = up(WORKSTATION, &host(32, 128, 2));
    let mut dice = Rng::new(11);
    sim.world.use_by_others(&GpuUuid::new("GPU-1"), 1100);
    let begun = sim.now();
    go_on(&mut sim, &mut dice, |sim| {
        sim.now().since(begun) > Duration::from_secs(200) && is_worth_a_look(&view(sim))
    });
    (sim, dice)
}

/// People hand in jobs until something is so.
fn go_on(sim: &mut Sim, dice: &mut Rng, is_so: impl Fn(&Sim) -> bool) {
    for _ in 0..600 {
        hand_in(sim, dice);
        use_cards(sim);
        sim.run_for(Duration::from_secs(1));
        if is_so(sim) {
            return;
        }
    }
    panic!("the fleet is never as it should be: {:#?}", view(sim).pools);
}

/// A fleet that came up on a host.
pub fn up(file: &str, host: &HostFacts) -> Sim {
    let spec = load(file);
    let mut sim = Sim::new(1, Writing::Off, (spec.clone(), host.clone()));
    sim.oracle.watches = false;
    sim.world.read_cards(&host.gpus);
    sim.up(spec);
    sim.settle().expect("a fleet without faults comes up");
    sim.find_free(Bytes::gib(61));
    sim.run_for(Duration::from_secs(90));
    sim
}

fn load(file: &str) -> Spec {
    let source =
        Source { path: "slate.yaml".to_owned(), text: file.to_owned(), base: "/nowhere".into() };
    spec::load(&[source], &BTreeMap::new()).expect("the fleet file is valid").spec
}

/// A host with so many processors, GiB of memory, and cards.
pub fn host(cpus: u32, memory: u64, cards: u32) -> HostFacts {
    let card = |index: u32| GpuFacts {
        index,
        uuid: GpuUuid::new(format!("GPU-{index}")),
        name: "NVIDIA GeForce RTX 5070 Ti".to_owned(),
        memory: GpuMib(16_384),
        reserved: GpuMib(304),
        vendor: GpuVendor::Nvidia,
        parent: None,
        pci: None,
        access: GpuAccess::Request,
    };
    HostFacts { cpus, memory: Bytes::gib(memory), gpus: (0..cards).map(card).collect() }
}

fn view(sim: &Sim) -> FleetView {
    sim.fleet().expect("it lives").view(sim.now())
}

/// Hands in what keeps each pool as busy as it should be.
fn hand_in(sim: &mut Sim, dice: &mut Rng) {
    let fleet = view(sim);
    let mut runs = Rng::new(sim.now().0);
    for (name, lane, busy, commands) in WORK {
        let pool = fleet.pools.iter().find(|pool| pool.name.as_str() == name).expect("its pool");
        let more = match name {
            "light" => WAITING.saturating_sub(waiting(&fleet)).min(2),
            _ => u32::from(pool.running < busy && dice.chance(400)),
        };
        for _ in 0..more {
            let job = job(dice.pick(commands).expect("a command"), dice);
            let run = (1840 + runs.below(4)).to_string();
            sim.submit(job.on(name).in_lane(lane).of("ci", &run));
        }
    }
}

/// A command that takes its time; one of twelve fails.
fn job(words: &str, dice: &mut Rng) -> JobSpec {
    let seconds = match (words.contains("finetune"), dice.below(3)) {
        (true, _) => dice.between(200, 300),
        (false, 0) => dice.between(3, 8),
        (false, 1) => dice.between(10, 30),
        (false, _) => dice.between(30, 90),
    };
    let code = u8::from(dice.chance(80)).to_string();
    let runs = (seconds * 1000 + dice.below(1000)).to_string();
    let stage = ["work", runs.as_str(), code.as_str()];
    let people = ["ana", "ben", "ci-bot"];
    let words: Vec<&str> = stage.into_iter().chain(words.split(' ')).collect();
    JobSpec { submitter: (*dice.pick(&people).expect("somebody")).to_owned(), ..command(&words) }
}

fn waiting(fleet: &FleetView) -> u32 {
    fleet.pools.iter().map(|pool| pool.waiting).sum()
}

/// Everything that the page can show is there to be seen.
fn is_worth_a_look(fleet: &FleetView) -> bool {
    let is_full = |pool: &PoolView| {
        pool.running == pool.max && pool.why == SizeReason::Most { waiting: WAITING }
    };
    let is_at_work = |name: &str, least: u32| {
        fleet.pools.iter().any(|pool| pool.name.as_str() == name && pool.running >= least)
    };
    fleet.queued == WAITING
        && fleet.pools.iter().any(is_full)
        && is_at_work("gpu_heavy", 1)
        && is_at_work("gpu_light", 5)
        && is_at_work("standard", 6)
        && fleet.runners.iter().all(|it| it.status.is_serving())
}

/// Each job on a card uses some of what its runner leases.
fn use_cards(sim: &mut Sim) {
    let fleet = view(sim);
    let uses: Vec<(ContainerId, u32)> = fleet
        .gpus
        .cards
        .iter()
        .flat_map(|card| &card.leases)
        .filter_map(|lease| {
            let runner = fleet.runners.iter().find(|runner| Some(runner.id) == lease.slot)?;
            let part = 45 + u32::try_from(lease.incarnation.0 * 29 % 50).expect("small");
            Some((runner.container.clone()?, lease.reserved.0 * part / 100))
        })
        .collect();
    for (container, memory) in uses {
        sim.world.use_by(&container, memory);
    }
}

/// Shows what a core says of its fleet.
pub fn show(world: &mut World, sim: &Sim) {
    let fleet = sim.fleet().expect("it lives");
    world.fleet = view(sim);
    world.fleet.gpus.cards.iter_mut().for_each(measure);
    let mut jobs = fleet.jobs(&JobFilter::newest(usize::MAX));
    for job in &mut jobs {
        job.spec.command.drain(..STAGE_WORDS);
    }
    world.jobs = jobs.into_iter().map(|job| (job.id, job)).collect();
    world.audit.clone_from(&sim.records.audit);
    for entry in &mut world.audit {
        entry.why = of_people(&entry.why);
    }
    world.spec = fleet.spec().clone();
    world.usage = usage(&world.fleet);
}

/// What is left of a text when the words of the simulation are out of it.
fn of_people(why: &str) -> String {
    match why.split_once("work ") {
        Some((before, work)) => {
            let words: Vec<&str> = work.split(' ').skip(STAGE_WORDS - 1).collect();
            format!("{before}{}", words.join(" "))
        }
        None => why.to_owned(),
    }
}

/// What NVML would say of a card with so much work on it.
fn measure(card: &mut GpuView) {
    let at_work = card.leases.iter().filter(|it| it.used.is_some_and(|used| used.0 > 0));
    let percent: u32 = at_work.map(|it| 8 + it.reserved.0 / 250).sum();
    let percent = percent.min(97);
    card.reading.busy_percent = u8::try_from(percent).ok();
    card.reading.temperature = Some(38 + percent / 3);
    card.reading.power = Some(32 + percent * 2);
}

/// What runners use: much where a job runs, nearly nothing elsewhere.
fn usage(fleet: &FleetView) -> UsageReport {
    let runners = fleet.runners.iter().map(|runner| {
        let part = match runner.status {
            RunnerStatus::Running => 15 + runner.id.0 * 17 % 50,
            _ => 1,
        };
        RunnerUsage {
            id: runner.id,
            name: runner.name.clone(),
            cpus: Some(MilliCpu(runner.cpus.0 * part / 100)),
            memory: Bytes(runner.memory.0 * u64::from(part) / 130),
            memory_limit: runner.memory,
            pids: 8,
        }
    });
    let runners: Vec<RunnerUsage> = runners.collect();
    let cpus: u32 = runners.iter().filter_map(|it| it.cpus).map(|it| it.0).sum();
    assert!(cpus < fleet.host.cpus * 1000, "{cpus} of {} are in use", fleet.host.cpus);
    UsageReport { at: fleet.at, runners }
}

/// The job of the runner of this name.
pub fn job_on(world: &World, runner: &str) -> JobId {
    let found = world.fleet.runners.iter().find(|it| it.name == runner);
    found.and_then(|it| it.job).unwrap_or_else(|| panic!("{runner} has no job"))
}

/// The job that a runner gets next.
pub fn next_in_line(world: &World) -> JobId {
    world.jobs.values().find(|job| job.position == Some(1)).expect("one waits").id
}

/// The newest job of a pool that runs.
pub fn newest_running(world: &World, profile: &str) -> JobId {
    let is_it =
        |job: &&JobView| job.status == JobStatus::Running && job.profile.as_str() == profile;
    world.jobs.values().rev().find(is_it).expect("one runs").id
}

/// What happens next, for the audit log.
pub fn entry(world: &World, object: &str, what: &str, why: &str) -> AuditEntry {
    AuditEntry {
        seq: world.audit.last().map_or(0, |entry| entry.seq) + 1,
        at: Time(world.fleet.at.0 + 1000),
        actor: Actor::Fleet,
        object: object.to_owned(),
        incarnation: None,
        what: what.to_owned(),
        why: why.to_owned(),
        before: None,
        after: None,
    }
}
