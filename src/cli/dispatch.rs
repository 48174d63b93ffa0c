//! `dispatch`: starts a workflow by hand at its forge.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use tokio::time::{sleep, timeout_at};

use super::clock;
use super::context::{Context, Format, note, print};
use super::failure::Failure;
use super::render;
use super::suggest;
use crate::api::dispatch::{DispatchAnswer, DispatchBody, RunAnswer};
use crate::client::Client;
use crate::exit::{Exit, JOB_TIMED_OUT};
use crate::fleet::view::FleetView;
use crate::ids::ForgeRunId;
use crate::spec::show_duration;

/// Between two looks at a run: 720 of the 5,000 calls that GitHub allows in an hour.
const LOOK: Duration = Duration::from_secs(5);

/// Start a workflow by hand at its forge
///
/// The workflow must have `on: workflow_dispatch`. It is started by the right of a pool whose
/// `github` has `pat` or `app`; where the fleet serves one repository, nothing but its name is
/// needed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet dispatch multi-runner.yml --input task_id=42 \
                        --input profile=standard\n  slate-fleet dispatch build.yml --repo acme/site \
                        --ref main --wait\n  slate-fleet dispatch nightly.yml -q      print the \
                        run's number")]
pub(super) struct DispatchArgs {
    /// The workflow's file name, or its number
    #[arg(value_name = "WORKFLOW")]
    workflow: String,
    /// Its repository
    #[arg(long = "repo", value_name = "OWNER/NAME")]
    repository: Option<String>,
    /// The branch or tag to run it on [default: the repository's default branch]
    #[arg(long = "ref", value_name = "BRANCH")]
    reference: Option<String>,
    /// An input of the workflow; may be repeated
    #[arg(long = "input", value_name = "KEY=VALUE", value_parser = input)]
    inputs: Vec<(String, String)>,
    /// The pool by whose right it is started
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Wait until the run is over
    #[arg(long)]
    wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "1h",
          value_parser = clock::parse_duration)]
    timeout: Duration,
    /// Print the run's number only
    #[arg(short, long)]
    quiet: bool,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

fn input(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write an input as `name=value`".to_owned()),
    }
}

impl DispatchArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        let body = DispatchBody {
            workflow: self.workflow,
            repository: self.repository,
            pool: self.pool,
            reference: self.reference,
            inputs: self.inputs.into_iter().collect::<BTreeMap<_, _>>(),
        };
        let begun: DispatchAnswer = match client.post("/api/v1/dispatch", &body).await {
            Ok(begun) => begun,
            Err(error) => return Err(unknown_pool(&mut client, error.into(), &body).await),
        };
        let text = match (self.quiet, render::machine_one(self.format, &begun)) {
            (true, _) => begun.run.map(|run| format!("{run}\n")).unwrap_or_default(),
            (false, Some(text)) => text,
            (false, None) => told(&begun),
        };
        print(&text)?;
        match (begun.run, self.wait) {
            (Some(run), true) => {
                let until = clock::start() + self.timeout;
                let end = timeout_at(until, ended(&mut client, &begun, run)).await;
                end.unwrap_or_else(|_| Err(late(run, self.timeout)))
            }
            (Some(_), false) => Ok(Exit::Done),
            (None, true) => {
                let why = "it was started, and the forge did not say which run it is";
                Err(Failure::new(Exit::Failed, why).help("look for it on the forge's page"))
            }
            (None, false) => {
                note("the forge did not say which run it is");
                Ok(Exit::Done)
            }
        }
    }
}

/// `run 4711 of build.yml in acme/site: https://…`.
fn told(begun: &DispatchAnswer) -> String {
    let DispatchAnswer { workflow, repository, run, url, .. } = begun;
    let run = run.map_or_else(|| "a run".to_owned(), |run| format!("run {run}"));
    let page = url.as_ref().map(|url| format!(": {url}")).unwrap_or_default();
    format!("{run} of {workflow} in {repository}{page}\n")
}

/// A pool that does not exist gets a suggestion.
async fn unknown_pool(client: &mut Client, failure: Failure, body: &DispatchBody) -> Failure {
    let (Exit::NotFound, Some(pool)) = (failure.exit(), &body.pool) else { return failure };
    match client.get::<FleetView>("/api/v1/fleet").await {
        Ok(fleet) => {
            let names: Vec<&str> = fleet.pools.iter().map(|it| it.name.as_str()).collect();
            suggest::no_such("pool", pool, &names)
        }
        Err(error) => error.into(),
    }
}

/// Looks until the run is over; a forge that cannot be asked for the moment is asked again.
async fn ended(
    client: &mut Client,
    begun: &DispatchAnswer,
    run: ForgeRunId,
) -> Result<Exit, Failure> {
    let DispatchAnswer { pool, repository, .. } = begun;
    let path = format!("/api/v1/forge/runs/{run}?pool={pool}&repository={repository}");
    let mut told = String::new();
    loop {
        match client.get::<RunAnswer>(&path).await.map_err(Failure::from) {
            Ok(now) => {
                if now.status == "completed" {
                    return Ok(exit_of(run, now.conclusion.as_deref().unwrap_or("unknown")));
                }
                if told != now.status {
                    note(&format!("run {run} is {}", now.status.replace('_', " ")));
                    told = now.status;
                }
            }
            Err(failure) if may_pass(failure.exit()) => {
                if told != failure.render() {
                    note(failure.render().trim_end());
                    told = failure.render();
                }
            }
            Err(failure) => return Err(failure),
        }
        sleep(LOOK).await;
    }
}

fn may_pass(exit: Exit) -> bool {
    matches!(exit, Exit::NoCapacity | Exit::Unreachable)
}

fn exit_of(run: ForgeRunId, conclusion: &str) -> Exit {
    note(&format!("run {run} ended: {conclusion}"));
    match conclusion {
        "success" | "neutral" | "skipped" => Exit::Done,
        "cancelled" => Exit::Interrupted,
        "timed_out" => Exit::Job(JOB_TIMED_OUT),
        _ => Exit::Failed,
    }
}

fn late(run: ForgeRunId, timeout: Duration) -> Failure {
    let timeout = show_duration(timeout);
    Failure::new(Exit::NotReady, format!("run {run} is not over after {timeout}"))
}
