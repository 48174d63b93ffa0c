//! Ctrl-C and termination as something to wait for.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::Failure;

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Ctrl-C: the person at the terminal.
    Person,
    /// TERM: whoever manages this process.
    Manager,
}

/// Signals, from now on.
#[derive(Debug)]
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// From here on signals no longer end the process by themselves.
    pub(super) fn new() -> Result<Self, Failure> {
        let watch = |kind| {
            signal(kind).map_err(|error| Failure::system("cannot watch for signals", &error))
        };
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
        })
    }

    /// The next signal. Safe to drop and call again.
    pub(super) async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt::Person,
            _ = self.terminate.recv() => Interrupt::Manager,
        }
    }
}
