//! `submit`: hands a job in and goes; and the options that it shares with `run`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::context::{Context, print};
use super::failure::Failure;
use super::wanted::WantedArgs;
use super::workspace::{self, Git, Packing};
use super::{clock, suggest};
use crate::api::dto::{LINES_MAX, SubmitBody, Submitted, SubmittedAll};
use crate::api::words::parse_retry_on;
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::fleet::attempt::RetryOn;
use crate::ids::{JobId, LaneName, ProfileName};
use crate::spec::{Limits, Spec};

/// Hand in a job and print its id
///
/// `logs -f JOB` follows it, `wait JOB` waits for its end.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet submit -- pytest -n auto\n  \
                        slate-fleet submit --type lint --workflow nightly -- ruff check .\n  \
                        slate-fleet wait $(slate-fleet submit -- make test)\n  \
                        slate-fleet submit --file jobs.jsonl")]
pub(super) struct SubmitArgs {
    /// Hand in many jobs at once, all or none: one JSON document per line; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["command", "JobArgs"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    job: JobArgs,
    /// Program and arguments
    #[arg(
        required_unless_present = "file",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<String>,
}

impl SubmitArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        match self.file {
            Some(file) => submit_file(&file, &mut client).await,
            None => submit(self.job, self.command, context, &mut client).await,
        }
    }
}

/// Hands in a job and prints its id.
pub(super) async fn submit(
    job: JobArgs,
    command: Vec<String>,
    context: &Context,
    client: &mut Client,
) -> Result<Exit, Failure> {
    let body = job.into_body(command, context, client).await?;
    let Submitted { id } = match client.post("/api/v1/jobs", &body).await {
        Ok(submitted) => submitted,
        Err(error) => return Err(explain(client, &body, error).await),
    };
    print(&format!("{id}\n"))?;
    Ok(Exit::Done)
}

/// Hands in the jobs of a file in one request and prints their ids.
async fn submit_file(file: &Path, client: &mut Client) -> Result<Exit, Failure> {
    let SubmittedAll { first, last } =
        client.post_lines("/api/v1/jobs/batch", read_lines(file)?).await?;
    let ids: String = (first.0..=last.0).map(|id| format!("{}\n", JobId(id))).collect();
    print(&ids)?;
    Ok(Exit::Done)
}

fn read_lines(file: &Path) -> Result<Vec<u8>, Failure> {
    // One byte more than the supervisor takes, so that it says what is too much.
    let most = LINES_MAX as u64 + 1;
    let mut lines = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => io::stdin().lock().take(most).read_to_end(&mut lines),
        false => File::open(file).and_then(|file| file.take(most).read_to_end(&mut lines)),
    };
    match read {
        Ok(_) => Ok(lines),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::new(Exit::NotFound, format!("there is no file {}", file.display())))
        }
        Err(error) => Err(Failure::system(format!("cannot read {}", file.display()), &error)),
    }
}

/// What a job is and where it runs.
#[derive(Debug, Args)]
pub(super) struct JobArgs {
    #[command(flatten)]
    wanted: WantedArgs,
    /// Workflow; groups reports, and its runs count against `limits.max_parallel_workflows`
    #[arg(long, value_name = "NAME")]
    workflow: Option<String>,
    /// Run within the workflow [default: the job's id]
    #[arg(long, value_name = "NAME")]
    run_id: Option<String>,
    /// End the job after this long [default: the fleet file's `limits.task_timeout`]
    #[arg(long, value_name = "DURATION", value_parser = clock::parse_duration)]
    timeout: Option<Duration>,
    /// Try the job again this often at most [default: the fleet file's `limits.retries`]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(Limits::RETRIES_MAX)))]
    retries: Option<u32>,
    /// When it is tried again: after losing its runner, once with more GPU memory after running out
    /// of it, too, after any failure, or never
    #[arg(long, value_name = "infrastructure|oom|any|never", default_value = "infrastructure",
          value_parser = parse_retry_on)]
    retry_on: RetryOn,
    /// Keep it from starting until `release` lets it go
    #[arg(long)]
    hold: bool,
    /// Environment variable; without a value, this shell's
    #[arg(short, long = "env", value_name = "KEY[=VALUE]")]
    env: Vec<String>,
    /// Folder to send instead of this one
    #[arg(short, long, value_name = "DIR", conflicts_with = "no_workspace")]
    workspace: Option<PathBuf>,
    /// Send no folder; the job starts in an empty one
    #[arg(long)]
    no_workspace: bool,
    /// Send the repository (.git), too
    #[arg(long, conflicts_with = "no_workspace")]
    with_git: bool,
}

