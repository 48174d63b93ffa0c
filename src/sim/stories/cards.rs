//! Cards: leases by what is really used, cards that fall ill, and what is left of runners.

use std::time::Duration;

use super::{refusal, tells, with};
use crate::fleet::attempt::{Attempt, Fault};
use crate::fleet::effect::RefusalKind;
use crate::fleet::event::{Cordon, JobSpec, Request};
use crate::fleet::gpu::GpuHealth;
use crate::fleet::view::{GpuView, JobStatus};
use crate::ids::{ContainerId, GpuUuid, JobId};
use crate::sim::Sim;
use crate::sim::rng::Rng;
use crate::sim::script::{host, pool, work};
use crate::sim::transcript::Writing;
use crate::sim::world::Pace;
use crate::spec::{GpuWatchdog, Overcommit, Spec};

/// A fleet that is as its spec says, on a host whose cards are read; the story begins here.
fn ready(mut spec: Spec) -> Sim {
    spec.limits.overcommit_memory = Overcommit::Allow;
    let mut sim = Sim::new(1, Writing::Off, (spec.clone(), host()));
    sim.world.read_cards(&host().gpus);
    sim.up(spec);
    sim.settle().expect("a fleet without faults comes up");
    sim.run_for(Duration::from_secs(10));
    sim.world.transcript.set(Writing::On);
    sim
}

fn card(index: u32) -> GpuUuid {
    GpuUuid::new(format!("GPU-{index}"))
}

fn gpu(sim: &Sim, index: usize) -> GpuView {
    let view = sim.fleet().expect("there is a supervisor").view(sim.now());
    view.gpus.cards.get(index).cloned().expect("the host has two")
}

fn running(sim: &mut Sim, job: JobSpec) -> (JobId, ContainerId) {
    let job = sim.submit(job).expect("it is accepted");
    assert!(sim.run_till_job(job, JobStatus::Running));
    let slot = sim.job(job).and_then(|job| job.runner).expect("it runs somewhere");
    (job, sim.container(slot.0).expect("it has a container"))
}

fn faults(sim: &Sim, job: JobId) -> Vec<Option<Fault>> {
    let attempts = sim.job(job).map(|job| job.attempts).unwrap_or_default();
    attempts.into_iter().filter_map(|attempt: Attempt| Some(attempt.end?.fault)).collect()
}

fn resume(index: u32) -> Request {
    Request::CordonCards { cards: vec![index.to_string()], to: Cordon::Open }
}

fn reason(sim: &Sim, slot: u32) -> String {
    sim.slot(slot).and_then(|slot| slot.reason).unwrap_or_default()
}

#[test]
fn what_others_use_counts_against_new_leases_and_takes_none() {
    let mut sim = ready(with([pool("gpu_heavy", 1)]));
    let (job, _) = running(&mut sim, work(30).on("gpu_heavy"));
    sim.world.use_by_others(&card(0), 9_000);
    sim.world.use_by_others(&card(1), 9_000);
    sim.run_for(Duration::from_secs(10));
    assert_eq!(sim.status(job), Some(JobStatus::Running), "a lease is not given up");
    assert_eq!((gpu(&sim, 0).foreign.0, gpu(&sim, 0).headroom.0), (9_000, 0));
    assert!(sim.run_till_job(job, JobStatus::Succeeded));
    sim.run_for(Duration::from_secs(10));
    let why = "it waits for a card: profile gpu_heavy needs a GPU with 8,000 MiB to lease; GPU 0 \
               has 7,221 of 16,384 free: 9,000 MiB used by others; GPU 1 has 7,221 of 16,384 \
               free: 9,000 MiB used by others";
    assert_eq!(reason(&sim, 1), why);
    let refused = sim.scale(&[("gpu_heavy", 2)]);
    assert_eq!(refusal(refused), Some(RefusalKind::NoCapacity));
    sim.world.use_by_others(&card(1), 0);
    sim.settle().expect("all is well again");
    assert_eq!(sim.slot(1).and_then(|slot| slot.gpu), Some(1), "it moved to the free card");
    tells(&sim, "what_others_use_counts_against_new_leases_and_takes_none");
}

