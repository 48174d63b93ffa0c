//! `gpus`: the cards, what runs on them and what is leased of them.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::context::{Context, Format, note, print};
use super::failure::Failure;
use super::{border, render};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::fleet::view::{GpuView, GpusView};
use crate::inventory::Inventory;
use crate::units::Bytes;

/// List the GPUs: memory, use, processes and leases
///
/// Asks the supervisor, or without one the drivers. What is printed as JSON can be read again by
/// `--inventory`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet gpus\n  slate-fleet gpus --format wide\n  \
                        slate-fleet gpus --map                      who reserved what of each\n  \
                        slate-fleet gpus --format json > box.json   for `plan --inventory box.json`")]
pub(super) struct GpusArgs {
    /// Draw what is reserved of each card
    #[arg(long, conflicts_with = "format")]
    map: bool,
    /// Show the cards that this JSON file describes
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// How they are printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

/// The JSON document: the machine as `--inventory` reads it, with leases beside.
#[derive(Debug, Serialize)]
struct Printed {
    cpus: u32,
    memory: Bytes,
    memory_free: Option<Bytes>,
    gpus: Vec<GpuView>,
    notes: Vec<String>,
    library: Option<String>,
    driver: Option<String>,
}

impl GpusArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (machine, gpus) = self.look(context).await?;
        let paint = context.paint();
        print(&match (self.map, self.format) {
            (true, _) => render::gpu_map::map(&gpus),
            (false, Format::Table) => render::gpus::table(&gpus, paint),
            (false, Format::Wide) => render::gpus::wide(&gpus, paint),
            (false, Format::Jsonl) => render::machine(self.format, &gpus.cards).unwrap_or_default(),
            (false, Format::Json | Format::Yaml) => {
                let printed = printed(machine, gpus.clone());
                render::machine_one(self.format, &printed).unwrap_or_default()
            }
        })?;
        if self.map || matches!(self.format, Format::Table | Format::Wide) {
            gpus.notes.iter().for_each(|text| note(text));
        }
        Ok(Exit::Done)
    }

    async fn look(&self, context: &Context) -> Result<(Inventory, GpusView), Failure> {
        if let Some(file) = self.inventory.as_deref() {
            let found = border::inventory(Some(file), &context.gpu_sources()?)?;
            return Ok((found.clone(), unleased(found)));
        }
        match Client::connect(&context.state_dir()?).await {
            Ok(mut client) => {
                Ok((border::without_cards()?, client.get::<GpusView>("/api/v1/gpus").await?))
            }
            Err(ClientError::NotUp { .. }) => {
                let found = border::inventory(None, &context.gpu_sources()?)?;
                Ok((found.clone(), unleased(found)))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Cards that no fleet has anything on.
fn unleased(found: Inventory) -> GpusView {
    let cards = found.gpus.into_iter().map(GpuView::unleased).collect();
    GpusView { cards, notes: found.notes, library: found.library, driver: found.driver }
}

fn printed(machine: Inventory, gpus: GpusView) -> Printed {
    Printed {
        cpus: machine.cpus,
        memory: machine.memory,
        memory_free: machine.memory_free,
        gpus: gpus.cards,
        notes: gpus.notes,
        library: gpus.library,
        driver: gpus.driver,
    }
}
