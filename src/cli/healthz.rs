//! `healthz`: whether the supervisor answers; made for a container's health check.

use clap::Args;

use super::context::{Context, print};
use super::failure::Failure;
use crate::api::dto::Healthy;
use crate::exit::Exit;

/// Say whether the supervisor answers, for health checks
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet healthz\n  slate-fleet healthz --ready")]
pub(super) struct HealthzArgs {
    /// Ask whether every runner is ready, too
    #[arg(long)]
    ready: bool,
}

impl HealthzArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let path = if self.ready { "/readyz" } else { "/healthz" };
        let text = match context.get(path).await? {
            Healthy::Ok => "ok\n",
            Healthy::Ready => "ready\n",
        };
        print(text)?;
        Ok(Exit::Done)
    }
}
