//! The engine answers late, wrongly or not at all: one job's life for each call and each trouble.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::docker::docker;
use crate::fleet::{Fleet, NO_SPARE, open_gate};
use crate::process::{wait_for, wait_until};
use crate::proxy::{Exchange, Proxy, Trouble, Verb};
use crate::recovery::{BOUND, Fault};

const LIST: Verb = ("GET", "/containers/json");
const CREATE: Verb = ("POST", "/containers/create");
const START: Verb = ("POST", "/containers/*/start");
const REMOVE: Verb = ("DELETE", "/containers/*");
const VOLUME: Verb = ("GET", "/volumes/*");
const REMOVE_VOLUME: Verb = ("DELETE", "/volumes/*");
/// What a job's life consists of: its runner goes, and another one comes.
const LIFE: [Verb; 5] = [CREATE, START, REMOVE, VOLUME, REMOVE_VOLUME];

/// A replacement for which nothing went wrong but the word of it.
const PROMPT: Duration = Duration::from_secs(10);

fn fleet_behind(proxy: &Proxy) -> Fleet {
    let fleet = Fleet::on(proxy.hosts(), NO_SPARE);
    fleet.cli(&["up", "-d"]).ok();
    fleet.settle(1);
    fleet
}

/// A job that leaves a line for each start.
fn submit(fleet: &Fleet, run: &str, script: &str) -> String {
    let script = format!("echo begin >>$SLATE_REPORTS/$SLATE_JOB_ID; {script}");
    fleet.submit_with(&["--workflow", "w", "--run-id", run], &script)
}

fn ran_once(fleet: &Fleet, run: &str, job: &str) {
    fleet.cli(&["wait", job]).ok();
    assert_eq!(fleet.show(job)["attempt"], 1);
    assert_eq!(fleet.read(&format!("reports/w/{run}/{job}")), "begin\n", "{job} ran again");
}

fn a_life_under(name: &'static str, trouble: Trouble) {
    let proxy = Proxy::start();
    let fleet = fleet_behind(&proxy);
    for (number, verb) in LIFE.into_iter().enumerate() {
        proxy.next(verb, trouble);
        let fault = Fault::now(name);
        let run = number.to_string();
        let job = submit(&fleet, &run, "true");
        ran_once(&fleet, &run, &job);
        wait_until("the trouble has come", || proxy.is_calm());
        fleet.settle(1);
        fault.recovered();
    }
    // Whoever does not know an outcome looks; that look fails, too.
    for look in [Trouble::Refuse, Trouble::Reset, trouble] {
        proxy.next(CREATE, Trouble::LoseAnswer);
        proxy.next(LIST, look);
        let job = submit(&fleet, "looks", "true");
        ran_once(&fleet, "looks", &job);
        fleet.settle(1);
        proxy.calm();
    }
    let trace = proxy.trace();
    drop(fleet);
    check(&trace);
    check(&proxy.trace());
}

/// Nothing is made twice on a guess, and nothing of others is removed.
fn check(trace: &[Exchange]) {
    let made: BTreeSet<&str> = trace.iter().filter_map(|it| it.made.as_deref()).collect();
    let mut doubtful: BTreeSet<&str> = BTreeSet::new();
    for exchange in trace {
        let is_definite = exchange.told.is_some();
        if exchange.path == "/containers/json" && exchange.told == Some(200) {
            doubtful.clear();
        }
        if let Some(incarnation) = &exchange.incarnation {
            assert!(!doubtful.contains(&**incarnation), "{incarnation} is made twice on a guess");
            let is_refused = is_definite && exchange.told.is_some_and(|status| status >= 400);
            if !is_refused {
                doubtful.insert(incarnation);
            }
        }
        if exchange.method == "DELETE" && !exchange.path.starts_with("/volumes/") {
            let id = exchange.path.rsplit('/').next().unwrap_or_default();
            assert!(made.contains(id), "{exchange:?} removes what is not the fleet's");
        }
    }
}

#[test]
fn answers_that_come_late_change_nothing() {
    a_life_under("engine answers late", Trouble::Delay);
}

#[test]
fn calls_that_are_refused_are_made_again() {
    a_life_under("engine answers 500", Trouble::Refuse);
}

#[test]
fn answers_that_are_lost_are_looked_up() {
    a_life_under("engine's answer lost", Trouble::LoseAnswer);
}

#[test]
fn calls_that_were_reset_are_looked_up() {
    a_life_under("engine resets the call", Trouble::Reset);
}

fn kill(container: &str) {
    docker(&["kill", container]).ok();
}

fn replaced(fleet: &Fleet, container: &str, bound: Duration) -> bool {
    wait_for(bound, || {
        fleet.containers().first().is_some_and(|id| !id.is_empty() && id != container)
    })
}

#[test]
fn a_cut_or_silent_or_doubled_event_stream_is_noticed() {
    let proxy = Proxy::start();
    let fleet = fleet_behind(&proxy);
    proxy.cut_streams();
    let container = fleet.containers()[0].clone();
    let fault = Fault::now("event stream cut, runner killed");
    kill(&container);
    assert!(replaced(&fleet, &container, BOUND), "no replacement after a cut");
    fault.recovered();
    fleet.settle(1);

    proxy.silence_streams();
    let container = fleet.containers()[0].clone();
    let fault = Fault::now("event stream silent, runner killed");
    kill(&container);
    assert!(replaced(&fleet, &container, BOUND), "no replacement behind a silent stream");
    fault.recovered();
    fleet.settle(1);

    // The silence was noticed: there is another stream, and it is heard.
    wait_until("another stream is followed", || {
        let container = fleet.containers()[0].clone();
        kill(&container);
        let prompt = replaced(&fleet, &container, PROMPT);
        fleet.settle(1);
        prompt
    });

    proxy.double_events();
    let container = fleet.containers()[0].clone();
    let fault = Fault::now("events doubled, runner killed");
    kill(&container);
    assert!(replaced(&fleet, &container, BOUND), "no replacement");
    fault.recovered();
    fleet.settle(1);
    let job = submit(&fleet, "doubled", "true");
    ran_once(&fleet, "doubled", &job);
}

/// Pains 7, 65: no destructive step follows from an empty page; unknown is not absent.
#[test]
fn a_list_that_lies_costs_no_job() {
    let proxy = Proxy::start();
    let fleet = Fleet::on(proxy.hosts(), NO_SPARE);
    fleet.cli(&["up", "-d"]).ok();
    for (run, lie) in [("empty", Trouble::Empty), ("stale", Trouble::Stale)] {
        fleet.settle(1);
        proxy.keep_list();
        let container = fleet.containers()[0].clone();
        let job = submit(&fleet, run, "until [ -e /tmp/go ]; do sleep 0.05; done");
        fleet.wait_for_status(&job, "running");
        // An outcome that nobody knows makes the supervisor look.
        proxy.next(LIST, lie);
        proxy.next(CREATE, Trouble::LoseAnswer);
        fleet.cli(&["scale", "light=2"]).ok();
        wait_until("the lie was told", || proxy.is_calm());
        open_gate(&container);
        ran_once(&fleet, run, &job);
        fleet.cli(&["scale", "light=1"]).ok();
    }
    fleet.settle(1);
}
