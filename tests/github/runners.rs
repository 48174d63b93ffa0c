//! Runners, their registrations, labels and groups, as the published API has them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::auth::Who;
use crate::json::{is_system, page};
use crate::reply::Reply;
use crate::rest::Ask;
use crate::world::{Group, RegistrationToken, Runner, Scope, World, guid, secret, stamp};

const HOUR: i64 = 3_600_000;

/// What a registration asks for.
pub struct NewRunner<'a> {
    pub name: &'a str,
    pub labels: &'a [String],
    pub group: u64,
    pub ephemeral: bool,
}

impl World {
    pub fn runners_call(
        &mut self,
        who: &Who,
        ask: &Ask,
        scope: &Scope,
        rest: &[&str],
    ) -> Result<Reply, Reply> {
        let read = ask.method == "GET";
        self.may(who, scope, World::runners_need(scope, !read))?;
        match (ask.method.as_str(), rest) {
            ("GET", []) => Ok(self.list_runners(ask, scope)),
            ("GET", ["downloads"]) => Ok(self.downloads()),
            ("POST", ["registration-token"]) => Ok(self.new_token(scope, false)),
            ("POST", ["remove-token"]) => Ok(self.new_token(scope, true)),
            ("POST", ["generate-jitconfig"]) => self.jit(ask, scope),
            ("GET", [id]) => {
                let id = self.runner_id(scope, id)?;
                Ok(Reply::json(200, self.runner_json(id)))
            }
            ("DELETE", [id]) => self.delete(scope, id),
            (_, [id, "labels"]) => self.labels_call(ask, scope, id),
            _ => Err(self.unknown(ask)),
        }
    }

    fn runner_id(&self, scope: &Scope, id: &str) -> Result<u64, Reply> {
        let id: u64 = id.parse().map_err(|_| Reply::not_found())?;
        let own = self.runners.get(&id).filter(|one| one.scope == *scope && !one.hidden);
        own.map(|one| one.id).ok_or_else(Reply::not_found)
    }

    fn list_runners(&mut self, ask: &Ask, scope: &Scope) -> Reply {
        let name = ask.word("name").map(str::to_ascii_lowercase);
        let mut ids: Vec<u64> = self
            .runners
            .values()
            .filter(|one| one.scope == *scope && !one.hidden)
            .filter(|one| name.as_ref().is_none_or(|name| one.name.to_ascii_lowercase() == *name))
            .map(|one| one.id)
            .collect();
        if self.settings.shuffle {
            for at in (1..ids.len()).rev() {
                let other = self.random(at as u64 + 1);
                ids.swap(at, usize::try_from(other).unwrap_or(0));
            }
        }
        let total = i64::try_from(ids.len()).unwrap_or(0) + self.settings.count_off;
        let all: Vec<Value> = ids.into_iter().map(|id| self.runner_json(id)).collect();
        let page = page(all, &ask.query, &ask.here());
        Reply::list(json!({"total_count": total.max(0), "runners": page.items}), page.links)
    }

    fn downloads(&self) -> Reply {
        let newest = &self.settings.newest;
        let one = |architecture: &str| {
            let file = format!("actions-runner-linux-{architecture}-{newest}.tar.gz");
            let base = "https://github.com/actions/runner/releases/download";
            json!({"os": "linux", "architecture": architecture, "filename": file,
                "download_url": format!("{base}/v{newest}/{file}")})
        };
        Reply::json(200, json!([one("x64"), one("arm64")]))
    }

    fn new_token(&mut self, scope: &Scope, removes: bool) -> Reply {
        if self.settings.disabled {
            return Reply::error(403, "Repository level self-hosted runners are disabled");
        }
        let (now, token) = (self.now(), secret("A", 28));
        let expires = now + HOUR;
        let made = RegistrationToken { scope: scope.clone(), expires, removes, refused: 0 };
        self.registration_tokens.insert(token.clone(), made);
        Reply::json(201, json!({"token": token, "expires_at": stamp(expires, false)}))
    }

