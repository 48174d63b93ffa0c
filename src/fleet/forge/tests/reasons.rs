//! Every reason of the closed set, reached through the core, with the sentence that people read.

use super::*;
use crate::fleet::event::{Cordon, DownMode};
use crate::fleet::forge::testing::{elastic_pool, forge_pool};
use crate::fleet::runner::OpKind;
use crate::fleet::view::{WaitCode, WaitReason};
use crate::ids::{GpuUuid, ImageRef, JobId};
use crate::sim::Sim;
use crate::sim::script::{pool, work};
use crate::sim::transcript::Writing;
use crate::spec::Elastic;
use crate::units::Bytes;

/// A test for each code, and the list of them.
macro_rules! each {
    ($($name:ident: $code:ident, $reach:ident, $words:expr;)*) => {
        const REACHED: &[WaitCode] = &[$(WaitCode::$code),*];
        $(
            #[test]
            fn $name() {
                let why = $reach();
                let told = without_time(&why);
                assert_eq!((why.code(), told.as_str()), (WaitCode::$code, $words));
            }
        )*
    };
}

each! {
    held_is_told: Held, held,
        "operator holds it since 1970-01-12 13:46 UTC; `slate-fleet release job-1` lets it go";
    going_down_is_told: GoingDown, going_down, "the fleet goes down, and no job is begun any more";
    disk_low_is_told: DiskLow, disk_low,
        "no job is given out: the disk of /state (state) has 1MiB free, and 512MiB is the least \
         (`limits.disk_floor`)";
    workflow_limit_is_told: WorkflowLimit, workflow_limit,
        "1 workflow run is under way, the most that may run at a time";
    lane_limit_is_told: LaneLimit, lane_limit,
        "1 job of lane verify runs, and 1 may at a time";
    no_pool_is_told: NoPool, no_pool,
        "no pool offers the profile standard or more to this job any more; pool light offers less";
    no_labels_is_told: NoLabels, no_labels,
        "no pool has all its labels; the nearest, ci, lacks `gpu`";
    fork_denied_is_told: ForkDenied, fork_denied,
        "it comes from a fork, and pool ci does not serve those (`fork_jobs: allow`)";
    held_by_forge_is_told: HeldByForge, held_by_forge,
        "its forge holds it back: an approval, an earlier job or its concurrency group";
    not_taken_is_told: NotTaken, not_taken,
        "idle runners of pool ci have its labels and do not get it: their runner group may not be \
         open to its repository, or the forge gives it to others";
    runner_gone_is_told: RunnerGone, runner_gone,
        "its forge gave it to demo-ci-i999-01234567, which is gone, and does not queue it again: \
         cancel the run there, then run it again";
    needs_operator_is_told: NeedsOperator, needs_operator, "pool ci waits for you: bad credentials";
    forge_limited_is_told: ForgeLimited, forge_limited,
        "its forge is limited until 16:14 UTC: secondary rate limit";
    forge_unreachable_is_told: ForgeUnreachable, forge_unreachable,
        "https://github.com/me/site does not answer: no connection";
    engine_unreachable_is_told: EngineUnreachable, engine_unreachable,
        "the engine does not answer: connection refused";
    paused_is_told: Paused, paused,
        "pool light is paused since 1970-01-12 13:46 UTC by operator; `slate-fleet resume light` \
         lets jobs begin there";
    cordoned_is_told: Cordoned, cordoned, "its one runner is closed (`cordon`, `drain`)";
    image_missing_is_told: ImageMissing, image_missing,
        "image runner:1: no such image; it is looked for again at …";
    failing_is_told: Failing, failing,
        "the engine refused; failed 4 times in a row, next try at …";
    no_gpu_is_told: NoGpu, no_gpu,
        "it waits for a card: profile gpu_heavy needs a GPU with 8,000 MiB to lease; GPU 0 has \
         2,221 of 16,384 free: 14,000 MiB used by others; GPU 1 has 2,221 of 16,384 free: 14,000 \
         MiB used by others";
    cannot_grow_is_told: CannotGrow, cannot_grow,
        "pool standard cannot grow: 2 runners may use 40GiB of memory, and the host has 32GiB; ask \
         for fewer, or set `limits.overcommit: {memory: true}`";
    growth_delayed_is_told: GrowthDelayed, growth_delayed,
        "pool light grows when more than 5 jobs wait longer than 30s";
    no_runners_is_told: NoRunners, no_runners, "pool light has no runners";
    starting_is_told: Starting, starting, "a runner of pool light is starting";
    all_busy_is_told: AllBusy, all_busy, "the one runner in light is busy; next in line";
    next_is_told: Next, next, "a runner of pool ci is idle and gets it next";
}

