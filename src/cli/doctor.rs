//! `doctor`: whether all is well, and what to do where it is not.

mod runner_age;

use std::path::Path;

use clap::Args;

use super::context::{Context, Format, print};
use super::failure::Failure;
use super::{border, clock, render};
use crate::api::doctor::{CheckLevel, Diagnosis, Section, security};
use crate::client::{Client, ClientError};
use crate::doctor::facts::{CardsState, Facts};
use crate::doctor::{examine, look};
use crate::exit::Exit;
use crate::fleet::view::FleetView;
use crate::spec::Spec;
use crate::state_dir::StateDir;
use crate::units::words::counted;

/// Check the fleet file, the engine, this machine, the supervisor and the forges
///
/// Each check is ok, a warning or an error, with what to do; one that cannot be made is skipped,
/// and says why. Most of them need no supervisor. Exits with 1 when there is an error.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet doctor\n  slate-fleet doctor --problems\n  \
                        slate-fleet doctor --format json")]
pub(super) struct DoctorArgs {
    /// Show only what is not as it should be
    #[arg(long)]
    problems: bool,
    /// How the checks are printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl DoctorArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let found = diagnose(context).await?;
        let mut shown = found.clone();
        if self.problems {
            shown.keep_problems();
        }
        let text = render::machine_one(self.format, &shown)
            .unwrap_or_else(|| render::doctor::text(&shown, &found, context.paint()));
        print(&text)?;
        Ok(match found.worst() {
            CheckLevel::Skipped | CheckLevel::Ok | CheckLevel::Warning => Exit::Done,
            CheckLevel::Error => Exit::Failed,
        })
    }
}

/// Every check, whatever can be asked.
pub(super) async fn diagnose(context: &Context) -> Result<Diagnosis, Failure> {
    let mut found = Diagnosis::default();
    let spec = fleet_file(context, &mut found);
    let state = context.state_dir()?;
    let told = supervisor(&state, spec.as_ref()).await;
    let facts = facts(context, &state, (spec.as_ref(), told.running)).await?;
    found.sections.extend(examine(&facts));
    if let Some(spec) = &spec {
        found.sections.extend(runner_age::section(context, spec).await);
    }
    found.sections.extend(told.sections);
    Ok(found)
}

fn fleet_file(context: &Context, found: &mut Diagnosis) -> Option<Spec> {
    let mut section = Section::new("Fleet file");
    let spec = match context.spec() {
        Ok(spec) => {
            let most: u32 = spec.pools.iter().map(|pool| pool.size.most()).sum();
            let (pools, most) = (counted(spec.pools.len(), "pool"), counted(most, "runner"));
            section.ok(format!("{pools}, at most {most}"));
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

/// All that the checks of this machine judge.
async fn facts(
    context: &Context,
    state: &StateDir,
    (spec, running): (Option<&Spec>, Option<u32>),
) -> Result<Facts, Failure> {
    let images = spec.map(look::images).unwrap_or_default();
    let (engine, engine_trouble) = match border::engine(&images).await {
        Ok(engine) => (Some(engine), String::new()),
        Err(why) => (None, why),
    };
    let inventory = border::inventory(None, &context.gpu_sources()?).ok();
    let memory = inventory.as_ref().map(|it| it.memory);
    let reports = spec.map(|spec| spec.reports.path.clone());
    let data = engine.as_ref().and_then(|engine| engine.info.data_root.clone());
    let folders = [
        Some(("state", state.root().to_owned())),
        reports.map(|path| ("reports", path)),
        data.map(|path| ("engine", path)),
    ];
    let folders = folders.into_iter().flatten();
    let env_file = spec.and_then(|spec| spec.env_file.clone());
    Ok(Facts {
        now: clock::now(),
        wanted: spec.map(look::wanted),
        engine,
        engine_trouble,
        running,
        host: look::host(Path::new("/"), memory),
        cards: inventory.as_ref().map_or_else(CardsState::default, look::cards),
        folders: folders.filter_map(|(holds, path)| look::folder(holds, &path)).collect(),
        env_file: env_file.and_then(|path| look::secrets_file(&path)),
        env: look::env(spec),
    })
}

/// What the supervisor knows, or that there is none.
struct Told {
    sections: Vec<Section>,
    /// Jobs that run.
    running: Option<u32>,
}

async fn supervisor(state: &StateDir, spec: Option<&Spec>) -> Told {
    let mut section = Section::new("Supervisor");
    match ask(state).await {
        Ok((told, fleet)) => {
            return Told { sections: told.sections, running: Some(fleet.running) };
        }
        Err(ClientError::NotUp { .. }) => {
            section.warning("no fleet is up here", Some("`slate-fleet up -d`"));
            section.skipped("secrets, forges and webhooks: the supervisor looks at them");
        }
        Err(error) => section.error(Failure::from(error).render().trim_end(), None),
    }
    let sections = std::iter::once(section).chain(spec.map(security::section));
    Told { sections: sections.collect(), running: None }
}

async fn ask(state: &StateDir) -> Result<(Diagnosis, FleetView), ClientError> {
    let mut client = Client::connect(state).await?;
    let told = client.get("/api/v1/doctor").await?;
    Ok((told, client.get("/api/v1/fleet").await?))
}
