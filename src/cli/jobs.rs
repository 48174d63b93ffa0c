//! `jobs`: the jobs, and one job in full.

use clap::{Args, Subcommand};

use super::context::{Context, Format, print};
use super::failure::Failure;
use super::{clock, render};
use crate::api::words::{job_status, parse_job_status};
use crate::client::Client;
use crate::exit::Exit;
use crate::fleet::view::{JobStatus, JobView};
use crate::ids::JobId;

/// List jobs, newest first
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  slate-fleet jobs\n  slate-fleet jobs --status queued,running\n  \
                  slate-fleet jobs show job-42"
)]
pub(super) struct JobsArgs {
    #[command(subcommand)]
    verb: Option<JobsVerb>,
    /// Only these states, separated by commas
    #[arg(long, value_name = "STATUS", value_delimiter = ',',
          value_parser = parse_job_status)]
    status: Vec<JobStatus>,
    /// At most this many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// How they are printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum JobsVerb {
    Show(ShowArgs),
}

/// Show one job in full
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet jobs show job-42\n  \
                        slate-fleet jobs show 42 --format json")]
struct ShowArgs {
    /// The job
    #[arg(value_name = "JOB")]
    job: JobId,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl JobsArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match &self.verb {
            Some(JobsVerb::Show(args)) => show(args, context).await,
            None => self.list(context).await,
        }
    }

    async fn list(&self, context: &Context) -> Result<Exit, Failure> {
        let mut path = format!("/v1/jobs?limit={}", self.limit);
        if !self.status.is_empty() {
            let words: Vec<&str> = self.status.iter().map(|status| job_status(*status)).collect();
            path = format!("{path}&status={}", words.join(","));
        }
        let jobs: Vec<JobView> = context.get(&path).await?;
        if self.quiet {
            print(&jobs.iter().map(|job| format!("{}\n", job.id)).collect::<String>())?;
            return Ok(Exit::Done);
        }
        let (now, paint) = (clock::now(), context.paint());
        print(&match self.format {
            Format::Table => render::jobs::table(&jobs, now, paint),
            Format::Wide => render::jobs::wide(&jobs, now, paint),
            Format::Json | Format::Jsonl | Format::Yaml => {
                render::machine(self.format, &jobs).unwrap_or_default()
            }
        })?;
        Ok(Exit::Done)
    }
}

async fn show(args: &ShowArgs, context: &Context) -> Result<Exit, Failure> {
    let mut client = context.connect().await?;
    let job = get(&mut client, args.job, "").await?;
    let text = render::machine_one(args.format, &job)
        .unwrap_or_else(|| render::jobs::detail(&job, clock::now()));
    print(&text)?;
    Ok(Exit::Done)
}

/// One job, with a query for the route.
pub(super) async fn get(client: &mut Client, id: JobId, query: &str) -> Result<JobView, Failure> {
    client.get(&format!("/v1/jobs/{id}{query}")).await.map_err(|error| {
        let failure = Failure::from(error);
        match failure.exit() {
            Exit::NotFound => failure.help("`slate-fleet jobs` lists the newest ones"),
            _ => failure,
        }
    })
}
