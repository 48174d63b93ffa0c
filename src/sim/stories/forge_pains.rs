//! What operators of other tools suffered from at forges; each test has the acceptance sentence
//! that it answers.

use std::collections::BTreeSet;
use std::time::Duration;

use super::forges::{LABELS, first};
use super::{ready, start, with};
use crate::fleet::audit::AuditEntry;
use crate::fleet::view::{JobStatus, RunnerStatus};
use crate::ids::ForgeJobId;
use crate::sim::Sim;
use crate::sim::fault::{Fault, Faults};
use crate::sim::script::{host, pool, work};
use crate::sim::transcript::Writing;
use crate::sim::world::Pace;
use crate::sim::world::forge::Fate;
use crate::spec::{Pool, Spec};

fn unbroken(sim: &Sim) {
    assert!(sim.oracle.violations.is_empty(), "{:?}", sim.oracle.violations);
}

/// A pool that has a runner for each job at once, and none without.
fn follows(max: u32) -> Pool {
    pool("light", 0).at_forge(LABELS).between(0, max).elastic(|it| {
        it.scale_up_threshold = 0;
        it.scale_up_delay = Duration::ZERO;
        it.scale_down_delay = Duration::from_secs(30);
    })
}

fn world(seed: u64, spec: Spec) -> Sim {
    let mut sim = Sim::new(seed, Writing::Off, (spec.clone(), host()));
    sim.up(spec);
    sim
}

/// Nothing goes wrong any more, and pools that follow their jobs have none.
fn rest(sim: &mut Sim) {
    sim.world.faults = Faults::NONE;
    sim.run_for(Duration::from_secs(180));
    sim.settle().expect("all is as it should be");
}

fn own(sim: &Sim) -> usize {
    sim.world.forge.own().count()
}

fn all_well(sim: &Sim) {
    let bad = sim.world.forge.jobs.iter().find(|(_, job)| job.ends != ["success"]);
    assert!(bad.is_none(), "{bad:?}");
}

// Item 1: "After 100 scale cycles with 10 % of forge calls failing or timing out, the stand-in
// lists no entry of the fleet that has no container."
#[test]
fn a_hundred_scale_cycles_leave_no_entry_behind() {
    let mut sim = world(3, with([pool("light", 0).at_forge(LABELS)]));
    sim.world.faults.set(Fault::ForgeFails, 50);
    sim.world.faults.set(Fault::ForgeUnknown, 50);
    for _ in 0..100 {
        sim.scale(&[("light", 3)]);
        sim.run_for(Duration::from_secs(20));
        sim.scale(&[("light", 0)]);
        sim.run_for(Duration::from_secs(60));
    }
    sim.settle().expect("nothing is left over");
    unbroken(&sim);
    assert_eq!(own(&sim), 0);
}

// Item 2: "The entry moves to a \"waiting for the forge\" list, is retried with back-off, is shown
// by `ps`, and neither delays its replacement nor counts as capacity."
#[test]
fn an_entry_that_the_forge_keeps_for_its_lost_job_delays_nobody() {
    let mut sim = ready(with([pool("light", 1).at_forge(LABELS)]));
    let job = sim.push(LABELS, 300);
    assert!(sim.run_till_pushed_runs(job));
    sim.run_for(Duration::from_secs(1));
    let before = first(&sim);
    sim.world.die(&before, 137);
    sim.run_for(Duration::from_secs(15));
    assert!(sim.container(1).is_some_and(|id| id != before), "it is replaced at once");
    assert!(sim.slot(1).is_some_and(|it| it.status == RunnerStatus::Idle));
    let left: Vec<String> = sim
        .fleet()
        .expect("it runs")
        .view(sim.now())
        .forges
        .into_iter()
        .flat_map(|it| it.leftovers)
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    sim.settle().expect("the forge gives it up after ten minutes");
    unbroken(&sim);
    assert_eq!((own(&sim), sim.ends()), (1, vec!["lost"]));
}

