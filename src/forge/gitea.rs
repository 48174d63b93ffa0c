//! Gitea, and Forgejo as far as it is the same.
//!
//! A runner registers itself here, with a token of the scope, for one job (`--ephemeral`), so its
//! number is not known before: it is looked up by its name, which is never used again.

mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use hyper::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fleet::forge::{
    ForgeEntry, ForgeErrorClass, ForgeJobFact, ForgeRunnerFact, RegisterOrder,
};
use crate::forge::github::scope::{is_name, repository};
use crate::forge::github::shapes::{Job, Runner};
use crate::forge::governor::{Governor, Use};
use crate::forge::secret::{ReadClock, ReadSecret};
use crate::forge::web::Web;
use crate::forge::{
    CallError, Dispatch, Dispatched, Finding, Forge, Grant, Listed, Removal, RunShape, RunState,
};
use crate::ids::{ForgeRunId, ForgeRunnerId, ScopeUrl};
use crate::units::words::counted;

use line::{Line, Refusal, failed};

/// All calls that one question needs, together.
const WHOLE: Duration = Duration::from_secs(120);

/// What an adapter for one scope needs to know.
#[derive(Clone)]
pub struct GiteaSettings {
    /// The scope: a repository, an organization, or the whole instance.
    pub scope: ScopeUrl,
    /// The access token.
    pub token: ReadSecret,
    /// The repositories whose jobs count, for a scope of many; all of them if none.
    pub repositories: Vec<String>,
}

