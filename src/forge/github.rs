//! GitHub: Enterprise Cloud and Enterprise Server, too.
//!
//! `scope` says where things are, `line` makes one call, `auth` has the credential, `api` puts them
//! together; the other rooms are what is asked of them. `shapes` is all that is read.

mod api;
mod auth;
mod dispatch;
mod findings;
mod jobs;
mod jwt;
mod line;
mod runners;
pub(in crate::forge) mod scope;
pub(in crate::forge) mod shapes;
#[cfg(test)]
mod testing;

use std::fmt;
use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use crate::fleet::forge::{
    ForgeEntry, ForgeErrorClass, ForgeJobFact, ForgeRunnerFact, RegisterOrder,
};
use crate::forge::governor::Governor;
use crate::forge::secret::{ReadClock, ReadSecret};
use crate::forge::web::Web;
use crate::forge::{
    CallError, Dispatch, Dispatched, Finding, Forge, Grant, Listed, Removal, RunState,
};
use crate::ids::{ForgeRunId, ScopeUrl};

use api::Api;
use auth::Auth;
use line::{Line, Telling, failed};
use runners::KnownGroup;
use scope::Scope;

/// All calls that one question needs, together: a scope of fifty repositories takes seconds.
const WHOLE: Duration = Duration::from_secs(120);

/// By what right GitHub is asked.
#[derive(Clone)]
pub enum Right {
    /// A personal access token.
    Personal(ReadSecret),
    /// A GitHub App.
    App {
        /// Its client id or number.
        id: String,
        /// The installation's number; looked up if none.
        installation: Option<u64>,
        /// Its private key.
        key: ReadSecret,
    },
}

/// What an adapter for one scope needs to know.
#[derive(Clone)]
pub struct GithubSettings {
    /// The scope.
    pub scope: ScopeUrl,
    /// The API's address; the one that follows from the scope's if none.
    pub api: Option<String>,
    /// By what right it is asked.
    pub right: Right,
    /// The repositories whose queues are read, for a scope of many; without any, those that GitHub
    /// lists.
    pub repositories: Vec<String>,
    /// The runner groups of the scope's pools, to be looked after.
    pub groups: Vec<String>,
}

/// One scope at GitHub.
pub struct Github {
    scope: Scope,
    api: Api,
    repositories: Vec<String>,
    groups: Vec<String>,
    known_groups: Mutex<Vec<KnownGroup>>,
}

impl Github {
    /// An adapter for a scope; it calls nobody yet.
    ///
    /// # Errors
    /// When the scope's or the API's address is none.
    pub fn new(
        settings: GithubSettings,
        web: Web,
        governor: Governor,
        clock: ReadClock,
    ) -> Result<Self, String> {
        let scope = Scope::parse(settings.scope.as_str(), settings.api.as_deref())?;
        for repository in &settings.repositories {
            scope::repository(repository)?;
        }
        let line = Line { web, api: scope.api.clone(), governor, clock };
        let auth = Auth::new(settings.right, scope.clone(), line.clone());
        Ok(Self {
            scope,
            api: Api::new(line, auth),
            repositories: settings.repositories,
            groups: settings.groups,
            known_groups: Mutex::new(Vec::new()),
        })
    }

    fn reading<'a>(&'a self, what: &'a str) -> Telling<'a> {
        Telling { what, is_change: false, rights: self.scope.rights() }
    }

    fn changing<'a>(&'a self, what: &'a str) -> Telling<'a> {
        Telling { what, is_change: true, rights: self.scope.rights() }
    }
}

impl fmt::Debug for Github {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Github").field("scope", &self.scope).finish_non_exhaustive()
    }
}

impl Forge for Github {
    async fn register(&self, order: &RegisterOrder) -> Result<Grant, CallError> {
        changed(self.register_runner(order)).await
    }

    async fn remove(&self, entry: &ForgeEntry) -> Result<Removal, CallError> {
        changed(self.remove_runner(entry)).await
    }

    async fn runners(&self) -> Result<Listed<ForgeRunnerFact>, CallError> {
        read(self.list_runners()).await
    }

    async fn jobs(&self) -> Result<Listed<ForgeJobFact>, CallError> {
        read(self.list_jobs()).await
    }

    async fn newest_runner(&self) -> Result<Option<String>, CallError> {
        read(self.find_newest_runner()).await
    }

    async fn dispatch(&self, order: &Dispatch) -> Result<Dispatched, CallError> {
        changed(self.dispatch_workflow(order)).await
    }

    async fn run(&self, repository: &str, run: ForgeRunId) -> Result<RunState, CallError> {
        read(self.read_run(repository, run)).await
    }

    async fn findings(&self) -> Vec<Finding> {
        let found = tokio::time::timeout(WHOLE, self.look()).await;
        found.unwrap_or_else(|_| vec![Finding::error(too_late())])
    }
}

async fn changed<T>(work: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    tokio::time::timeout(WHOLE, work).await.unwrap_or_else(|_| Err(CallError::Unknown(too_late())))
}

async fn read<T>(work: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    let late = || Err(failed(ForgeErrorClass::Retry, too_late()));
    tokio::time::timeout(WHOLE, work).await.unwrap_or_else(|_| late())
}

fn too_late() -> String {
    format!("GitHub took longer than {} s", WHOLE.as_secs())
}
