//! `plan`: what `up` would change, and why.

use std::path::PathBuf;

use clap::Args;

use super::border;
use super::context::{Context, Format, print};
use super::failure::Failure;
use super::render;
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::fleet::view::PlanView;

/// Show what `up` would create, recreate and remove, and why
///
/// Exits with 10 when there are changes, with 0 when there are none, and with 4 when the host has
/// too little for them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet plan\n  slate-fleet plan --format json\n  \
                        slate-fleet plan --inventory big-box.json    for another machine")]
pub(super) struct PlanArgs {
    /// Plan for the host that this JSON file describes, from nothing
    ///
    /// The file has `cpus`, `memory` in bytes, and `gpus` with `index`, `uuid`, `name` and
    /// `memory` in MiB.
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// How the plan is printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl PlanArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let spec = context.spec()?;
        let state = context.state_dir()?;
        let plan: PlanView = match &self.inventory {
            Some(file) => {
                let found = border::inventory(Some(file), &context.gpu_sources()?)?;
                border::plan_offline(&spec, None, &found)?
            }
            None => match Client::connect(&state).await {
                Ok(mut client) => client.post("/api/v1/plan", &spec).await?,
                Err(ClientError::NotUp { .. }) => {
                    let found = border::inventory(None, &context.gpu_sources()?)?;
                    border::plan_offline(&spec, Some(&state), &found)?
                }
                Err(error) => return Err(error.into()),
            },
        };
        let planned = render::plan::Planned::of(plan, &spec);
        match render::machine_one(self.format, &planned) {
            Some(text) => super::context::print(&text)?,
            None => print(&render::plan::text(&planned, context.paint()))?,
        }
        Ok(match render::plan::has_changes(&planned.plan) {
            _ if planned.plan.refusal.is_some() => Exit::NoCapacity,
            true => Exit::Changes,
            false => Exit::Done,
        })
    }
}
