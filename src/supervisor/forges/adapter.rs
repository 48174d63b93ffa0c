//! One forge of whichever kind.

use std::sync::Arc;

use super::settings::Settings;
use crate::fleet::forge::{
    ForgeEntry, ForgeErrorClass, ForgeJobFact, ForgeRunnerFact, RegisterOrder,
};
use crate::forge::{
    CallError, Dispatch, Dispatched, Finding, Forge, Gitea, GiteaSettings, Github, GithubSettings,
    Governor, Grant, Listed, ReadClock, Removal, Right, RunState, Web,
};
use crate::ids::{ForgeRunId, ScopeUrl};
use crate::metrics::Meters;
use crate::spec::{ForgeAccess, ForgeKind};
use crate::supervisor::clock::Stopwatch;
use crate::supervisor::secrets::Secrets;

/// An adapter whose calls are counted.
pub(super) struct Adapter {
    forge: Kind,
    meters: Arc<Meters>,
}

/// The adapters that there are.
enum Kind {
    Github(Box<Github>),
    Gitea(Box<Gitea>),
}

/// What every adapter is made with.
pub(super) struct Means<'a> {
    pub secrets: &'a Secrets,
    pub web: Result<Web, String>,
    pub governor: Governor,
    pub clock: ReadClock,
    pub meters: Arc<Meters>,
}

/// Makes the adapter of a scope. Nothing is read or called yet.
pub(super) fn adapter(
    scope: &ScopeUrl,
    settings: &Settings,
    means: Means<'_>,
) -> Result<Arc<Adapter>, String> {
    let Means { secrets, web, governor, clock, meters } = means;
    let web = web?;
    let (scope, repositories) = (scope.clone(), settings.repositories.clone());
    let made = match (settings.kind, &settings.access) {
        (ForgeKind::Github, access) => {
            let right = match access {
                ForgeAccess::Personal(token) => Right::Personal(secrets.reader(token.clone())),
                ForgeAccess::App(app) => Right::App {
                    id: app.id.clone(),
                    installation: app.installation,
                    key: secrets.reader(app.key.clone()),
                },
                ForgeAccess::Tokens(_) => return Err(no_api(access)),
            };
            let (api, groups) = (settings.api.clone(), settings.groups.clone());
            let github = GithubSettings { scope, api, right, repositories, groups };
            Kind::Github(Box::new(Github::new(github, web, governor, clock)?))
        }
        (ForgeKind::Gitea, ForgeAccess::Personal(token)) => {
            let token = secrets.reader(token.clone());
            let gitea = GiteaSettings { scope, token, repositories };
            Kind::Gitea(Box::new(Gitea::new(gitea, web, governor, clock)?))
        }
        (ForgeKind::Gitea, access) => return Err(no_api(access)),
    };
    Ok(Arc::new(Adapter { forge: made, meters }))
}

fn no_api(access: &ForgeAccess) -> String {
    let what = match access {
        ForgeAccess::Tokens(_) => "registration tokens give no right to the forge's API",
        ForgeAccess::App(_) => "this forge knows no Apps; use an API token",
        ForgeAccess::Personal(_) => "a personal token is not taken here",
    };
    what.to_owned()
}

/// Passes a call on to whichever adapter it is.
macro_rules! pass {
    ($self:ident, $forge:ident => $call:expr) => {
        match &$self.forge {
            Kind::Github($forge) => $call.await,
            Kind::Gitea($forge) => $call.await,
        }
    };
}

impl Adapter {
    /// Counts a call and what came of it.
    async fn count<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, CallError>>,
    ) -> Result<T, CallError> {
        let forge = match &self.forge {
            Kind::Github(_) => "github",
            Kind::Gitea(_) => "gitea",
        };
        let begun = Stopwatch::start();
        let answer = call.await;
        self.meters.forge_call(forge, name, result(&answer), begun.elapsed());
        answer
    }
}

/// What came of a call, in one word.
fn result<T>(answer: &Result<T, CallError>) -> &'static str {
    match answer {
        Ok(_) => "ok",
        Err(CallError::Unknown(_)) => "unknown",
        Err(CallError::Failed(error)) => match error.class {
            ForgeErrorClass::Retry => "retry",
            ForgeErrorClass::Limited(_) => "limited",
            ForgeErrorClass::Denied => "denied",
            ForgeErrorClass::NameTaken => "name_taken",
            ForgeErrorClass::Invalid => "invalid",
        },
    }
}

impl Forge for Adapter {
    async fn register(&self, order: &RegisterOrder) -> Result<Grant, CallError> {
        self.count("register", async { pass!(self, forge => forge.register(order)) }).await
    }

    async fn remove(&self, entry: &ForgeEntry) -> Result<Removal, CallError> {
        self.count("remove", async { pass!(self, forge => forge.remove(entry)) }).await
    }

    async fn runners(&self) -> Result<Listed<ForgeRunnerFact>, CallError> {
        self.count("runners", async { pass!(self, forge => forge.runners()) }).await
    }

    async fn jobs(&self) -> Result<Listed<ForgeJobFact>, CallError> {
        self.count("jobs", async { pass!(self, forge => forge.jobs()) }).await
    }

    async fn newest_runner(&self) -> Result<Option<String>, CallError> {
        self.count("newest_runner", async { pass!(self, forge => forge.newest_runner()) }).await
    }

    async fn dispatch(&self, order: &Dispatch) -> Result<Dispatched, CallError> {
        self.count("dispatch", async { pass!(self, forge => forge.dispatch(order)) }).await
    }

    async fn run(&self, repository: &str, run: ForgeRunId) -> Result<RunState, CallError> {
        self.count("run", async { pass!(self, forge => forge.run(repository, run)) }).await
    }

    async fn findings(&self) -> Vec<Finding> {
        pass!(self, forge => forge.findings())
    }
}