// Item 3: "Every incarnation gets a fresh registration; one that is not online within its deadline
// is thrown away together with its registration."
#[test]
fn a_listener_that_never_comes_online_is_thrown_away_with_its_registration() {
    let mut sim = start(with([pool("light", 1).at_forge(LABELS)]));
    sim.world.forge.fate = Fate::Mute;
    let starts = |sim: &Sim| sim.world.containers.values().any(|it| it.agent.listener.is_some());
    assert!(sim.run_till(starts));
    sim.world.forge.fate = Fate::Serves;
    sim.run_for(Duration::from_secs(260));
    assert!(sim.slot(1).is_some_and(|it| it.status == RunnerStatus::Idle), "{:?}", sim.slot(1));
    assert_eq!((own(&sim), sim.world.forge.names.len()), (1, 2));
    unbroken(&sim);
}

// Item 4: "Kill only the listener process: within 30 s the runner is not counted as idle, within
// 60 s it is replaced."
#[test]
fn a_runner_whose_listener_died_is_replaced_within_a_minute() {
    let mut sim = ready(with([pool("light", 1).at_forge(LABELS)]));
    let before = first(&sim);
    sim.world.kill_listener(&before);
    sim.run_for(Duration::from_secs(1));
    assert!(sim.slot(1).is_none_or(|it| it.status != RunnerStatus::Idle), "{:?}", sim.slot(1));
    sim.run_for(Duration::from_secs(59));
    assert!(sim.slot(1).is_some_and(|it| it.status == RunnerStatus::Idle), "{:?}", sim.slot(1));
    assert_ne!(first(&sim), before);
    sim.settle().expect("its entry is removed");
    assert_eq!(own(&sim), 1);
    unbroken(&sim);
}

// Item 5: "it is deregistered first, then replaced; a stand-in that accepts and never answers
// costs at most 5 minutes per slot."
#[test]
fn a_listener_without_progress_is_deregistered_and_then_replaced() {
    let mut sim = ready(with([pool("light", 1).at_forge(LABELS)]));
    let before = first(&sim);
    sim.world.freeze_listener(&before);
    assert!(sim.run_till(|sim| own(sim) == 0), "it is deregistered");
    assert_eq!(first(&sim), before, "before it goes");
    sim.run_for(Duration::from_secs(115));
    assert!(sim.slot(1).is_some_and(|it| it.status == RunnerStatus::Idle), "{:?}", sim.slot(1));
    let after = sim.container(1);
    assert!(after.is_some_and(|id| id != before));
    unbroken(&sim);
}

// Item 6: "no container of the fleet restarts more than that", and other pools go on.
#[test]
fn a_listener_that_always_ends_is_tried_ever_more_rarely() {
    let mut sim = start(with([pool("light", 1).at_forge(LABELS), pool("standard", 1)]));
    sim.world.forge.fate = Fate::Ends(1);
    sim.run_for(Duration::from_secs(600));
    let tries = sim.world.forge.names.len();
    assert!((3..=16).contains(&tries), "{tries} registrations in ten minutes");
    let job = sim.submit(work(1)).expect("local jobs go on");
    assert!(sim.run_till_job(job, JobStatus::Succeeded));
    sim.world.forge.fate = Fate::Serves;
    sim.settle().expect("all is well again");
    assert_eq!(own(&sim), 1);
    unbroken(&sim);
}

// Item 7: "Stand-in hides new runners for five minutes: nothing is killed."
#[test]
fn runners_that_the_lists_hide_are_left_alone() {
    let mut sim = world(7, with([pool("light", 3).at_forge(LABELS)]));
    sim.world.faults.set(Fault::ForgeHides, 1000);
    sim.run_for(Duration::from_secs(900));
    assert_eq!(sim.records.meta.incarnation, 3, "no runner is made twice");
    assert_eq!(own(&sim), 3);
    unbroken(&sim);
}

