//! `gc`: removes what is kept too long or left over.

use std::fmt::Write as _;

use clap::Args;

use super::context::{Context, print};
use super::failure::Failure;
use crate::exit::Exit;
use crate::supervisor::gc::{GcAge, GcEffect, GcOrder, GcReport};
use crate::units::words::counted;

/// Remove what is kept too long, and what nobody needs
///
/// Output of jobs, post-mortems and reports beyond their age and size (`retention`), uploads
/// without a job, volumes and networks of runners that are gone, and images that the fleet pulled
/// and does not use any more. The supervisor does the same once an hour. What is in use, and what
/// is not the fleet's own, is never touched.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet gc --dry-run\n  slate-fleet gc\n  \
                        slate-fleet gc --all     whatever its age")]
pub(super) struct GcArgs {
    /// Only tell what would go
    #[arg(long)]
    dry_run: bool,
    /// Whatever its age; reports keep theirs
    #[arg(long)]
    all: bool,
}

impl GcArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let order = GcOrder {
            effect: if self.dry_run { GcEffect::Tell } else { GcEffect::Remove },
            age: if self.all { GcAge::Any } else { GcAge::AsWritten },
        };
        let mut client = context.connect().await?;
        let report: GcReport = client.post("/api/v1/gc", &order).await?;
        print(&told(&report, order.effect))?;
        match report.failures.first() {
            None => Ok(Exit::Done),
            Some(first) => {
                let more = report.failures.len() - 1;
                let exit = if report.removed.is_empty() { Exit::Failed } else { Exit::Partly };
                let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
                Err(Failure::new(exit, format!("{first}{more}")))
            }
        }
    }
}

fn told(report: &GcReport, effect: GcEffect) -> String {
    let verb = match effect {
        GcEffect::Remove => "removed",
        GcEffect::Tell => "would remove",
    };
    let mut text = String::new();
    for item in &report.removed {
        // A kind is named by its plural.
        let one = item.kind.strip_suffix('s').unwrap_or(&item.kind);
        let size = if item.bytes.0 > 0 { format!(", {}", item.bytes) } else { String::new() };
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "{verb} {}{size}", counted(item.count, one));
        for name in &item.names {
            let _infallible = writeln!(text, "  {name}");
        }
        let untold = item.count - item.names.len().min(item.count);
        if untold > 0 && !item.names.is_empty() {
            let _infallible = writeln!(text, "  and {untold} more");
        }
    }
    if text.is_empty() {
        text.push_str("nothing to remove\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::gc::GcItem;
    use crate::units::Bytes;

    #[test]
    fn each_kind_is_told_with_its_number_size_and_first_names() {
        let item = |kind: &str, count, bytes, names: &[&str]| GcItem {
            kind: kind.to_owned(),
            count,
            bytes,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let report = GcReport {
            removed: vec![
                item("job logs", 3, Bytes::mib(2), &["job-1", "job-2"]),
                item("volumes", 1, Bytes(0), &["slate-i7-work"]),
            ],
            failures: Vec::new(),
        };
        let text = told(&report, GcEffect::Tell);
        let wanted = "would remove 3 job logs, 2MiB\n  job-1\n  job-2\n  and 1 more\n\
                      would remove 1 volume\n  slate-i7-work\n";
        assert_eq!(text, wanted);
        assert_eq!(told(&GcReport::default(), GcEffect::Remove), "nothing to remove\n");
    }
}