#[test]
fn the_set_is_closed_and_all_of_it_is_reached() {
    assert_eq!(REACHED, WaitCode::ALL);
}

/// The sentence, without the second at which something is tried again: that depends on chance.
fn without_time(why: &WaitReason) -> String {
    let text = why.to_string();
    match text.rsplit_once(" at ") {
        Some((before, time)) if time.ends_with(" UTC") => format!("{before} at …"),
        Some(_) | None => text,
    }
}

fn sim(spec: Spec) -> Sim {
    let mut sim = Sim::new(1, Writing::Off, (spec.clone(), host()));
    sim.up(spec);
    sim
}

/// A simulated fleet of these pools that is as its file says.
fn ready(pools: impl IntoIterator<Item = Pool>) -> Sim {
    let mut sim = sim(pools.into_iter().fold(spec(), Spec::with));
    sim.settle().expect("a fleet without faults comes up");
    sim
}

fn submit(sim: &mut Sim, profile: &str) -> JobId {
    sim.submit(work(3600).on(profile)).expect("it is accepted")
}

/// Why the simulated fleet's job waits, a moment later.
fn of(sim: &mut Sim, job: JobId) -> WaitReason {
    sim.run_for(Duration::from_secs(1));
    sim.job(job).expect("it is known").wait.expect("it waits")
}

fn held() -> WaitReason {
    let mut sim = ready([pool("light", 0)]);
    let job = sim.submit(work(1).on("light").held()).expect("it is accepted");
    of(&mut sim, job)
}

fn going_down() -> WaitReason {
    let mut sim = ready([pool("light", 1)]);
    submit(&mut sim, "light");
    let second = submit(&mut sim, "light");
    sim.run_for(Duration::from_secs(1));
    sim.down(DownMode::Drain);
    of(&mut sim, second)
}

fn disk_low() -> WaitReason {
    let mut sim = ready([pool("light", 1)]);
    submit(&mut sim, "light");
    let second = submit(&mut sim, "light");
    sim.find_free(Bytes::mib(1));
    of(&mut sim, second)
}

fn workflow_limit() -> WaitReason {
    let mut spec = spec().with(pool("light", 2));
    spec.limits.max_parallel_workflows = 1;
    let mut sim = sim(spec);
    sim.settle().expect("a fleet without faults comes up");
    sim.submit(work(3600).on("light").of("ci", "1"));
    let second = sim.submit(work(3600).on("light").of("ci", "2")).expect("it is accepted");
    of(&mut sim, second)
}

fn lane_limit() -> WaitReason {
    let spec = spec().with(pool("light", 2)).with_lane("verify", &["light"], 0);
    let mut sim = sim(spec.limiting("verify", 1));
    sim.settle().expect("a fleet without faults comes up");
    sim.submit(work(3600).on("light").in_lane("verify"));
    let second = sim.submit(work(3600).on("light").in_lane("verify")).expect("it is accepted");
    of(&mut sim, second)
}

fn no_pool() -> WaitReason {
    let mut sim = ready([pool("light", 1), pool("standard", 1)]);
    submit(&mut sim, "standard");
    let second = submit(&mut sim, "standard");
    sim.up(spec().with(pool("light", 1)));
    of(&mut sim, second)
}

fn engine_unreachable() -> WaitReason {
    let mut sim = ready([pool("light", 0)]);
    let job = submit(&mut sim, "light");
    sim.world.engine_away(Duration::from_secs(600));
    sim.run_for(Duration::from_secs(10));
    sim.scale(&[("light", 1)]);
    of(&mut sim, job)
}

fn paused() -> WaitReason {
    let mut sim = ready([pool("light", 0)]);
    sim.pause(&["light"]);
    let job = submit(&mut sim, "light");
    of(&mut sim, job)
}

fn cordoned() -> WaitReason {
    let mut sim = ready([pool("light", 1)]);
    sim.ask(Request::Cordon { slots: vec![SlotId(1)], to: Cordon::Closed });
    let job = submit(&mut sim, "light");
    of(&mut sim, job)
}

fn image_missing() -> WaitReason {
    let mut sim = sim(spec().with(pool("light", 1)));
    sim.world.missing_images.insert(ImageRef::new("runner:1"));
    let job = submit(&mut sim, "light");
    of(&mut sim, job)
}

fn failing() -> WaitReason {
    let mut sim = sim(spec().with(pool("light", 1)));
    sim.world.failing.push(OpKind::Create);
    let job = submit(&mut sim, "light");
    let failed = |sim: &Sim| {
        let wait = sim.job(job).and_then(|job| job.wait);
        matches!(wait, Some(WaitReason::Failing { failures: 4, .. }))
    };
    assert!(sim.run_till(failed));
    sim.job(job).expect("it is known").wait.expect("it waits")
}

