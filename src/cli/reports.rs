//! `reports`: what jobs left in the report store, and where to look at it.

use clap::Args;

use super::context::{Context, Format, note, print};
use super::failure::Failure;
use super::{clock, render, suggest};
use crate::api::reports::Reports;
use crate::client::Client;
use crate::exit::Exit;
use crate::reports::{RunDetails, RunReport};

/// Runs that are looked through for names that were meant.
const SUGGESTED_FROM: usize = 100;

/// List the reports of jobs, with their results and addresses
///
/// The newest runs first, with what their JUnit and SARIF files say. With a RUN, what failed in it.
/// The addresses are those of the report server (`reports.listen` in the fleet file).
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet reports\n  slate-fleet reports nightly\n  \
                        slate-fleet reports nightly 42\n  xdg-open $(slate-fleet reports nightly \
                        42 -q)")]
pub(super) struct ReportsArgs {
    /// Only runs of this workflow; jobs of none are under `jobs`
    #[arg(value_name = "WORKFLOW")]
    workflow: Option<String>,
    /// One run of it
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// Print addresses only; folders where there is no report server
    #[arg(short, long)]
    quiet: bool,
    /// At most this many runs
    #[arg(short = 'n', long, value_name = "COUNT", default_value = "20")]
    limit: u32,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl ReportsArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        match (&self.workflow, &self.run) {
            (Some(workflow), Some(run)) => self.one(&mut client, workflow, run).await,
            _ => self.list(&mut client).await,
        }
    }

    async fn list(&self, client: &mut Client) -> Result<Exit, Failure> {
        let found = newest(client, self.workflow.as_deref(), self.limit as usize).await?;
        if let Some(workflow) = self.workflow.as_ref().filter(|_| found.runs.is_empty()) {
            return Err(unknown(client, workflow).await);
        }
        let text = match (self.quiet, render::machine(self.format, &found.runs)) {
            (true, _) => {
                let lines = found.runs.iter().map(|run| format!("{}\n", address(&found, run)));
                lines.collect()
            }
            (false, Some(text)) => text,
            (false, None) => render::reports::table(&found.runs, clock::now()),
        };
        print(&text)?;
        tell(&found);
        Ok(Exit::Done)
    }

    async fn one(&self, client: &mut Client, workflow: &str, run: &str) -> Result<Exit, Failure> {
        let is_name = [workflow, run].into_iter().all(crate::ids::is_folder_name);
        let path = format!("/api/v1/reports/{workflow}/{run}");
        let answer = match is_name {
            true => client.get::<RunDetails>(&path).await.map_err(Failure::from),
            false => return Err(unknown_run(client, workflow, run).await),
        };
        let details = match answer {
            Err(failure) if failure.exit() == Exit::NotFound => {
                return Err(unknown_run(client, workflow, run).await);
            }
            answer => answer?,
        };
        let text = match (self.quiet, render::machine_one(self.format, &details)) {
            (true, _) => {
                let store = newest(client, None, 0).await?;
                format!("{}\n", address(&store, &details.run))
            }
            (false, Some(text)) => text,
            (false, None) => render::reports::details(&details, clock::now()),
        };
        print(&text)?;
        Ok(Exit::Done)
    }
}

async fn newest(
    client: &mut Client,
    workflow: Option<&str>,
    limit: usize,
) -> Result<Reports, Failure> {
    let plain = workflow.filter(|name| crate::ids::is_folder_name(name));
    let only = match (workflow, plain) {
        (None, _) => String::new(),
        (Some(_), Some(name)) => format!("&workflow={name}"),
        // No workflow can have this name.
        (Some(_), None) => "&workflow=.".to_owned(),
    };
    Ok(client.get(&format!("/api/v1/reports?limit={limit}{only}")).await?)
}

/// Where to look at a run: its address, or its folder.
fn address(found: &Reports, run: &RunReport) -> String {
    let folder = || format!("{}/{}/{}", found.path, run.workflow, run.run_id);
    run.url.clone().unwrap_or_else(folder)
}

/// Says on stderr what the table does not.
fn tell(found: &Reports) {
    match (&found.url, &found.trouble) {
        (_, Some(why)) => note(&format!("the report server does not listen: {why}")),
        (None, None) => note(&format!(
            "they are in {}; `reports: {{listen: \"127.0.0.1:9190\"}}` shows them to browsers",
            found.path
        )),
        (Some(_), None) => {}
    }
    if found.is_partial {
        note("there are older ones; `-n COUNT` lists more");
    }
}

/// There is no such workflow; with what was probably meant.
async fn unknown(client: &mut Client, workflow: &str) -> Failure {
    match newest(client, None, SUGGESTED_FROM).await {
        Ok(found) => {
            let mut names: Vec<&str> = found.runs.iter().map(|it| it.workflow.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            suggest::no_such("workflow with reports", workflow, &names)
        }
        Err(failure) => failure,
    }
}

async fn unknown_run(client: &mut Client, workflow: &str, run: &str) -> Failure {
    match newest(client, Some(workflow), SUGGESTED_FROM).await {
        Ok(found) if found.runs.is_empty() => unknown(client, workflow).await,
        Ok(found) => {
            let names: Vec<&str> = found.runs.iter().map(|it| it.run_id.as_str()).collect();
            suggest::no_such(&format!("run of `{workflow}` with reports"), run, &names)
        }
        Err(failure) => failure,
    }
}
