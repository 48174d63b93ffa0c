//! What a person can do about it, in sentences with the command to type.

use super::{JobExplanation, PoolExplanation};
use crate::fleet::oom;
use crate::fleet::view::{JobStatus, RunnerView};
use crate::post_mortems::{self, PostMortem};

pub(super) fn of_job(it: &JobExplanation) -> Vec<String> {
    let job = &it.job;
    let mut advice = Vec::new();
    match job.status {
        JobStatus::Queued => advice.extend(of_waiting(it)),
        JobStatus::Assigned | JobStatus::Running => {
            advice.push(format!("follow it with `slate-fleet logs -f {}`", job.id));
        }
        JobStatus::Succeeded => {}
        JobStatus::Failed => advice.push(format!("read it all with `slate-fleet logs {}`", job.id)),
        JobStatus::Cancelled => {}
        JobStatus::TimedOut => advice.push(
            "give it more time with `--timeout`, or see in its output where it stopped".to_owned(),
        ),
        JobStatus::Oom if oom::is_gpu(job) => advice.push(format!(
            "run it on a profile with more GPU memory than `{}` (`--profile`), or let it be \
             tried once with more by itself: `--retry-on oom`",
            job.profile
        )),
        JobStatus::Oom => advice.push(format!(
            "run it on a profile with more memory than `{}` (`--profile`)",
            job.profile
        )),
        JobStatus::Lost => {
            advice.push("hand it in again once what took its runners is mended".to_owned());
        }
    }
    advice.extend(it.post_mortems.first().and_then(post_mortems::advice));
    advice
}

fn of_waiting(it: &JobExplanation) -> Option<String> {
    let sum = |of: fn(&super::PoolStanding) -> usize| it.pools.iter().map(of).sum::<usize>();
    let first = &it.pools.first()?.pool;
    let (all, busy, closed) = (sum(|it| it.all), sum(|it| it.busy), sum(|it| it.closed));
    if all == 0 {
        return Some(format!("give its pool a runner: `slate-fleet scale {first}=1`"));
    }
    if closed == all {
        return Some("open a runner again: `slate-fleet resume RUNNER`".to_owned());
    }
    if busy == all {
        let more = it.pools.first().map_or(1, |it| it.all + 1);
        return Some(format!(
            "it starts when a runner is free; more runners: `slate-fleet scale {first}={more}`"
        ));
    }
    (sum(|it| it.failed) > 0).then(|| format!("see what fails: `slate-fleet explain {first}`"))
}

pub(super) fn of_runner(runner: &RunnerView, post_mortems: &[PostMortem]) -> Vec<String> {
    let mut advice: Vec<String> =
        post_mortems.first().and_then(post_mortems::advice).into_iter().collect();
    if runner.forge.as_ref().is_some_and(|forge| forge.hold.is_some()) {
        advice.push("once that is mended: `slate-fleet up -d`".to_owned());
    } else if runner.status.is_trouble() {
        advice.push(format!("try again at once: `slate-fleet resume {}`", runner.name));
    }
    if runner.downgrade.is_some() {
        advice.push(format!(
            "give it its own profile back at once: `slate-fleet resume {}`",
            runner.name
        ));
    }
    advice
}

pub(super) fn of_pool(it: &PoolExplanation) -> Vec<String> {
    let mut advice: Vec<String> =
        it.post_mortems.first().and_then(post_mortems::advice).into_iter().collect();
    let at_forge = it.forge.as_ref().map_or(0, |forge| forge.waiting);
    if (it.waiting.count > 0 || at_forge > 0) && it.standing.busy == it.standing.all {
        let more = it.standing.all + 1;
        advice.push(format!("more runners: `slate-fleet scale {}={more}`", it.pool.name));
    }
    advice
}
