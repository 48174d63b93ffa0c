//! `status`: specification 1's text, and its JSON.

use std::io::{self, IsTerminal};

use clap::Args;

use super::context::{Context, note, print};
use super::failure::Failure;
use super::render;
use super::render::status::{Rows, hidden, text};
use crate::api::spec_one::RunnersSummary;
use crate::exit::Exit;
use crate::fleet::view::FleetView;

/// Show the fleet in one page
///
/// The form is that of the multi-runner specification: thirteen runners, then `...`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet status\n  slate-fleet status --all\n  \
                        slate-fleet status --json")]
pub(super) struct StatusArgs {
    /// Print the summary as JSON, as `/api/runners` has it
    #[arg(long)]
    json: bool,
    /// List every runner
    #[arg(short, long)]
    all: bool,
}

impl StatusArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.json {
            let summary: RunnersSummary = context.get("/api/runners").await?;
            let format = super::context::Format::Json;
            print(&render::machine_one(format, &summary).unwrap_or_default())?;
            return Ok(Exit::Done);
        }
        let fleet: FleetView = context.get("/api/v1/fleet").await?;
        let rows = match self.all {
            true => Rows::All,
            false => Rows::AsSpecified,
        };
        print(&text(&fleet, rows))?;
        print(&render::pools::lines(&fleet))?;
        if !self.all && hidden(&fleet) > 0 && io::stderr().is_terminal() {
            note(&format!("{} more: `slate-fleet status --all`", hidden(&fleet)));
        }
        Ok(Exit::Done)
    }
}
