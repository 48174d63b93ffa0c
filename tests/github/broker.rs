//! The listener's side. GitHub's own protocol here is not published; this one is private to the
//! stand-in and its listener (`tests/github/runner`), and shows the same outcomes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Hub;
use crate::json::{is_system, may_work};
use crate::reply::Reply;
use crate::rest::Ask;
use crate::runners::NewRunner;
use crate::world::{JobStatus, Scope, Session, World, guid, older, secret};

impl World {
    /// `POST /actions/runner-registration`: the published first step of a registration.
    pub fn runner_registration(&mut self, ask: &Ask) -> Result<Reply, Reply> {
        let given = ask.header("authorization").unwrap_or_default();
        let token = given.strip_prefix("RemoteAuth ").unwrap_or_default().to_owned();
        let body = ask.json()?;
        let now = self.now();
        let refusals = self.settings.token_refusals;
        let Some(known) = self.registration_tokens.get_mut(&token) else {
            return Err(Reply::not_found());
        };
        if known.refused < refusals {
            known.refused += 1;
            return Err(Reply::error(401, "Bad credentials"));
        }
        let known = known.clone();
        let event = body["runner_event"].as_str().unwrap_or_default();
        let wanted = if known.removes { "remove" } else { "register" };
        let scope = body["url"].as_str().and_then(scope_of_url);
        if now >= known.expires || event != wanted || scope.as_ref() != Some(&known.scope) {
            return Err(Reply::not_found());
        }
        if self.settings.disabled {
            return Err(Reply::error(403, "Self-hosted runners are disabled"));
        }
        let admin = secret("admin-", 40);
        self.admin_tokens.insert(admin.clone(), known.scope);
        Ok(Reply::json(
            200,
            json!({
                "url": self.advertise, "token": admin, "token_schema": "OAuthAccessToken",
                "use_v2_flow": true,
            }),
        ))
    }

    /// A runner that registers for good, or takes over its own name.
    fn register(&mut self, ask: &Ask) -> Result<Reply, Reply> {
        let scope = self.admin(ask)?;
        let body = ask.json()?;
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let (name, version) = (text("name"), text("version"));
        let floor = self.settings.register_floor.clone();
        if floor.is_some_and(|floor| older(&version, &floor)) {
            let words = format!("Runner version v{version} is too old to be registered.");
            return Err(Reply::error(403, &words));
        }
        let wanted = text("group");
        let groups = self.groups(&scope);
        let fits = |group: &&crate::world::Group| match wanted.is_empty() {
            true => group.default,
            false => group.name.eq_ignore_ascii_case(&wanted),
        };
        let group = groups.iter().find(fits).map(|group| group.id);
        let group = group.ok_or_else(|| {
            Reply::error(
                404,
                &format!(
                    "Could not find any self-hosted runner group named \
                \"{wanted}\"."
                ),
            )
        })?;
        let given = body["labels"].as_array().cloned().unwrap_or_default();
        let labels: Vec<String> =
            given.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect();
        let id = match self.runner_named(&scope, &name) {
            Some(_) if body["replace"] != true => {
                return Err(Reply::error(409, "A runner exists with the same name"));
            }
            Some(id) => id,
            None => {
                let ephemeral = body["ephemeral"] == true;
                let new = NewRunner { name: &name, labels: &labels, group, ephemeral };
                self.add_runner(&scope, new)
            }
        };
        let key = secret("", 64);
        if let Some(runner) = self.runners.get_mut(&id) {
            runner.labels = labels.iter().map(|one| (one.clone(), is_system(one))).collect();
            (runner.key, runner.version) = (key.clone(), Some(version));
            runner.client = guid();
            runner.session = None;
        }
        let Some(runner) = self.runners.get(&id) else { return Err(Reply::not_found()) };
        Ok(Reply::json(
            200,
            json!({
                "id": id, "name": runner.name, "pool": group, "key": key, "client": runner.client,
                "credentials": self.credentials(runner),
            }),
        ))
    }

    fn admin(&self, ask: &Ask) -> Result<Scope, Reply> {
        let given = ask.header("authorization").unwrap_or_default();
        let token = given.strip_prefix("Bearer ").unwrap_or_default();
        let refused = || Reply::error(401, "Bad credentials");
        self.admin_tokens.get(token).cloned().ok_or_else(refused)
    }

    /// `config.sh remove`.
    fn unregister(&mut self, ask: &Ask) -> Result<Reply, Reply> {
        let scope = self.admin(ask)?;
        let body = ask.json()?;
        let id = body["id"].as_u64().unwrap_or_default();
        let own = self.runners.get(&id).filter(|one| one.scope == scope);
        let id = own.map(|one| one.id).ok_or_else(Reply::not_found)?;
        self.forget(id, "unregistered");
        Ok(Reply::empty(204))
    }

    /// The runner whose credentials these are.
    fn client(&self, ask: &Ask) -> Result<u64, Reply> {
        let given = ask.header("authorization").unwrap_or_default();
        let given = given.strip_prefix("Bearer ").unwrap_or_default();
        let (client, key) = given.split_once(':').unwrap_or_default();
        let fits = |one: &&crate::world::Runner| one.client == client && one.key == key;
        let found = self.runners.values().find(fits).map(|one| one.id);
        found.ok_or_else(|| Reply::json(401, json!({"error": "invalid_client"})))
    }