/// One scope at Gitea.
pub struct Gitea {
    line: Line,
    /// `/repos/owner/name`, `/orgs/name` or `/admin`.
    path: String,
    /// The scope's repository, if it is one.
    repository: Option<String>,
    repositories: Vec<String>,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

impl Gitea {
    /// An adapter for a scope; it calls nobody yet.
    ///
    /// # Errors
    /// When the scope's address is none.
    pub fn new(
        settings: GiteaSettings,
        web: Web,
        governor: Governor,
        clock: ReadClock,
    ) -> Result<Self, String> {
        let url = settings.scope.as_str();
        let wrong = || {
            format!(
                "`{url}` is no place at Gitea; a repository is `https://host/owner/name`, an \
                 organization `https://host/name`, the whole instance `https://host`"
            )
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let mut parts = rest.trim_end_matches('/').split('/');
        let host = parts.next().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let parts: Vec<&str> = parts.collect();
        if !matches!(scheme, "https" | "http") || !parts.iter().all(|part| is_name(part)) {
            return Err(wrong());
        }
        let (path, own) = match parts.as_slice() {
            [owner, name] => (format!("/repos/{owner}/{name}"), Some(format!("{owner}/{name}"))),
            [name] => (format!("/orgs/{name}"), None),
            [] => ("/admin".to_owned(), None),
            _ => return Err(wrong()),
        };
        for name in &settings.repositories {
            repository(name)?;
        }
        let api = format!("{scheme}://{host}/api/v1");
        let line = Line { web, api, token: settings.token, governor, clock };
        Ok(Self { line, path, repository: own, repositories: settings.repositories })
    }

    async fn registration_token(&self, name: &str) -> Result<Grant, CallError> {
        let what = format!("getting a registration token for {name}");
        let path = format!("{}/actions/runners/registration-token", self.path);
        let answer = self.line.call(Use::Write, &Method::POST, &path, None).await;
        let answer = match answer {
            // Older servers have it as a GET.
            Err(Refusal::Status(404 | 405, _)) => {
                self.line.call(Use::Write, &Method::GET, &path, None).await
            }
            answer => answer,
        };
        // A token is no runner: asking for one again does no harm.
        let token: Token = answer
            .and_then(|answer| answer.document())
            .map_err(|refusal| refusal.sort(&what, false))?;
        Ok(Grant { id: ForgeRunnerId(0), secret: token.token })
    }

    async fn remove_entry(&self, entry: &ForgeEntry) -> Result<Removal, CallError> {
        let what = format!("removing {}", entry.name);
        let found = self.list_runners(&what).await?;
        let Some(runner) = found.into_iter().find(|runner| runner.name == entry.name) else {
            // Only of a registration whose outcome is unknown may lists hide something.
            return Ok(entry.id.map_or(Removal::NotListed, |_| Removal::Removed));
        };
        if runner.busy {
            return Ok(Removal::Busy);
        }
        let path = format!("{}/actions/runners/{}", self.path, runner.id);
        // Gitea removes a runner even while it has a job. So it is closed first, and looked at
        // again; older servers cannot close one.
        let is_closed = self.close(&path, true).await.map_err(|it| it.sort(&what, false))?;
        if is_closed {
            let seen = self.line.call(Use::Remove, &Method::GET, &path, None).await;
            let seen: Runner = match seen {
                Ok(answer) => answer.document().map_err(|it| it.sort(&what, false))?,
                Err(refusal) if refusal.is_gone() => return Ok(Removal::Removed),
                Err(refusal) => return Err(refusal.sort(&what, false)),
            };
            if seen.fact().busy {
                // Open again, as it was; if this fails, the next removal finds it closed.
                self.close(&path, false).await.map_err(|it| it.sort(&what, false))?;
                return Ok(Removal::Busy);
            }
        }
        match self.line.call(Use::Remove, &Method::DELETE, &path, None).await {
            Ok(_) => Ok(Removal::Removed),
            Err(refusal) if refusal.is_gone() => Ok(Removal::Removed),
            Err(refusal) => Err(refusal.sort(&what, true)),
        }
    }

    /// Closes a runner for jobs, or opens it; tells whether the server can do that.
    async fn close(&self, path: &str, is_closed: bool) -> Result<bool, Refusal> {
        let body = json!({"disabled": is_closed});
        match self.line.call(Use::Remove, &Method::PATCH, path, Some(&body)).await {
            Ok(_) => Ok(true),
            Err(Refusal::Status(404 | 405 | 422, _)) => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    async fn list_runners(&self, what: &str) -> Result<Vec<ForgeRunnerFact>, CallError> {
        let path = format!("{}/actions/runners?", self.path);
        let (runners, bad) = self
            .line
            .list::<Runner>(&path, &["runners"])
            .await
            .map_err(|refusal| refusal.sort(what, false))?;
        if bad > 0 {
            // A runner that is missed here looks as if it were gone.
            let words = format!("{what}: not understood: {}", counted(bad, "entry"));
            return Err(failed(ForgeErrorClass::Retry, words));
        }
        let by_id: BTreeMap<ForgeRunnerId, ForgeRunnerFact> =
            runners.into_iter().map(Runner::fact).map(|runner| (runner.id, runner)).collect();
        Ok(by_id.into_values().collect())
    }

    async fn list_jobs(&self) -> Result<Listed<ForgeJobFact>, CallError> {
        let now = self.line.now();
        let mut jobs = BTreeMap::new();
        let mut missed = 0;
        for status in ["queued", "in_progress"] {
            let path = format!("{}/actions/jobs?status={status}&", self.path);
            let (values, _) = self
                .line
                .list::<Value>(&path, &["jobs", "workflow_jobs"])
                .await
                .map_err(|refusal| refusal.sort("reading the queue", false))?;
            for value in values {
                let place = self.repository.clone().or_else(|| repository_of(&value));
                match (place, serde_json::from_value::<Job>(value)) {
                    (Some(place), Ok(job)) if self.is_read(&place) => {
                        let fact = job.fact(&place, None, now);
                        jobs.insert(fact.id, fact);
                    }
                    (Some(_), Ok(_)) => {}
                    _ => missed += 1,
                }
            }
        }
        let gaps = match missed {
            0 => Vec::new(),
            missed => vec![format!("not understood: {}", counted(missed, "job"))],
        };
        Ok(Listed { items: jobs.into_values().collect(), gaps })
    }

    fn is_read(&self, place: &str) -> bool {
        self.repositories.is_empty()
            || self.repositories.iter().any(|name| name.eq_ignore_ascii_case(place))
    }

    async fn start(&self, order: &Dispatch) -> Result<Dispatched, CallError> {
        let what = format!("starting {} in {}", order.workflow, order.repository);
        let invalid = |words: String| failed(ForgeErrorClass::Invalid, words);
        repository(&order.repository).map_err(invalid)?;
        if !is_name(&order.workflow) {
            return Err(invalid(format!("`{}` is no workflow's file name", order.workflow)));
        }
        let path =
            format!("/repos/{}/actions/workflows/{}/dispatches", order.repository, order.workflow);
        let reference = order.reference.clone().unwrap_or_else(|| "main".to_owned());
        let body = json!({"ref": reference, "inputs": order.inputs});
        let answer = self.line.call(Use::Write, &Method::POST, &path, Some(&body)).await;
        answer.map_err(|refusal| refusal.sort(&what, true))?;
        Ok(Dispatched { run: None, url: None })
    }

    async fn state(&self, place: &str, run: ForgeRunId) -> Result<RunState, CallError> {
        let what = format!("reading run {run} of {place}");
        repository(place).map_err(|words| failed(ForgeErrorClass::Invalid, words))?;
        let path = format!("/repos/{place}/actions/runs/{run}");
        let answer = self.line.call(Use::Read, &Method::GET, &path, None).await;
        let run: RunShape = answer
            .and_then(|answer| answer.document())
            .map_err(|refusal| refusal.sort(&what, false))?;
        Ok(run.into())
    }

    async fn look(&self) -> Vec<Finding> {
        let runners = self.list_runners("listing the runners").await;
        let jobs = self.list_jobs().await;
        let mut findings = vec![match runners {
            Ok(_) => Finding::good("the runners can be listed".to_owned()),
            Err(error) => Finding::error(error.to_string()),
        }];
        findings.push(match jobs {
            Ok(_) => Finding::good("the queue can be read".to_owned()),
            Err(error) => Finding::error(format!("{error}; Gitea 1.24 or later is needed")),
        });
        findings
    }
}

impl fmt::Debug for Gitea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gitea").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Forge for Gitea {
    /// Nothing is registered yet: the runner's number is 0 until a list shows it.
    async fn register(&self, order: &RegisterOrder) -> Result<Grant, CallError> {
        whole(self.registration_token(&order.name)).await
    }

    async fn remove(&self, entry: &ForgeEntry) -> Result<Removal, CallError> {
        whole(self.remove_entry(entry)).await
    }

    async fn runners(&self) -> Result<Listed<ForgeRunnerFact>, CallError> {
        let items = whole(self.list_runners("listing the runners")).await?;
        Ok(Listed { items, gaps: Vec::new() })
    }

    async fn jobs(&self) -> Result<Listed<ForgeJobFact>, CallError> {
        whole(self.list_jobs()).await
    }

    async fn newest_runner(&self) -> Result<Option<String>, CallError> {
        Ok(None)
    }

    async fn dispatch(&self, order: &Dispatch) -> Result<Dispatched, CallError> {
        whole(self.start(order)).await
    }

    async fn run(&self, repository: &str, run: ForgeRunId) -> Result<RunState, CallError> {
        whole(self.state(repository, run)).await
    }

    async fn findings(&self) -> Vec<Finding> {
        let found = tokio::time::timeout(WHOLE, self.look()).await;
        found.unwrap_or_else(|_| vec![Finding::error("Gitea takes too long".to_owned())])
    }
}

async fn whole<T>(work: impl Future<Output = Result<T, CallError>>) -> Result<T, CallError> {
    let late = || CallError::Unknown(format!("Gitea took longer than {} s", WHOLE.as_secs()));
    tokio::time::timeout(WHOLE, work).await.unwrap_or_else(|_| Err(late()))
}

/// The repository in a job's address: `…/api/v1/repos/owner/name/actions/jobs/7`.
fn repository_of(job: &Value) -> Option<String> {
    let url = job.get("run_url").or_else(|| job.get("url"))?.as_str()?;
    let (_, rest) = url.split_once("/repos/")?;
    let mut parts = rest.split('/');
    let (owner, name) = (parts.next()?, parts.next()?);
    (is_name(owner) && is_name(name)).then(|| format!("{owner}/{name}"))
}
