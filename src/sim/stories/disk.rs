//! What becomes of jobs when the disk has too little space.

use super::{ready, refusal, tells, with};
use crate::fleet::effect::RefusalKind;
use crate::fleet::event::Request;
use crate::fleet::view::JobStatus;
use crate::sim::script::{pool, work};
use crate::units::Bytes;

/// Operators' pain 38: below the disk floor no job is given out, and the host says why.
#[test]
fn below_the_disk_floor_no_job_is_given_out_and_the_running_one_ends() {
    let mut sim = ready(with([pool("light", 1)]));
    let running = sim.submit(work(5)).expect("a runner is there");
    let queued = sim.submit(work(1)).expect("it waits");
    sim.find_free(Bytes::mib(100));

    let refused = sim.ask(Request::Submit(Box::new(work(1))));
    assert_eq!(refusal(refused), Some(RefusalKind::NotNow));
    let why = "no job is given out: the disk of /state (state) has 100MiB free, and 512MiB is \
               the least (`limits.disk_floor`)";
    let view = sim.fleet().expect("it runs").view(sim.now());
    assert_eq!(view.troubles, [why]);
    assert!(sim.run_till_job(running, JobStatus::Succeeded), "it goes on");
    sim.run_till(|sim| sim.slot(1).is_some_and(|slot| slot.job.is_none()));
    assert_eq!(sim.job(queued).expect("it is kept").reason.as_deref(), Some(why));

    // A little more than the floor is not enough: it would be used up at once.
    sim.find_free(Bytes::mib(520));
    assert_eq!(sim.status(queued), Some(JobStatus::Queued));
    sim.find_free(Bytes::gib(1));
    sim.settle().expect("all is well again");
    assert_eq!(sim.status(queued), Some(JobStatus::Succeeded));
    tells(&sim, "below_the_disk_floor_no_job_is_given_out_and_the_running_one_ends");
}