    fn open_session(&mut self, ask: &Ask) -> Result<Reply, Reply> {
        let id = self.client(ask)?;
        let body = ask.json()?;
        let version = body["version"].as_str().unwrap_or_default().to_owned();
        let (now, settings) = (self.now(), self.settings.clone());
        if settings.connect_floor.is_some_and(|floor| older(&version, &floor)) {
            return Err(Reply::json(400, json!({"error": "version_deprecated"})));
        }
        let Some(runner) = self.runners.get_mut(&id) else { return Err(Reply::not_found()) };
        if runner.session.is_some() || (runner.jit && runner.sessions > 0) {
            runner.conflicts += 1;
            let name = runner.name.clone();
            self.note(json!({"what": "conflict", "runner": name, "id": id, "at": now}));
            return Err(Reply::json(
                409,
                json!({
                    "error": "session_conflict", "retry_seconds": settings.conflict_retry_seconds,
                    "give_up_seconds": settings.conflict_seconds,
                }),
            ));
        }
        let session = Session { id: guid(), seen: now, polls: 0 };
        let shown = session.id.clone();
        runner.session = Some(session);
        runner.sessions += 1;
        runner.connected = Some(now);
        (runner.os, runner.version) = ("Linux".to_owned(), Some(version));
        if runner.command.is_none() {
            runner.command.clone_from(&settings.every_runner);
        }
        let (name, ephemeral) = (runner.name.clone(), runner.ephemeral);
        self.note(json!({"what": "connected", "runner": name, "id": id, "at": now}));
        Ok(Reply::json(
            200,
            json!({
                "session": shown, "poll_seconds": settings.poll_seconds, "name": name,
                "ephemeral": ephemeral, "renew_seconds": settings.renew_seconds,
            }),
        ))
    }

    fn close_session(&mut self, ask: &Ask) -> Result<Reply, Reply> {
        let id = self.session_of(ask)?;
        if let Some(runner) = self.runners.get_mut(&id) {
            runner.session = None;
        }
        Ok(Reply::empty(204))
    }

    /// The runner whose session this is; a session that is over is 404.
    fn session_of(&mut self, ask: &Ask) -> Result<u64, Reply> {
        let now = self.now();
        let exit = self.settings.deleted_exit;
        let gone = || Reply::json(404, json!({"error": "gone", "exit": exit}));
        let id = self.client(ask).map_err(|_| gone())?;
        let wanted = ask.header("x-session").unwrap_or_default();
        let Some(runner) = self.runners.get_mut(&id) else { return Err(gone()) };
        match &mut runner.session {
            Some(session) if session.id == wanted => session.seen = now,
            _ => return Err(gone()),
        }
        Ok(id)
    }

    /// What a polling listener is told; none yet if nothing.
    fn message(&mut self, id: u64) -> Option<Value> {
        let newer = self.settings.update_to.clone();
        let floor = self.settings.connect_floor.clone();
        let runner = self.runners.get_mut(&id)?;
        let version = runner.version.clone().unwrap_or_default();
        if !may_work(Some(&version), floor.as_deref()) {
            return Some(json!({"type": "deprecated"}));
        }
        if newer.is_some_and(|newer| older(&version, &newer)) {
            return Some(json!({"type": "update"}));
        }
        let now_one = |command: &mut Value| command["do"] != "claim";
        if let Some(command) = runner.command.take_if(now_one) {
            return Some(json!({"type": "command", "command": command}));
        }
        let offered = self.jobs.values().find(|job| job.offered.is_some_and(|(to, _)| to == id));
        offered.map(|job| json!({"type": "job", "job": job.id}))
    }

    /// A listener takes the job that it was offered; those who come late lose.
    fn acquire(&mut self, ask: &Ask, job: &str) -> Result<Reply, Reply> {
        let id = self.session_of(ask)?;
        let job: u64 = job.parse().map_err(|_| Reply::not_found())?;
        let mine =
            self.jobs.get(&job).is_some_and(|one| one.offered.is_some_and(|(to, _)| to == id));
        if !mine {
            return Err(Reply::json(409, json!({"error": "job_taken"})));
        }
        self.begin(job, id);
        let claim = |command: &mut Value| command["do"] == "claim";
        let fault = self.runners.get_mut(&id).and_then(|one| one.command.take_if(claim));
        let mut order = self.job_order(job);
        if let Some(order) = order.as_object_mut() {
            order.insert("claim_only".to_owned(), json!(fault.is_some()));
        }
        Ok(Reply::json(200, order))
    }

