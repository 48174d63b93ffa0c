//! How long the fleet takes to recover from each fault: measured in every run, shown as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Recovery is never slower than this, whatever the fault.
pub const BOUND: Duration = Duration::from_secs(30);

/// A moment from which a recovery is measured.
pub struct Fault {
    name: &'static str,
    at: Instant,
}

impl Fault {
    /// The fault happens now.
    #[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
    pub fn now(name: &'static str) -> Self {
        Self { name, at: Instant::now() }
    }

    /// The fleet has recovered: noted, and held against the bound.
    #[track_caller]
    pub fn recovered(self) -> Duration {
        self.recovered_within(BOUND)
    }

    /// As [`Self::recovered`], for faults that have a bound of their own.
    #[track_caller]
    pub fn recovered_within(self, bound: Duration) -> Duration {
        let took = self.at.elapsed();
        note(self.name, took);
        assert!(took <= bound, "recovery from `{}` took {took:?}, {bound:?} at most", self.name);
        took
    }
}

/// Where cargo lets tests keep things.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("recovery")
}

/// Adds a figure, and writes the table anew: tests run in processes of their own, in any order.
fn note(fault: &str, took: Duration) {
    let folder = folder();
    fs::create_dir_all(&folder).expect("a folder");
    let lock = File::create(folder.join("lock")).expect("a lock");
    lock.lock().expect("locked");
    let figures = folder.join("figures.tsv");
    let mut file = OpenOptions::new().create(true).append(true).open(&figures).expect("figures");
    writeln!(file, "{fault}\t{}", took.as_secs_f64() * 1000.0).expect("written");
    let text = fs::read_to_string(&figures).expect("figures");
    fs::write(folder.join("table.md"), table(&text)).expect("the table");
}

fn table(figures: &str) -> String {
    let mut faults: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (fault, took) in figures.lines().filter_map(|line| line.split_once('\t')) {
        faults.entry(fault).or_default().extend(took.parse::<f64>().ok());
    }
    let mut table =
        "| fault | n | p50 ms | p99 ms | worst ms |\n|---|---|---|---|---|\n".to_owned();
    for (fault, mut took) in faults {
        took.sort_by(f64::total_cmp);
        let at = |part: usize| took[(took.len() * part / 100).min(took.len() - 1)];
        let (p50, p99, worst) = (at(50), at(99), at(100));
        let count = took.len();
        writeln!(table, "| {fault} | {count} | {p50:.0} | {p99:.0} | {worst:.0} |").expect("text");
    }
    table
}

#[test]
fn the_table_tells_the_middle_and_the_worst() {
    let figures: String = (1..=200).map(|n| format!("a fault\t{n}\n")).collect();
    let last = "| a fault | 200 | 101 | 199 | 200 |\n";
    assert!(table(&figures).ends_with(last), "{}", table(&figures));
}
