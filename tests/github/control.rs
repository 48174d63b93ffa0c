//! The tests' own side: what there is at this GitHub, what happens there, and what was seen.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{KeyPair, RsaKeyPair};
use serde_json::{Value, json};

use crate::faults::Fault;
use crate::reply::Reply;
use crate::rest::Ask;
use crate::runners::NewRunner;
use crate::world::{
    Account, App, Group, Hook, Installation, JobOrder, JobStatus, RegistrationToken, Repository,
    Run, Scope, Settings, Token, Workflow, World, secret,
};

type Answer = Result<Value, String>;

/// What each world begins with; the personal token may do all.
pub fn first_things(world: &mut World) -> String {
    let all = [
        world.control_post(&["accounts"], &json!({"login": "me", "kind": "User"})),
        world.control_post(&["accounts"], &json!({"login": "acme"})),
        world.control_post(&["repositories"], &json!({"full_name": "me/site", "private": true})),
    ];
    for answer in all {
        answer.expect("the first things");
    }
    let token = world.control_post(&["tokens"], &json!({})).expect("a token");
    token["token"].as_str().unwrap_or_default().to_owned()
}

impl World {
    pub fn control(&mut self, ask: &Ask) -> Reply {
        let parts: Vec<&str> = ask.path.trim_matches('/').split('/').skip(1).collect();
        let body = match ask.json() {
            Ok(body) => body,
            Err(refusal) => return refusal,
        };
        let answer = match ask.method.as_str() {
            "GET" => self.control_get(ask, &parts),
            "POST" => self.control_post(&parts, &body),
            "PATCH" => self.control_patch(&parts, &body),
            "DELETE" => self.control_delete(&parts),
            other => Err(format!("{other} is no method of the control")),
        };
        match answer {
            Ok(body) => Reply::json(200, body),
            Err(why) => Reply::json(400, json!({"error": why})),
        }
    }

    fn control_get(&mut self, ask: &Ask, parts: &[&str]) -> Answer {
        Ok(match parts {
            ["violations"] => json!(self.violations),
            ["settings"] => json!(self.settings),
            ["clock"] => json!({"now": self.now(), "offset": self.offset}),
            ["advertise"] => json!(self.advertise),
            ["events"] => json!(self.events),
            ["deliveries"] => json!(self.delivered),
            ["faults"] => json!(self.faults),
            ["requests"] => self.requests(ask),
            ["limits"] => self.limits(),
            ["runners"] => {
                let ids: Vec<u64> = self.runners.keys().copied().collect();
                Value::Array(ids.into_iter().map(|id| self.control_runner(id)).collect())
            }
            ["runs"] => {
                let shown = self.runs.values().map(|run| self.run_json(run)).collect();
                Value::Array(shown)
            }
            ["jobs"] => {
                let ids: Vec<u64> = self.jobs.keys().copied().collect();
                Value::Array(ids.into_iter().map(|id| self.control_job(id)).collect())
            }
            ["jobs", id] => self.control_job(number(id)?),
            _ => return Err(format!("there is no {parts:?} to read")),
        })
    }

    fn requests(&self, ask: &Ask) -> Value {
        let since = ask.word("since").and_then(|text| text.parse().ok()).unwrap_or(0);
        let seen: Vec<_> = self.asked.iter().filter(|one| one.at >= since).collect();
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for one in &seen {
            let path: Vec<&str> = one
                .path
                .split('/')
                .map(|part| if part.len() > 9 && part.parse::<u64>().is_ok() { "N" } else { part })
                .collect();
            let key = format!("{} {} {}", one.method, path.join("/"), one.status);
            *counts.entry(key).or_default() += 1;
        }
        match ask.word("all") {
            Some(_) => json!(seen),
            None => json!({"total": seen.len(), "counts": counts}),
        }
    }

