//! `explain`: why a job waits or failed, a runner died, or a pool is too small.

use clap::Args;

use super::context::{Context, Format, print};
use super::failure::Failure;
use super::{clock, render, suggest};
use crate::api::explain::Explanation;
use crate::client::Client;
use crate::exit::Exit;
use crate::fleet::view::FleetView;

/// Tell why a job waits or failed, why a runner died, or what a pool lacks
///
/// JOB: where it stands, who is before it, its attempts and whose fault each end was, what is left
/// of runners that died under it, its last lines, and what to do. RUNNER: its state, its back-off
/// and its last post-mortem. POOL: its size, its runners and what waits for it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet explain job-42\n  \
                        slate-fleet explain slate-light-01\n  slate-fleet explain light\n  \
                        slate-fleet explain job-42 --format json")]
pub(super) struct ExplainArgs {
    /// What is to be explained
    #[arg(value_name = "JOB|RUNNER|POOL")]
    name: String,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl ExplainArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        let explanation = ask(&mut client, &self.name).await?;
        let text = render::machine_one(self.format, &explanation)
            .unwrap_or_else(|| render::explain::text(&explanation, clock::now()));
        print(&text)?;
        Ok(Exit::Done)
    }
}

async fn ask(client: &mut Client, name: &str) -> Result<Explanation, Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(plain) {
        return Err(unknown(client, name).await);
    }
    match client.get(&format!("/v1/explain/{name}")).await.map_err(Failure::from) {
        Err(failure) if failure.exit() == Exit::NotFound => Err(match is_job(name) {
            true => failure.help("`slate-fleet jobs` lists the newest ones"),
            false => unknown(client, name).await,
        }),
        answer => answer,
    }
}

fn is_job(name: &str) -> bool {
    name.starts_with("job-") || name.bytes().all(|byte| byte.is_ascii_digit())
}

/// There is no such thing; with what was probably meant.
async fn unknown(client: &mut Client, name: &str) -> Failure {
    let fleet: FleetView = match client.get("/v1/fleet").await {
        Ok(fleet) => fleet,
        Err(error) => return error.into(),
    };
    let runners = fleet.runners.iter().map(|runner| runner.name.as_str());
    let pools = fleet.pools.iter().map(|pool| pool.name.as_str());
    let names: Vec<&str> = pools.chain(runners).collect();
    suggest::no_such("job, runner or pool", name, &names)
}
