//! What a person can do about it, in sentences with the command to type.

use super::next_step::{Asked, next_step, one_more, resume};
use super::{JobExplanation, PoolExplanation};
use crate::fleet::event::Cordon;
use crate::fleet::oom;
use crate::fleet::view::{JobStatus, JobView, RunnerView};
use crate::ids::TaskName;
use crate::post_mortems::{self, PostMortem};

pub(super) fn of_job(it: &JobExplanation) -> Vec<String> {
    let job = &it.job;
    let mut advice = Vec::new();
    match job.status {
        JobStatus::Queued => advice.extend(of_waiting(it)),
        JobStatus::Assigned | JobStatus::Running => advice.push(match driven(job) {
            Some(task) => format!("its runner is free again with `slate-fleet complete {task}`"),
            None => format!("follow it with `slate-fleet logs -f {}`", job.id),
        }),
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

/// The task that a job is, where nothing of it runs but what its owner runs.
fn driven(job: &JobView) -> Option<&TaskName> {
    job.spec.task.as_ref().filter(|_| job.spec.command.is_empty())
}

fn of_waiting(it: &JobExplanation) -> Option<String> {
    let job = it.job.id.to_string();
    let asked = Asked { job: Some(&job), page: None, pools: &it.pools };
    it.job.wait.as_ref().map(|wait| next_step(wait, asked))
}

pub(super) fn of_runner(runner: &RunnerView, post_mortems: &[PostMortem]) -> Vec<String> {
    let mut advice: Vec<String> =
        post_mortems.first().and_then(post_mortems::advice).into_iter().collect();
    if runner.forge.as_ref().is_some_and(|forge| forge.hold.is_some()) {
        advice.push("once that is mended: `slate-fleet up -d`".to_owned());
    } else if runner.status.is_trouble() {
        advice.push(format!("try again at once: `slate-fleet resume {}`", runner.name));
    }
    if runner.cordon == Cordon::Closed {
        advice.push(format!("let it take jobs again: `slate-fleet resume {}`", runner.name));
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
    if it.pool.paused.is_some() {
        advice.push(resume(std::slice::from_ref(&it.pool.name)));
        return advice;
    }
    let at_forge = it.forge.as_ref().map_or(0, |forge| forge.waiting);
    if (it.waiting.count > 0 || at_forge > 0) && it.standing.busy == it.standing.all {
        advice.push(format!("more runners: {}", one_more(&it.pool.name, it.standing.all)));
    }
    advice
}
