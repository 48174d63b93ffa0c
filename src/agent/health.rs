//! The health check: the running agent answers on an abstract socket, which needs no writable
//! folder.

use std::io::{self, Read as _};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};
use std::path::Path;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};

use super::say;
use crate::wire::enrolment::Enrolment;
use crate::wire::message::JobRef;

/// Without a supervisor for this long a runner counts as unhealthy: when specification 1 calls a
/// runner stale. A supervisor that is restarted makes no runner unhealthy.
const OUTAGE_MAX: Duration = Duration::from_secs(300);

/// How long a check may take; the agent answers at once or is stuck.
const CHECK: Duration = Duration::from_secs(2);

/// How an agent is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) healthy: bool,
    pub(super) text: String,
}

/// Since when there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outage {
    /// There is one.
    None,
    /// There was never one.
    Always,
    /// For this long.
    Lasts(Duration),
}

/// Puts the agent's state into words.
pub(super) fn report(job: Option<JobRef>, outage: Outage) -> Report {
    let work = job.map_or_else(|| "idle".to_owned(), |job| format!("holding {job}"));
    let (healthy, link) = match outage {
        Outage::None => (true, "connected".to_owned()),
        Outage::Always => (false, "not connected yet".to_owned()),
        Outage::Lasts(span) => {
            (span < OUTAGE_MAX, format!("no supervisor for {} s", span.as_secs()))
        }
    };
    Report { healthy, text: format!("{work}, {link}") }
}

/// The socket, once the agent knows who it is.
#[derive(Debug, Default)]
pub(super) struct HealthSocket {
    listener: Option<UnixListener>,
    tried: bool,
}

impl HealthSocket {
    /// Opens the socket, once. Without it the agent works, but counts as unhealthy.
    pub(super) fn open(&mut self, enrolment: &Enrolment) {
        if self.tried {
            return;
        }
        self.tried = true;
        let open = || -> io::Result<UnixListener> {
            let listener = StdListener::bind_addr(&address(enrolment)?)?;
            listener.set_nonblocking(true)?;
            UnixListener::from_std(listener)
        };
        match open() {
            Ok(listener) => self.listener = Some(listener),
            Err(error) => say(&format!("health checks cannot be answered: {error}")),
        }
    }

    /// The next check.
    pub(super) async fn accept(&mut self) -> UnixStream {
        loop {
            let Some(listener) = &self.listener else { return std::future::pending().await };
            match listener.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    say(&format!("health checks are answered no more: {error}"));
                    self.listener = None;
                }
            }
        }
    }
}

/// Answers a check. The line fits any socket's buffer; a checker that is gone needs no answer.
pub(super) fn answer(probe: &UnixStream, report: &Report) {
    let word = if report.healthy { "healthy" } else { "unhealthy" };
    let _ = probe.try_write(format!("{word}: {}\n", report.text).as_bytes());
}

/// Asks the agent that this enrolment file belongs to. The line, and whether it is healthy.
///
/// # Errors
/// When there is no such agent, or it does not answer.
pub fn check(enrolment: &Path) -> io::Result<(bool, String)> {
    let enrolment: Enrolment = serde_json::from_slice(&std::fs::read(enrolment)?)?;
    let mut stream = StdStream::connect_addr(&address(&enrolment)?)?;
    stream.set_read_timeout(Some(CHECK))?;
    let mut line = String::new();
    stream.read_to_string(&mut line)?;
    Ok((line.starts_with("healthy"), line.trim_end().to_owned()))
}

/// Unique also where containers share the host's network and with it these names.
fn address(enrolment: &Enrolment) -> io::Result<SocketAddr> {
    let name = format!("slate-runner/{}/{}", enrolment.fleet, enrolment.incarnation);
    SocketAddr::from_abstract_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_outage_is_healthy_and_a_long_one_is_not() {
        assert!(report(None, Outage::None).healthy);
        assert!(report(None, Outage::Lasts(Duration::from_secs(60))).healthy);
        assert!(!report(None, Outage::Lasts(OUTAGE_MAX)).healthy);
        assert!(!report(None, Outage::Always).healthy);
    }
}
