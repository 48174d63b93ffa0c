//! `stats`: how soon jobs were served lately, and how they ended.

use clap::Args;

use super::clock::{self, Since};
use super::context::{Context, Format, print};
use super::failure::Failure;
use super::render;
use crate::exit::Exit;
use crate::fleet::stats::StatsView;

/// Show how long jobs waited and ran lately, how they ended, and whose fault that was
///
/// Counts the jobs of the fleet's own queue that ended within the time, the newest 20,000 at most.
/// Each span of time is one that was measured: half, nine of ten, and ninety-nine of a hundred jobs
/// took no longer.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet stats\n  slate-fleet stats --since 7d\n  \
                        slate-fleet stats --format json | jq .all.queued.p99_ms")]
pub(super) struct StatsArgs {
    /// Jobs that ended after this: `24h`, `7d`, or a time
    #[arg(long, value_name = "WHEN", default_value = "24h", value_parser = clock::parse_since)]
    since: Since,
    /// How they are printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl StatsArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let path = format!("/api/v1/stats?since={}", self.since.time().0);
        let stats: StatsView = context.get(&path).await?;
        let text = render::machine_one(self.format, &stats)
            .unwrap_or_else(|| render::stats::text(&stats, context.paint()));
        print(&text)?;
        Ok(Exit::Done)
    }
}
