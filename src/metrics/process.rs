//! This process' own figures, under the names that Prometheus' client libraries use.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::catalogue;
use super::page::Page;

/// The kernel tells programs times in this many parts of a second, on every processor that this is
/// built for, whatever its own clock does.
const USER_HZ: f64 = 100.0;

/// Reads them; what cannot be read is absent.
pub(super) fn put(page: &mut Page) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(resident) = kibibytes(&status, "VmRSS:") {
        page.one(&catalogue::PROCESS_RESIDENT, resident);
    }
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::of) {
        page.one(&catalogue::PROCESS_CPU, stat.cpu);
        page.one(&catalogue::PROCESS_VIRTUAL, stat.virtual_bytes);
        if let Some(boot) = booted() {
            page.one(&catalogue::PROCESS_START, boot + stat.started);
        }
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // The look itself has one open.
        page.one(&catalogue::PROCESS_OPEN_FDS, number(open.count().saturating_sub(1) as u64));
    }
    if let Some(most) = getrlimit(Resource::Nofile).current {
        page.one(&catalogue::PROCESS_MAX_FDS, number(most));
    }
}

/// What `/proc/self/stat` says, in seconds and bytes.
#[derive(Debug, PartialEq)]
struct Stat {
    cpu: f64,
    /// Since the host's start.
    started: f64,
    virtual_bytes: f64,
}

impl Stat {
    fn of(text: &str) -> Option<Self> {
        // The program's name stands in brackets and may hold anything.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Counted as proc(5) does, of which the first two stand before.
        let field = |at: usize| fields.get(at - 3)?.parse::<u64>().ok().map(number);
        Some(Self {
            cpu: (field(14)? + field(15)?) / USER_HZ,
            started: field(22)? / USER_HZ,
            virtual_bytes: field(23)?,
        })
    }
}

/// A line of `/proc/self/status`, in bytes.
fn kibibytes(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let count: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(number(count) * 1024.0)
}

/// When the host started, in seconds since 1970.
fn booted() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
    line.trim().parse::<u64>().ok().map(number)
}

/// As the page writes numbers: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "the text format has no other numbers")]
pub(super) fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_is_no_field() {
        let text = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 6000 8192 3 1";
        let stat = Stat::of(text).unwrap();
        assert_eq!(stat, Stat { cpu: 3.0, started: 60.0, virtual_bytes: 8192.0 });
        assert_eq!(Stat::of("7 (a) S 1"), None);
        let status = "Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(2_097_152.0));
        assert_eq!(kibibytes(status, "VmPeak:"), None);
    }
}
