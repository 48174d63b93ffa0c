//! A job as its agent gets it.

use std::collections::BTreeMap;

use super::effect::{AgentOrder, Effect, JobOrder};
use super::job::Job;
use super::runner::Runner;
use super::slot::Slot;
use super::state::State;
use crate::ids::{IncarnationId, JobId};
use crate::spec::{Proxy, ProxyUrl};

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

/// Never asked of a proxy: what a job starts in its own runner.
const OWN_HOST: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

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
    if let Some(proxy) = &state.spec.proxy {
        add_proxy(&mut env, proxy);
    }
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
    if let Some(proxy) = &state.spec.proxy {
        add_proxy(&mut env, proxy);
    }
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

/// Each variable in both spellings, because tools read one or the other. Whoever sets one of them
/// has chosen for both.
fn add_proxy(env: &mut BTreeMap<String, String>, proxy: &Proxy) {
    let url = |url: &Option<ProxyUrl>| url.as_ref().map(|url| url.reveal().to_owned());
    let direct = OWN_HOST.into_iter().chain(proxy.no_proxy.iter().map(String::as_str));
    let direct: Vec<&str> = direct.collect();
    let variables = [
        ("HTTP_PROXY", url(&proxy.http)),
        ("HTTPS_PROXY", url(&proxy.https)),
        ("NO_PROXY", Some(direct.join(","))),
    ];
    for (name, value) in variables {
        let small = name.to_ascii_lowercase();
        let Some(value) = value else { continue };
        if !env.contains_key(name) && !env.contains_key(&small) {
            env.insert(small, value.clone());
            env.insert(name.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_told_in_both_spellings_and_never_over_what_was_set() {
        let url = |text: &str| ProxyUrl::parse(text).ok();
        let proxy = Proxy {
            http: url("http://p:1"),
            https: url("http://u:w@p:2"),
            no_proxy: vec![".lan".to_owned()],
        };
        let mut env = BTreeMap::from([("http_proxy".to_owned(), "http://mine:3".to_owned())]);
        add_proxy(&mut env, &proxy);
        let told: Vec<(&str, &str)> =
            env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let direct = "localhost,127.0.0.1,::1,.lan";
        let expected = [
            ("HTTPS_PROXY", "http://u:w@p:2"),
            ("NO_PROXY", direct),
            ("http_proxy", "http://mine:3"),
            ("https_proxy", "http://u:w@p:2"),
            ("no_proxy", direct),
        ];
        assert_eq!(told, expected);
    }
}