    fn jit(&mut self, ask: &Ask, scope: &Scope) -> Result<Reply, Reply> {
        let body = ask.json()?;
        if self.settings.disabled {
            return Err(Reply::error(403, "Self-hosted runners are disabled"));
        }
        let invalid = |what: &str| Reply::error(422, &format!("Invalid request. {what}"));
        let name = body["name"].as_str().ok_or_else(|| invalid("\"name\" wasn't supplied."))?;
        let good = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
            self.violation(format!("generate-jitconfig: the name {name:?}"));
            return Err(invalid("Name is not valid."));
        }
        let labels = body["labels"].as_array().cloned().unwrap_or_default();
        let labels: Vec<String> =
            labels.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect();
        if labels.is_empty() || labels.len() > 100 || labels.iter().any(String::is_empty) {
            return Err(invalid("Between 1 and 100 labels are needed."));
        }
        let group = body["runner_group_id"]
            .as_u64()
            .ok_or_else(|| invalid("\"runner_group_id\" wasn't supplied."))?;
        if !self.groups(scope).iter().any(|one| one.id == group) {
            return Err(Reply::not_found());
        }
        if self.runner_named(scope, name).is_some() {
            let words = format!("Already exists - A runner with the name {name} already exists.");
            return Err(Reply::error(409, &words));
        }
        if !self.names.insert(format!("{scope:?} {name}")) {
            self.violation(format!("generate-jitconfig: the name {name} was used before"));
        }
        let folder = body["work_folder"].as_str().unwrap_or("_work").to_owned();
        let new = NewRunner { name, labels: &labels, group, ephemeral: true };
        let id = self.add_runner(scope, new);
        if let Some(runner) = self.runners.get_mut(&id) {
            (runner.jit, runner.os) = (true, "unknown".to_owned());
        }
        let blob = self.blob(id, &folder);
        let shown = self.runner_json(id);
        Ok(Reply::json(201, json!({"runner": shown, "encoded_jit_config": blob})))
    }

    /// A registration; nobody has connected to it yet.
    pub fn add_runner(&mut self, scope: &Scope, new: NewRunner<'_>) -> u64 {
        let (id, now) = (self.number(), self.now());
        let name = new.name;
        let runner = Runner {
            id,
            name: name.to_owned(),
            scope: scope.clone(),
            group: new.group,
            labels: new.labels.iter().map(|one| (one.clone(), is_system(one))).collect(),
            ephemeral: new.ephemeral,
            jit: false,
            client: guid(),
            key: secret("", 64),
            os: "Linux".to_owned(),
            version: None,
            created: now,
            connected: None,
            session: None,
            sessions: 0,
            conflicts: 0,
            job: None,
            jobs: 0,
            finished: None,
            played: false,
            foreign: false,
            command: None,
            status: None,
            busy: None,
            hidden: false,
            removable: false,
        };
        self.runners.insert(id, runner);
        self.note(json!({"what": "registered", "runner": name, "id": id, "at": now}));
        id
    }

    /// The three files of a registration for one job.
    fn blob(&self, id: u64, folder: &str) -> String {
        let Some(runner) = self.runners.get(&id) else { return String::new() };
        let files = json!({
            ".runner": STANDARD.encode(format!("\u{feff}{}", json!({
                "agentId": id, "agentName": runner.name, "poolId": runner.group,
                "poolName": "Default", "serverUrl": self.advertise, "gitHubUrl": "",
                "workFolder": folder, "ephemeral": true, "useV2Flow": true,
                "serverUrlV2": self.advertise,
            }))),
            ".credentials": STANDARD.encode(self.credentials(runner).to_string()),
            ".credentials_rsaparams": STANDARD.encode(json!({
                "d": runner.key, "exponent": "AQAB", "modulus": runner.client,
            }).to_string()),
        });
        STANDARD.encode(files.to_string())
    }

    pub fn credentials(&self, runner: &Runner) -> Value {
        json!({"scheme": "OAuth", "data": {
            "clientId": runner.client, "requireFipsCryptography": "True",
            "authorizationUrl": format!("{}/_broker", self.advertise),
        }})
    }

    fn delete(&mut self, scope: &Scope, id: &str) -> Result<Reply, Reply> {
        let id = self.runner_id(scope, id)?;
        let Some(runner) = self.runners.get(&id) else { return Err(Reply::not_found()) };
        let (busy, name) = (runner.job.is_some(), runner.name.clone());
        let offered = self.jobs.values().any(|job| job.offered.is_some_and(|(to, _)| to == id));
        let lies = self.settings.busy_lies || runner.removable;
        if runner.foreign {
            self.violation(format!("DELETE of the foreign runner {name}"));
        }
        if (busy || offered) && !lies {
            let words = format!(
                "Bad request - Runner \"{name}\" is still running a job and cannot be deleted."
            );
            return Err(Reply::error(422, &words));
        }
        self.forget(id, "deleted");
        Ok(Reply::empty(204))
    }

    fn labels_call(&mut self, ask: &Ask, scope: &Scope, id: &str) -> Result<Reply, Reply> {
        let id = self.runner_id(scope, id)?;
        let body = ask.json()?;
        let given: Vec<(String, bool)> = body["labels"]
            .as_array()
            .map(|all| all.iter().filter_map(Value::as_str))
            .into_iter()
            .flatten()
            .map(|one| (one.to_owned(), false))
            .collect();
        let Some(runner) = self.runners.get_mut(&id) else { return Err(Reply::not_found()) };
        match ask.method.as_str() {
            "GET" => {}
            "POST" => runner.labels.extend(given),
            "PUT" => {
                runner.labels.retain(|(_, system)| *system);
                runner.labels.extend(given);
            }
            "DELETE" => runner.labels.retain(|(_, system)| *system),
            _ => return Err(self.unknown(ask)),
        }
        let shown = self.runner_json(id);
        let labels = shown["labels"].clone();
        let count = labels.as_array().map_or(0, Vec::len);
        Ok(Reply::json(200, json!({"total_count": count, "labels": labels})))
    }

    pub fn groups_call(&mut self, ask: &Ask, scope: &Scope, rest: &[&str]) -> Result<Reply, Reply> {
        let own = self.groups(scope);
        match (ask.method.as_str(), rest) {
            ("GET", []) => {
                let seen_by = ask.word("visible_to_repository").map(str::to_ascii_lowercase);
                let all: Vec<Value> = own
                    .iter()
                    .filter(|group| self.visible(scope, group, seen_by.as_deref()))
                    .map(group_json)
                    .collect();
                let total = all.len();
                let page = page(all, &ask.query, &ask.here());
                let body = json!({"total_count": total, "runner_groups": page.items});
                Ok(Reply::list(body, page.links))
            }
            ("GET", [id]) => {
                let found = own.iter().find(|group| group.id.to_string() == *id);
                found.map(|group| Reply::json(200, group_json(group))).ok_or_else(Reply::not_found)
            }
            _ => Err(self.unknown(ask)),
        }
    }

    fn visible(&self, scope: &Scope, group: &Group, repository: Option<&str>) -> bool {
        let Some(name) = repository else { return true };
        let full = format!("{}/{name}", scope.owner());
        let Some(one) = self.repository(&full) else { return false };
        group.repositories.as_ref().is_none_or(|ids| ids.contains(&one.id))
    }
}

fn group_json(group: &Group) -> Value {
    json!({
        "id": group.id, "name": group.name, "default": group.default,
        "visibility": if group.repositories.is_some() { "selected" } else { "all" },
        "inherited": false, "allows_public_repositories": group.public,
        "restricted_to_workflows": false, "selected_workflows": [],
        "workflow_restrictions_read_only": false, "runners_url": "",
    })
}
