//! `ps`: the runners.

use clap::Args;

use super::context::{Context, Format, note, print};
use super::failure::Failure;
use super::{render, suggest};
use crate::api::doctor::security;
use crate::exit::Exit;
use crate::fleet::view::{FleetView, RunnerView};
use crate::spec::Spec;

/// List the runners
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet ps\n  slate-fleet ps --format wide\n  \
                        slate-fleet ps -q slate-light-01\n  \
                        slate-fleet ps --format jsonl | jq -r 'select(.status == \"error\").name'")]
pub(super) struct PsArgs {
    /// Only these, by name or id
    #[arg(value_name = "RUNNER")]
    runners: Vec<String>,
    /// Print ids only
    #[arg(short, long)]
    quiet: bool,
    /// How they are printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl PsArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        let mut fleet: FleetView = client.get("/api/v1/fleet").await?;
        if !self.runners.is_empty() {
            let wanted = find_all(&fleet, &self.runners)?;
            fleet.runners = wanted.into_iter().cloned().collect();
        }
        if self.quiet {
            let ids = fleet.runners.iter().map(|runner| format!("{}\n", runner.id));
            print(&ids.collect::<String>())?;
            return Ok(Exit::Done);
        }
        let paint = context.paint();
        let below = match (self.format, self.runners.is_empty()) {
            (Format::Table | Format::Wide, true) => {
                let spec: Spec = client.get("/api/v1/spec").await?;
                below(&fleet, &spec)
            }
            _ => String::new(),
        };
        print(&match self.format {
            Format::Table => render::ps::table(&fleet, paint) + &below,
            Format::Wide => render::ps::wide(&fleet, paint) + &below,
            Format::Json | Format::Jsonl | Format::Yaml => {
                render::machine(self.format, &fleet.runners).unwrap_or_default()
            }
        })?;
        if matches!(self.format, Format::Table | Format::Wide)
            && let Some(failed) = fleet.runners.iter().find(|it| it.status.is_trouble())
        {
            note(&format!("why it failed: `slate-fleet explain {}`", failed.name));
        }
        Ok(Exit::Done)
    }
}

/// The sizes of pools, what is left at forges, and what was opted out of, below all runners.
fn below(fleet: &FleetView, spec: &Spec) -> String {
    let weaker = security::weaker(spec).into_iter().map(|text| format!("Warning: {text}\n"));
    let lines = render::pools::lines(fleet) + &render::forges::leftovers(fleet);
    match weaker.fold(lines, |lines, line| lines + &line) {
        nothing if nothing.is_empty() => nothing,
        lines => format!("\n{lines}"),
    }
}

/// The runners of these names or ids; all must exist.
pub(super) fn find_all<'a>(
    fleet: &'a FleetView,
    names: &[String],
) -> Result<Vec<&'a RunnerView>, Failure> {
    names.iter().map(|name| find(fleet, name)).collect()
}

/// The runner of this name or id.
pub(super) fn find<'a>(fleet: &'a FleetView, name: &str) -> Result<&'a RunnerView, Failure> {
    fleet.runner_named(name).ok_or_else(|| {
        let names: Vec<&str> = fleet.runners.iter().map(|runner| runner.name.as_str()).collect();
        suggest::no_such("runner", name, &names)
    })
}
