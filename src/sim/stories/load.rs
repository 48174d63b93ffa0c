//! A fleet of 500 slots under a long queue: steps must stay short.
//!
//! `SLATE_SIM_QUEUE=100000 cargo test --release load -- --nocapture` prints the figures of the
//! full size; the test itself only keeps a step from growing with the queue.

#![expect(clippy::disallowed_methods, reason = "it measures real time, and decides nothing by it")]

use std::time::{Duration, Instant};

use super::with;
use crate::fleet::Fleet;
use crate::fleet::audit::Client;
use crate::fleet::event::{AgentEvent, Event, JobEnd, Request};
use crate::fleet::oom::Finding;
use crate::fleet::state::Restored;
use crate::fleet::view::JobFilter;
use crate::ids::{AttemptNo, IncarnationId, JobId, RequestId};
use crate::sim::Sim;
use crate::sim::script::{host, one_of_many, pool};
use crate::sim::transcript::Writing;
use crate::spec::{Overcommit, Spec};
use crate::units::Time;

fn large() -> Spec {
    let mut spec = with([pool("light", 400), pool("standard", 100)]);
    spec.limits.scale_max = 500;
    spec.limits.queue_max = 1_000_000;
    spec.limits.overcommit_memory = Overcommit::Allow;
    spec
}

fn timed(fleet: &mut Fleet, now: Time, events: Vec<Event>) -> (Duration, usize) {
    let begun = Instant::now();
    let step = fleet.handle(now, events);
    (begun.elapsed(), step.effects.len())
}

fn submit(number: u64) -> Event {
    let job = one_of_many(number);
    let by = Client::new("operator");
    Event::Request { id: RequestId(number), by, request: Request::Submit(Box::new(job)) }
}

/// The records of a fleet whose 500 containers run and whose queue is this long.
fn recorded(sim: &Sim, count: u64) -> Restored {
    let now = sim.now();
    let mut fleet = Fleet::restore(large(), sim.records.restored(), now);
    let begun = Instant::now();
    for batch in 0..count / 100 {
        fleet.handle(now, (0..100).map(|it| submit(batch * 100 + it)).collect());
    }
    println!("{count} jobs accepted in batches of 100: {:?}", begun.elapsed());
    fleet.durable()
}

/// The new supervisor's first steps: every container is adopted, every runner gets a job.
fn adopt(sim: &Sim, fleet: &mut Fleet, now: Time) {
    let later = now + Duration::from_millis(10);
    let list = vec![Event::Host(host()), sim.world.list(now)];
    println!("the first list: {:?}", timed(fleet, later, list));
    println!("the image: {:?}", timed(fleet, later, vec![sim.world.image("runner:1")]));
    let call = |id: u64| Event::Agent {
        incarnation: IncarnationId(id),
        event: AgentEvent::Connected { holding: None },
    };
    let calls = timed(fleet, later, (1..=500).map(call).collect());
    println!("500 agents call, 500 jobs are given: {calls:?}");
    assert_eq!(calls.1, 500);
}

fn published(job: JobId) -> Event {
    let (attempt, found) = (AttemptNo(1), Finding::NotAsked);
    Event::Published { job, attempt, outcome: Ok(()), found }
}

/// The longest step of 20 jobs that end.
fn ends(fleet: &mut Fleet, now: Time) -> Duration {
    let view = fleet.view(now);
    let busy = view.runners.iter().filter_map(|it| Some((it.incarnation?, it.job?)));
    let mut longest = Duration::ZERO;
    for (incarnation, job) in busy.take(20) {
        let event = AgentEvent::Ended { job, attempt: AttemptNo(1), end: JobEnd::Exited(0) };
        let over = timed(fleet, now, vec![Event::Agent { incarnation, event }]).0;
        let stored = timed(fleet, now, vec![published(job)]).0;
        longest = longest.max(over).max(stored);
    }
    longest
}

#[test]
fn a_step_does_not_grow_with_the_queue() {
    let count = std::env::var("SLATE_SIM_QUEUE").ok().and_then(|it| it.parse().ok());
    let mut sim = Sim::new(1, Writing::Off, (large(), host()));
    sim.oracle.watches = false;
    sim.up(large());
    sim.run_for(Duration::from_secs(3));
    let records = recorded(&sim, count.unwrap_or(3_000));
    let now = sim.now() + Duration::from_secs(1);
    let begun = Instant::now();
    let mut fleet = Fleet::restore(large(), records, now);
    println!("restore: {:?}", begun.elapsed());
    adopt(&sim, &mut fleet, now);
    let now = now + Duration::from_secs(1);
    let ticks = (0..50).map(|_| timed(&mut fleet, now, vec![Event::Tick]).0).min();
    println!("a tick: {ticks:?}");
    let longest = ends(&mut fleet, now);
    println!("a job's end, the longest of 20: {longest:?}");
    let begun = Instant::now();
    let jobs = fleet.jobs(&JobFilter::newest(1_000));
    println!("{} jobs listed: {:?}", jobs.len(), begun.elapsed());
    let begun = Instant::now();
    let view = fleet.view(now);
    println!("a view of {} runners: {:?}", view.runners.len(), begun.elapsed());
    // Unoptimized on a loaded machine it is far below; a search through the queue is far above.
    assert!(longest < Duration::from_millis(500), "{longest:?}");
}
