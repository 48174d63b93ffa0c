//! The names of a fleet, for shells that complete them.
//!
//! A person waits for each answer, so there is little patience: who does not answer at once has no
//! names, and nothing is printed about it.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::{Arg, Command, FromArgMatches};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::context::{Context, Globals};
use crate::api::words::{job_status, runner_status};
use crate::client::{Client, ClientError};
use crate::fleet::view::{FleetView, JobView};
use crate::spec::Spec;

/// Longest wait for the supervisor: what is slower feels broken.
const PATIENCE: Duration = Duration::from_millis(80);
/// Jobs that are offered, the newest.
const JOBS_MAX: usize = 50;

/// What a value names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Runner,
    Job,
    Pool,
    Profile,
    Lane,
}

impl Kind {
    /// By the word that `--help` has for the value.
    fn of(word: &str) -> Option<Self> {
        match word.trim() {
            "RUNNER" => Some(Self::Runner),
            "JOB" => Some(Self::Job),
            "POOL" => Some(Self::Pool),
            "PROFILE" => Some(Self::Profile),
            "LANE" => Some(Self::Lane),
            _ => None,
        }
    }
}

/// The command tree, with values that know their names: those whose help calls them `RUNNER`,
/// `JOB`, `POOL`, `PROFILE` or `LANE`, or several of them.
pub(super) fn command() -> Command {
    named(super::command())
}

fn named(command: Command) -> Command {
    command.mut_args(complete).mut_subcommands(named)
}

fn complete(arg: Arg) -> Arg {
    let words = arg.get_value_names().unwrap_or_default();
    let kinds: Vec<Kind> =
        words.iter().flat_map(|word| word.split('|')).filter_map(Kind::of).collect();
    match kinds.is_empty() {
        true => arg,
        false => arg.add(ArgValueCompleter::new(move |typed: &OsStr| {
            let typed = typed.to_string_lossy().into_owned();
            let candidates = ask(&kinds).unwrap_or_default().into_iter();
            candidates
                .filter(|(name, _)| name.starts_with(&typed))
                .map(|(name, help)| CompletionCandidate::new(name).help(Some(help.into())))
                .collect()
        })),
    }
}

/// Names and what they are; none without a supervisor that answers at once.
fn ask(kinds: &[Kind]) -> Option<Vec<(String, String)>> {
    let context = context(std::env::args_os())?;
    let state = context.state_dir().ok()?;
    let runtime = Builder::new_current_thread().enable_all().build().ok()?;
    let names = async {
        let mut client = Client::connect(&state).await?;
        let mut all = Vec::new();
        for kind in kinds {
            all.extend(names(&mut client, *kind).await?);
        }
        Ok::<_, ClientError>(all)
    };
    runtime.block_on(async { timeout(PATIENCE, names).await }).ok()?.ok()
}

/// Where the fleet is, by the words that were typed so far; they stand behind the shell's own.
fn context(args: impl Iterator<Item = OsString>) -> Option<Context> {
    let typed = args.skip_while(|word| word != "--").skip(1);
    let found = super::command().ignore_errors(true).try_get_matches_from(typed).ok()?;
    Globals::from_arg_matches(&found).ok().map(Context::new)
}

async fn names(client: &mut Client, kind: Kind) -> Result<Vec<(String, String)>, ClientError> {
    let fleet = async |client: &mut Client| client.get::<FleetView>("/api/v1/fleet").await;
    Ok(match kind {
        Kind::Runner => {
            let runners = fleet(client).await?.runners.into_iter();
            runners.map(|it| (it.name.clone(), runner_status(it.status).to_owned())).collect()
        }
        Kind::Pool => {
            let pools = fleet(client).await?.pools.into_iter();
            pools.map(|it| (it.name.to_string(), format!("pool of {}", it.profile))).collect()
        }
        Kind::Job => {
            let jobs: Vec<JobView> = client.get(&format!("/api/v1/jobs?limit={JOBS_MAX}")).await?;
            jobs.into_iter().map(|it| (it.id.to_string(), about(&it))).collect()
        }
        Kind::Profile => {
            let spec: Spec = client.get("/api/v1/spec").await?;
            let profiles = spec.profiles.into_iter();
            let limits = |cpus, memory| format!("{cpus} CPU, {memory}");
            profiles.map(|(name, it)| (name.to_string(), limits(it.cpus, it.memory))).collect()
        }
        Kind::Lane => {
            let spec: Spec = client.get("/api/v1/spec").await?;
            spec.lanes.into_keys().map(|name| (name.to_string(), "lane".to_owned())).collect()
        }
    })
}

fn about(job: &JobView) -> String {
    let program = job.spec.command.first().map(String::as_str).unwrap_or_default();
    format!("{} {program}", job_status(job.status)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> impl Iterator<Item = OsString> {
        line.split(' ').map(OsString::from)
    }

    #[test]
    fn the_fleet_is_found_by_what_was_typed_so_far() {
        let folder = |line| {
            let context = context(words(line)).expect("understood");
            context.state_dir().expect("a folder").root().to_owned()
        };
        let line = "slate-fleet -- slate-fleet --state-dir /srv/state ps sla";
        assert_eq!(folder(line), std::path::Path::new("/srv/state"));
        let line = "slate-fleet -- slate-fleet -f /srv/fleet/slate.yaml cancel ";
        assert_eq!(folder(line), std::path::Path::new("/srv/fleet/.slate"));
        let line = "slate-fleet -- slate-fleet logs --state-dir /srv/state -f ";
        assert_eq!(folder(line), std::path::Path::new("/srv/state"));
    }

    #[test]
    fn values_are_known_by_the_words_of_their_help() {
        let kinds = |words: &str| words.split('|').filter_map(Kind::of).collect::<Vec<_>>();
        assert_eq!(kinds("JOB|RUNNER|POOL|PAGE"), [Kind::Job, Kind::Runner, Kind::Pool]);
        assert_eq!(kinds("RUNNER | TASK"), [Kind::Runner]);
        assert_eq!(kinds("FILE"), []);
    }
}