    fn limits(&self) -> Value {
        let shown = |(name, one): (&String, &crate::limits::Bucket)| {
            let (used, points, hasty) = (one.used, one.points, one.hasty);
            json!({"bucket": name, "used": used, "points": points, "hasty": hasty})
        };
        Value::Array(self.buckets.iter().map(shown).collect())
    }

    fn control_runner(&mut self, id: u64) -> Value {
        let mut shown = self.runner_json(id);
        if let (Some(one), Some(map)) = (self.runners.get(&id), shown.as_object_mut()) {
            map.insert("job".to_owned(), json!(one.job));
            map.insert("jobs".to_owned(), json!(one.jobs));
            map.insert("foreign".to_owned(), json!(one.foreign));
            map.insert("jit".to_owned(), json!(one.jit));
            map.insert("scope".to_owned(), json!(one.scope));
            map.insert("sessions".to_owned(), json!(one.sessions));
            map.insert("conflicts".to_owned(), json!(one.conflicts));
            let polls = one.session.as_ref().is_some_and(|session| session.polls > 0);
            map.insert("polls".to_owned(), json!(polls));
            map.insert("finished".to_owned(), json!(one.finished));
        }
        shown
    }

    fn control_job(&self, id: u64) -> Value {
        let Some(job) = self.jobs.get(&id) else { return Value::Null };
        let mut shown = self.job_json(job);
        if let Some(map) = shown.as_object_mut() {
            let times = json!({"created": job.created, "started": job.started,
                "first_step": job.first_step, "completed": job.completed});
            map.insert("times".to_owned(), times);
            map.insert("began".to_owned(), json!(job.began));
            map.insert("log".to_owned(), json!(job.log));
            map.insert("offered".to_owned(), json!(job.offered.map(|one| one.0)));
        }
        shown
    }

    fn control_post(&mut self, parts: &[&str], body: &Value) -> Answer {
        match parts {
            ["accounts"] => self.add_account(body),
            ["repositories"] => self.add_repository(body),
            ["repositories", "rename"] => self.rename(body),
            ["repositories", "delete"] => {
                let id = self.repository(&text(body, "full_name")?).map(|one| one.id);
                Ok(json!(id.and_then(|id| self.repositories.remove(&id)).is_some()))
            }
            ["tokens"] => self.add_token(body),
            ["tokens", "revoke"] => {
                self.revoke(body["token"].as_str());
                Ok(json!({}))
            }
            ["apps"] => self.add_app(body),
            ["installations"] => self.add_installation(body),
            ["registration-token"] => self.add_registration_token(body),
            ["runs"] => self.add_run(body),
            ["runs", id, verb] => self.run_verb(number(id)?, verb),
            ["jobs", id, "release"] => self.release(number(id)?),
            ["jobs", id, "complete"] => {
                let how = body["conclusion"].as_str().unwrap_or("success").to_owned();
                self.complete(number(id)?, &how);
                Ok(json!({}))
            }
            ["runners"] => self.add_foreign(body),
            ["runners", name, "play"] => {
                self.runner_at(name)?.played = true;
                Ok(json!({}))
            }
            ["runners", name, "command"] => {
                self.runner_at(name)?.command = Some(body.clone());
                Ok(json!({}))
            }
            ["faults"] => {
                let all = if body.is_array() { body.clone() } else { json!([body]) };
                let all: Vec<Fault> = parsed(&all)?;
                self.faults.extend(all);
                Ok(json!({}))
            }
            ["clock"] => self.advance(body),
            ["hooks"] => {
                let hook = Hook {
                    id: self.number(),
                    url: text(body, "url")?,
                    secret: body["secret"].as_str().unwrap_or_default().to_owned(),
                    form: body["form"] == true,
                };
                self.hooks.push(hook);
                Ok(json!({}))
            }
            ["hooks", "send"] => {
                let action = body["body"]["action"].as_str().map(str::to_owned);
                self.tell(&text(body, "event")?, action.as_deref(), &body["body"]);
                Ok(json!({}))
            }
            _ => Err(format!("there is no {parts:?} to post to")),
        }
    }