// Pain 52: if still dirty, the GPU is cordoned with process and megabytes named, and the job waits
// instead of failing.
#[test]
fn a_card_is_leased_again_only_when_nothing_of_the_last_runner_is_left() {
    let mut sim = ready(with([pool("gpu_max", 1)]));
    sim.ask(Request::CordonCards { cards: vec!["1".to_owned()], to: Cordon::Closed });
    let (job, id) = running(&mut sim, work(5).on("gpu_max"));
    let stays = id.clone();
    sim.world.turn_card(&card(0), "keeps a process", |it| it.left.push((stays, 3_000)));
    assert!(sim.run_till_job(job, JobStatus::Succeeded));
    let next = sim.submit(work(5).on("gpu_max")).expect("it is accepted");
    sim.run_for(Duration::from_secs(6));
    assert_eq!(reason(&sim, 1), "it waits until nothing of i1 is left on GPU 0");
    sim.run_for(Duration::from_secs(30));
    let cordon = gpu(&sim, 0).cordon.unwrap_or_default();
    assert_eq!(cordon, "i1 is gone, and process 1001 (job) with 3000 MiB is still there");
    assert_eq!(sim.status(next), Some(JobStatus::Queued), "it waits, and does not fail");
    sim.world.turn_card(&card(0), "has lost the process", |it| it.left.clear());
    assert!(sim.run_till_job(next, JobStatus::Succeeded));
    assert_eq!(gpu(&sim, 0).cordon, None);
    sim.ask(resume(1));
    sim.settle().expect("all is well again");
    tells(&sim, "a_card_is_leased_again_only_when_nothing_of_the_last_runner_is_left");
}

#[test]
fn memory_without_a_process_is_a_leftover_too() {
    let mut sim = ready(with([pool("gpu_max", 1)]));
    sim.ask(Request::CordonCards { cards: vec!["1".to_owned()], to: Cordon::Closed });
    let (job, _) = running(&mut sim, work(5).on("gpu_max"));
    assert!(sim.run_till_job(job, JobStatus::Succeeded));
    sim.world.turn_card(&card(0), "keeps memory", |it| it.leak = 500);
    sim.run_for(Duration::from_secs(30));
    let cordon = gpu(&sim, 0).cordon.unwrap_or_default();
    assert_eq!(cordon, "i1 is gone, and 500 MiB are in use on its card without a process");
    sim.world.turn_card(&card(0), "gives memory back", |it| it.leak = 0);
    sim.ask(resume(1));
    sim.settle().expect("all is well again");
}

#[test]
fn a_supervisor_that_restarts_goes_on_sweeping() {
    let mut sim = ready(with([pool("gpu_max", 1)]));
    sim.ask(Request::CordonCards { cards: vec!["1".to_owned()], to: Cordon::Closed });
    let (job, id) = running(&mut sim, work(5).on("gpu_max"));
    sim.world.turn_card(&card(0), "keeps a process", |it| it.left.push((id, 3_000)));
    assert!(sim.run_till_job(job, JobStatus::Succeeded));
    sim.run_for(Duration::from_secs(3));
    assert_eq!(sim.records.meta.sweeping.len(), 1, "the lease of the runner that is gone");
    sim.crash(Duration::from_secs(5));
    sim.run_for(Duration::from_secs(12));
    assert!(sim.containers().is_empty(), "the card is not free yet");
    sim.world.turn_card(&card(0), "has lost the process", |it| it.left.clear());
    sim.ask(resume(1));
    sim.settle().expect("all is well again");
    assert!(sim.records.meta.sweeping.is_empty());
    tells(&sim, "a_supervisor_that_restarts_goes_on_sweeping");
}

