//! `audit`: the audit log checked and exported, with or without a running supervisor.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::clock::{self, Since};
use super::context::{Context, print};
use super::failure::Failure;
use crate::causes::with_causes;
use crate::exit::Exit;
use crate::state_dir::StateDir;
use crate::store::StoreError;
use crate::store::checkpoint;
use crate::store::log::{AuditLog, Range, verify_export};
use crate::store::verify::Verified;
use crate::units::words::counted;

/// Check or export the audit log: who did what, and when
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet audit verify\n  \
                        slate-fleet audit export > audit.jsonl\n  \
                        slate-fleet audit verify --file audit.jsonl")]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    verb: AuditVerb,
}

#[derive(Debug, Subcommand)]
enum AuditVerb {
    Verify(VerifyArgs),
    Export(ExportArgs),
}

/// Check that no entry was edited, removed, swapped or cut off
///
/// Works while the fleet is up and while it is not, and changes nothing.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet audit verify\n  \
                        slate-fleet audit verify --file audit.jsonl\n  \
                        ssh ci slate-fleet audit export | slate-fleet audit verify --file -")]
struct VerifyArgs {
    /// Check an export instead; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Print the entries as lines of JSON, each with its hash
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet audit export > audit.jsonl\n  \
                        slate-fleet audit export --since 7d\n  \
                        slate-fleet audit export --from 1200 --to 1300")]
struct ExportArgs {
    /// Only what happened after this: `10m`, or a time
    #[arg(long, value_name = "WHEN", value_parser = clock::parse_since)]
    since: Option<Since>,
    /// From this entry
    #[arg(long, value_name = "N", default_value_t = 1)]
    from: u64,
    /// Up to this entry [default: the last]
    #[arg(long, value_name = "N")]
    to: Option<u64>,
}

impl AuditArgs {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.verb {
            AuditVerb::Verify(VerifyArgs { file: Some(file) }) => verify_file(&file),
            AuditVerb::Verify(VerifyArgs { file: None }) => verify(&context.state_dir()?),
            AuditVerb::Export(args) => export(&context.state_dir()?, &args),
        }
    }
}

fn verify(state: &StateDir) -> Result<Exit, Failure> {
    // Before the log: it may grow meanwhile, and the checkpoint must not be ahead of what is read.
    let path = state.audit_head();
    let known = checkpoint::read(&path)
        .map_err(|error| Failure::system(format!("cannot read {}", path.display()), &error))?;
    let verified = open(state)?.verify(known)?;
    if known.is_none() && verified.entries > 0 {
        super::context::note(&format!(
            "note: there is no checkpoint in {}; entries that are missing at the end cannot be seen",
            path.display()
        ));
    }
    tell(&verified, &state.database())
}

fn verify_file(file: &Path) -> Result<Exit, Failure> {
    let failed =
        |error: io::Error| Failure::system(format!("cannot read {}", file.display()), &error);
    let verified = match file.as_os_str() == "-" {
        true => verify_export(io::stdin().lock()),
        false => verify_export(BufReader::new(open_file(file)?)),
    };
    tell(&verified.map_err(failed)?, file)
}

fn open_file(file: &Path) -> Result<File, Failure> {
    File::open(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Failure::new(Exit::NotFound, format!("there is no file {}", file.display()))
        }
        _ => Failure::system(format!("cannot read {}", file.display()), &error),
    })
}

fn open(state: &StateDir) -> Result<AuditLog, Failure> {
    let path = state.database();
    if !path.exists() {
        let message = format!("there is no audit log in {}", state.root().display());
        return Err(Failure::new(Exit::NotFound, message)
            .help("name the state folder with `--state-dir`, or start with `slate-fleet up -d`"));
    }
    Ok(AuditLog::open(&path)?)
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(Exit::Failed, with_causes(&error))
    }
}

fn tell(verified: &Verified, place: &Path) -> Result<Exit, Failure> {
    let Verified { entries, first, head, flaws, more } = verified;
    if flaws.is_empty() {
        let text = match entries {
            0 => "ok: the log has no entries\n".to_owned(),
            _ => format!(
                "ok: {}, {first} to {}\nhead: {}\n",
                counted(*entries, "entry"),
                head.seq,
                head.hash
            ),
        };
        print(&text)?;
        return Ok(Exit::Done);
    }
    let mut text: String = flaws.iter().map(|flaw| format!("{flaw}\n")).collect();
    if *more > 0 {
        text.push_str(&format!("and {more} more\n"));
    }
    print(&text)?;
    let message = format!("the audit log in {} is not what was recorded", place.display());
    Err(Failure::new(Exit::Failed, message)
        .help("compare it with an export or a backup; what is named above cannot be trusted"))
}

fn export(state: &StateDir, args: &ExportArgs) -> Result<Exit, Failure> {
    let range = Range {
        from: args.from,
        to: args.to.unwrap_or(u64::MAX),
        since: args.since.map_or(0, |since| since.time().0),
    };
    let log = open(state)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let left = |error: io::Error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::reader_left(),
        _ => Failure::system("cannot write to standard output", &error),
    };
    log.export(range, |line| out.write_all(line).map_err(left))?;
    out.flush().map_err(left)?;
    Ok(Exit::Done)
}