    /// One token; without a name, all of installations.
    fn revoke(&mut self, wanted: Option<&str>) {
        for (token, one) in &mut self.tokens {
            let fits = wanted.is_none_or(|wanted| wanted == token);
            one.revoked |= fits && (wanted.is_some() || one.installation.is_some());
        }
    }

    fn control_patch(&mut self, parts: &[&str], body: &Value) -> Answer {
        match parts {
            ["settings"] => {
                let mut all = json!(self.settings);
                let given = body.as_object().ok_or("an object is needed")?;
                for (name, value) in given {
                    all[name] = value.clone();
                }
                self.settings = parsed::<Settings>(&all)?;
                Ok(json!(self.settings))
            }
            ["runners", name] => {
                let runner = self.runner_at(name)?;
                for (field, value) in body.as_object().ok_or("an object is needed")? {
                    match field.as_str() {
                        "status" => runner.status = value.as_str().map(str::to_owned),
                        "busy" => runner.busy = value.as_bool(),
                        "hidden" => runner.hidden = *value == true,
                        "removable" => runner.removable = *value == true,
                        "played" => runner.played = *value == true,
                        _ => return Err(format!("a runner has no {field}")),
                    }
                }
                Ok(json!({}))
            }
            ["installations", id] => {
                let known = self.installations.get_mut(&number(id)?);
                let one = known.ok_or("there is no such installation")?;
                one.suspended = body["suspended"].as_bool().unwrap_or(one.suspended);
                one.removed = body["removed"].as_bool().unwrap_or(one.removed);
                if body["permissions"].is_object() {
                    one.permissions = parsed(&body["permissions"])?;
                }
                Ok(json!({}))
            }
            _ => Err(format!("there is no {parts:?} to change")),
        }
    }

    fn control_delete(&mut self, parts: &[&str]) -> Answer {
        match parts {
            ["violations"] => self.violations.clear(),
            ["requests"] => self.asked.clear(),
            ["faults"] => self.faults.clear(),
            ["hooks"] => self.hooks.clear(),
            ["events"] => self.events.clear(),
            ["runners", name] => {
                let id = self.runner_at(name)?.id;
                self.forget(id, "operator");
            }
            _ => return Err(format!("there is no {parts:?} to delete")),
        }
        Ok(json!({}))
    }

    fn add_account(&mut self, body: &Value) -> Answer {
        let (login, id) = (text(body, "login")?, self.number());
        let kind = body["kind"].as_str().unwrap_or("Organization").to_owned();
        let mut groups = vec![Group::default_one()];
        for given in body["groups"].as_array().into_iter().flatten() {
            let names = given["repositories"].as_array();
            let ids = names.map(|names| {
                let known = names.iter().filter_map(Value::as_str);
                known.filter_map(|name| self.repository(name)).map(|one| one.id).collect()
            });
            groups.push(Group {
                id: groups.len() as u64 + 1,
                name: text(given, "name")?,
                default: false,
                public: given["public"] == true,
                repositories: ids,
            });
        }
        let key = login.to_ascii_lowercase();
        self.accounts.insert(key, Account { id, login, kind, groups });
        Ok(json!({"id": id}))
    }

    fn add_repository(&mut self, body: &Value) -> Answer {
        let (full_name, id) = (text(body, "full_name")?, self.number());
        let workflows: Vec<Workflow> = match &body["workflows"] {
            Value::Null => Vec::new(),
            given => parsed(given)?,
        };
        let policy = body["fork_policy"].as_str().unwrap_or("all_external_contributors");
        let repository = Repository {
            id,
            full_name,
            private: body["private"] == true,
            fork_policy: policy.to_owned(),
            pushed: self.now(),
            workflows,
        };
        let same = self.repository(&repository.full_name).map(|one| one.id);
        same.and_then(|id| self.repositories.remove(&id));
        self.repositories.insert(id, repository);
        Ok(json!({"id": id}))
    }

