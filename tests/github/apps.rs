//! GitHub Apps: their installations, and the tokens of those.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::auth::Who;
use crate::json::{page, repository_json};
use crate::reply::Reply;
use crate::rest::Ask;
use crate::world::{Installation, Token, World, secret, stamp};

const HOUR: i64 = 3_600_000;

/// Which app asks; nobody else may.
fn app_of(who: &Who) -> Result<u64, Reply> {
    match who {
        Who::App(id) => Ok(*id),
        _ => Err(Reply::error(401, "A JSON web token could not be decoded")),
    }
}

impl World {
    pub fn apps(&mut self, who: &Who, ask: &Ask, parts: &[&str]) -> Result<Reply, Reply> {
        match (ask.method.as_str(), parts) {
            ("GET", ["app"]) => {
                let app = app_of(who)?;
                let own = self.apps.iter().find(|one| one.id == app);
                let shown = own.map(|one| json!({"id": one.id, "client_id": one.client_id}));
                Ok(Reply::json(200, shown.unwrap_or_default()))
            }
            ("GET", ["app", "installations"]) => {
                let app = app_of(who)?;
                let own = self.installations.values().filter(|one| one.app == app && !one.removed);
                let all = own.map(|one| self.installation_json(one)).collect();
                let page = page(all, &ask.query, &ask.here());
                Ok(Reply::list(Value::Array(page.items), page.links))
            }
            ("POST", ["app", "installations", id, "access_tokens"]) => {
                let app = app_of(who)?;
                self.access_token(app, id, &ask.json()?)
            }
            ("GET", ["app", "hook", "deliveries"]) => {
                app_of(who)?;
                Ok(self.deliveries(ask))
            }
            ("POST", ["app", "hook", "deliveries", id, "attempts"]) => {
                app_of(who)?;
                self.redeliver(id)
            }
            ("GET", ["users", login, "installation"]) => self.installation_of(who, login),
            ("GET", ["installation", "repositories"]) => self.installation_repositories(who, ask),
            _ => Err(self.unknown(ask)),
        }
    }

    /// The installation that serves a login or a repository.
    pub fn installation_of(&mut self, who: &Who, target: &str) -> Result<Reply, Reply> {
        let app = app_of(who)?;
        let target = target.to_ascii_lowercase();
        let owner = target.split('/').next().unwrap_or_default();
        let fits = |one: &&Installation| {
            let named = one.repositories.as_ref().is_none_or(|names| names.contains(&target));
            one.app == app
                && !one.removed
                && one.account == owner
                && (!target.contains('/') || named)
        };
        let found = self.installations.values().find(fits);
        let known = !target.contains('/') || self.repository(&target).is_some();
        match found.filter(|_| known) {
            Some(one) => Ok(Reply::json(200, self.installation_json(one))),
            None => Err(Reply::not_found()),
        }
    }

    fn installation_json(&self, one: &Installation) -> Value {
        let app = self.apps.iter().find(|app| app.id == one.app);
        json!({
            "id": one.id, "account": {"login": one.account}, "app_id": one.app,
            "client_id": app.map(|app| app.client_id.clone()), "target_type": "Organization",
            "repository_selection": if one.repositories.is_some() { "selected" } else { "all" },
            "permissions": one.permissions, "target_id": 1, "events": [],
            "suspended_at": one.suspended.then(|| stamp(self.now(), false)),
        })
    }

    fn access_token(&mut self, app: u64, id: &str, body: &Value) -> Result<Reply, Reply> {
        let id: u64 = id.parse().map_err(|_| Reply::not_found())?;
        let own = self.installations.get(&id).filter(|one| one.app == app && !one.removed);
        let installation = own.cloned().ok_or_else(Reply::not_found)?;
        if installation.suspended {
            return Err(Reply::error(403, "This installation has been suspended"));
        }
        let permissions = wanted_permissions(&installation, &body["permissions"])?;
        let mut repositories = installation.repositories.clone();
        if let Some(names) = body["repositories"].as_array() {
            let full = |name: &str| format!("{}/{name}", installation.account);
            let names: BTreeSet<String> = names
                .iter()
                .filter_map(Value::as_str)
                .map(|name| full(&name.to_ascii_lowercase()))
                .collect();
            let reached = |name: &String| {
                self.repository(name).is_some()
                    && installation.repositories.as_ref().is_none_or(|own| own.contains(name))
            };
            if !names.iter().all(reached) {
                return Err(Reply::error(
                    422,
                    "There is at least one repository that does not \
                    exist or is not accessible to the parent installation.",
                ));
            }
            repositories = Some(names);
        }
        let expires = self.now() + HOUR;
        // Newer tokens are this long.
        let token = secret("ghs_", 516);
        let made = Token {
            bucket: format!("installation {id}"),
            installation: Some(id),
            owner: Some(installation.account),
            repositories,
            permissions: permissions.clone(),
            expires: Some(expires),
            revoked: false,
        };
        self.tokens.insert(token.clone(), made);
        Ok(Reply::json(
            201,
            json!({
                "token": token, "expires_at": stamp(expires, false), "permissions": permissions,
                "repository_selection": "all",
            }),
        ))
    }

    fn installation_repositories(&mut self, who: &Who, ask: &Ask) -> Result<Reply, Reply> {
        let Who::Token(token) = who else {
            return Err(Reply::error(403, "Resource not accessible"));
        };
        let Some(token) = self.tokens.get(token).filter(|one| one.installation.is_some()) else {
            return Err(Reply::error(
                403,
                "You must authenticate with an installation access token",
            ));
        };
        let all: Vec<Value> = self
            .repositories
            .values()
            .filter(|one| {
                let name = one.full_name.to_ascii_lowercase();
                let owner = name.split('/').next();
                token.owner.as_deref() == owner
                    && token.repositories.as_ref().is_none_or(|names| names.contains(&name))
            })
            .map(repository_json)
            .collect();
        let total = all.len();
        let page = page(all, &ask.query, &ask.here());
        Ok(Reply::list(json!({"total_count": total, "repositories": page.items}), page.links))
    }
}

/// The permissions that a token is asked to have: those of its installation at most.
fn wanted_permissions(
    installation: &Installation,
    wanted: &Value,
) -> Result<BTreeMap<String, String>, Reply> {
    let Some(wanted) = wanted.as_object() else { return Ok(installation.permissions.clone()) };
    let mut permissions = BTreeMap::new();
    for (what, level) in wanted {
        let level = level.as_str().unwrap_or_default();
        let has = installation.permissions.get(what).map(String::as_str);
        if has != Some("write") && has != Some(level) {
            let words = "The permissions requested are not granted to this installation.";
            return Err(Reply::error(422, words));
        }
        permissions.insert(what.clone(), level.to_owned());
    }
    Ok(permissions)
}
