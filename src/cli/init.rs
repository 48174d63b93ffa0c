//! `init`: writes a fleet file.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::Args;

use super::border;
use super::context::{Context, note};
use super::failure::Failure;
use crate::capacity::machine::{Cordons, Machine};
use crate::capacity::new_fleet::{Extent, new_fleet};
use crate::exit::Exit;
use crate::ids::ProjectName;
use crate::spec::template;

/// Write a fleet file for this machine
///
/// The runners are those of `benchmark`'s configuration, so far as the cards are free.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet init                 as many runners as this \
                        machine takes\n  slate-fleet init --minimal       two or three small \
                        runners\n  slate-fleet -f ci.yaml init      under another name\n  \
                        slate-fleet init --inventory big-box.json    for another machine")]
pub(super) struct InitArgs {
    /// The fewest runners that are of use
    #[arg(long)]
    minimal: bool,
    /// Write it for the machine that this JSON file describes
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

impl InitArgs {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let file = context.new_fleet_file()?;
        let found = border::inventory(self.inventory.as_deref(), &context.gpu_sources()?)?;
        let machine = Machine::new(&found, &Cordons::new());
        let extent = if self.minimal { Extent::Minimal } else { Extent::Optimal };
        let (fleet, notes) = new_fleet(&machine, extent, &ProjectName::new("slate"));
        let text = match extent {
            Extent::Minimal => template::minimal(&fleet),
            Extent::Optimal => template::full(&fleet),
        };
        for told in notes.iter().chain(&machine.notes()) {
            note(told);
        }
        let mut options = OpenOptions::new();
        match self.force {
            true => options.write(true).create(true).truncate(true),
            false => options.write(true).create_new(true),
        };
        let written = options.open(&file).and_then(|mut file| file.write_all(text.as_bytes()));
        match written {
            Ok(()) => {
                note(&format!("wrote {}; bring it up with `slate-fleet up -d`", file.display()));
                Ok(Exit::Done)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::new(Exit::Usage, format!("{} exists", file.display()))
                    .help("`slate-fleet up -d` uses it; `--force` replaces it"))
            }
            Err(error) => Err(Failure::system(format!("cannot write {}", file.display()), &error)),
        }
    }
}
