//! `kill -9` of the supervisor at each border between deciding, recording and acting.
//!
//! The list of points is made by a counting run, so a new effect or engine call is covered without
//! thought. `SLATE_FIRE=all` dies at every point each time that it is reached, else each kind of
//! point once and some of the rest.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::thread;

use serde_json::Value;

use crate::docker::objects;
use crate::fleet::Fleet;
use crate::process::{Output, run, wait_until};
use crate::recovery::Fault;

/// Lives at a time.
const AT_ONCE: usize = 3;
/// Deaths in one life, in each round: each comes in the supervisor that was started after the last
/// one. A life after a death takes other ways than one without, so some points never come: who is
/// missed gets another round, among fewer.
const ROUNDS: [usize; 3] = [5, 2, 1];
/// A command is given up after this many supervisors.
const TRIES: usize = 12;

const FILE: &str = "pools: [{name: light, profile: light, count: 2, spares: 0}]\n";
/// A line for each start of the job, outside of its container.
const JOB: &str = "echo begin >>$SLATE_REPORTS/$SLATE_JOB_ID; sleep 0.3";

/// Where and at which time to die.
type Death = (String, u64);

/// A fleet whose supervisors die where they are told to.
struct Life {
    fleet: Fleet,
    deaths: Vec<Death>,
    died: Vec<Death>,
    /// Deaths of which is known.
    seen: usize,
}

impl Life {
    fn new(mut deaths: Vec<Death>) -> Self {
        deaths.reverse();
        Self { fleet: Fleet::new(FILE), deaths, died: Vec::new(), seen: 0 }
    }

    /// Runs a command whose supervisor, should it start one, dies at the next point.
    fn cli(&self, args: &[&str]) -> Output {
        let mut command = self.fleet.command(args);
        command.env("SLATE_POINTS", self.fleet.path("points"));
        if let Some((name, count)) = self.deaths.last() {
            command.env("SLATE_DIE_AT", format!("{name}:{count}"));
        }
        run(command)
    }