// Item 10: "A container that ends without having had a job is deregistered within 10 s of its
// exit, whatever ended it."
#[test]
fn a_container_that_ends_without_a_job_is_deregistered_within_ten_seconds() {
    let mut sim = ready(with([pool("light", 1).at_forge(LABELS)]));
    let names = sim.world.forge.own().map(|(_, entry)| entry.name.clone()).collect::<Vec<_>>();
    let container = first(&sim);
    sim.world.die_of_memory(&container);
    sim.run_for(Duration::from_secs(10));
    assert!(sim.world.forge.own().all(|(_, entry)| !names.contains(&entry.name)));
    sim.settle().expect("all is well again");
    unbroken(&sim);
}

// Item 15: "Order is: deregister (the forge refuses if busy), look again, stop. 10,000 simulated
// races: no job lost." Twenty runners go at a time, while as many jobs come; the forge's view of
// who is busy is wrong now and then. SLATE_SIM_RACES sets the number of races.
#[test]
fn a_forge_s_job_that_comes_as_its_runner_goes_is_not_lost() {
    let races = std::env::var("SLATE_SIM_RACES").ok().and_then(|it| it.parse().ok());
    let rounds = races.unwrap_or(1_000_u64).div_ceil(RUNNERS.into());
    let (mut early, mut late, mut blind) = (0, 0, 0);
    for seed in 0..rounds.div_ceil(ROUNDS) {
        let mut sim = world(seed, with([pool("light", 0).at_forge(LABELS)]));
        sim.oracle.watches = rounds <= 100;
        sim.world.pace = Pace::Uneven;
        sim.world.faults.set(Fault::ForgeBlind, 300);
        for round in 0..ROUNDS {
            let (on_time, unseen) = race(&mut sim, seed * ROUNDS + round);
            early += on_time;
            blind += unseen;
            late += RUNNERS - on_time;
        }
        all_well(&sim);
        unbroken(&sim);
    }
    println!("{early} jobs came in time, {blind} of them to a runner off the list; {late} late");
    assert!(early > 50 && late > 50 && blind > 5, "{early} in time, {blind} blind, {late} late");
}

/// Runners that leave at a time, and jobs that come.
const RUNNERS: u32 = 20;
/// Rounds in one world: it grows with its jobs.
const ROUNDS: u64 = 10;

/// How many jobs came in time for a runner that was to go, and how many of these runners were taken
/// from the list all the same.
fn race(sim: &mut Sim, round: u64) -> (u32, u32) {
    sim.scale(&[("light", RUNNERS)]);
    let is_up = |sim: &Sim| {
        sim.world.forge.own().filter(|(_, entry)| entry.is_online()).count() == RUNNERS as usize
            && sim.records.runners.values().all(|it| it.phase.word() == "idle")
    };
    assert!(sim.run_till(is_up), "round {round}: {:?}", sim.records.runners);
    let before: BTreeSet<String> =
        sim.world.forge.own().map(|(_, entry)| entry.name.clone()).collect();
    let jobs: Vec<ForgeJobId> = (0..RUNNERS / 2).map(|_| sim.push(LABELS, 20)).collect();
    sim.run_for(Duration::from_millis(round * 37 % 900));
    sim.scale(&[("light", 0)]);
    sim.run_for(Duration::from_millis(round * 53 % 700));
    let more: Vec<ForgeJobId> = (0..RUNNERS / 2).map(|_| sim.push(LABELS, 20)).collect();
    sim.run_for(Duration::from_secs(20));
    let jobs: Vec<ForgeJobId> = jobs.into_iter().chain(more).collect();
    let begun = |id: &ForgeJobId| sim.world.forge.jobs.get(id).and_then(|it| it.begun.first());
    let names: Vec<String> = jobs.iter().filter_map(begun).cloned().collect();
    let on_time = names.iter().filter(|name| before.contains(*name)).count();
    let listed: BTreeSet<&String> = sim.world.forge.own().map(|(_, entry)| &entry.name).collect();
    let unseen = names.iter().filter(|name| !listed.contains(name)).count();
    sim.scale(&[("light", RUNNERS)]);
    assert!(sim.run_till_all_over(), "round {round}");
    let small = |number: usize| u32::try_from(number).unwrap_or(0);
    (small(on_time), small(unseen))
}

