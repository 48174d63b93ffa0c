//! A fleet of 500 slots under a long queue: steps must stay short.
//!
//! `SLATE_SIM_QUEUE=100000 cargo test --release load -- --nocapture` prints the figures of the
//! full size; the test itself only keeps a step from growing with the queue.

use std::time::{Duration, Instant};

use super::with;
use crate::fleet::Fleet;
use crate::fleet::event::{AgentEvent, Event, JobEnd, Request};
use crate::ids::{AttemptNo, IncarnationId, JobId, RequestId};
use crate::sim::Sim;
use crate::sim::script::{host, pool, work};
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

#[test]
fn a_step_does_not_grow_with_the_queue() {
    let count: u64 =
        std::env::var("SLATE_SIM_QUEUE").ok().and_then(|it| it.parse().ok()).unwrap_or(3_000);
    let spec = large();
    let mut sim = Sim::new(1, Writing::Off, (spec.clone(), host()));
    sim.oracle.watches = false;
    sim.up(spec.clone());
    sim.run_for(Duration::from_secs(3));
    let now = sim.now();
    let mut records = sim.records.restored();
    let mut fleet = Fleet::restore(spec.clone(), records.clone(), now);
    let submit = |number: u64| {
        let job = match number % 4 {
            0 => work(1).on("light"),
            1 => work(1).on("standard"),
            2 => work(1).on("light").of("ci", &(number / 40).to_string()),
            _ => work(1).on("light").in_pool("standard"),
        };
        Event::Request { id: RequestId(number), request: Request::Submit(Box::new(job)) }
    };
    let begun = Instant::now();
    for batch in 0..count / 100 {
        fleet.handle(now, (0..100).map(|it| submit(batch * 100 + it)).collect());
    }
    println!("{count} jobs accepted in batches of 100: {:?}", begun.elapsed());
    records = fleet.durable();
    let begun = Instant::now();
    let mut fleet = Fleet::restore(spec, records, now);
    println!("restore: {:?}", begun.elapsed());
    let now = now + Duration::from_secs(1);
    let calls = |id: u64| Event::Agent {
        incarnation: IncarnationId(id),
        event: AgentEvent::Connected { holding: None },
    };
    let list = sim.world.list(now);
    let now = now + Duration::from_secs(1);
    println!("the first list: {:?}", timed(&mut fleet, now, vec![Event::Host(host()), list]));
    let image = sim.world.image("runner:1");
    println!("the image: {:?}", timed(&mut fleet, now, vec![image]));
    let all = timed(&mut fleet, now, (1..=500).map(calls).collect());
    println!("500 agents call, 500 jobs are given: {all:?}");
    let idle = (0..50).map(|_| timed(&mut fleet, now, vec![Event::Tick]).0).min();
    println!("a tick: {idle:?}");
    let ended = |id: u64| {
        let job = fleet.view(now).runners.get(usize::try_from(id).unwrap_or(0))?.job?;
        Some((IncarnationId(id + 1), job))
    };
    let ends: Vec<(IncarnationId, JobId)> = (0..20).filter_map(ended).collect();
    let mut longest = Duration::ZERO;
    for (incarnation, job) in ends {
        let event = AgentEvent::Ended { job, attempt: AttemptNo(1), end: JobEnd::Exited(0) };
        let over = timed(&mut fleet, now, vec![Event::Agent { incarnation, event }]).0;
        let stored = Event::Published { job, outcome: Ok(()) };
        let stored = timed(&mut fleet, now, vec![stored]).0;
        longest = longest.max(over).max(stored);
    }
    println!("a job's end, the longest of 20: {longest:?}");
    let begun = Instant::now();
    let jobs = fleet.jobs(&[], 1_000);
    println!("{} jobs listed: {:?}", jobs.len(), begun.elapsed());
    let begun = Instant::now();
    let view = fleet.view(now);
    println!("a view of {} runners: {:?}", view.runners.len(), begun.elapsed());
    assert!(longest < Duration::from_millis(500), "{longest:?}");
}
