//! A job as its agent gets it.

use std::collections::BTreeMap;

use super::effect::{AgentOrder, Effect, JobOrder};
use super::job::Job;
use super::runner::Runner;
use super::slot::Slot;
use super::state::State;
use crate::ids::{IncarnationId, JobId};

/// Where a runner finds the CA bundle that the operator names: a copy beside the agent.
pub const CA_BUNDLE: &str = "/.slate/ca.pem";

/// The variables by which common tools are told of a CA bundle.
const CA_VARIABLES: [&str; 6] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
];

/// Gives a runner its job, or tells it again; agents ignore what they have already.
pub(super) fn assign(state: &mut State, incarnation: IncarnationId, job: JobId) {
    let (Some(runner), Some(job)) = (state.runner(incarnation), state.job(job)) else { return };
    let order = AgentOrder::Assign(Box::new(order(state, runner, job)));
    state.effect(Effect::Agent { incarnation, order });
}

fn order(state: &State, runner: &Runner, job: &Job) -> JobOrder {
    JobOrder {
        job: job.id,
        attempt: job.attempt,
        command: job.spec.command.clone(),
        env: environment(state, runner, job),
        proxy: state.spec.proxy.clone(),
        user: runner.build.template.user,
        workspace: job.spec.workspace.clone(),
        reports: format!("/reports/{}", job.reports()),
        timeout: job.timeout,
        stop_grace: runner.build.template.stop_grace,
    }
}

/// The environment of a forge's jobs, as far as the fleet sets it: the profile's variables, then
/// the fleet's own.
pub(super) fn of_listener(state: &State, runner: &Runner, slot: &Slot) -> BTreeMap<String, String> {
    let mut env = standing(state, runner);
    let own = [
        ("SLATE_PROJECT", state.spec.project.to_string()),
        ("SLATE_RUNNER", slot.name.clone()),
        ("SLATE_PROFILE", runner.build.template.profile.to_string()),
    ];
    env.extend(own.map(|(name, value)| (name.to_owned(), value)));
    env
}

/// What every job of a runner has.
fn standing(state: &State, runner: &Runner) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    if state.spec.ca.is_some() {
        env.extend(CA_VARIABLES.map(|name| (name.to_owned(), CA_BUNDLE.to_owned())));
    }
    env.insert("CI".to_owned(), "true".to_owned());
    env.extend(runner.build.template.env.clone());
    env
}

/// The profile's variables, then the job's, then the fleet's own, which nobody overrides.
fn environment(state: &State, runner: &Runner, job: &Job) -> BTreeMap<String, String> {
    let mut env = standing(state, runner);
    env.extend(job.spec.env.clone());
    let reports = job.reports();
    let (workflow, run) = reports.split_once('/').unwrap_or(("", ""));
    let own = [
        ("SLATE_PROJECT", state.spec.project.to_string()),
        ("SLATE_JOB_ID", job.id.to_string()),
        ("SLATE_ATTEMPT", job.attempt.to_string()),
        ("SLATE_RUNNER", job.slot_name.clone().unwrap_or_default()),
        ("SLATE_PROFILE", runner.build.template.profile.to_string()),
        ("SLATE_WORKFLOW", workflow.to_owned()),
        ("SLATE_RUN_ID", run.to_owned()),
        ("SLATE_REPORTS", format!("/reports/{reports}")),
    ];
    env.extend(own.map(|(name, value)| (name.to_owned(), value)));
    env
}
