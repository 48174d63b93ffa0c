//! Whether a listener that waits for jobs makes progress: alive is not working.
//!
//! Its forge answers a poll within a minute, and an answer is followed by the next question. So new
//! data goes out over TCP again and again; one that waits for ever for an answer sends nothing.
//! Keep-alives, acknowledgements and retransmissions are not counted by the kernel's counter. While
//! a listener waits nothing else speaks in its network: jobs are over, and the agent uses a socket
//! of its own host.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::Waits;

/// What was seen of its progress.
#[derive(Debug)]
pub(super) struct Progress {
    /// The kernel's counters of the container's network.
    counters: PathBuf,
    sent: Option<u64>,
    /// The last time that something was new.
    moved: Instant,
    /// Whether it said that it cannot reach its forge, and tries again by itself.
    unconnected: bool,
}

impl Progress {
    pub(super) fn new(counters: PathBuf, now: Instant) -> Self {
        Self { counters, sent: None, moved: now, unconnected: false }
    }

    /// Waiting begins, or goes on with a sign of life.
    pub(super) fn begin(&mut self, now: Instant) {
        self.moved = now;
        self.unconnected = false;
    }

    /// It says that its forge does not answer.
    pub(super) fn disconnect(&mut self) {
        self.unconnected = true;
    }

    /// Looks at the counters.
    pub(super) fn look(&mut self, now: Instant) {
        let sent = read(&self.counters);
        // Where the kernel does not count nothing can be said, and so nobody is blamed.
        if sent.is_none() || sent != self.sent {
            self.sent = sent;
            self.moved = now;
        }
    }

    /// How it is stuck, if it is.
    pub(super) fn stuck(&self, now: Instant, waits: &Waits) -> Option<String> {
        let silent = now.duration_since(self.moved);
        // A forge that is away for a while is not the listener's fault, and a new one is no better.
        let patience = if self.unconnected { waits.unconnected } else { waits.poll };
        (silent >= patience).then(|| {
            let why = if self.unconnected { "cannot reach its forge" } else { "is silent" };
            format!("no poll was completed for {} s: it lives and {why}", silent.as_secs())
        })
    }
}

/// Bytes of new data that went out over TCP, in segments.
fn read(counters: &Path) -> Option<u64> {
    sent(&fs::read_to_string(counters).ok()?)
}

/// The file has pairs of lines: names, then values.
fn sent(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let mut pairs = names.split_ascii_whitespace().zip(values.split_ascii_whitespace());
        if names.starts_with("TcpExt:") {
            return pairs.find(|(name, _)| *name == "TCPOrigDataSent")?.1.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const WAITS: Waits = Waits::DEFAULT;

    fn write(path: &Path, sent: u64) {
        let text = format!(
            "MPTcpExt: A B\nMPTcpExt: 1 2\nTcpExt: SyncookiesSent TCPOrigDataSent TCPKeepAlive\n\
             TcpExt: 7 {sent} 9\n"
        );
        fs::write(path, text).unwrap();
    }

    #[test]
    fn only_new_data_is_progress() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("netstat");
        write(&file, 5);
        let begun = Instant::now();
        let mut progress = Progress::new(file.clone(), begun);
        progress.look(begun);
        let at = |seconds| begun + Duration::from_secs(seconds);
        progress.look(at(170));
        assert_eq!(progress.stuck(at(179), &WAITS), None);
        assert!(progress.stuck(at(180), &WAITS).unwrap().contains("180 s"));
        write(&file, 6);
        progress.look(at(181));
        assert_eq!(progress.stuck(at(360), &WAITS), None);
        assert!(progress.stuck(at(361), &WAITS).is_some());
        progress.begin(at(361));
        assert_eq!(progress.stuck(at(361), &WAITS), None);
    }

    #[test]
    fn a_forge_that_is_away_is_not_the_listeners_fault_for_a_while() {
        let begun = Instant::now();
        let mut progress = Progress::new(PathBuf::from("/nowhere"), begun);
        progress.disconnect();
        let later = begun + WAITS.poll;
        assert_eq!(progress.stuck(later, &WAITS), None);
        assert!(progress.stuck(begun + WAITS.unconnected, &WAITS).is_some());
        progress.look(later);
        assert_eq!(progress.stuck(begun + WAITS.unconnected, &WAITS), None, "nothing is counted");
    }

    #[test]
    fn the_kernels_own_file_is_understood() {
        assert!(read(Path::new("/proc/net/netstat")).is_some());
        assert_eq!(sent("TcpExt: A\nTcpExt: 1\n"), None);
        assert_eq!(sent(""), None);
    }
}
