//! `doctor`: whether all is well, and what to do where it is not.

mod runner_age;

use clap::Args;

use super::border;
use super::context::{Context, Format, print};
use super::failure::Failure;
use super::render;
use crate::api::doctor::{CheckLevel, Diagnosis, Section, security};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::spec::Spec;

/// Check the fleet file, the engine, the supervisor and the forges
///
/// Each check is ok, a warning or an error, with what to do. Exits with 1 when there is an error.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet doctor\n  slate-fleet doctor --format json")]
pub(super) struct DoctorArgs {
    /// How the checks are printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl DoctorArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut found = Diagnosis::default();
        let spec = fleet_file(context, &mut found);
        found.sections.push(engine().await);
        if let Some(spec) = &spec {
            found.sections.extend(runner_age::section(context, spec).await);
        }
        supervisor(context, spec.as_ref(), &mut found).await?;
        let text = render::machine_one(self.format, &found)
            .unwrap_or_else(|| render::doctor::text(&found, context.paint()));
        print(&text)?;
        Ok(match found.worst() {
            CheckLevel::Ok | CheckLevel::Warning => Exit::Done,
            CheckLevel::Error => Exit::Failed,
        })
    }
}

fn fleet_file(context: &Context, found: &mut Diagnosis) -> Option<Spec> {
    let mut section = Section::new("Fleet file");
    let spec = match context.spec() {
        Ok(spec) => {
            let most: u32 = spec.pools.iter().map(|pool| pool.size.most()).sum();
            let pools = match spec.pools.len() {
                1 => "1 pool".to_owned(),
                count => format!("{count} pools"),
            };
            section.ok(format!("{pools}, at most {most} runners"));
            Some(spec)
        }
        Err(failure) => {
            section.error(failure.render().trim_end(), None);
            None
        }
    };
    found.sections.push(section);
    spec
}

async fn engine() -> Section {
    let mut section = Section::new("Engine");
    match border::engine().await {
        Ok(info) => {
            section.ok(format!("version {}, API {}", info.version, info.api));
            info.warnings.iter().for_each(|warning| section.warning(warning, None));
        }
        Err(failure) => section.error(failure.render().trim_end(), None),
    }
    section
}

/// What the supervisor knows, or that there is none.
async fn supervisor(
    context: &Context,
    spec: Option<&Spec>,
    found: &mut Diagnosis,
) -> Result<(), Failure> {
    let state = context.state_dir()?;
    let mut section = Section::new("Supervisor");
    match Client::connect(&state).await {
        Ok(mut client) => match client.get::<Diagnosis>("/api/v1/doctor").await {
            Ok(told) => {
                found.sections.extend(told.sections);
                return Ok(());
            }
            Err(error) => section.error(Failure::from(error).render().trim_end(), None),
        },
        Err(ClientError::NotUp { .. }) => {
            section.warning("no fleet is up here", Some("`slate-fleet up -d`"));
        }
        Err(error) => section.error(Failure::from(error).render().trim_end(), None),
    }
    found.sections.push(section);
    found.sections.extend(spec.map(security::section));
    Ok(())
}
