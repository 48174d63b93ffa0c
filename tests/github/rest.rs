//! The published API: which call is which, and what every call must bring along.

use axum::http::HeaderMap;
use serde_json::{Map, Value, json};

use crate::auth::{ACTIONS, ACTIONS_WRITE, HOOKS, HOOKS_WRITE, SEE, Who};
use crate::json::{page, repository_json};
use crate::reply::Reply;
use crate::world::{Scope, World};

/// A request, taken apart.
#[derive(Debug)]
pub struct Ask {
    pub method: String,
    /// Without the prefix of Enterprise Server.
    pub path: String,
    pub query: Map<String, Value>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Ask {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn json(&self) -> Result<Value, Reply> {
        if self.body.is_empty() {
            return Ok(json!({}));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| Reply::error(400, &format!("Problems parsing JSON: {error}")))
    }

    pub fn word(&self, name: &str) -> Option<&str> {
        self.query.get(name).and_then(Value::as_str)
    }

    /// The address that it was sent to, for links.
    pub fn here(&self) -> String {
        let host = self.header("host").unwrap_or("localhost");
        format!("http://{host}{}", self.path)
    }
}

fn user(who: &Who) -> Result<Reply, Reply> {
    match who {
        Who::Token(_) => Ok(Reply::json(200, json!({"login": "me", "id": 1, "type": "User"}))),
        _ => Err(Reply::error(401, "Requires authentication")),
    }
}

impl World {
    /// What GitHub insists on, and what its documentation asks for.
    pub fn check_headers(&mut self, ask: &Ask) -> Option<Reply> {
        let what = format!("{} {}", ask.method, ask.path);
        if ask.header("user-agent").is_none_or(str::is_empty) {
            self.violation(format!("{what}: no User-Agent"));
            return Some(Reply::error(403, "Request forbidden by administrative rules."));
        }
        if !matches!(ask.header("x-github-api-version"), Some("2022-11-28" | "2026-03-10")) {
            self.violation(format!("{what}: no X-GitHub-Api-Version, or an unknown one"));
        }
        if ask.header("accept") != Some("application/vnd.github+json") {
            self.violation(format!("{what}: Accept is {:?}", ask.header("accept")));
        }
        if !ask.body.is_empty() && ask.header("content-type").is_none() {
            self.violation(format!("{what}: a body without Content-Type"));
        }
        None
    }

    /// Answers a call of the published API.
    pub fn rest(&mut self, who: &Who, ask: &Ask) -> Reply {
        let parts: Vec<&str> = ask.path.trim_matches('/').split('/').collect();
        let answer = match parts[..] {
            ["repos", owner, name, ref rest @ ..] => {
                self.in_repository(who, ask, &format!("{owner}/{name}"), rest)
            }
            // Where a renamed repository's calls are sent on to.
            ["repositories", id, ref rest @ ..] => {
                let id: u64 = id.parse().unwrap_or(0);
                let full = self.repositories.get(&id).map(|one| one.full_name.clone());
                match full {
                    Some(full) => self.in_repository(who, ask, &full, rest),
                    None => Err(Reply::not_found()),
                }
            }
            ["orgs", login, ref rest @ ..] => {
                let scope = Scope::Organization(login.to_ascii_lowercase());
                self.in_account(who, ask, &scope, rest)
            }
            ["enterprises", slug, ref rest @ ..] => {
                let scope = Scope::Enterprise(slug.to_ascii_lowercase());
                self.in_account(who, ask, &scope, rest)
            }
            ["app" | "installation" | "users", ..] => self.apps(who, ask, &parts),
            ["rate_limit"] if ask.method == "GET" => {
                let name = self.bucket(who);
                Ok(self.rate_limit(&name))
            }
            ["user"] if ask.method == "GET" => user(who),
            _ => Err(self.unknown(ask)),
        };
        answer.unwrap_or_else(|refusal| refusal)
    }

    /// A call that the published API does not have.
    pub fn unknown(&mut self, ask: &Ask) -> Reply {
        self.violation(format!("{} {}: there is no such call", ask.method, ask.path));
        Reply::not_found()
    }

    fn in_repository(
        &mut self,
        who: &Who,
        ask: &Ask,
        full: &str,
        rest: &[&str],
    ) -> Result<Reply, Reply> {
        let full = full.to_ascii_lowercase();
        if let Some(id) = self.renamed.get(&full) {
            let tail = rest.iter().map(|part| format!("/{part}")).collect::<String>();
            let at = format!("{}/repositories/{id}{tail}", self.advertise);
            return Ok(Reply::error(301, "Moved Permanently").header("location", &at));
        }
        let scope = Scope::Repository(full.clone());
        if let (["installation"], "GET") = (rest, ask.method.as_str()) {
            return self.installation_of(who, &full);
        }
        match rest {
            [] if ask.method == "GET" => {
                self.may(who, &scope, SEE)?;
                let shown = self.repository(&full).map(repository_json);
                Ok(Reply::json(200, shown.unwrap_or_default()))
            }
            ["actions", "runners", more @ ..] => self.runners_call(who, ask, &scope, more),
            ["actions", "permissions", "fork-pr-contributor-approval"] if ask.method == "GET" => {
                self.may(who, &scope, World::runners_need(&scope, false))?;
                let policy = self.repository(&full).map(|one| one.fork_policy.clone());
                Ok(Reply::json(200, json!({"approval_policy": policy})))
            }
            ["actions", more @ ..] => {
                let need = if ask.method == "GET" { ACTIONS } else { ACTIONS_WRITE };
                self.may(who, &scope, need)?;
                self.actions_call(ask, &full, more)
            }
            ["hooks", more @ ..] => {
                let need = if ask.method == "GET" { HOOKS } else { HOOKS_WRITE };
                self.may(who, &scope, need)?;
                self.hooks_call(ask, more)
            }
            _ => Err(self.unknown(ask)),
        }
    }

    fn in_account(
        &mut self,
        who: &Who,
        ask: &Ask,
        scope: &Scope,
        rest: &[&str],
    ) -> Result<Reply, Reply> {
        let read = ask.method == "GET";
        match rest {
            ["installation"] if read => self.installation_of(who, scope.owner()),
            [] if read => {
                self.may(who, scope, SEE)?;
                let account = self.accounts.get(scope.owner());
                let shown = account.map(|one| json!({"id": one.id, "login": one.login}));
                Ok(Reply::json(200, shown.unwrap_or_default()))
            }
            ["repos"] if read => {
                self.may(who, scope, SEE)?;
                let mut own: Vec<_> =
                    self.repositories.values().filter(|one| scope.covers(one)).collect();
                own.sort_by_key(|one| std::cmp::Reverse(one.pushed));
                let all = own.into_iter().map(repository_json).collect();
                let page = page(all, &ask.query, &ask.here());
                Ok(Reply::list(Value::Array(page.items), page.links))
            }
            ["actions", "runners", more @ ..] => self.runners_call(who, ask, scope, more),
            ["actions", "runner-groups", more @ ..] => {
                self.may(who, scope, World::runners_need(scope, !read))?;
                self.groups_call(ask, scope, more)
            }
            ["hooks", more @ ..] => {
                self.may(who, scope, if read { HOOKS } else { HOOKS_WRITE })?;
                self.hooks_call(ask, more)
            }
            _ => Err(self.unknown(ask)),
        }
    }
}
