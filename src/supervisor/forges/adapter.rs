//! One forge of whichever kind.

use std::sync::Arc;

use super::settings::Settings;
use crate::fleet::forge::{ForgeEntry, ForgeJobFact, ForgeRunnerFact, RegisterOrder};
use crate::forge::{
    CallError, Dispatch, Dispatched, Finding, Forge, Gitea, GiteaSettings, Github, GithubSettings,
    Governor, Grant, Listed, ReadClock, Removal, Right, RunState, Web,
};
use crate::ids::{ForgeRunId, ScopeUrl};
use crate::spec::{ForgeAccess, ForgeKind};
use crate::supervisor::secrets::Secrets;

/// The adapters that there are.
pub(super) enum Adapter {
    Github(Box<Github>),
    Gitea(Box<Gitea>),
}

/// What every adapter is made with.
pub(super) struct Means<'a> {
    pub secrets: &'a Secrets,
    pub web: Result<Web, String>,
    pub governor: Governor,
    pub clock: ReadClock,
}

/// Makes the adapter of a scope. Nothing is read or called yet.
pub(super) fn adapter(
    scope: &ScopeUrl,
    settings: &Settings,
    means: Means<'_>,
) -> Result<Arc<Adapter>, String> {
    let Means { secrets, web, governor, clock } = means;
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
            Adapter::Github(Box::new(Github::new(github, web, governor, clock)?))
        }
        (ForgeKind::Gitea, ForgeAccess::Personal(token)) => {
            let token = secrets.reader(token.clone());
            let gitea = GiteaSettings { scope, token, repositories };
            Adapter::Gitea(Box::new(Gitea::new(gitea, web, governor, clock)?))
        }
        (ForgeKind::Gitea, access) => return Err(no_api(access)),
    };
    Ok(Arc::new(made))
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
        match $self {
            Adapter::Github($forge) => $call.await,
            Adapter::Gitea($forge) => $call.await,
        }
    };
}

impl Forge for Adapter {
    async fn register(&self, order: &RegisterOrder) -> Result<Grant, CallError> {
        pass!(self, forge => forge.register(order))
    }

    async fn remove(&self, entry: &ForgeEntry) -> Result<Removal, CallError> {
        pass!(self, forge => forge.remove(entry))
    }

    async fn runners(&self) -> Result<Listed<ForgeRunnerFact>, CallError> {
        pass!(self, forge => forge.runners())
    }

    async fn jobs(&self) -> Result<Listed<ForgeJobFact>, CallError> {
        pass!(self, forge => forge.jobs())
    }

    async fn newest_runner(&self) -> Result<Option<String>, CallError> {
        pass!(self, forge => forge.newest_runner())
    }

    async fn dispatch(&self, order: &Dispatch) -> Result<Dispatched, CallError> {
        pass!(self, forge => forge.dispatch(order))
    }

    async fn run(&self, repository: &str, run: ForgeRunId) -> Result<RunState, CallError> {
        pass!(self, forge => forge.run(repository, run))
    }

    async fn findings(&self) -> Vec<Finding> {
        pass!(self, forge => forge.findings())
    }
}
