//! `man`: manual pages, made of the same definitions as `--help`.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use clap_mangen::Man;

use super::context::{note, print_bytes};
use super::failure::Failure;
use crate::exit::Exit;

/// Print the manual page, or write those of all verbs
///
/// Packages write them all to a folder of manual pages. `man slate-fleet-up` then shows the page of
/// one verb.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet man | man -l -\n  \
                        slate-fleet man --dir /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// Write the pages of all verbs to this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl ManArgs {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let Some(dir) = self.dir else {
            let mut page = Vec::new();
            Man::new(super::command())
                .render(&mut page)
                .map_err(|error| Failure::system("cannot write the page", &error))?;
            print_bytes(&page)?;
            return Ok(Exit::Done);
        };
        let failed = |error| Failure::system(format!("cannot write to {}", dir.display()), &error);
        fs::create_dir_all(&dir).map_err(failed)?;
        clap_mangen::generate_to(super::command(), &dir).map_err(failed)?;
        note(&format!("the pages are in {}", dir.display()));
        Ok(Exit::Done)
    }
}
