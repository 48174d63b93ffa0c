//! Specification 1's benchmark report, to the letter.

use std::fmt::Write as _;

use super::machine::{Basis, Machine};
use super::optimal::Optimal;
use super::terms::Terms;
use crate::ids::ProfileName;
use crate::spec::{GpuSharing, Profile, Spec, locked_names};
use crate::units::Bytes;

const RULE: &str = "============================================================";
const THIN: &str = "----------------------------------------";
/// What the specification prints for each card where a profile needs none.
const NO_CARD: u64 = 999;

/// The whole report.
#[must_use]
pub fn full(machine: &Machine, spec: &Spec, optimal: &Optimal) -> String {
    let mut out = head(machine);
    table(&mut out, machine, spec, &profiles(spec));
    section(&mut out, "Optimal Configuration:");
    // Writing to a String cannot fail.
    let _infallible = write!(
        out,
        "  Strategy: {}\n  {}\n  Total Runners: {}\n  Parallel Workflows: {}\n\n  Configuration:\n",
        optimal.strategy, optimal.description, optimal.total, optimal.parallel_workflows
    );
    for row in &optimal.rows {
        let seat = row.gpu.map_or_else(|| "cpu".to_owned(), |index| index.to_string());
        let _infallible = writeln!(out, "    {seat}: {}x {}", row.count, row.profile);
    }
    end(&mut out);
    out
}

/// The report of one profile, with every term of the formula.
#[must_use]
pub fn one(machine: &Machine, spec: &Spec, name: &ProfileName, profile: &Profile) -> String {
    let mut out = head(machine);
    table(&mut out, machine, spec, &[(name, profile)]);
    section(&mut out, &format!("Terms of {name}:"));
    let row = |out: &mut String, [name, now, empty]: [&str; 3]| {
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "  {name:<20} {now:<8} {empty}");
    };
    row(&mut out, ["Term", "Now", "Empty machine"]);
    row(&mut out, [&"-".repeat(20), "--------", "-------------"]);
    let [now, empty] = [Basis::Now, Basis::Empty]
        .map(|basis| Terms::new(machine, profile, spec.limits.scale_max, basis));
    let shown = |term: Option<u64>| term.map_or_else(|| "-".to_owned(), |term| term.to_string());
    for (name, term) in words(profile) {
        row(&mut out, [&name, &shown(term(&now)), &shown(term(&empty))]);
    }
    end(&mut out);
    out
}

/// Every profile: the locked ones in the specification's order, then the fleet file's own.
#[must_use]
pub fn profiles(spec: &Spec) -> Vec<(&ProfileName, &Profile)> {
    let place = |name: &ProfileName| locked_names().position(|known| known == name.as_str());
    let mut all: Vec<_> = spec.profiles.iter().collect();
    all.sort_by_key(|(name, _)| (place(name).unwrap_or(usize::MAX), (*name).clone()));
    all
}

/// `gpu_light` as people read it: `GPU Light Runner`.
#[must_use]
pub fn title(profile: &ProfileName) -> String {
    let word = |word: &str| match word {
        "gpu" => "GPU".to_owned(),
        _ => {
            word.chars().take(1).flat_map(char::to_uppercase).chain(word.chars().skip(1)).collect()
        }
    };
    let words = profile.as_str().split(['_', '-']).filter(|part| !part.is_empty());
    words.map(word).chain(["Runner".to_owned()]).collect::<Vec<_>>().join(" ")
}

/// A number with its thousands apart, as the specification prints them: `14,208`.
#[must_use]
pub fn thousands(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn head(machine: &Machine) -> String {
    let mut out = format!("{RULE}\n  SLATE Multi-Runner Benchmark Report\n{RULE}\n");
    section(&mut out, "System Resources:");
    // Writing to a String cannot fail.
    let _infallible = writeln!(out, "  GPUs: {}", machine.cards.len());
    for card in &machine.cards {
        let (free, memory) = (card.free().0, card.reading.card.memory.0);
        let busy = card.reading.busy_percent;
        let busy = busy.map_or_else(|| "unknown".to_owned(), |busy| format!("{busy}%"));
        let _infallible = writeln!(
            out,
            "    GPU {}: {} / {} MB free ({busy} utilized)",
            card.reading.card.index,
            thousands(free),
            thousands(memory)
        );
    }
    let (free, memory) = (mib(machine.memory_free), mib(machine.memory));
    let _infallible = write!(
        out,
        "  CPU Cores: {}\n  RAM: {} / {} MB free\n",
        machine.cpus,
        thousands(free),
        thousands(memory)
    );
    out
}

fn section(out: &mut String, title: &str) {
    // Writing to a String cannot fail.
    let _infallible = write!(out, "\n{title}\n{THIN}\n");
}

fn end(out: &mut String) {
    // Writing to a String cannot fail.
    let _infallible = write!(out, "\n{RULE}\n");
}

fn table(out: &mut String, machine: &Machine, spec: &Spec, profiles: &[(&ProfileName, &Profile)]) {
    section(out, "Runner Capacity by Profile:");
    row(out, ["Profile", "Max", "Limit", "Per GPU"]);
    row(out, [&"-".repeat(20), "------", "--------", &"-".repeat(15)]);
    for (name, profile) in profiles {
        let terms = Terms::new(machine, profile, spec.limits.scale_max, Basis::Now);
        let none = vec![NO_CARD; machine.cards.len()];
        let per_gpu = terms.per_gpu.as_ref().unwrap_or(&none);
        let per_gpu: Vec<String> = per_gpu.iter().map(u64::to_string).collect();
        let per_gpu = format!("[{}]", per_gpu.join(", "));
        row(out, [&title(name), &terms.max.to_string(), terms.limiting.word(), &per_gpu]);
    }
}

fn row(out: &mut String, [profile, max, limit, per_gpu]: [&str; 4]) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(out, "  {profile:<20} {max:<6} {limit:<8} {per_gpu}");
}

/// The name of a term and how it is read.
type Term = (String, fn(&Terms) -> Option<u64>);

fn words(profile: &Profile) -> Vec<Term> {
    let mut words: Vec<Term> = Vec::new();
    if let Some(gpu) = profile.gpu {
        let size = thousands(gpu.memory.0);
        words.push((format!("gpu / {size} MiB"), |terms| terms.sum));
        if let GpuSharing::AtMost(most) = gpu.sharing {
            words.push((format!("gpu, {most} per card"), |terms| terms.gpu));
        }
    }
    words.push((format!("cpu / {}", profile.cpus), |terms| terms.cpu));
    words.push((format!("ram / {}", profile.memory), |terms| terms.ram));
    words.push(("cap".to_owned(), |terms| Some(terms.cap)));
    words.push(("max".to_owned(), |terms| Some(terms.max)));
    words
}

/// Whole mebibytes, as the specification's MB of memory are read.
fn mib(bytes: Bytes) -> u64 {
    bytes.0 >> 20
}
