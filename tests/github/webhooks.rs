//! Webhooks: signed, told at most once or twice, late or never, as the script says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ring::hmac;
use serde_json::{Value, json};

use crate::Hub;
use crate::json::{page, repository_json};
use crate::reply::Reply;
use crate::rest::Ask;
use crate::world::{Delivery, Hook, World, guid, stamp};

/// GitHub waits that long for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
const KEPT: usize = 20_000;

impl World {
    pub fn tell_job(&mut self, id: u64, action: &str) {
        let Some(job) = self.jobs.get(&id) else { return };
        let Some(run) = self.runs.get(&job.run) else { return };
        let shown = self.job_json(job);
        let body = self.around(run.repository, json!({"action": action, "workflow_job": shown}));
        self.tell("workflow_job", Some(action), &body);
    }

    pub fn tell_run(&mut self, id: u64, action: &str) {
        let Some(run) = self.runs.get(&id) else { return };
        let shown = self.run_json(run);
        let body = self.around(run.repository, json!({"action": action, "workflow_run": shown}));
        self.tell("workflow_run", Some(action), &body);
    }

    fn around(&self, repository: u64, mut body: Value) -> Value {
        let Some(repository) = self.repositories.get(&repository) else { return body };
        let owner = repository.full_name.split('/').next().unwrap_or_default();
        let account = self.accounts.get(&owner.to_ascii_lowercase());
        if let Some(map) = body.as_object_mut() {
            map.insert("repository".to_owned(), repository_json(repository));
            map.insert("sender".to_owned(), json!({"login": "octocat", "id": 1}));
            if let Some(one) = account.filter(|one| one.kind == "Organization") {
                let shown = json!({"login": one.login, "id": one.id});
                map.insert("organization".to_owned(), shown);
            }
        }
        body
    }

    pub fn tell(&mut self, event: &str, action: Option<&str>, body: &Value) {
        for hook in self.hooks.clone() {
            let delivery = Delivery {
                hook: hook.id,
                guid: guid(),
                event: event.to_owned(),
                action: action.map(str::to_owned),
                body: body.clone(),
                redelivery: false,
            };
            self.outbox.push_back(delivery);
        }
    }

    pub fn deliveries(&self, ask: &Ask) -> Reply {
        let mut all: Vec<Value> = self.delivered.iter().rev().cloned().collect();
        if ask.word("status") == Some("failure") {
            all.retain(|one| one["status"] != "OK");
        }
        let shown = |mut one: Value| {
            one.as_object_mut().map(|map| map.remove("body"));
            one
        };
        let page = page(all.into_iter().map(shown).collect(), &ask.query, &ask.here());
        Reply::list(Value::Array(page.items), page.links)
    }

    /// The same GUID again.
    pub fn redeliver(&mut self, id: &str) -> Result<Reply, Reply> {
        let id: u64 = id.parse().map_err(|_| Reply::not_found())?;
        let found = self.delivered.iter().find(|one| one["id"] == id).cloned();
        let old = found.ok_or_else(Reply::not_found)?;
        let text = |name: &str| old[name].as_str().map(str::to_owned);
        let delivery = Delivery {
            hook: self.hooks.first().map_or(0, |hook| hook.id),
            guid: text("guid").unwrap_or_default(),
            event: text("event").unwrap_or_default(),
            action: text("action"),
            body: old["body"].clone(),
            redelivery: true,
        };
        self.outbox.push_back(delivery);
        Ok(Reply::json(202, json!({})))
    }