    fn job_order(&self, id: u64) -> Value {
        let Some(job) = self.jobs.get(&id) else { return Value::Null };
        let Some(run) = self.runs.get(&job.run) else { return Value::Null };
        let Some(repository) = self.repositories.get(&run.repository) else { return Value::Null };
        let mut event = json!({"repository": crate::json::repository_json(repository)});
        if run.event.starts_with("pull_request") {
            event["pull_request"] = json!({"number": 1,
                "head": {"ref": run.branch, "repo": self.head_json(run)},
                "base": {"ref": "main", "repo": crate::json::repository_json(repository)}});
        }
        if run.event == "workflow_dispatch" {
            event["inputs"] = run.inputs.clone();
        }
        json!({
            "id": id, "name": crate::json::job_name(job), "run_id": run.id,
            "run_attempt": job.attempt, "workflow": run.workflow, "event_name": run.event,
            "ref": format!("refs/heads/{}", run.branch), "event": event,
            "repository": repository.full_name, "seconds": job.order.seconds,
            "conclusion": job.order.conclusion, "steps": job.order.steps, "env": job.order.env,
            "renew_seconds": self.settings.renew_seconds,
        })
    }

    fn job_call(&mut self, ask: &Ask, job: &str, verb: &str) -> Result<Reply, Reply> {
        let body = ask.json()?;
        let now = self.now();
        let id: u64 = job.parse().map_err(|_| Reply::not_found())?;
        // A job's own token is its right: its runner's entry may be gone.
        let given = ask.header("x-job").unwrap_or_default().to_owned();
        if given != id.to_string() {
            return Err(Reply::error(401, "Bad credentials"));
        }
        let runner = self.jobs.get(&id).and_then(|one| one.runner.as_ref()).map(|one| one.0);
        if let Some(session) =
            runner.and_then(|id| self.runners.get_mut(&id)).and_then(|one| one.session.as_mut())
        {
            session.seen = now;
        }
        let Some(job) = self.jobs.get_mut(&id) else { return Err(Reply::not_found()) };
        if job.status == JobStatus::Completed {
            return Err(Reply::error(409, "The job is over"));
        }
        job.renewed = now;
        match verb {
            "renew" => Ok(Reply::json(200, json!({"cancel": job.cancel}))),
            "step" => {
                job.first_step.get_or_insert(now);
                Ok(Reply::json(200, json!({})))
            }
            "complete" => {
                body["log"].as_str().unwrap_or_default().clone_into(&mut job.log);
                let result = body["result"].as_str().unwrap_or("failure").to_owned();
                self.complete(id, &result);
                Ok(Reply::json(200, json!({})))
            }
            _ => Err(self.unknown(ask)),
        }
    }

    fn broker_call(&mut self, ask: &Ask) -> Reply {
        let parts: Vec<&str> = ask.path.trim_matches('/').split('/').collect();
        let answer = match (ask.method.as_str(), &parts[..]) {
            ("POST", ["_broker", "register"]) => self.register(ask),
            ("POST", ["_broker", "unregister"]) => self.unregister(ask),
            ("POST", ["_broker", "sessions"]) => self.open_session(ask),
            ("DELETE", ["_broker", "sessions"]) => self.close_session(ask),
            ("POST", ["_broker", "jobs", id, "acquire"]) => self.acquire(ask, id),
            ("POST", ["_broker", "jobs", id, verb]) => self.job_call(ask, id, verb),
            _ => Err(self.unknown(ask)),
        };
        answer.unwrap_or_else(|refusal| refusal)
    }
}

/// `https://github.com/me/site` is the repository `me/site`.
fn scope_of_url(url: &str) -> Option<Scope> {
    let (_, rest) = url.split_once("://")?;
    let (_, path) = rest.split_once('/')?;
    Scope::parse(path)
}

/// A poll in flight: its runner counts as online as long as it lasts.
struct Poll {
    hub: Arc<Hub>,
    runner: u64,
}

impl Poll {
    fn change(&self, by: i32) {
        let mut world = self.hub.world();
        let now = world.now();
        let runner = world.runners.get_mut(&self.runner);
        if let Some(session) = runner.and_then(|one| one.session.as_mut()) {
            session.polls = session.polls.saturating_add_signed(by);
            session.seen = now;
        }
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.change(-1);
    }
}

/// Answers a listener's call; `GET /_broker/messages` waits for something to say.
pub async fn answer(hub: &Arc<Hub>, ask: &Ask) -> Reply {
    if (ask.method.as_str(), ask.path.as_str()) != ("GET", "/_broker/messages") {
        return hub.act(|world| world.broker_call(ask));
    }
    let (id, wait) = {
        let mut world = hub.world();
        match world.session_of(ask) {
            Ok(id) => (id, Duration::from_secs_f64(world.settings.poll_seconds)),
            Err(refusal) => return refusal,
        }
    };
    let poll = Poll { hub: Arc::clone(hub), runner: id };
    poll.change(1);
    let until = Instant::now() + wait;
    loop {
        let changed = hub.changed.notified();
        let found = hub.act(|world| match world.session_of(ask) {
            Ok(id) => world.message(id).map(|message| Reply::json(200, message)),
            Err(refusal) => Some(refusal),
        });
        let left = until.saturating_duration_since(Instant::now());
        match found {
            Some(reply) => return reply,
            None if left.is_zero() => return Reply::empty(204),
            None => drop(tokio::time::timeout(left, changed).await),
        }
    }
}
