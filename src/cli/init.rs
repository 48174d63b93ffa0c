//! `init`: writes a fleet file.

use std::fs::OpenOptions;
use std::io::{self, Write as _};

use clap::Args;

use super::border::{self, Template};
use super::context::{Context, note};
use super::failure::Failure;
use crate::exit::Exit;

/// Write a fleet file for this machine
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet init                 as many runners as this \
                        machine takes\n  slate-fleet init --minimal       two small runners\n  \
                        slate-fleet -f ci.yaml init      under another name")]
pub(super) struct InitArgs {
    /// The fewest runners that are of use
    #[arg(long)]
    minimal: bool,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

impl InitArgs {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let template = match self.minimal {
            true => Template::Minimal,
            false => Template::Optimal,
        };
        let file = context.new_fleet_file()?;
        let text = border::template(template)?;
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
