//! `version`: of this program.

use clap::Args;
use serde::Serialize;

use super::context::{Format, print};
use super::failure::Failure;
use super::render;
use crate::exit::Exit;

/// Print the version
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet version\n  slate-fleet version --format json")]
pub(super) struct VersionArgs {
    /// How it is printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
}

impl VersionArgs {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let version = Version { version: env!("CARGO_PKG_VERSION") };
        let text = render::machine_one(self.format, &version)
            .unwrap_or_else(|| format!("slate-fleet {}\n", version.version));
        print(&text)?;
        Ok(Exit::Done)
    }
}