// Item 18: "Idle time counts from \"online\" or the end of the last job", and item 19: "A burst of
// N jobs creates at most N + min_runners containers and none of them is removed unused before
// `scale_down_delay`."
#[test]
fn a_burst_makes_as_many_runners_as_jobs_and_none_leaves_at_once() {
    let mut sim = ready(with([follows(20)]));
    for _ in 0..10 {
        sim.push(LABELS, 15);
    }
    assert!(sim.run_till_all_over());
    assert!(sim.world.forge.names.len() <= 20, "{} runners", sim.world.forge.names.len());
    rest(&mut sim);
    assert_eq!(own(&sim), 0);
    unbroken(&sim);
}

// Item 25: "With 30 % of deliveries dropped every job starts within one poll interval of its
// expected time; webhooks only shorten waits." And with all of them dropped.
#[test]
fn jobs_start_within_a_poll_though_webhooks_are_lost() {
    for lost in [300, 1000] {
        let mut sim = ready(with([follows(20)]));
        sim.world.faults.set(Fault::HookLost, lost);
        sim.world.faults.set(Fault::HookDoubled, 300);
        sim.world.faults.set(Fault::HookLate, 300);
        for round in 0..10 {
            for _ in 0..3 {
                sim.push(LABELS, 10 + round);
            }
            sim.run_for(Duration::from_secs(50));
        }
        assert!(sim.run_till_all_over());
        all_well(&sim);
        let waits = sim.world.forge.jobs.values();
        let waits = waits.map(|it| it.started.unwrap_or(sim.now()).since(it.created));
        let longest = waits.max().unwrap_or_default();
        assert!(longest < Duration::from_secs(40), "{longest:?} with {lost} in 1000 lost");
        unbroken(&sim);
    }
}

// Item 27: "Demand is recomputed when any runner takes any job; 100 jobs with crossed assignment
// all finish without operator action."
#[test]
fn a_hundred_jobs_that_any_runner_may_take_all_end() {
    let big = follows(6).named("big");
    let mut sim = ready(with([follows(6), big]));
    sim.world.add_foreign("somebody-else", LABELS);
    for number in 0..100 {
        let labels = if number % 2 == 0 { LABELS } else { &LABELS[..1] };
        sim.push(labels, 3 + number % 7);
        sim.run_for(Duration::from_secs(number % 5));
    }
    assert!(sim.run_till_all_over());
    all_well(&sim);
    rest(&mut sim);
    unbroken(&sim);
}

// Item 28: "Demand is met only by a runner that is online or busy; 20 % of boots failing delays
// jobs but loses none."
#[test]
fn boots_that_fail_delay_jobs_and_lose_none() {
    let mut sim = world(11, with([follows(8)]));
    sim.world.faults.set(Fault::AgentMute, 100);
    sim.world.faults.set(Fault::ListenerEnds, 100);
    sim.world.faults.set(Fault::ListenerMute, 50);
    for _ in 0..60 {
        sim.push(LABELS, 5);
    }
    for _ in 0..12 {
        if sim.run_till_all_over() {
            break;
        }
    }
    all_well(&sim);
    rest(&mut sim);
    assert_eq!(own(&sim), 0);
    unbroken(&sim);
}

