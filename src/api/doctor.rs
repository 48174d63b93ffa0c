//! Whether all is well, check by check, each with what to do: the supervisor, its secrets, its
//! forges, its webhooks, and what was opted out of.
//!
//! [`examine`] is pure: what is known goes in, checks come out. The first part of what `doctor`
//! prints; the machine that it runs on adds its own.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::Api;
use super::problem::Problem;
use super::words::as_the_file_says;
use crate::fleet::view::{FleetPhase, FleetView};
use crate::reports::{Place, StoreError};
use crate::spec::Spec;
use crate::supervisor::forge_report::ForgeReport;
use crate::supervisor::handle::Query;
use crate::supervisor::notifier::LastMessage;
use crate::supervisor::report_door::ReportPlace;

mod forges;
mod operator;
mod secrets;
pub mod security;

/// Answer of `GET /api/v1/doctor`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// What was looked at, in order.
    pub sections: Vec<Section>,
}

/// Checks that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Section {
    /// What they are about.
    pub name: String,
    /// The checks.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Its name in the reference, if it is one of those with a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// How it went.
    pub level: CheckLevel,
    /// What is so.
    pub message: String,
    /// What to do, if something is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How a check went.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum CheckLevel {
    /// Not looked at; the message says why.
    Skipped,
    /// As it should be.
    Ok,
    /// Worth knowing; nothing fails for it now.
    Warning,
    /// It does not work so.
    Error,
}

impl Diagnosis {
    /// The worst of all checks.
    #[must_use]
    pub fn worst(&self) -> CheckLevel {
        let checks = self.sections.iter().flat_map(|section| &section.checks);
        checks.map(|check| check.level).max().unwrap_or(CheckLevel::Ok).max(CheckLevel::Ok)
    }

    /// Drops what is as it should be, and the sections that have nothing else.
    pub fn keep_problems(&mut self) {
        for section in &mut self.sections {
            section.checks.retain(|check| match check.level {
                CheckLevel::Skipped | CheckLevel::Ok => false,
                CheckLevel::Warning | CheckLevel::Error => true,
            });
        }
        self.sections.retain(|section| !section.checks.is_empty());
    }
}

impl Section {
    /// A section without a check yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), checks: Vec::new() }
    }

    /// Adds what is as it should be.
    pub fn ok(&mut self, message: impl Into<String>) {
        self.add(CheckLevel::Ok, message, None);
    }

    /// Adds what is worth knowing, and what to do.
    pub fn warning(&mut self, message: impl Into<String>, advice: Option<&str>) {
        self.add(CheckLevel::Warning, message, advice);
    }

    /// Adds what does not work, and what to do.
    pub fn error(&mut self, message: impl Into<String>, advice: Option<&str>) {
        self.add(CheckLevel::Error, message, advice);
    }

    /// Adds what is not looked at, and why.
    pub fn skipped(&mut self, message: impl Into<String>) {
        self.add(CheckLevel::Skipped, message, None);
    }

    fn add(&mut self, level: CheckLevel, message: impl Into<String>, advice: Option<&str>) {
        let (message, advice) = (message.into(), advice.map(str::to_owned));
        self.checks.push(Check { id: None, level, message, advice });
    }
}

pub(super) async fn doctor(State(api): State<Arc<Api>>) -> Result<Json<Diagnosis>, Problem> {
    let spec = api.ask(Query::Spec).await?;
    let report = api.ask(Query::ForgeReport).await?;
    let reports = api.ask(Query::Reports).await?;
    let message = api.ask(Query::LastMessage).await?;
    let fleet = api.fleet_view().await?;
    let store = reports.store.clone();
    let unread = spawn_blocking(move || store.find(&Place::default()).err()).await.ok().flatten();
    let outside = Outside { forges: report, reports, unread, message };
    Ok(Json(examine(&fleet, &spec, &outside)))
}

/// What is known beside the core, at one moment.
#[derive(Debug)]
pub struct Outside {
    /// Forges, secrets, webhooks.
    pub forges: ForgeReport,
    /// Where reports are, and where they are shown.
    pub reports: ReportPlace,
    /// Why the report store cannot be read.
    pub unread: Option<StoreError>,
    /// How the last message to the operator fared.
    pub message: Option<LastMessage>,
}

/// Every check that the supervisor's knowledge is enough for.
#[must_use]
pub fn examine(fleet: &FleetView, spec: &Spec, outside: &Outside) -> Diagnosis {
    let report = &outside.forges;
    let mut sections = vec![supervisor(fleet)];
    sections.push(operator::reports(spec, outside));
    sections.extend(operator::messages(spec, outside, fleet.at));
    sections.extend(secrets::section(fleet, spec, report));
    sections.extend(forges::sections(fleet, spec, report));
    sections.extend(forges::webhooks(spec, report, fleet.at));
    sections.push(security::section(spec));
    Diagnosis { sections }
}

fn supervisor(fleet: &FleetView) -> Section {
    let mut section = Section::new("Supervisor");
    section.ok(format!("version {} answers", env!("CARGO_PKG_VERSION")));
    let count = fleet.runners.len();
    match fleet.phase {
        FleetPhase::Ready => section.ok(as_the_file_says(count)),
        FleetPhase::Starting => {
            section.warning("it has not seen the engine's containers yet", None);
        }
        FleetPhase::Converging => section.warning(
            "the fleet is not as the file says yet",
            Some("`slate-fleet ps` shows how it goes on"),
        ),
        FleetPhase::GoingDown => section.warning("the fleet is going down", None),
    }
    for trouble in &fleet.troubles {
        section.warning(trouble.clone(), None);
    }
    for runner in fleet.runners.iter().filter(|runner| runner.status.is_trouble()) {
        let why = runner.reason.as_deref().unwrap_or("no reason is known");
        let advice = format!("`slate-fleet explain {}`", runner.name);
        section.warning(format!("{}: {why}", runner.name), Some(&advice));
    }
    section
}
