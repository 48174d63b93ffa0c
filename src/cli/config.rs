//! `config`: the fleet file as it is understood, and its schema.

use clap::{Args, Subcommand};

use super::border;
use super::context::{Context, Format, print};
use super::failure::Failure;
use super::render;
use crate::api::openapi;
use crate::exit::Exit;

/// Check the fleet file and print it resolved, with secrets masked
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is one flag of the command line")]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  slate-fleet config                    the file with every default \
                  written out\n  slate-fleet config -q                 only check it\n  \
                  slate-fleet config --profiles\n  \
                  slate-fleet config schema > slate.schema.json"
)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    verb: Option<ConfigVerb>,
    /// Only check; print nothing
    #[arg(short, long)]
    quiet: bool,
    /// Print the profiles' names
    #[arg(long)]
    profiles: bool,
    /// Print the pools' names
    #[arg(long, conflicts_with = "profiles")]
    pools: bool,
    /// Print the images that are used
    #[arg(long, conflicts_with_all = ["profiles", "pools"])]
    images: bool,
}

#[derive(Debug, Subcommand)]
enum ConfigVerb {
    Schema(SchemaArgs),
    Openapi(OpenapiArgs),
}

/// Print the JSON Schema of the fleet file
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet config schema > slate.schema.json")]
struct SchemaArgs {}

/// Print the description of the API, in OpenAPI 3.1
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet config openapi > openapi.json")]
struct OpenapiArgs {}

impl ConfigArgs {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.verb {
            Some(ConfigVerb::Schema(SchemaArgs {})) => {
                let schema = border::schema();
                print(&render::machine_one(Format::Json, &schema).unwrap_or_default())?;
                return Ok(Exit::Done);
            }
            Some(ConfigVerb::Openapi(OpenapiArgs {})) => {
                print(&format!("{}\n", openapi::text()))?;
                return Ok(Exit::Done);
            }
            None => {}
        }
        let spec = context.spec()?;
        let names: Vec<String> = if self.profiles {
            spec.profiles.keys().map(ToString::to_string).collect()
        } else if self.pools {
            spec.pools.iter().map(|pool| pool.name.to_string()).collect()
        } else if self.images {
            used_images(&spec)
        } else if self.quiet {
            Vec::new()
        } else {
            print(&context.rendered_spec()?)?;
            Vec::new()
        };
        print(&names.iter().map(|name| format!("{name}\n")).collect::<String>())?;
        Ok(Exit::Done)
    }
}

/// The images of the pools' profiles, each once.
fn used_images(spec: &crate::spec::Spec) -> Vec<String> {
    let profiles = spec.pools.iter().filter_map(|pool| spec.profiles.get(&pool.profile));
    let mut images: Vec<String> = profiles.map(|profile| profile.image.to_string()).collect();
    images.sort();
    images.dedup();
    images
}