    fn rename(&mut self, body: &Value) -> Answer {
        let (from, to) = (text(body, "from")?, text(body, "to")?);
        let id = self.repository(&from).map(|one| one.id).ok_or("there is no such repository")?;
        let scope = |name: &str| Scope::Repository(name.to_ascii_lowercase());
        self.renamed.remove(&to.to_ascii_lowercase());
        self.renamed.insert(from.to_ascii_lowercase(), id);
        // Runners belong to the repository, whatever it is called.
        for runner in self.runners.values_mut().filter(|one| one.scope == scope(&from)) {
            runner.scope = scope(&to);
        }
        if let Some(one) = self.repositories.get_mut(&id) {
            one.full_name = to;
        }
        Ok(json!({}))
    }

    fn add_token(&mut self, body: &Value) -> Answer {
        let all = [
            "administration",
            "actions",
            "metadata",
            "webhooks",
            "organization_self_hosted_runners",
            "enterprise_self_hosted_runners",
        ];
        let permissions: BTreeMap<String, String> = match &body["permissions"] {
            Value::Null => all.iter().map(|one| ((*one).to_owned(), "write".to_owned())).collect(),
            given => parsed(given)?,
        };
        let seconds = body["expires_seconds"].as_i64();
        let token = body["token"].as_str().map_or_else(|| secret("ghp_", 36), str::to_owned);
        let made = Token {
            bucket: body["bucket"].as_str().unwrap_or("user me").to_owned(),
            installation: None,
            owner: body["owner"].as_str().map(str::to_ascii_lowercase),
            repositories: names(&body["repositories"]),
            permissions,
            expires: seconds.map(|seconds| self.now() + seconds * 1000),
            revoked: false,
        };
        self.tokens.insert(token.clone(), made);
        Ok(json!({"token": token}))
    }

    /// The key is a PEM with the private key, as an operator has it.
    fn add_app(&mut self, body: &Value) -> Answer {
        let pem = text(body, "key")?;
        let lines: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
        let der = STANDARD.decode(lines).map_err(|error| error.to_string())?;
        let pair = RsaKeyPair::from_der(&der).or_else(|_| RsaKeyPair::from_pkcs8(&der));
        let pair = pair.map_err(|error| error.to_string())?;
        let id = 100_000 + self.apps.len() as u64;
        let client_id = body["client_id"].as_str().unwrap_or("Iv23liStandIn").to_owned();
        let key = pair.public_key().as_ref().to_vec();
        self.apps.push(App { id, client_id: client_id.clone(), key });
        Ok(json!({"id": id, "client_id": client_id}))
    }

    fn add_installation(&mut self, body: &Value) -> Answer {
        let id = self.number();
        let app = body["app"].as_u64().or(self.apps.first().map(|app| app.id));
        let permissions = match &body["permissions"] {
            Value::Null => ["administration", "organization_self_hosted_runners", "actions"]
                .iter()
                .map(|one| ((*one).to_owned(), "write".to_owned()))
                .chain([("metadata".to_owned(), "read".to_owned())])
                .collect(),
            given => parsed(given)?,
        };
        let made = Installation {
            id,
            app: app.ok_or("there is no app")?,
            account: text(body, "account")?.to_ascii_lowercase(),
            repositories: names(&body["repositories"]),
            permissions,
            suspended: false,
            removed: false,
        };
        self.installations.insert(id, made);
        Ok(json!({"id": id}))
    }

    fn add_registration_token(&mut self, body: &Value) -> Answer {
        let scope = Scope::parse(&text(body, "scope")?).ok_or("no scope")?;
        let (now, token) = (self.now(), secret("A", 28));
        let lives = body["expires_seconds"].as_i64().unwrap_or(3600) * 1000;
        let made = RegistrationToken { scope, expires: now + lives, removes: false, refused: 0 };
        self.registration_tokens.insert(token.clone(), made);
        Ok(json!({"token": token}))
    }