// Item 30: "Cancel 100 queued jobs: no new container for them after 5 s."
#[test]
fn cancelled_jobs_get_no_containers() {
    let mut sim = ready(with([follows(3)]));
    let jobs: Vec<ForgeJobId> = (0..100).map(|_| sim.push(LABELS, 30)).collect();
    sim.run_for(Duration::from_secs(10));
    for job in jobs {
        sim.world.cancel_push(job);
    }
    sim.run_for(Duration::from_secs(5));
    let made = sim.records.meta.incarnation;
    assert!(sim.run_till_all_over());
    rest(&mut sim);
    // A slot that had a job is filled once more: it leaves when it was idle for long enough.
    assert!(sim.records.meta.incarnation <= made + 3, "{} made", sim.records.meta.incarnation);
    assert_eq!(own(&sim), 0);
    unbroken(&sim);
}

// Item 62: "On a limit answer there is no further call of that class before its reset."
#[test]
fn a_forge_that_asks_for_silence_gets_it() {
    let mut sim = ready(with([pool("light", 2).at_forge(LABELS)]));
    sim.world.limit_forge(Duration::from_secs(300));
    sim.run_for(Duration::from_secs(40));
    let calls = sim.world.forge.calls;
    let container = first(&sim);
    sim.world.die(&container, 137);
    sim.scale(&[("light", 1)]);
    sim.run_for(Duration::from_secs(240));
    assert_eq!(sim.world.forge.calls, calls);
    sim.settle().expect("it goes on when the time is over");
    assert_eq!(own(&sim), 1);
    unbroken(&sim);
}

// Item 65: "No destructive step follows from an error, a time-out or an empty page."
#[test]
fn errors_and_empty_pages_end_nobody() {
    let mut sim = world(5, with([pool("light", 3).at_forge(LABELS)]));
    sim.settle().expect("it comes up");
    sim.world.faults.set(Fault::ForgeFails, 300);
    sim.world.faults.set(Fault::ForgeListLost, 500);
    sim.world.faults.set(Fault::ForgeFlaps, 200);
    let made = sim.records.meta.incarnation;
    sim.run_for(Duration::from_secs(3600));
    assert_eq!(sim.records.meta.incarnation, made, "nobody was replaced");
    unbroken(&sim);
}

// "1,000 jobs with faults end with every job run once, no ghost, no foreign runner touched."
// A hundred in each world: the oracle looks at all of it after each step.
#[test]
fn a_thousand_jobs_with_faults_are_each_run_once() {
    for seed in 17..27 {
        let mut sim = world(seed, with([follows(15)]));
        sim.world.add_foreign("demo-light-i3-0ther000", LABELS);
        sim.world.pace = Pace::Uneven;
        sim.world.faults = faults();
        for number in 0..100 {
            sim.push(LABELS, 1 + number % 13);
            if number % 25 == 0 {
                sim.run_for(Duration::from_secs(40));
            }
        }
        for _ in 0..20 {
            if sim.run_till_all_over() {
                break;
            }
        }
        rest(&mut sim);
        // Runners that took the place of others a moment ago go when they were idle, too.
        rest(&mut sim);
        all_well(&sim);
        assert_eq!(own(&sim), 0);
        assert_eq!(sim.world.forge.entries.len(), 1, "the foreign runner is there");
        unbroken(&sim);
    }
}

/// What costs a job its runner by itself is left out.
fn faults() -> Faults {
    let mut faults = Faults::NONE;
    for (fault, _, [rare, _]) in Fault::ALL {
        faults.set(fault, rare);
    }
    for deadly in [Fault::JobStuck, Fault::JobUnbegun] {
        faults.set(deadly, 0);
    }
    faults
}

// Exit code 0 is no proof that a job ran.
#[test]
fn a_listener_that_ends_well_without_a_job_is_no_success() {
    let mut sim = start(with([pool("light", 1).at_forge(LABELS)]));
    sim.world.forge.fate = Fate::Ends(0);
    sim.run_for(Duration::from_secs(10));
    let says = |it: &&AuditEntry| it.why.contains("ended with code 0 and had no job");
    assert!(sim.records.audit.iter().any(|it| says(&it)), "{:?}", sim.records.audit);
    sim.world.forge.fate = Fate::Serves;
    sim.settle().expect("it is tried again");
    unbroken(&sim);
}