fn no_gpu() -> WaitReason {
    let mut sim = sim(spec().with(pool("gpu_heavy", 1)));
    sim.world.read_cards(&host().gpus);
    for card in ["GPU-0", "GPU-1"] {
        sim.world.use_by_others(&GpuUuid::new(card), 14_000);
    }
    sim.run_for(Duration::from_secs(5));
    let job = submit(&mut sim, "gpu_heavy");
    sim.run_for(Duration::from_secs(20));
    of(&mut sim, job)
}

fn at_once(it: &mut Elastic) {
    (it.scale_up_threshold, it.scale_up_delay) = (0, Duration::ZERO);
}

fn cannot_grow() -> WaitReason {
    let large = pool("standard", 0).between(0, 2).elastic(at_once);
    let spec = spec().with(large).edit("standard", |it| it.memory = Bytes::gib(20));
    let mut sim = sim(spec);
    submit(&mut sim, "standard");
    sim.run_for(Duration::from_secs(60));
    let second = submit(&mut sim, "standard");
    sim.run_for(Duration::from_secs(60));
    of(&mut sim, second)
}

fn growth_delayed() -> WaitReason {
    let mut sim = ready([pool("light", 0).between(0, 2)]);
    let job = submit(&mut sim, "light");
    of(&mut sim, job)
}

fn no_runners() -> WaitReason {
    let mut sim = ready([pool("light", 0)]);
    let job = submit(&mut sim, "light");
    of(&mut sim, job)
}

fn starting() -> WaitReason {
    let mut sim = ready([pool("light", 0)]);
    let job = submit(&mut sim, "light");
    sim.scale(&[("light", 1)]);
    sim.job(job).expect("it is known").wait.expect("it waits")
}

fn all_busy() -> WaitReason {
    let mut sim = ready([pool("light", 1)]);
    submit(&mut sim, "light");
    let second = submit(&mut sim, "light");
    of(&mut sim, second)
}

/// Why the forge's newest job waits.
fn at_forge(desk: &Desk) -> WaitReason {
    let job = desk.fleet.forge_jobs(1).pop().expect("it is known");
    let wait = job.wait.expect("it waits");
    assert_eq!(job.reason_code, Some(wait.code()));
    assert_eq!(job.reason, Some(wait.to_string()), "the words are those of the reason");
    wait
}

/// A pool that grows for the forge's jobs.
fn grows() -> Desk {
    Desk::new([elastic_pool("ci", &["self-hosted", "linux"], (0, 3))])
}

/// A pool with one runner that listens.
fn listens() -> Desk {
    let mut desk = Desk::new([forge_pool("ci", &["linux"])]);
    desk.register_all();
    desk.listens(1);
    desk
}

fn with_job(mut desk: Desk, change: impl FnOnce(&mut ForgeJobFact)) -> Desk {
    let mut one = job(1, &["linux"], desk.now);
    change(&mut one);
    desk.jobs(vec![one]);
    desk
}

fn no_labels() -> WaitReason {
    at_forge(&with_job(grows(), |it| it.labels.push("gpu".to_owned())))
}

fn fork_denied() -> WaitReason {
    at_forge(&with_job(grows(), |it| it.fork = Some(true)))
}

fn held_by_forge() -> WaitReason {
    at_forge(&with_job(grows(), |it| it.status = ForgeJobStatus::Held))
}

fn runner_gone() -> WaitReason {
    at_forge(&with_job(grows(), |it| {
        it.status = ForgeJobStatus::Running;
        it.runner = Some("demo-ci-i999-01234567".to_owned());
    }))
}

fn next() -> WaitReason {
    at_forge(&with_job(listens(), |_| {}))
}

fn not_taken() -> WaitReason {
    let mut desk = with_job(listens(), |_| {});
    desk.wait(180);
    at_forge(&desk)
}

fn needs_operator() -> WaitReason {
    let mut desk = with_job(grows(), |_| {});
    desk.contact(ForgeContact::Denied("bad credentials".to_owned()));
    at_forge(&desk)
}

fn forge_limited() -> WaitReason {
    let mut desk = with_job(grows(), |_| {});
    let until = Time((16 * 60 + 14) * 60_000);
    desk.contact(ForgeContact::Limited { until, why: "secondary rate limit".to_owned() });
    at_forge(&desk)
}

fn forge_unreachable() -> WaitReason {
    let mut desk = with_job(grows(), |_| {});
    desk.contact(ForgeContact::Unreachable("no connection".to_owned()));
    at_forge(&desk)
}
