//! The page, made from the steps of the real core in a simulated world.

mod shipped;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::catalogue::{ALL, Kind, Origin};
use super::{Lives, Meters, Scrape, Webhooks};
use crate::fleet::event::{DownMode, Request};
use crate::fleet::state::{Record, Restored};
use crate::fleet::view::JobStatus;
use crate::forge::GovernorView;
use crate::ids::{IncarnationId, JobId, ScopeUrl};
use crate::sim::Sim;
use crate::sim::script::{host, pool, spec, work};
use crate::sim::transcript::Writing;
use crate::spec::{Pool, Spec};
use crate::units::{Bytes, Time};

/// A fleet that is up.
fn ready(spec: Spec) -> Sim {
    let mut sim = Sim::new(1, Writing::Off, (spec.clone(), host()));
    sim.up(spec);
    sim.settle().expect("a fleet without faults comes up");
    sim
}

fn with(pools: impl IntoIterator<Item = Pool>) -> Spec {
    pools.into_iter().fold(spec(), Spec::with)
}

/// What a supervisor that heard all steps from the first counts.
fn counted(sim: &Sim) -> Scrape {
    let meters = Arc::new(Meters::new().expect("names that are right"));
    let mut lives = Lives::of(&Restored::default());
    for step in &sim.records.steps {
        lives.read(step, &meters);
    }
    scrape(sim, meters, &lives)
}

fn scrape(sim: &Sim, meters: Arc<Meters>, lives: &Lives) -> Scrape {
    let fleet = sim.fleet().expect("a supervisor");
    Scrape {
        meters,
        fleet: Arc::new(fleet.view(sim.now())),
        waiting: fleet.waiting_counts(),
        budgets: BTreeMap::new(),
        webhooks: None,
        audit_head: lives.audit_head(),
    }
}

fn page(scrape: &Scrape) -> String {
    scrape.page(Path::new("/nowhere/fleet.db")).expect("a page")
}

/// The value of a sample, as the page writes it.
fn value<'a>(page: &'a str, sample: &str) -> &'a str {
    let found = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no `{sample}` in\n{page}"))
}

fn number(page: &str, sample: &str) -> f64 {
    value(page, sample).parse().expect("a number")
}

fn samples(page: &str) -> BTreeSet<String> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

#[test]
fn an_idle_fleet_shows_zeros_for_every_pool() {
    let sim = ready(with([pool("light", 2), pool("standard", 1)]));
    let page = page(&counted(&sim));
    for (sample, expected) in [
        ("runners_total", "3"),
        ("runners_active", "0"),
        ("runners_idle", "3"),
        ("runners_error", "0"),
        ("tasks_completed_total", "0"),
        ("task_duration_seconds_count", "0"),
        ("runner_active{pool=\"light\"}", "0"),
        ("runner_idle{pool=\"light\"}", "2"),
        ("queue_depth{pool=\"light\"}", "0"),
        ("queue_depth{pool=\"standard\"}", "0"),
        ("slate_fleet_runners{pool=\"light\",status=\"oom\"}", "0"),
        ("slate_fleet_phase{phase=\"ready\"}", "1"),
        ("slate_fleet_phase{phase=\"starting\"}", "0"),
    ] {
        assert_eq!(value(&page, sample), expected, "{sample}");
    }
    assert!(page.contains("\n# TYPE runner_active gauge\n"), "{page}");
    let help = "# HELP queue_depth Number of workflows waiting for a runner\n";
    assert!(page.contains(help), "{page}");
}

#[test]
fn what_waits_is_counted_by_why_and_what_is_held_waits_for_no_runner() {
    let mut sim = ready(with([pool("light", 1)]));
    for job in [work(60), work(60), work(60), work(60).held()] {
        sim.submit(job.on("light")).expect("it is accepted");
    }
    let page = page(&counted(&sim));
    let of = |reason: &str| {
        let sample = format!("slate_fleet_jobs_waiting{{pool=\"light\",reason=\"{reason}\"}}");
        value(&page, &sample)
    };
    assert_eq!((of("all_busy"), of("held")), ("2", "1"));
    assert_eq!(value(&page, "queue_depth{pool=\"light\"}"), "2");
    let shown = page.lines().filter(|it| it.starts_with("slate_fleet_jobs_waiting{"));
    assert_eq!(shown.count(), 2, "only reasons that some job has");
}

