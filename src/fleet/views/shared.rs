//! Views of what runners and jobs share, made from the state.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use crate::fleet::queue::Admission;
use crate::fleet::state::State;
use crate::fleet::view::{HostView, LaneView, OldestView};
use crate::fleet::waiting::reason::Reasons;
use crate::units::{Bytes, MilliCpu, Time};

pub(super) fn host(state: &State) -> HostView {
    let templates = || state.runners().map(|runner| &runner.build.template);
    let cpus = templates().map(|it| it.cpus.0).fold(0, u32::saturating_add);
    let memory = templates().map(|it| it.memory.0).fold(0, u64::saturating_add);
    HostView {
        cpus: state.host.cpus,
        memory: state.host.memory,
        cpus_promised: MilliCpu(cpus),
        memory_promised: Bytes(memory),
    }
}

pub(super) fn lanes(state: &State) -> Vec<LaneView> {
    let mut counts: BTreeMap<_, [usize; 2]> = BTreeMap::new();
    for (kind, line) in state.queue_lines() {
        if let Some(lane) = &kind.lane {
            counts.entry(lane).or_default()[0] += line.len();
        }
    }
    for lane in state.held_jobs().filter_map(|job| job.spec.lane.as_ref()) {
        counts.entry(lane).or_default()[1] += 1;
    }
    let view = |(name, lane): (&_, &crate::spec::Lane)| {
        let [queued, running] = counts.get(name).copied().unwrap_or_default();
        LaneView {
            name: Clone::clone(name),
            pools: lane.pools.clone(),
            priority: lane.priority,
            limit: lane.limit.map(NonZeroU32::get),
            queued: u32::try_from(queued).unwrap_or(u32::MAX),
            running: u32::try_from(running).unwrap_or(u32::MAX),
        }
    };
    state.spec.lanes.iter().map(view).collect()
}

/// The job that waits longest, whatever its priority.
pub(super) fn oldest(state: &State, now: Time) -> Option<OldestView> {
    let id = state.queue_lines().filter_map(|(_, line)| line.oldest(None, Admission::All)).min()?;
    let job = state.job(id)?;
    // How many go before it is not counted: it may be the last of a long queue.
    let reason = Reasons::new(state, now).of(job, 0).without_place();
    Some(OldestView { id, queued_at: job.queued_at, reason: Some(reason) })
}

#[cfg(test)]
mod tests {
    use crate::sim::script::{host, pool, spec, work};
    use crate::sim::{Sim, transcript::Writing};

    /// One light runner at work, and four jobs that wait, the oldest of them with the least
    /// priority.
    fn busy() -> Sim {
        let spec = spec().with(pool("light", 1)).with_lane("fast", &["light"], 5);
        let mut sim = Sim::new(1, Writing::Off, (spec.clone(), host()));
        sim.up(spec);
        sim.settle().expect("a fleet without faults comes up");
        sim.submit(work(100).in_lane("fast"));
        sim.run_till(|sim| sim.fleet().is_some_and(|it| it.view(sim.now()).running == 1));
        sim.submit(work(100).priority(-10));
        sim.submit(work(100).in_lane("fast"));
        sim.submit(work(100).in_lane("fast"));
        sim.submit(work(100));
        sim
    }

    #[test]
    fn lanes_count_their_jobs() {
        let sim = busy();
        let view = sim.fleet().expect("it lives").view(sim.now());
        let [lane] = view.lanes.as_slice() else { panic!("one lane, not {:?}", view.lanes) };
        assert_eq!((lane.name.as_str(), lane.priority), ("fast", 5));
        assert_eq!((lane.queued, lane.running, view.queued), (2, 1, 4));
    }

    #[test]
    fn the_job_that_waits_longest_is_named_whatever_its_priority() {
        let sim = busy();
        let view = sim.fleet().expect("it lives").view(sim.now());
        let oldest = view.oldest.expect("jobs wait");
        assert_eq!(oldest.id.0, 2);
        let reason = oldest.reason.expect("there is a reason");
        assert_eq!(reason, "the one runner in light is busy");
    }

    #[test]
    fn the_host_promises_the_limits_of_all_that_it_has() {
        let sim = busy();
        let view = sim.fleet().expect("it lives").view(sim.now());
        assert_eq!((view.host.cpus, view.host.memory), (host().cpus, host().memory));
        let containers = sim.containers().len();
        let promised = view.host.cpus_promised.0 as usize;
        assert_eq!(promised, containers * view.runners[0].cpus.0 as usize);
    }
}