    fn add_run(&mut self, body: &Value) -> Answer {
        let full = body["repository"].as_str().unwrap_or("me/site");
        let own = self.repository(full).map(|one| one.id).ok_or("there is no such repository")?;
        let orders: Vec<JobOrder> = parsed(&body["jobs"])?;
        let fork = body["fork"] == true || body["fork"] == "deleted";
        let event = if fork { "pull_request" } else { "push" };
        let run = Run {
            id: self.number(),
            repository: own,
            workflow: body["workflow"].as_str().unwrap_or("CI").to_owned(),
            event: body["event"].as_str().unwrap_or(event).to_owned(),
            branch: body["branch"].as_str().unwrap_or("main").to_owned(),
            attempt: 1,
            created: self.now(),
            head: match fork {
                true if body["fork"] == "deleted" => None,
                true => Some(self.number()),
                false => Some(own),
            },
            approval: body["approval"] == true,
            cancelled: false,
            inputs: json!({}),
            orders,
        };
        let id = run.id;
        let jobs = self.begin_run(run);
        Ok(json!({"run": id, "jobs": jobs}))
    }

    fn run_verb(&mut self, id: u64, verb: &str) -> Answer {
        match verb {
            "cancel" => self.cancel_run(id),
            "approve" => self.approve(id),
            "rerun" => self.rerun(id, false),
            "rerun-failed" => self.rerun(id, true),
            _ => return Err(format!("a run cannot {verb}")),
        }
        Ok(json!(self.jobs_of(id).iter().map(|job| job.id).collect::<Vec<_>>()))
    }

    fn release(&mut self, id: u64) -> Answer {
        let job = self.jobs.get_mut(&id).ok_or("there is no such job")?;
        job.status = JobStatus::Queued;
        self.tell_job(id, "queued");
        Ok(json!({}))
    }

    /// A runner of somebody else, which the stand-in plays if it is online.
    fn add_foreign(&mut self, body: &Value) -> Answer {
        let scope = Scope::parse(body["scope"].as_str().unwrap_or("me/site")).ok_or("no scope")?;
        let labels: Vec<String> = parsed(&body["labels"])?;
        let group = body["group"].as_u64().unwrap_or(1);
        let ephemeral = body["ephemeral"] == true;
        let name = text(body, "name")?;
        let new = NewRunner { name: &name, labels: &labels, group, ephemeral };
        let id = self.add_runner(&scope, new);
        let now = self.now();
        if let Some(runner) = self.runners.get_mut(&id) {
            runner.foreign = body["foreign"] != false;
            runner.played = body["online"] == true;
            runner.connected = Some(now);
            runner.version = Some("2.337.0".to_owned());
        }
        Ok(json!({"id": id}))
    }

    fn runner_at(&mut self, name: &str) -> Result<&mut crate::world::Runner, String> {
        let fits = |one: &&mut crate::world::Runner| one.name == name || one.id.to_string() == name;
        self.runners.values_mut().find(fits).ok_or_else(|| format!("there is no runner {name}"))
    }

    /// Time goes by for all but the sessions of those who poll.
    fn advance(&mut self, body: &Value) -> Answer {
        let seconds = body["advance_seconds"].as_f64().ok_or("advance_seconds is needed")?;
        let by = World::ms(seconds);
        self.offset += by;
        if body["sessions"] != false {
            for runner in self.runners.values_mut() {
                if let Some(session) = &mut runner.session {
                    session.seen += by;
                }
            }
            for job in self.jobs.values_mut() {
                job.renewed += by;
            }
        }
        Ok(json!({"now": self.now()}))
    }
}

fn text(body: &Value, name: &str) -> Result<String, String> {
    body[name].as_str().map(str::to_owned).ok_or_else(|| format!("{name} is needed"))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn parsed<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, String> {
    serde_json::from_value(value.clone()).map_err(|error| error.to_string())
}

fn names(value: &Value) -> Option<BTreeSet<String>> {
    let all = value.as_array()?.iter().filter_map(Value::as_str);
    Some(all.map(str::to_ascii_lowercase).collect())
}