#[test]
fn every_metric_is_named_once_also_while_it_has_no_sample() {
    let sim = ready(with([pool("light", 1)]));
    let page = page(&counted(&sim));
    for entry in ALL {
        let line = format!("# TYPE {} {}\n", entry.name, entry.kind.word());
        assert_eq!(page.matches(&line).count(), 1, "{line}");
    }
    let types = page.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(types, ALL.len());
}

#[test]
fn a_jobs_phases_are_measured_by_pool_and_lane() {
    let spec = with([pool("light", 1)]).with_lane("verify", &["light"], 0);
    let mut sim = ready(spec);
    sim.submit(work(7).in_lane("verify")).expect("a runner is there");
    sim.submit(work(7).in_lane("verify")).expect("it waits");
    assert_eq!(value(&page(&counted(&sim)), "queue_depth{pool=\"light\"}"), "1");
    sim.settle().expect("all is well again");
    let page = page(&counted(&sim));
    let labels = "{lane=\"verify\",pool=\"light\"}";
    for metric in ["job_queue", "job_start", "job_run"] {
        let sample = format!("slate_fleet_{metric}_seconds_count{labels}");
        assert_eq!(value(&page, &sample), "2", "{sample}");
    }
    let sum = |metric: &str| number(&page, &format!("slate_fleet_{metric}_seconds_sum{labels}"));
    assert!(sum("job_queue") > 7.0, "the second waits for the first: {}", sum("job_queue"));
    assert!((14.0..15.0).contains(&sum("job_run")), "{}", sum("job_run"));
    assert!((14.0..15.0).contains(&number(&page, "task_duration_seconds_sum")));
    assert_eq!(value(&page, "tasks_completed_total"), "2");
    assert_eq!(value(&page, "slate_fleet_jobs_submitted_total"), "2");
    let ended = "slate_fleet_jobs_ended_total{pool=\"light\",status=\"succeeded\"}";
    assert_eq!(value(&page, ended), "2");
    // One container for each job, and one that waits for the next.
    for metric in ["create", "start", "boot"] {
        let sample = format!("slate_fleet_runner_{metric}_seconds_count{{pool=\"light\"}}");
        assert_eq!(value(&page, &sample), "3", "{sample}");
    }
}

#[test]
fn failures_tell_their_cause_and_retries_whose_fault_they_were() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(work(60)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    let container = sim.container(1).expect("a container");
    sim.world.die(&container, 137);
    sim.settle().expect("all is well again");
    let page = page(&counted(&sim));
    let failures = "slate_fleet_runner_failures_total{cause=\"died\",pool=\"light\"}";
    assert_eq!(value(&page, failures), "1");
    let retries = "slate_fleet_job_retries_total{fault=\"infrastructure\",pool=\"light\"}";
    assert_eq!(value(&page, retries), "1");
    assert_eq!(value(&page, "tasks_completed_total"), "1");
    let ended = "slate_fleet_jobs_ended_total{pool=\"light\",status=\"succeeded\"}";
    assert_eq!(value(&page, ended), "1");
}

#[test]
fn a_job_that_nobody_ran_ends_in_no_pool() {
    let mut sim = ready(with([pool("light", 1)]));
    sim.submit(work(60));
    let waits = sim.submit(work(60)).expect("it waits");
    sim.ask(Request::Cancel(waits));
    let page = page(&counted(&sim));
    let ended = "slate_fleet_jobs_ended_total{pool=\"\",status=\"cancelled\"}";
    assert_eq!(value(&page, ended), "1");
}

