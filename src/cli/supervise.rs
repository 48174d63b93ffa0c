//! `supervise`: the background supervisor that `up -d` starts.

use std::io::{self, IsTerminal, Read as _};

use clap::Args;

use super::border::{self, Intent, SuperviseOptions};
use super::context::{Context, note};
use super::failure::Failure;
use super::interrupt::Interrupts;
use crate::exit::Exit;
use crate::spec::Spec;

/// Largest spec on standard input.
const SPEC_MAX: u64 = 16 * 1024 * 1024;

/// Supervise a fleet; started by `up -d`
///
/// Reads the spec as JSON from standard input; without one it goes on from the state folder.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet supervise < /dev/null      go on from the state")]
pub(super) struct SuperviseArgs {}

impl SuperviseArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        // A session of its own: the terminal's hang-up and Ctrl-C are not for this process. It
        // fails only for a process that leads a group already, started by hand in a shell.
        if let Err(error) = rustix::process::setsid() {
            note(&format!("not in a session of its own: {error}"));
        }
        let spec = read_spec()?;
        let listen = std::env::var("SLATE_LISTEN").ok();
        let state = context.state_dir()?;
        let gpus = context.gpu_sources()?;
        let options = SuperviseOptions { state, spec, intent: Intent::Supervise, gpus, listen };
        let mut interrupts = Interrupts::new()?;
        tokio::select! {
            ended = border::supervise(options) => ended.map(|()| Exit::Done),
            // Nothing to put in order: every step is durable, and the next supervisor adopts the
            // runners. `down` is the way to remove them.
            _ = interrupts.next() => Ok(Exit::Interrupted),
        }
    }
}

fn read_spec() -> Result<Option<Spec>, Failure> {
    if io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(SPEC_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::system("cannot read the spec from standard input", &error))?;
    if bytes.is_empty() {
        return Ok(None);
    }
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Failure::new(Exit::Usage, format!("standard input is no spec: {error}")))
}
