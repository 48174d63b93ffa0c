//! `benchmark`: specification 1's report of how many runners a machine takes, and its JSON.

use std::path::PathBuf;

use clap::Args;

use super::border;
use super::context::{Context, Format, note, print};
use super::failure::Failure;
use super::render;
use super::suggest::no_such;
use crate::capacity::document::Benchmark;
use crate::capacity::machine::{Basis, Cordons, Machine};
use crate::capacity::optimal::optimal;
use crate::capacity::report::{self, profiles};
use crate::client::Client;
use crate::exit::Exit;
use crate::fleet::view::FleetView;
use crate::ids::{ProfileName, ProjectName};
use crate::spec::Spec;

/// Show how many runners of each profile this machine takes
///
/// The rows are of the machine as it is, with what is in use. The configuration below them is the
/// best fleet of the machine when nothing else runs; `init` writes it down. With a fleet file its
/// own profiles are shown, too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet benchmark\n  slate-fleet benchmark --profile \
                        gpu_light       every term of one profile\n  slate-fleet benchmark --json \
                        | jq .optimal\n  slate-fleet benchmark --inventory big-box.json    of \
                        another machine")]
pub(super) struct BenchmarkArgs {
    /// Print JSON: every term, as the machine is and when it is empty
    #[arg(long)]
    json: bool,
    /// Show one profile, with every term of the formula
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
    /// Show the machine that this JSON file describes
    #[arg(long, value_name = "FILE")]
    inventory: Option<PathBuf>,
}

impl BenchmarkArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let spec = match context.fleet_files()?.is_empty() {
            true => Spec::built_in(ProjectName::new("slate")),
            false => context.spec()?,
        };
        let name = self.profile.as_deref().map(|wanted| named(&spec, wanted)).transpose()?;
        let found = border::inventory(self.inventory.as_deref(), &context.gpu_sources()?)?;
        let cordons = match self.inventory {
            None => cordons(context).await,
            Some(_) => Cordons::new(),
        };
        let machine = Machine::new(&found, &cordons);
        for told in found.notes.iter().chain(&machine.notes()) {
            note(told);
        }
        let one = name.as_ref().and_then(|name| Some((name, spec.profiles.get(name)?)));
        let text = match (one, self.json) {
            (Some((name, profile)), false) => report::one(&machine, &spec, name, profile),
            (Some(one), true) => json(&Benchmark::new(&machine, &spec, &[one], None)),
            (None, json_wanted) => {
                let best = optimal(&machine, &spec.limits, Basis::Empty);
                match json_wanted {
                    false => report::full(&machine, &spec, &best),
                    true => json(&Benchmark::new(&machine, &spec, &profiles(&spec), Some(best))),
                }
            }
        };
        print(&text)?;
        Ok(Exit::Done)
    }
}

fn json(benchmark: &Benchmark) -> String {
    render::machine_one(Format::Json, benchmark).unwrap_or_default()
}

fn named(spec: &Spec, wanted: &str) -> Result<ProfileName, Failure> {
    let names: Vec<&ProfileName> = profiles(spec).into_iter().map(|(name, _)| name).collect();
    let found = names.iter().find(|name| name.as_str() == wanted);
    let all: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    found.map(|name| (*name).clone()).ok_or_else(|| no_such("profile", wanted, &all))
}

/// The cards that the fleet of this folder has cordoned; none where no fleet is up.
async fn cordons(context: &Context) -> Cordons {
    let Ok(state) = context.state_dir() else { return Cordons::new() };
    let Ok(mut client) = Client::connect(&state).await else { return Cordons::new() };
    let Ok(fleet) = client.get::<FleetView>("/api/v1/fleet").await else { return Cordons::new() };
    let cordoned = |card: crate::fleet::view::GpuView| Some((card.reading.card.uuid, card.cordon?));
    fleet.gpus.cards.into_iter().filter_map(cordoned).collect()
}