    pub fn hooks_call(&mut self, ask: &Ask, rest: &[&str]) -> Result<Reply, Reply> {
        match (ask.method.as_str(), rest) {
            ("GET", []) => {
                let shown = |hook: &Hook| {
                    json!({"id": hook.id, "type": "Repository", "name": "web", "active": true,
                        "events": ["workflow_job"], "config": {"url": hook.url,
                        "content_type": if hook.form { "form" } else { "json" },
                        "secret": "********"}})
                };
                Ok(Reply::json(200, Value::Array(self.hooks.iter().map(shown).collect())))
            }
            ("GET", [_, "deliveries"]) => Ok(self.deliveries(ask)),
            ("POST", [_, "deliveries", id, "attempts"]) => self.redeliver(id),
            _ => Err(self.unknown(ask)),
        }
    }
}

type Post = Client<HttpConnector, Full<Bytes>>;

/// Sends what is in the outbox, for ever.
pub async fn pump(hub: Arc<Hub>) {
    let client: Post = Client::builder(TokioExecutor::new()).build_http();
    loop {
        let changed = hub.changed.notified();
        let next = {
            let mut world = hub.world();
            let next = world.outbox.pop_front();
            next.map(|delivery| {
                let settings = world.settings.clone();
                let lost = world.random(100) < settings.hooks_lost && !delivery.redelivery;
                let doubled = world.random(100) < settings.hooks_doubled;
                let late = world.random(100) < settings.hooks_late;
                let delay = if late { world.random(settings.hooks_late_ms + 1) } else { 0 };
                (delivery, lost, doubled, delay)
            })
        };
        let Some((delivery, lost, doubled, delay)) = next else {
            let wait = tokio::time::timeout(Duration::from_millis(50), changed);
            wait.await.ok();
            continue;
        };
        if lost {
            continue;
        }
        for _ in 0..=u8::from(doubled) {
            let (hub, client, delivery) = (Arc::clone(&hub), client.clone(), delivery.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(delay)).await;
                send(&hub, &client, delivery).await;
            });
        }
    }
}

async fn send(hub: &Hub, client: &Post, delivery: Delivery) {
    let hook = hub.world().hooks.iter().find(|one| one.id == delivery.hook).cloned();
    let Some(hook) = hook else { return };
    let raw = match hook.form {
        false => delivery.body.to_string(),
        true => format!("payload={}", percent(&delivery.body.to_string())),
    };
    let content = if hook.form { "application/x-www-form-urlencoded" } else { "application/json" };
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(&hook.url)
        .header("user-agent", "GitHub-Hookshot/0000000")
        .header("accept", "*/*")
        .header("content-type", content)
        .header("x-github-event", &delivery.event)
        .header("x-github-delivery", &delivery.guid)
        .header("x-github-hook-id", hook.id.to_string())
        .header("x-github-hook-installation-target-id", "1")
        .header("x-github-hook-installation-target-type", "repository");
    if !hook.secret.is_empty() {
        let key = hmac::Key::new(hmac::HMAC_SHA256, hook.secret.as_bytes());
        let tag = hmac::sign(&key, raw.as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        request = request.header("x-hub-signature-256", format!("sha256={hex}"));
    }
    let Ok(request) = request.body(Full::new(Bytes::from(raw))) else { return };
    let begun = Instant::now();
    let answer = tokio::time::timeout(PATIENCE, client.request(request)).await;
    let (status, word) = match answer {
        Ok(Ok(answer)) => {
            let status = answer.status().as_u16();
            answer.into_body().collect().await.ok();
            (status, if status < 300 { "OK" } else { "Invalid HTTP Response" })
        }
        Ok(Err(_)) => (0, "failed to connect to host"),
        Err(_) => (0, "timed out"),
    };
    let mut world = hub.world();
    let (id, now) = (world.number(), world.now());
    world.delivered.push_back(json!({
        "id": id, "guid": delivery.guid, "delivered_at": stamp(now, true),
        "redelivery": delivery.redelivery, "duration": begun.elapsed().as_secs_f64(),
        "status": word, "status_code": status, "event": delivery.event,
        "action": delivery.action, "installation_id": null, "repository_id": null,
        "body": delivery.body,
    }));
    if world.delivered.len() > KEPT {
        world.delivered.pop_front();
    }
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
