//! `jobs`: the jobs, and one job in full.

use clap::{Args, Subcommand};

use super::context::{Context, Format, print};
use super::failure::Failure;
use super::{clock, render};
use crate::api::words::{job_status, parse_job_status};
use crate::client::Client;
use crate::exit::Exit;
use crate::fleet::forge::ForgeJobView;
use crate::fleet::view::{JobStatus, JobView};
use crate::ids::JobId;

/// List jobs, newest first
///
/// Below the fleet's own, tables show the jobs of GitHub and its like that wait or run for a pool.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  slate-fleet jobs\n  slate-fleet jobs --status queued,running\n  \
                  slate-fleet jobs --forge\n  slate-fleet jobs show job-42"
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
    /// Only the jobs that forges tell of, in any format
    #[arg(long, conflicts_with = "status")]
    forge: bool,
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
        let mut client = context.connect().await?;
        if self.forge {
            return self.list_forge(&mut client, context).await;
        }
        let mut path = format!("/api/v1/jobs?limit={}", self.limit);
        if !self.status.is_empty() {
            let words: Vec<&str> = self.status.iter().map(|status| job_status(*status)).collect();
            path = format!("{path}&status={}", words.join(","));
        }
        let jobs: Vec<JobView> = client.get(&path).await?;
        if self.quiet {
            print(&jobs.iter().map(|job| format!("{}\n", job.id)).collect::<String>())?;
            return Ok(Exit::Done);
        }
        let (now, paint) = (clock::now(), context.paint());
        let mut text = match self.format {
            Format::Table => render::jobs::table(&jobs, now, paint),
            Format::Wide => render::jobs::wide(&jobs, now, paint),
            Format::Json | Format::Jsonl | Format::Yaml => {
                render::machine(self.format, &jobs).unwrap_or_default()
            }
        };
        if self.status.is_empty() && matches!(self.format, Format::Table | Format::Wide) {
            let forge = self.open_at_forges(&mut client).await?;
            if !forge.is_empty() {
                text = format!("{text}\n{}", self.forge_table(&forge, context));
            }
        }
        print(&text)?;
        Ok(Exit::Done)
    }

    /// Those that wait or run.
    async fn open_at_forges(&self, client: &mut Client) -> Result<Vec<ForgeJobView>, Failure> {
        let mut jobs: Vec<ForgeJobView> = client.get(&self.forge_path()).await?;
        jobs.retain(|job| !job.job.status.is_final());
        Ok(jobs)
    }

    async fn list_forge(&self, client: &mut Client, context: &Context) -> Result<Exit, Failure> {
        let jobs: Vec<ForgeJobView> = client.get(&self.forge_path()).await?;
        print(&match (self.quiet, render::machine(self.format, &jobs)) {
            (true, _) => jobs.iter().map(|job| format!("{}\n", job.job.id)).collect(),
            (false, Some(text)) => text,
            (false, None) => self.forge_table(&jobs, context),
        })?;
        Ok(Exit::Done)
    }

    fn forge_path(&self) -> String {
        format!("/api/v1/forge/jobs?limit={}", self.limit)
    }

    fn forge_table(&self, jobs: &[ForgeJobView], context: &Context) -> String {
        let (now, paint) = (clock::now(), context.paint());
        match self.format {
            Format::Wide => render::forges::jobs_wide(jobs, now, paint),
            Format::Table | Format::Json | Format::Jsonl | Format::Yaml => {
                render::forges::jobs(jobs, now, paint)
            }
        }
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
    client.get(&format!("/api/v1/jobs/{id}{query}")).await.map_err(|error| {
        let failure = Failure::from(error);
        match failure.exit() {
            Exit::NotFound => failure.help("`slate-fleet jobs` lists the newest ones"),
            _ => failure,
        }
    })
}