impl JobArgs {
    /// The job as it is submitted; sends the working folder first.
    pub(super) async fn into_body(
        self,
        command: Vec<String>,
        context: &Context,
        client: &mut Client,
    ) -> Result<SubmitBody, Failure> {
        let env = environment(&self.env)?;
        let folder = match &self.workspace {
            Some(folder) => folder.clone(),
            None => PathBuf::from("."),
        };
        let workspace = match self.no_workspace {
            true => None,
            false => {
                let packing = self.packing(folder, context, &client.get("/api/v1/spec").await?)?;
                Some(workspace::send(client, packing).await?)
            }
        };
        Ok(SubmitBody {
            command,
            env,
            profile: self.wanted.profile,
            task_type: self.wanted.task_type,
            pool: self.wanted.pool,
            lane: self.wanted.lane,
            workflow: self.workflow,
            run_id: self.run_id,
            priority: self.wanted.priority,
            timeout_seconds: self.timeout.map(whole_seconds),
            workspace,
            submitter: Some(submitter()),
            retries: self.retries,
            retry_on: self.retry_on,
            hold: self.hold,
        })
    }

    /// What never leaves this machine: the fleet's state, its `.env`, its reports.
    fn packing(&self, root: PathBuf, context: &Context, spec: &Spec) -> Result<Packing, Failure> {
        let base = context.base()?;
        let never = [
            context.state_dir()?.root().to_owned(),
            base.join(".env"),
            base.join(".slate_runners.json"),
            spec.reports.path.clone(),
        ];
        // The walk goes over resolved paths; what does not exist cannot be met on it.
        let never = never.iter().filter_map(|path| path.canonicalize().ok()).collect();
        let git = match self.with_git {
            true => Git::Send,
            false => Git::Leave,
        };
        Ok(Packing { root, never, git, limit: spec.limits.workspace_max })
    }
}

/// Adds the nearest name to a refusal that says that there is no such thing.
pub(super) async fn explain(client: &mut Client, body: &SubmitBody, error: ClientError) -> Failure {
    let failure = Failure::from(error);
    if failure.exit() != Exit::NotFound && failure.exit() != Exit::Usage {
        return failure;
    }
    let Ok(spec) = client.get::<Spec>("/api/v1/spec").await else { return failure };
    let pools: Vec<&str> = spec.pools.iter().map(|pool| pool.name.as_str()).collect();
    let profiles: Vec<&str> = spec.profiles.keys().map(ProfileName::as_str).collect();
    let lanes: Vec<&str> = spec.lanes.keys().map(LaneName::as_str).collect();
    let types: Vec<&str> = spec.task_types.keys().map(String::as_str).collect();
    let asked = [
        ("profile", &body.profile, profiles),
        ("type of work", &body.task_type, types),
        ("pool", &body.pool, pools),
        ("lane", &body.lane, lanes),
    ];
    for (what, name, known) in asked {
        if let Some(name) = name
            && !known.contains(&name.as_str())
        {
            return suggest::no_such(what, name, &known);
        }
    }
    failure
}

fn environment(pairs: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    pairs.iter().map(|pair| variable(pair)).collect()
}

fn variable(pair: &str) -> Result<(String, String), Failure> {
    match pair.split_once('=') {
        Some(("", _)) => {
            Err(Failure::new(Exit::Usage, format!("`--env {pair}` has no name before the `=`")))
        }
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => match std::env::var(pair) {
            Ok(value) => Ok((pair.to_owned(), value)),
            Err(_) => Err(Failure::new(
                Exit::Usage,
                format!("`--env {pair}` has no value, and this shell has no readable `{pair}`"),
            )
            .help(format!("write `--env {pair}=VALUE`"))),
        },
    }
}

/// A job never gets less time than was asked for.
pub(super) fn whole_seconds(timeout: Duration) -> u64 {
    timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0)
}

/// Who submits, for fair sharing: the user's name as the shell has it.
pub(super) fn submitter() -> String {
    std::env::var("USER")
        .ok()
        .filter(|user| !user.is_empty())
        .unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_a_value_or_take_the_shells() {
        let pair = |text: &str| variable(text).map_err(|failure| failure.exit());
        assert_eq!(pair("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(pair("A="), Ok(("A".to_owned(), String::new())));
        assert!(pair("PATH").is_ok_and(|(key, value)| key == "PATH" && !value.is_empty()));
        assert_eq!(pair("SLATE_SURELY_NOT_SET"), Err(Exit::Usage));
        assert_eq!(pair("=x"), Err(Exit::Usage));
    }

    #[test]
    fn a_timeout_is_never_rounded_down() {
        assert_eq!(whole_seconds(Duration::from_millis(1500)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(30)), 30);
    }
}
