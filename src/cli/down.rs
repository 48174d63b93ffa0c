//! `down`: removes all that `up` made, and nothing else.

use std::collections::BTreeMap;
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
use crate::fleet::forge::ForgeEntry;
use crate::ids::{PoolName, ScopeUrl};
use crate::state_dir::StateDir;

/// Names that are shown for each scope.
const NAMED_MAX: usize = 10;

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
                let _: Accepted = client.post("/api/v1/down", &DownBody { mode }).await?;
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
        let at_forges = border::at_forges(&state)?;
        if self.volumes {
            // First what only the state folder knows to be ours.
            border::remove_caches(&state).await?;
            border::remove_runners_file(&state)?;
            forget(&state)?;
            tell_kept(&at_forges.kept);
        }
        Ok(tell_left(&at_forges.left))
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
        let mut host =
            host::start_here((state, context.gpu_sources()?), spec, Intent::Down(mode), None)?;
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

/// What a forge did not remove in time is named: nobody else looks for it any more.
fn tell_left(left: &[ForgeEntry]) -> Exit {
    if left.is_empty() {
        return Exit::Done;
    }
    note(&left_text(left));
    Exit::Partly
}

/// A registration token gives no right to remove what it registered.
fn tell_kept(kept: &[(PoolName, ScopeUrl)]) {
    for (pool, scope) in kept {
        note(&format!(
            "the runners of pool {pool} stay listed at {scope}, offline: `token_env` gives no \
             right to remove them; remove them there, or wait until it does"
        ));
    }
}

fn left_text(left: &[ForgeEntry]) -> String {
    let mut scopes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for entry in left {
        scopes.entry(entry.scope.as_str()).or_default().push(&entry.name);
    }
    let lines = scopes.iter().map(|(scope, names)| {
        let shown = names.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
        let more = if names.len() > NAMED_MAX { ", …" } else { "" };
        format!("\n  {} at {scope}: {shown}{more}", names.len())
    });
    format!(
        "these runners are gone, and may still be listed at their forge; remove them there, or \
         with another `slate-fleet up`:{}",
        lines.collect::<String>()
    )
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
    fn what_a_forge_still_lists_is_named_by_scope_and_is_no_full_success() {
        assert_eq!(tell_left(&[]), Exit::Done);
        let entry = |scope: &str, number: u32| ForgeEntry {
            scope: ScopeUrl::new(scope),
            name: format!("slate-ci-{number}"),
            id: None,
        };
        let mut left: Vec<_> = (0..12).map(|n| entry("https://github.com/acme", n)).collect();
        left.push(entry("https://github.com/me/site", 99));
        assert_eq!(tell_left(&left), Exit::Partly);
        let text = left_text(&left);
        assert!(text.contains("\n  12 at https://github.com/acme: slate-ci-0, "), "{text}");
        assert!(text.contains("slate-ci-9, …\n  1 at https://github.com/me/site: slate-ci-99"));
    }

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
