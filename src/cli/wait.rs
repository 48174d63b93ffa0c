//! `wait`: until the fleet is ready, until nothing runs, or until jobs end.

use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio::time::timeout_at;

use super::context::{Context, print};
use super::failure::Failure;
use super::follow::{Goal, follow_until};
use super::{clock, jobs, run};
use crate::client::Client;
use crate::exit::Exit;
use crate::fleet::view::JobView;
use crate::ids::JobId;
use crate::spec::show_duration;

/// Wait until the fleet is ready or idle, or until jobs end
///
/// For one job the exit code is the job's; for several it is 0 if all succeeded, 5 if some did, and
/// 1 if none did. Each job's id and exit code are printed as it ends.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet wait                       until every runner \
                        is ready\n  slate-fleet wait --for idle            until no job waits or \
                        runs\n  slate-fleet wait job-41 job-42 --timeout 10m")]
pub(super) struct WaitArgs {
    /// What the fleet is waited for
    #[arg(long = "for", value_name = "STATE", conflicts_with = "jobs")]
    goal: Option<WaitGoal>,
    /// Jobs to wait for
    #[arg(value_name = "JOB")]
    jobs: Vec<JobId>,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "10m",
          value_parser = clock::parse_duration)]
    timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WaitGoal {
    /// Every runner is as the file says
    Ready,
    /// No job waits or runs
    Idle,
}

impl WaitArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.jobs.is_empty() {
            let goal = match self.goal {
                Some(WaitGoal::Idle) => Goal::Idle,
                Some(WaitGoal::Ready) | None => Goal::Ready,
            };
            return follow_until(context, goal, self.timeout).await;
        }
        let mut client = context.connect().await?;
        let until = clock::start() + self.timeout;
        let mut exits = Vec::new();
        for id in &self.jobs {
            let ended = timeout_at(until, ended(&mut client, *id)).await;
            let job = ended.map_err(|_| late(*id, self.timeout))??;
            let exit = run::exit_of(&job);
            print(&format!("{} {}\n", job.id, exit.code()))?;
            exits.push(exit);
        }
        Ok(summary(&exits))
    }
}

/// Waits for a job's end; the supervisor answers when it is there, or asks to ask again.
async fn ended(client: &mut Client, id: JobId) -> Result<JobView, Failure> {
    loop {
        let job = jobs::get(client, id, "?wait_seconds=20").await?;
        if job.status.is_final() {
            return Ok(job);
        }
    }
}

fn late(id: JobId, timeout: Duration) -> Failure {
    let timeout = show_duration(timeout);
    Failure::new(Exit::NotReady, format!("{id} has not ended after {timeout}"))
}

fn summary(exits: &[Exit]) -> Exit {
    let good = exits.iter().filter(|exit| exit.code() == 0).count();
    match (exits, good) {
        ([one], _) => *one,
        (all, good) if good == all.len() => Exit::Done,
        (_, 0) => Exit::Failed,
        (..) => Exit::Partly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_jobs_code_is_passed_on_and_several_are_summed_up() {
        assert_eq!(summary(&[Exit::Job(7)]), Exit::Job(7));
        assert_eq!(summary(&[Exit::Done, Exit::Done]), Exit::Done);
        assert_eq!(summary(&[Exit::Done, Exit::Job(7)]), Exit::Partly);
        assert_eq!(summary(&[Exit::Job(1), Exit::Job(7)]), Exit::Failed);
    }
}