#[test]
fn a_card_that_is_lost_costs_its_jobs_an_attempt_and_nothing_else() {
    let mut sim = ready(with([pool("gpu_heavy", 2)]));
    let (job, _) = running(&mut sim, work(20).on("gpu_heavy"));
    sim.world.report_xid(&card(0), 79, None);
    sim.settle().expect("all runs on the other card");
    assert_eq!(sim.status(job), Some(JobStatus::Succeeded));
    assert_eq!(faults(&sim, job), [Some(Fault::Infrastructure), None]);
    assert_eq!(
        (sim.slot(1).and_then(|it| it.gpu), sim.slot(2).and_then(|it| it.gpu)),
        (Some(1), Some(1))
    );
    let view = sim.fleet().expect("there is a supervisor").view(sim.now());
    let trouble = "GPU 0 takes no new runner: its driver reported Xid 79: the card is lost; \
                   `slate-fleet resume --gpu 0` when it is fit for use again";
    assert_eq!(view.troubles, [trouble]);
    tells(&sim, "a_card_that_is_lost_costs_its_jobs_an_attempt_and_nothing_else");
}

#[test]
fn a_card_with_memory_errors_gets_no_new_work_and_its_job_may_end() {
    let mut sim = ready(with([pool("gpu_light", 2)]));
    let (job, _) = running(&mut sim, work(20).on("gpu_light"));
    sim.world.turn_card(&card(0), "has a memory error", |it| it.ecc += 1);
    sim.run_for(Duration::from_secs(10));
    assert_eq!(sim.status(job), Some(JobStatus::Running));
    sim.settle().expect("all runs on the other card");
    assert_eq!(faults(&sim, job), [None]);
    assert_eq!(sim.slot(1).and_then(|it| it.gpu), Some(1));
    assert_eq!(refusal(sim.ask(resume(7))), Some(RefusalKind::NotFound));
    sim.ask(resume(0));
    assert_eq!(gpu(&sim, 0).cordon, None);
    tells(&sim, "a_card_with_memory_errors_gets_no_new_work_and_its_job_may_end");
}

#[test]
fn an_xid_of_jobs_is_theirs_until_it_is_three_jobs() {
    let mut sim = ready(with([pool("gpu_light", 1)]));
    for count in 1..=3 {
        let (job, id) = running(&mut sim, work(5).on("gpu_light"));
        sim.run_for(Duration::from_secs(3));
        sim.world.report_xid(&card(0), 31, Some(&id));
        sim.run_for(Duration::from_millis(100));
        let told = sim.records.audit.iter().filter(|entry| entry.what == "gpu fault").count();
        assert_eq!(told, count, "{}", sim.world.transcript.text());
        let text = sim.world.transcript.text();
        assert_eq!(gpu(&sim, 0).cordon.is_some(), count == 3, "after {count} jobs: {text}");
        assert!(sim.run_till_job(job, JobStatus::Succeeded));
        sim.run_for(Duration::from_secs(10));
    }
    assert_eq!(sim.slot(1).and_then(|it| it.gpu), Some(1));
}

#[test]
fn a_lost_card_is_not_opened_and_a_missing_one_opens_by_itself_once() {
    let mut sim = ready(with([pool("gpu_light", 1)]));
    sim.world
        .turn_card(&card(0), "is lost", |it| it.health = GpuHealth::Lost("off the bus".into()));
    sim.run_for(Duration::from_secs(5));
    assert_eq!(refusal(sim.ask(resume(0))), Some(RefusalKind::Conflict));
    sim.world.heal_cards();
    sim.run_for(Duration::from_secs(5));
    assert!(gpu(&sim, 0).cordon.is_some(), "a person looks at it");
    sim.ask(resume(0));
    sim.settle().expect("all is well again");
    for is_by_hand in [false, true] {
        sim.world.turn_card(&card(1), "is not listed", |it| it.is_listed = false);
        sim.run_for(Duration::from_secs(5));
        assert!(gpu(&sim, 1).cordon.is_some());
        sim.world.turn_card(&card(1), "is listed", |it| it.is_listed = true);
        sim.run_for(Duration::from_secs(5));
        assert_eq!(gpu(&sim, 1).cordon.is_some(), is_by_hand);
    }
}

