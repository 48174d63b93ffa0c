//! `down`: removes all that `up` made, and nothing else.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::border::Intent;
use super::clock;
use super::context::{Context, note};
use super::failure::Failure;
use super::follow::{Goal, follow_until};
use super::host::{self, Host, Reached};
use crate::api::dto::{Accepted, DownBody};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::fleet::event::DownMode;
use crate::state_dir::StateDir;

/// Remove the fleet: runners, volumes and network
///
/// Keeps the reports, and the state folder unless `-v` is given. Running jobs are asked to stop,
/// or end by themselves with `--drain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet down\n  slate-fleet down --drain --timeout \
                        1h       let jobs end\n  slate-fleet down -v                       \
                        forget history and logs, too")]
pub(super) struct DownArgs {
    /// Remove the state folder, too: history, logs, keys
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
                host::released(&state).await?;
            }
            Err(ClientError::NotUp { .. }) if state.database().exists() => {
                self.without_supervisor(context, &state, mode).await?;
            }
            Err(ClientError::NotUp { .. }) => note("nothing to remove: no fleet was up here"),
            Err(error) => return Err(error.into()),
        }
        if self.volumes {
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
        let mut host = host::start_here(state, spec, Intent::Down(mode))?;
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
    let database = state.database();
    let beside = |suffix: &str| {
        let mut path = database.clone().into_os_string();
        path.push(suffix);
        PathBuf::from(path)
    };
    let log = state.supervisor_log();
    let files = [
        state.root().join(".gitignore"),
        beside("-wal"),
        beside("-shm"),
        beside("-journal"),
        database.clone(),
        state.lock(),
        state.api_socket(),
        state.root().join(".gitignore"),
        log.with_extension("log.1"),
        log,
    ];
    let folder = |name: &str| state.root().join(name);
    let folders = [
        state.ca(),
        state.shared_with_runners(),
        folder("runners"),
        folder("logs"),
        folder("blobs"),
    ];
    let removed = files
        .iter()
        .map(|file| (file, fs::remove_file(file)))
        .chain(folders.iter().map(|folder| (folder, fs::remove_dir_all(folder))));
    for (path, result) in removed {
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A CA may be one file or a folder of two.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(path)
                .map_err(|error| {
                    Failure::system(format!("cannot remove {}", path.display()), &error)
                })?,
            Err(error) => {
                return Err(Failure::system(format!("cannot remove {}", path.display()), &error));
            }
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
        fs::create_dir_all(state.root().join("logs")).expect("folder");
        fs::create_dir_all(state.ca()).expect("folder");
        fs::write(state.database(), "x").expect("file");
        fs::write(state.root().join("fleet.db-wal"), "x").expect("file");
        fs::write(state.root().join("logs/job-1.log"), "x").expect("file");
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
