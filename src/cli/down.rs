//! `down`: removes all that `up` made, and nothing else.

use std::fs;
use std::io;
use std::time::Duration;

use clap::Args;

use super::border::{self, Intent};
use super::clock;
use super::context::{Context, note};
use super::failure::Failure;
use super::follow::{Goal, follow_until};
use super::host::{self, Ending, Host, Reached};
use crate::api::dto::{Accepted, DownBody};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::fleet::event::DownMode;
use crate::state_dir::StateDir;

/// Remove the fleet: runners, volumes and network
///
/// Keeps the reports, and the caches and the state folder unless `-v` is given. Running jobs are
/// asked to stop, or end by themselves with `--drain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet down\n  slate-fleet down --drain --timeout \
                        1h       let jobs end\n  slate-fleet down -v                       \
                        forget caches, history and logs, too")]
pub(super) struct DownArgs {
    /// Remove the caches and the state folder, too: history, logs, keys
    #[arg(short = 'v', long)]
    volumes: bool,
    /// Let running jobs end
    #[arg(long)]
    drain: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "10m",
          value_parser = clock::parse_duration)]
    timeout: Duration,
}

impl DownArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let state = context.state_dir()?;
        let mode = match self.drain {
            true => DownMode::Drain,
            false => DownMode::Now,
        };
        match Client::connect(&state).await {
            Ok(mut client) => {
                let _: Accepted = client.post("/v1/down", &DownBody { mode }).await?;
                follow_until(context, Goal::Gone, self.timeout).await?;
                if host::released(&state).await? == Ending::CutOff {
                    note("the supervisor was cut off before everything was removed; going on here");
                    self.without_supervisor(context, &state, mode).await?;
                }
            }
            Err(ClientError::NotUp { .. }) if state.database().exists() => {
                self.without_supervisor(context, &state, mode).await?;
            }
            Err(ClientError::NotUp { .. }) => note("nothing to remove: no fleet was up here"),
            Err(error) => return Err(error.into()),
        }
        if self.volumes {
            // First what only the state folder knows to be ours.
            border::remove_caches(&state).await?;
            border::remove_runners_file(&state)?;
            forget(&state)?;
        }
        Ok(Exit::Done)
    }

    /// Its supervisor died: one in this process takes over and takes down.
    async fn without_supervisor(
        &self,
        context: &Context,
        state: &StateDir,
        mode: DownMode,
    ) -> Result<(), Failure> {
        // The state knows what was up; the file only helps where the state does not, and may be
        // gone or wrong by now.
        let spec = context.spec().ok();
        let mut host = host::start_here((state, context.gpu_sources()?), spec, Intent::Down(mode))?;
        match host.ready(state, self.timeout).await? {
            Reached::Serving => {
                follow_until(context, Goal::Gone, self.timeout).await?;
            }
            // It was done before anybody could look.
            Reached::End => {}
        }
        match &mut host {
            Host::Here(here) => here.ended().await,
            Host::Detached(_) => Ok(()),
        }
    }
}

/// Removes what a supervisor keeps, by name, so that a folder given by mistake loses nothing else.
fn forget(state: &StateDir) -> Result<(), Failure> {
    for path in state.all() {
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|it| it.is_dir());
        let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::system(format!("cannot remove {}", path.display()), &error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    match fs::remove_dir(state.root()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(_) => {
            note(&format!("{} holds other things and stays", state.root().display()));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgetting_removes_the_state_and_nothing_that_is_not_its_own() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let state = StateDir::new(folder.path().join("state"));
        fs::create_dir_all(state.root()).expect("folder");
        for path in state.all() {
            fs::write(path, "x").expect("file");
        }
        fs::remove_file(state.logs()).expect("no file");
        fs::create_dir_all(state.logs()).expect("folder");
        fs::write(state.logs().join("job-1.log"), "x").expect("file");
        let foreign = state.root().join("notes.txt");
        fs::write(&foreign, "mine").expect("file");
        forget(&state).expect("forgotten");
        let left: Vec<_> = fs::read_dir(state.root())
            .expect("folder")
            .map(|entry| entry.expect("entry").path())
            .collect();
        assert_eq!(left, std::slice::from_ref(&foreign));
        fs::remove_file(foreign).expect("removed");
        forget(&state).expect("forgotten again");
        assert!(!state.root().exists());
    }
}