#[test]
fn a_runner_that_takes_too_much_is_ended_only_when_another_is_short() {
    let spec =
        with([pool("gpu_heavy", 4)]).edit("gpu_heavy", |it| it.gpu_watchdog = GpuWatchdog::Kill);
    let mut sim = ready(spec);
    let (greedy, id) = running(&mut sim, work(60).on("gpu_heavy"));
    let (modest, _) = running(&mut sim, work(60).on("gpu_heavy"));
    sim.world.use_by(&id, 8_300);
    sim.run_for(Duration::from_secs(10));
    assert_eq!(sim.status(greedy), Some(JobStatus::Running), "less than a tenth over");
    sim.world.use_by(&id, 12_000);
    assert!(sim.run_till_job(greedy, JobStatus::Lost));
    assert_eq!(faults(&sim, greedy), [Some(Fault::Job)]);
    let why = "it took more GPU memory than it leased: it uses 12000 MiB of GPU-0 and leased 8000 \
               MiB, and another runner on the card is short for it";
    assert_eq!(sim.job(greedy).and_then(|job| job.reason).as_deref(), Some(why));
    sim.settle().expect("all is well again");
    assert_eq!(sim.status(modest), Some(JobStatus::Succeeded));
    tells(&sim, "a_runner_that_takes_too_much_is_ended_only_when_another_is_short");
}

#[test]
fn idle_leases_are_given_up_for_a_job_that_waits_and_come_back() {
    let elastic = pool("gpu_max", 0).between(0, 1).elastic(|it| {
        it.scale_up_threshold = 0;
        it.scale_up_delay = Duration::from_secs(2);
        it.scale_down_delay = Duration::from_secs(60);
    });
    let mut sim = ready(with([pool("gpu_light", 4), elastic]));
    sim.run_for(Duration::from_secs(40));
    let (busy, _) = running(&mut sim, work(120).on("gpu_light"));
    let job = sim.submit(work(5).on("gpu_max")).expect("it is accepted");
    assert!(sim.run_till_job(job, JobStatus::Succeeded));
    assert_eq!(sim.status(busy), Some(JobStatus::Running), "a busy runner keeps its lease");
    let waiting = (1..=4).filter(|id| reason(&sim, *id).starts_with("it waits for a card")).count();
    assert_eq!(waiting, 0, "there is room for all beside the busy one");
    sim.settle().expect("all is well again");
    let reclaimed = sim.records.audit.iter().filter(|entry| entry.what == "reclaimed");
    assert_eq!(reclaimed.count(), 2);
    tells(&sim, "idle_leases_are_given_up_for_a_job_that_waits_and_come_back");
}

// Pain 51: 1,000 random starts and crashes never show two exclusive leases on one UUID.
#[test]
fn a_thousand_starts_and_crashes_never_share_an_exclusive_card() {
    let mut spec = with([pool("gpu_max", 1), pool("gpu_heavy", 1), pool("gpu_light", 1)]);
    spec.limits.overcommit_memory = Overcommit::Allow;
    let mut sim = Sim::new(51, Writing::Off, (spec.clone(), host()));
    sim.world.read_cards(&host().gpus);
    sim.world.pace = Pace::Uneven;
    sim.up(spec);
    let mut rng = Rng::new(51);
    let mut crashes = 0;
    while sim.records.meta.incarnation + crashes < 1_000 {
        let profile =
            rng.pick(&["gpu_max", "gpu_heavy", "gpu_light"]).copied().unwrap_or("gpu_max");
        sim.submit(work(rng.below(4)).on(profile));
        sim.run_for(Duration::from_millis(rng.below(8_000)));
        let all: Vec<ContainerId> = sim.containers().into_iter().collect();
        match (rng.below(4), rng.pick(&all)) {
            (0, _) => {
                sim.crash(Duration::from_millis(rng.below(5_000)));
                crashes += 1;
            }
            (1, Some(id)) => sim.world.die(id, 137),
            (2, Some(id)) => sim.world.remove_by_hand(id),
            _ => {}
        }
        assert!(sim.oracle.violations.is_empty(), "{:?}", sim.oracle.violations);
    }
    assert!(crashes > 50, "{crashes} crashes");
    sim.settle().expect("all is well again");
}