#[test]
fn a_supervisor_that_takes_over_counts_nothing_twice() {
    let mut sim = ready(with([pool("light", 1)]));
    let job = sim.submit(work(30)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    let (restored, before) = (sim.records.restored(), sim.records.steps.len());
    sim.settle().expect("all is well again");
    let meters = Arc::new(Meters::new().expect("names that are right"));
    let mut lives = Lives::of(&restored);
    for step in &sim.records.steps[before..] {
        lives.read(step, &meters);
    }
    let page = page(&scrape(&sim, meters, &lives));
    assert!(!page.contains("slate_fleet_job_queue_seconds_count{"), "it was assigned before");
    assert!(!page.contains("slate_fleet_job_start_seconds_count{"), "it was started before");
    let run = "slate_fleet_job_run_seconds_count{lane=\"\",pool=\"light\"}";
    assert_eq!(value(&page, run), "1");
    assert!(number(&page, "task_duration_seconds_sum") > 29.0, "measured from its true start");
    assert_eq!(value(&page, "tasks_completed_total"), "1");
    let head = sim.records.audit.last().map_or(0, |entry| entry.seq).to_string();
    assert_eq!(value(&page, "slate_fleet_audit_head_seq"), head);
}

#[test]
fn a_forges_jobs_count_as_tasks_of_their_pool() {
    let mut sim = ready(with([pool("light", 1).at_forge(&["self-hosted"])]));
    let job = sim.push(&["self-hosted"], 9);
    sim.run_till_pushed_runs(job);
    sim.settle().expect("all is well again");
    let page = page(&counted(&sim));
    let run = "slate_fleet_job_run_seconds_count{lane=\"\",pool=\"light\"}";
    assert_eq!(value(&page, run), "1");
    assert_eq!(value(&page, "task_duration_seconds_count"), "1");
    assert_eq!(value(&page, "tasks_completed_total"), "1");
    let register = "slate_fleet_runner_register_seconds_count{pool=\"light\"}";
    assert!(number(&page, register) >= 1.0);
    let contact = page.lines().find(|line| line.starts_with("slate_fleet_forge_contact{"));
    assert!(
        contact.is_some_and(|line| line.contains("contact=\"good\",") && line.ends_with(" 1")),
        "{page}"
    );
}

/// The life of one job, as if it were another's.
fn as_job(records: &[Record], number: u64) -> Vec<Record> {
    let moved = |record: &Record| match record.clone() {
        Record::Job(id, job) => {
            let id = JobId(id.0 + number);
            let job = job.map(|mut job| {
                job.id = id;
                job
            });
            Record::Job(id, job)
        }
        Record::Runner(id, runner) => Record::Runner(IncarnationId(id.0 + number), runner),
        Record::Audit(mut entry) => {
            entry.incarnation = entry.incarnation.map(|id| IncarnationId(id.0 + number));
            Record::Audit(entry)
        }
        other @ (Record::Slot(..) | Record::Meta(_)) => other,
    };
    records.iter().map(moved).collect()
}

#[test]
fn ten_thousand_jobs_add_no_series() {
    let mut sim = ready(with([pool("light", 2)]));
    let before = sim.records.steps.len();
    let job = sim.submit(work(5)).expect("a runner is there");
    sim.run_till_job(job, JobStatus::Running);
    let container = sim.container(1).expect("a container");
    sim.world.die(&container, 137);
    sim.settle().expect("all is well again");
    let once = counted(&sim);
    let series = samples(&page(&once));
    let mut lives = Lives::of(&sim.records.restored());
    for number in 1..=10_000 {
        for step in &sim.records.steps[before..] {
            lives.read(&as_job(step, number * 1000), &once.meters);
        }
    }
    let page = page(&once);
    assert_eq!(samples(&page), series);
    let ended = "slate_fleet_jobs_ended_total{pool=\"light\",status=\"succeeded\"}";
    assert_eq!(value(&page, ended), "10001");
    assert!(series.len() < 300, "{}", series.len());
}

#[test]
fn what_is_known_of_lives_goes_with_them() {
    let mut sim = ready(with([pool("light", 3)]));
    for _ in 0..20 {
        sim.submit(work(1));
    }
    sim.settle().expect("all is well again");
    sim.down(DownMode::Now);
    while !sim.is_finished() && sim.step() {}
    let meters = Meters::new().expect("names that are right");
    let mut lives = Lives::default();
    for step in &sim.records.steps {
        lives.read(step, &meters);
    }
    assert_eq!(lives.len(), 0, "{lives:?}");
}

#[test]
fn forges_cards_and_disks_are_told_in_base_units() {
    let mut sim = ready(with([pool("gpu_light", 1)]));
    sim.find_free(Bytes::mib(100));
    let mut scrape = counted(&sim);
    scrape.webhooks = Some(Webhooks { taken: 3, bad_signatures: 2, turned_away: 1 });
    let budget = GovernorView {
        limit: Some(5000),
        remaining: Some(4990),
        reset: Some(Time(1_700_000_000_500)),
        calls: 10,
        ..GovernorView::default()
    };
    scrape.budgets = BTreeMap::from([(ScopeUrl::new("https://github.com/me/\"site\""), budget)]);
    let page = page(&scrape);
    let scope = "{scope=\"https://github.com/me/\\\"site\\\"\"}";
    for (sample, expected) in [
        ("slate_fleet_disk_free_bytes{holds=\"state\"}".to_owned(), "104857600"),
        ("slate_fleet_disk_low{holds=\"state\"}".to_owned(), "1"),
        ("slate_fleet_gpu_leases{gpu=\"0\",uuid=\"GPU-0\"}".to_owned(), "1"),
        ("slate_fleet_forge_webhooks_total{result=\"bad_signature\"}".to_owned(), "2"),
        (format!("slate_fleet_forge_limit_requests{scope}"), "5000"),
        (format!("slate_fleet_forge_limit_reset_timestamp_seconds{scope}"), "1700000000.5"),
        (format!("slate_fleet_forge_requests_total{scope}"), "10"),
        (format!("slate_fleet_forge_silent_until_timestamp_seconds{scope}"), "0"),
    ] {
        assert_eq!(value(&page, &sample), expected, "{sample}");
    }
    let leased = number(&page, "slate_fleet_gpu_memory_leased_bytes{gpu=\"0\",uuid=\"GPU-0\"}");
    assert!(leased >= 1024.0 * 1024.0, "{leased}");
}

#[test]
fn calls_are_counted_by_what_came_of_them() {
    let sim = ready(with([pool("light", 1)]));
    let scrape = counted(&sim);
    scrape.meters.engine_call("create", "retry", Duration::from_millis(20));
    scrape.meters.engine_call("create", "ok", Duration::from_millis(300));
    scrape.meters.forge_call("github", "jobs", "limited", Duration::from_secs(2));
    scrape.meters.not_committed();
    let page = page(&scrape);
    let calls = "slate_fleet_engine_calls_total{call=\"create\",result=\"retry\"}";
    assert_eq!(value(&page, calls), "1");
    let within = "slate_fleet_engine_call_seconds_bucket{call=\"create\",le=\"0.025\"}";
    assert_eq!(value(&page, within), "1");
    let forge = "{call=\"jobs\",forge=\"github\",result=\"limited\"}";
    assert_eq!(value(&page, &format!("slate_fleet_forge_calls_total{forge}")), "1");
    assert_eq!(value(&page, "slate_fleet_store_commit_failures_total"), "1");
}

/// The rows of the tables in `docs/metrics.md`: name, type, unit, labels, meaning.
fn documented() -> BTreeSet<[String; 5]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let text = std::fs::read_to_string(path).expect("the page is there");
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix('|')?.strip_suffix('|')?.split('|').collect();
        let [name, kind, unit, labels, meaning] = cells.try_into().ok()?;
        let is_metric = name.trim().starts_with('`');
        is_metric.then(|| [name, kind, unit, labels, meaning].map(|it| it.trim().to_owned()))
    });
    rows.collect()
}

#[test]
fn the_documentation_has_every_metric_and_no_other() {
    let wanted = ALL.iter().map(|entry| {
        let labels: Vec<String> = entry.labels.iter().map(|it| format!("`{it}`")).collect();
        [
            format!("`{}`", entry.name),
            entry.kind.word().to_owned(),
            entry.unit.to_owned(),
            labels.join(", "),
            format!("{}.", entry.help),
        ]
    });
    let (wanted, told): (BTreeSet<_>, _) = (wanted.collect(), documented());
    let missing: Vec<_> = wanted.difference(&told).map(|it| it.join(" | ")).collect();
    let extra: Vec<_> = told.difference(&wanted).map(|it| it.join(" | ")).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing: {missing:#?}\nextra: {extra:#?}");
}

#[test]
fn what_happens_is_a_counter_or_a_histogram() {
    for entry in ALL.iter().filter(|it| it.origin == Origin::Happenings) {
        assert!(entry.kind != Kind::Gauge, "{}", entry.name);
    }
}
