//! What is said of forges and listeners, in a line each.

use crate::fleet::effect::Patience;
use crate::fleet::forge::{
    ForgeContact, ForgeEvent, ForgeJobFact, ForgeJobStatus, ForgeOutcome, ForgeRunnerFact,
    ListenerEnd, ListenerStage, ListenerStatus,
};
use crate::sim::world::BEGIN;
use crate::units::Time;

/// How an operation at a forge ended.
#[must_use]
pub fn of_outcome(outcome: &ForgeOutcome) -> String {
    match outcome {
        ForgeOutcome::Registered(id) => format!("registered as number {id}"),
        ForgeOutcome::Removed => "removed".to_owned(),
        ForgeOutcome::NotListed => "not listed".to_owned(),
        ForgeOutcome::Busy => "refused, it has a job".to_owned(),
        ForgeOutcome::Failed(error) => format!("{:?}, {}", error.class, error.message),
        ForgeOutcome::Unknown(why) => format!("outcome unknown, {why}"),
    }
}

pub(super) fn of_event(event: &ForgeEvent) -> String {
    match event {
        ForgeEvent::Runners { runners, .. } if runners.is_empty() => {
            "forge's runners: none".to_owned()
        }
        ForgeEvent::Runners { runners, .. } => {
            let all: Vec<String> = runners.iter().map(of_runner).collect();
            format!("forge's runners: {}", all.join(", "))
        }
        ForgeEvent::Jobs { jobs, .. } if jobs.is_empty() => "forge's jobs: none".to_owned(),
        ForgeEvent::Jobs { jobs, .. } => {
            let all: Vec<String> = jobs.iter().map(of_job).collect();
            format!("forge's jobs: {}", all.join(", "))
        }
        ForgeEvent::Job { job, .. } => format!("webhook: job {}", of_job(job)),
        ForgeEvent::Contact { contact, .. } => match contact {
            ForgeContact::Good => "forge answers".to_owned(),
            ForgeContact::Unreachable(why) => format!("forge does not answer, {why}"),
            ForgeContact::Limited { until, why } => {
                format!("forge asks for silence until {}, {why}", of_time(*until))
            }
            ForgeContact::Denied(why) => format!("forge refuses, {why}"),
        },
        other => format!("forge: {other:?}"),
    }
}

fn of_runner(runner: &ForgeRunnerFact) -> String {
    let state = match (runner.online, runner.busy) {
        (_, true) => "busy",
        (Some(true), false) => "online",
        (Some(false), false) => "offline",
        (None, false) => "unknown",
    };
    format!("{} {state}", runner.name)
}

fn of_job(job: &ForgeJobFact) -> String {
    let status = match &job.status {
        ForgeJobStatus::Held => "held".to_owned(),
        ForgeJobStatus::Queued => "queued".to_owned(),
        ForgeJobStatus::Running => {
            format!("running on {}", job.runner.as_deref().unwrap_or("?"))
        }
        ForgeJobStatus::Completed(how) => format!("over, {how}"),
    };
    format!("{} {status}", job.id)
}

fn of_time(time: Time) -> String {
    time.since(BEGIN).as_secs().to_string()
}

pub(super) fn of_listener(status: &ListenerStatus) -> String {
    let stage = match &status.stage {
        ListenerStage::Registering => "registers".to_owned(),
        ListenerStage::Starting => "starts".to_owned(),
        ListenerStage::Listening => "listens".to_owned(),
        ListenerStage::Working(work) => {
            format!("works on {}", work.name.as_deref().unwrap_or("a job"))
        }
        ListenerStage::Over(end) => of_end(end),
    };
    match &status.stuck {
        Some(how) => format!("{stage}, and is stuck: {how}"),
        None => stage,
    }
}

fn of_end(end: &ListenerEnd) -> String {
    match end {
        ListenerEnd::Exited { code, said } if said.is_empty() => {
            format!("listens no more, {code}")
        }
        ListenerEnd::Exited { code, said } => format!("listens no more, {code}: {said}"),
        ListenerEnd::NeedsToken => "has no token".to_owned(),
        ListenerEnd::TokenRefused(why) => format!("has a token that is refused: {why}"),
        ListenerEnd::NameTaken(why) => format!("has a name that is taken: {why}"),
        ListenerEnd::NotRegistered(why) => format!("is not registered: {why}"),
        ListenerEnd::NotStarted(why) => format!("cannot listen: {why}"),
    }
}

pub(super) fn of_patience(patience: Patience) -> String {
    match patience {
        Patience::Spare => "stop listening unless you work".to_owned(),
        Patience::Cancel(grace) => format!("stop listening within {} s", grace.as_secs()),
    }
}
