//! What waits, for which pool, and why.

use super::*;
use crate::fleet::effect::Answer;
use crate::fleet::forge::testing::{elastic_pool, forge_pool};
use crate::sim::script::work;
use crate::spec::{ForkJobs, PoolSize};

fn reasons(desk: &Desk) -> Vec<String> {
    desk.fleet.forge_jobs(100).into_iter().filter_map(|it| it.reason).collect()
}

fn queue(desk: &mut Desk, count: u64) {
    let jobs = (1..=count).map(|id| job(id, &["Linux"], desk.now)).collect();
    desk.jobs(jobs);
}

#[test]
fn a_pool_grows_with_what_waits_at_its_forge_and_never_beyond_its_most() {
    let mut desk = Desk::new([elastic_pool("ci", &["self-hosted", "linux"], (0, 3))]);
    assert_eq!(desk.containers.len(), 0);
    queue(&mut desk, 2);
    desk.wait(1);
    assert_eq!(desk.containers.len(), 2);
    let starting = "2 runners of pool ci are starting";
    assert_eq!(reasons(&desk), [starting, starting]);
    queue(&mut desk, 50);
    desk.wait(5);
    assert_eq!(desk.containers.len(), 3);
    desk.register_all();
    for id in 1..=3 {
        desk.works(id);
    }
    let full = "3 of 3 runners in ci are busy; 46 before it";
    assert_eq!(reasons(&desk)[0], full);
    // They were cancelled.
    desk.jobs(Vec::new());
    for id in 1..=3 {
        desk.ends(id, 0, 1);
    }
    desk.register_all();
    desk.wait(5);
    assert_eq!(desk.containers.len(), 3, "for `scale_down_delay`");
}

#[test]
fn the_same_events_in_any_order_and_twice_make_the_same_number() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut desk = Desk::new([elastic_pool("ci", &["linux"], (0, 9))]);
        desk.jobs(Vec::new());
        desk.wait(1);
        for place in order.into_iter().chain(order) {
            let over = ForgeJobStatus::Completed("success".to_owned());
            let statuses = [ForgeJobStatus::Queued, ForgeJobStatus::Running, over];
            // The second job stays queued.
            let mut one = job(1, &["linux"], desk.now);
            one.status = statuses[place].clone();
            for job in [one, job(2, &["linux"], desk.now)] {
                let scope = ScopeUrl::new(SCOPE);
                desk.hear(Event::Forge(ForgeEvent::Job { scope, job }));
            }
        }
        desk.wait(2);
        assert_eq!(desk.containers.len(), 1, "{order:?}");
    }
}

#[test]
fn what_no_pool_may_serve_is_no_demand_and_says_why() {
    let mut desk = Desk::new([elastic_pool("ci", &["self-hosted", "linux"], (0, 3))]);
    let now = desk.now;
    let mut fork = job(1, &["linux"], now);
    fork.fork = Some(true);
    let mut held = job(2, &["linux"], now);
    held.status = ForgeJobStatus::Held;
    let mut lost = job(3, &["linux"], now);
    lost.status = ForgeJobStatus::Running;
    lost.runner = Some("demo-ci-i999-01234567".to_owned());
    let mut theirs = job(4, &["linux"], now);
    theirs.status = ForgeJobStatus::Running;
    theirs.runner = Some("somebody-else".to_owned());
    desk.jobs(vec![fork, held, lost, theirs, job(5, &["linux", "gpu"], now), job(6, &[], now)]);
    desk.wait(5);
    assert_eq!(desk.containers.len(), 0);
    assert_eq!(
        reasons(&desk),
        [
            "it asks for no label, only for a group; the nearest pool is ci",
            "no pool has all its labels; the nearest, ci, lacks `gpu`",
            "its forge gave it to demo-ci-i999-01234567, which is gone, and does not queue it \
             again: cancel the run there, then run it again",
            "its forge holds it back: an approval, an earlier job or its concurrency group",
            "it comes from a fork, and pool ci does not serve those (`fork_jobs: allow`)",
        ]
    );
}

#[test]
fn a_fork_s_job_is_demand_where_the_file_allows_it() {
    let mut pool = elastic_pool("ci", &["linux"], (0, 3));
    pool.forge.as_mut().expect("a forge").fork_jobs = ForkJobs::Allow;
    let mut desk = Desk::new([pool]);
    let mut fork = job(1, &["linux"], desk.now);
    fork.fork = Some(true);
    desk.jobs(vec![fork]);
    desk.wait(1);
    assert_eq!(desk.containers.len(), 1);
}

#[test]
fn jobs_that_idle_runners_do_not_get_make_no_more_runners() {
    let mut desk = Desk::new([elastic_pool("ci", &["linux"], (1, 9))]);
    desk.register_all();
    desk.listens(1);
    queue(&mut desk, 1);
    desk.wait(121);
    assert!(
        reasons(&desk)[0].starts_with("idle runners of pool ci have its labels and do not get")
    );
    queue(&mut desk, 5);
    desk.wait(130);
    let made = desk.containers.len();
    assert!(made < 9, "{made}");
    desk.wait(700);
    assert_eq!(desk.containers.len(), made, "nor does one go");
}

#[test]
fn a_pool_that_is_held_or_whose_forge_is_silent_does_not_grow() {
    let mut desk = Desk::new([elastic_pool("ci", &["linux"], (0, 3))]);
    let (until, why) = (Time(16 * 3_600_000 + 14 * 60_000), "rate limit".to_owned());
    desk.contact(ForgeContact::Limited { until, why });
    queue(&mut desk, 1);
    desk.wait(5);
    assert_eq!(desk.containers.len(), 0);
    assert_eq!(reasons(&desk), ["its forge is limited until 16:14 UTC: rate limit"]);
    desk.contact(ForgeContact::Denied("bad credentials".to_owned()));
    desk.wait(5);
    assert_eq!(reasons(&desk), ["pool ci waits for you: bad credentials"]);
    desk.contact(ForgeContact::Good);
    desk.wait(1);
    assert_eq!(desk.containers.len(), 1);
}

#[test]
fn runners_of_a_forge_take_no_jobs_of_the_fleet() {
    let mut pool = forge_pool("ci", &["linux"]);
    pool.size = PoolSize::Fixed(1);
    let mut desk = Desk::new([pool]);
    desk.register_all();
    desk.listens(1);
    let request = Request::Submit(Box::new(work(1)));
    let event = Event::Request { id: RequestId(2), by: Client::new("test"), request };
    let step = desk.fleet.handle(desk.now, vec![event]);
    let refused = step
        .effects
        .iter()
        .any(|it| matches!(it, Effect::Answer { answer: Answer::Refused(_), .. }));
    assert!(refused, "{:?}", step.effects);
}