    fn points(&self) -> Vec<String> {
        let text = fs::read_to_string(self.fleet.path("points")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Whether the supervisor has died since the last look; the next one gets the next point.
    fn has_died(&mut self) -> bool {
        let deaths = self.points().iter().filter(|point| point.starts_with("died ")).count();
        if deaths == self.seen {
            return false;
        }
        // Whoever takes over in the same command dies at the same point.
        self.seen = deaths;
        // Its threads hold the socket for a moment longer.
        let socket = self.fleet.path(".slate/api.sock");
        wait_until("the dead supervisor's socket is closed", || {
            UnixStream::connect(&socket).is_err()
        });
        self.died.extend(self.deaths.pop());
        true
    }

    /// Goes on until the command succeeds, as an operator would: `up`, and the same again.
    fn until_done(&mut self, args: &[&str], is_done: impl Fn(&Self) -> bool) {
        let mut told = String::new();
        for _ in 0..TRIES {
            if is_done(self) {
                return;
            }
            let output = self.cli(args);
            if output.code == 0 {
                return;
            }
            told = output.to_string();
            self.revive(&told);
        }
        panic!("{args:?} is not done after {TRIES} tries: {told}");
    }

    /// A command failed because the supervisor died, and for no other reason: starts the next one.
    fn revive(&mut self, told: &str) {
        assert!(self.has_died(), "it failed without a death: {told}");
        for _ in 0..TRIES {
            let fault = Fault::now("supervisor killed at a border (to all runners ready)");
            let up = self.cli(&["up", "-d"]);
            if up.code == 0 {
                fault.recovered();
                return;
            }
            assert!(self.has_died(), "`up` failed without a death: {up}");
        }
        panic!("`up` fails again and again: {told}");
    }

    fn jobs(&self) -> Vec<Value> {
        let listed = self.fleet.cli(&["jobs", "--format", "json"]);
        if listed.code == 0 { listed.json().as_array().expect("jobs").clone() } else { Vec::new() }
    }

    fn has_job(&self, run: &str) -> bool {
        self.jobs().iter().any(|job| run_of(job) == run)
    }

    fn submit(&mut self, run: &str) {
        let head = ["submit", "--no-workspace", "--workflow", "w", "--run-id", run, "--"];
        let submit = [&head[..], &["sh", "-c", JOB]].concat();
        self.until_done(&submit, |life| life.has_job(run));
    }

    /// Up, two jobs, another size, down; whatever dies meanwhile.
    fn live(&mut self) {
        let never = |_: &Self| false;
        self.until_done(&["up", "-d"], never);
        self.submit("one");
        self.submit("two");
        self.until_done(&["scale", "light=3"], never);
        self.until_done(&["wait", "--for", "idle"], never);
        self.check_jobs();
        self.go_down();
        assert_eq!(objects(&self.fleet.project), Vec::<String>::new(), "leftovers");
    }

    fn go_down(&mut self) {
        for _ in 0..TRIES {
            let down = self.cli(&["down"]);
            let has_died = self.has_died();
            if down.code == 0 {
                return;
            }
            assert!(has_died, "`down` failed without a death: {down}");
        }
        panic!("`down` fails again and again");
    }

    fn check_jobs(&self) {
        let jobs = self.jobs();
        assert_eq!(jobs.len(), 2, "a job is lost or doubled: {jobs:?}");
        for job in jobs {
            assert_eq!((&job["status"], &job["attempt"]), (&"succeeded".into(), &1.into()));
            let run = run_of(&job);
            let id = format!("job-{}", job["id"]);
            let starts = self.fleet.read(&format!("reports/w/{run}/{id}"));
            assert_eq!(starts, "begin\n", "{id} ran more than once");
        }
    }
}

fn run_of(job: &Value) -> String {
    job["spec"]["run_id"].as_str().unwrap_or_default().to_owned()
}

/// A life without deaths: the points in the order in which they are first reached, and how often.
fn count() -> Vec<Death> {
    let mut life = Life::new(Vec::new());
    life.live();
    let mut order = Vec::new();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for point in life.points() {
        if !counts.contains_key(&point) {
            order.push(point.clone());
        }
        *counts.entry(point).or_default() += 1;
    }
    order.into_iter().map(|point| (point.clone(), counts[&point])).collect()
}

/// One in so many of the points that are reached again is tried again.
const SAMPLE: usize = 2;

/// One death for each kind of point, and before them the later ones, as far as they are asked for.
fn choose(points: &[Death]) -> Vec<Death> {
    let all = std::env::var("SLATE_FIRE").is_ok_and(|it| it == "all");
    let mut deaths: Vec<Death> = Vec::new();
    for (index, (name, count)) in points.iter().enumerate() {
        let later = |nth| (name.clone(), nth);
        match all {
            true => deaths.extend((2..=*count).map(later)),
            false if *count > 1 && index.is_multiple_of(SAMPLE) => {
                deaths.push(later(count / 2 + 1));
            }
            false => {}
        }
    }
    deaths.extend(points.iter().map(|(name, _)| (name.clone(), 1)));
    deaths
}

/// Lives with all these deaths, so many in each: those that came.
fn live_and_die(deaths: &[Death], in_one: usize) -> Vec<Death> {
    let lives = deaths.len().div_ceil(in_one);
    // Dealt out in order, so that the deaths of one life come one after the other.
    let mut dealt: Vec<Vec<Death>> = vec![Vec::new(); lives];
    for (index, death) in deaths.iter().enumerate() {
        dealt[index % lives].push(death.clone());
    }
    let dealt = Mutex::new(dealt);
    let died = Mutex::new(Vec::new());
    let next = || dealt.lock().expect("not poisoned").pop();
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(deaths) = next() {
                    let mut life = Life::new(deaths);
                    life.live();
                    died.lock().expect("not poisoned").append(&mut life.died);
                }
            });
        }
    });
    died.into_inner().expect("not poisoned")
}

#[test]
fn a_supervisor_killed_at_any_border_loses_no_job_and_leaves_nothing() {
    let points = count();
    let deaths = choose(&points);
    let mut missed = deaths.clone();
    for in_one in ROUNDS {
        let died = live_and_die(&missed, in_one);
        missed.retain(|death| !died.contains(death));
        println!("{} points, {} deaths; missed: {missed:?}", points.len(), died.len());
    }
    // How often a point is reached is not the same in each life.
    assert!(missed.len() * 10 <= deaths.len(), "too few deaths; missed: {missed:?}");
}
