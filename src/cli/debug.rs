//! `debug`: what somebody else needs to find out what is wrong here.

mod bundle;
mod clean;
mod parts;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use self::bundle::Bundle;
use super::context::{Context, note};
use super::failure::Failure;
use super::{clock, render};
use crate::exit::Exit;
use crate::units::Bytes;

/// Collect what is needed to find out what is wrong
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet debug bundle")]
pub(super) struct DebugArgs {
    #[command(subcommand)]
    verb: DebugVerb,
}

#[derive(Debug, Subcommand)]
enum DebugVerb {
    Bundle(BundleArgs),
}

/// Write one file with all that tells of the fleet's state, and without its secrets
///
/// A tar archive: versions, the machine, `doctor`, the fleet, its jobs and events, the fleet file,
/// the end of the supervisor's log, post-mortems and metrics. Not in it: output and commands of
/// jobs, values of variables, tokens, keys, reports. `CONTENTS.txt` in it says what is there, and
/// what could not be had. Works without a supervisor, too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet debug bundle\n  slate-fleet debug bundle -o \
                        /tmp/fleet.tar\n  slate-fleet debug bundle -o - | tar -tv")]
struct BundleArgs {
    /// The file to write; it must not exist; `-` is standard output
    #[arg(short, long, value_name = "FILE", default_value = "slate-debug.tar")]
    output: PathBuf,
}

impl DebugArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let DebugVerb::Bundle(BundleArgs { output }) = self.verb;
        // Before the work: a file that is there already is a mistake soon told.
        let file = match output.as_os_str() == "-" {
            true => None,
            false => Some(create(&output)?),
        };
        let bundle = parts::gather(context).await;
        let written = match &file {
            Some(file) => write(&bundle, file),
            None => write(&bundle, io::stdout().lock()),
        };
        written.map_err(|error| {
            Failure::system(format!("cannot write {}", output.display()), &error)
        })?;
        for missing in bundle.missing() {
            note(&format!("not in it: {}", render::one_line(missing)));
        }
        if file.is_some() {
            let size = Bytes(bundle.size());
            note(&format!("wrote {} ({size}); CONTENTS.txt says what is in it", output.display()));
        }
        Ok(Exit::Done)
    }
}

/// For the owner's eyes: also without secrets it tells a lot.
fn create(path: &Path) -> Result<File, Failure> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::new(Exit::Usage, format!("{} exists already", path.display()))
                .help("name another one with `-o FILE`")
        }
        _ => Failure::system(format!("cannot write {}", path.display()), &error),
    })
}

fn write(bundle: &Bundle, out: impl Write) -> io::Result<()> {
    bundle.write(out, clock::now())
}
