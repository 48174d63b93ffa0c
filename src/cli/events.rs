//! `events`: what happened to what, and why.

use clap::Args;

use super::clock::{self, Since};
use super::context::{Context, Format, print};
use super::failure::Failure;
use super::render;
use crate::exit::Exit;
use crate::fleet::audit::AuditEntry;

/// Show what happened to runners and jobs, and why
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet events -n 20\n  slate-fleet events -f\n  \
                        slate-fleet events --since 10m --format jsonl")]
pub(super) struct EventsArgs {
    /// Go on with what happens
    #[arg(short, long)]
    follow: bool,
    /// Only what happened after this: `10m`, or a time
    #[arg(long, value_name = "WHEN", value_parser = clock::parse_since)]
    since: Option<Since>,
    /// At most this many of the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// How they are printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl EventsArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let since = self.since.map(Since::time);
        // Entries before `since` count against no limit that the operator gave.
        let limit = if since.is_some() { self.limit.max(1000) } else { self.limit };
        let path = format!("/api/v1/events?limit={limit}&follow={}", self.follow);
        let mut lines = context.connect().await?.lines(&path).await?;
        let mut all = Vec::new();
        while let Some(entry) = lines.next::<AuditEntry>().await? {
            if since.is_some_and(|since| entry.at < since) {
                continue;
            }
            match self.format {
                Format::Table => print(&render::events::line(&entry, context.paint()))?,
                Format::Wide => print(&render::events::wide(&entry, context.paint()))?,
                Format::Jsonl => {
                    print(&render::machine_one(Format::Jsonl, &entry).unwrap_or_default())?;
                }
                Format::Json | Format::Yaml => all.push(entry),
            }
        }
        match self.format {
            Format::Json | Format::Yaml => {
                print(&render::machine(self.format, &all).unwrap_or_default())?;
            }
            Format::Table | Format::Wide | Format::Jsonl => {}
        }
        Ok(Exit::Done)
    }
}
