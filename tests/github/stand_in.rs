//! A strict stand-in for GitHub: its REST API, webhooks and what its runners speak to, as far as
//! slate-fleet uses them. `tests/github/README.md` says how to start and use it.
//!
//! It is stricter than GitHub: a call that the published API does not have, a missing header, a
//! reused name or a job that runs twice is a violation, which a test asks for at its end.
#![cfg(feature = "fleet")]
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a stand-in in tests: a panic ends one answer, which its test sees"
)]

mod actions;
mod apps;
mod auth;
mod broker;
mod connection;
mod control;
mod faults;
mod json;
mod limits;
mod reply;
mod rest;
mod runners;
mod tick;
mod webhooks;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::Response;
use clap::Parser;
use http_body_util::BodyExt;
use ring::digest;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use auth::Who;
use connection::{Cuttable, Scissors};
use faults::Action;
use reply::Reply;
use rest::Ask;
use world::{Asked, Hook, World};

/// A strict stand-in for GitHub, for tests and for trying slate-fleet by hand.
#[derive(Debug, Parser)]
struct Options {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Decides all that is left to chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long each answer of the REST API takes, such as `300ms`.
    #[arg(long, default_value = "0ms")]
    latency: String,
    /// Where runners reach it, if not where it listens; without a port, its own is added.
    #[arg(long)]
    advertise: Option<String>,
    /// Where webhooks go.
    #[arg(long)]
    webhook: Option<String>,
    /// The variable with the webhooks' secret.
    #[arg(long)]
    webhook_secret_env: Option<String>,
    /// How long a listener's poll lasts; GitHub's last 50 s.
    #[arg(long, default_value_t = 50.0)]
    poll_seconds: f64,
}

/// The world, and the word that something in it changed.
struct Hub {
    world: Mutex<World>,
    changed: Notify,
}

impl Hub {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something, lets what follows from it happen, and wakes those who wait.
    fn act<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let (result, changed) = {
            let mut world = self.world();
            let before = world.events.len() + world.outbox.len();
            world.tick();
            let result = act(&mut world);
            world.tick();
            (result, world.events.len() + world.outbox.len() != before || world.offers())
        };
        if changed {
            self.changed.notify_waiters();
        }
        result
    }
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let listener = TcpListener::bind(&options.listen).await.expect("an address to listen at");
    let address = listener.local_addr().expect("its address");
    let advertise = match &options.advertise {
        Some(url) if url.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()) => {
            url.clone()
        }
        Some(url) => format!("{}:{}", url.trim_end_matches('/'), address.port()),
        None => format!("http://{address}"),
    };
    let mut world = World::new(options.seed, advertise);
    let latency = options.latency.trim_end_matches("ms").parse();
    world.settings.latency_ms = latency.expect("milliseconds, such as 300ms");
    world.settings.poll_seconds = options.poll_seconds;
    if let Some(url) = options.webhook {
        let name = options.webhook_secret_env.unwrap_or_default();
        let secret = std::env::var(name).unwrap_or_default();
        world.hooks.push(Hook { id: 1, url, secret, form: false });
    }
    let token = control::first_things(&mut world);
    let hub = Arc::new(Hub { world: Mutex::new(world), changed: Notify::new() });
    tokio::spawn(webhooks::pump(Arc::clone(&hub)));
    tokio::spawn(tick(Arc::clone(&hub)));
    println!("listening on http://{address}");
    println!("repository me/site, organization acme, personal token {token}");
    let app = Router::new().fallback(answer).with_state(hub);
    let service = app.into_make_service_with_connect_info::<Scissors>();
    axum::serve(Cuttable(listener), service).await.expect("it serves");
}

async fn tick(hub: Arc<Hub>) {
    let mut every = tokio::time::interval(Duration::from_millis(50));
    loop {
        every.tick().await;
        hub.act(|_| ());
    }
}

async fn answer(
    State(hub): State<Arc<Hub>>,
    ConnectInfo(scissors): ConnectInfo<Scissors>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Reply::empty(400).send() };
    let path = parts.uri.path();
    let ask = Ask {
        method: parts.method.to_string(),
        path: path.strip_prefix("/api/v3").unwrap_or(path).to_owned(),
        query: query(parts.uri.query().unwrap_or_default()),
        headers: parts.headers,
        body: body.to_bytes().to_vec(),
    };
    if ask.path.starts_with("/_control") {
        return hub.act(|world| world.control(&ask)).send();
    }
    let private = ask.path.starts_with("/_broker");
    let fault = match pass(&hub, &ask, private, &scissors).await {
        Ok(fault) => fault,
        Err(refusal) => {
            hub.world().record(&ask, refusal.status);
            return refusal.send();
        }
    };
    let reply = match private {
        true => broker::answer(&hub, &ask).await,
        false => hub.act(|world| world.published(&ask)),
    };
    hub.world().record(&ask, reply.status);
    after(fault, reply, &scissors).await.send()
}

/// What happens before a request takes effect: its latency, and faults that keep it from doing so.
/// Returns the fault that waits for its answer.
async fn pass(
    hub: &Hub,
    ask: &Ask,
    private: bool,
    scissors: &Scissors,
) -> Result<Option<Action>, Reply> {
    let (latency, fault) = {
        let mut world = hub.world();
        let fault = world.fault(&ask.method, &ask.path);
        (if private { 0 } else { world.settings.latency_ms }, fault)
    };
    tokio::time::sleep(Duration::from_millis(latency)).await;
    let Some(fault) = fault else { return Ok(None) };
    match fault {
        Action::Cut => scissors.cut(),
        Action::Hang(ms) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            scissors.cut();
        }
        Action::Error(status) => return Err(Reply::error(status, "Server Error")),
        Action::Message(status, words) => return Err(Reply::error(status, &words)),
        Action::Page(status) => return Err(Reply::html(status)),
        Action::Secondary(seconds) => return Err(hub.world().silence(ask, seconds)),
        Action::Primary(seconds) => {
            hub.world().use_up(ask, seconds);
            return Ok(None);
        }
        waits => return Ok(Some(waits)),
    }
    Err(Reply::empty(500))
}

/// What happens to an answer on its way back.
async fn after(fault: Option<Action>, reply: Reply, scissors: &Scissors) -> Reply {
    match fault {
        Some(Action::Lost) => {
            scissors.cut();
            reply
        }
        Some(Action::LostWith502) => Reply::html(502),
        Some(Action::Late(ms)) => {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            reply
        }
        Some(Action::Truncated) => {
            let half = reply.body.len() / 2;
            Reply { body: reply.body[..half].to_vec(), ..reply }
        }
        Some(Action::Empty) => Reply::empty(200),
        _ => reply,
    }
}

impl World {
    /// A call of the published API, from its headers to its limits.
    fn published(&mut self, ask: &Ask) -> Reply {
        if (ask.method.as_str(), ask.path.as_str()) == ("POST", "/actions/runner-registration") {
            return self.runner_registration(ask).unwrap_or_else(|refusal| refusal);
        }
        if let Some(refusal) = self.check_headers(ask) {
            return refusal;
        }
        let now = self.now();
        let date = |reply: Reply| reply.header("date", &world::http_date(now));
        let who = match self.who(ask.header("authorization")) {
            Ok(who) => who,
            Err(refusal) => return date(refusal),
        };
        let name = self.bucket(&who);
        let free = ask.path == "/rate_limit";
        if !free && let Some(refusal) = self.limit(&name, &ask.method, &ask.path) {
            return date(self.with_limits(refusal, &name));
        }
        let mut reply = self.rest(&who, ask);
        if ask.method == "GET" && reply.status == 200 && !free {
            reply = self.with_etag(ask, reply, &name);
        }
        if ask.method == "GET" && who == Who::Nobody && reply.status == 200 && !free {
            self.violation(format!("{} {}: without authorization", ask.method, ask.path));
        }
        date(self.with_limits(reply, &name))
    }

    fn with_etag(&mut self, ask: &Ask, reply: Reply, bucket: &str) -> Reply {
        let hash = digest::digest(&digest::SHA256, &reply.body);
        let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let etag = format!("W/\"{hex}\"");
        if ask.header("if-none-match") == Some(&etag) {
            self.refund(bucket);
            return Reply::empty(304).header("etag", &etag);
        }
        reply.header("etag", &etag)
    }

    /// Under whose limit a request counts; nobody's if its credentials are bad.
    fn bucket_of(&mut self, ask: &Ask) -> String {
        let who = self.who(ask.header("authorization")).unwrap_or(Who::Nobody);
        self.bucket(&who)
    }

    fn silence(&mut self, ask: &Ask, seconds: u64) -> Reply {
        let left = i64::try_from(seconds).unwrap_or(0) * 1000;
        let (now, name) = (self.now(), self.bucket_of(ask));
        self.buckets.entry(name).or_default().quiet_until = now + left;
        self.secondary(left)
    }

    fn use_up(&mut self, ask: &Ask, seconds: u64) {
        let left = i64::try_from(seconds).unwrap_or(0) * 1000;
        let (now, name, limit) = (self.now(), self.bucket_of(ask), self.settings.primary_limit);
        let bucket = self.buckets.entry(name).or_default();
        (bucket.used, bucket.reset) = (limit, now + left);
    }

    fn record(&mut self, ask: &Ask, status: u16) {
        if ask.path.starts_with("/_") {
            return;
        }
        let (at, bucket) = (self.now(), self.bucket_of(ask));
        let (method, path) = (ask.method.clone(), ask.path.clone());
        self.log(Asked { at, method, path, status, bucket });
    }

    fn offers(&self) -> bool {
        self.jobs.values().any(|job| job.offered.is_some())
    }
}

fn query(raw: &str) -> Map<String, Value> {
    raw.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_owned(), Value::String(plain(value)))
        })
        .collect()
}

/// Undoes percent-encoding.
fn plain(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let pair = (byte == b'%').then(|| [rest.next(), rest.next()]);
        match pair {
            Some([Some(high), Some(low)]) => {
                let digits = [high, low];
                let hex = std::str::from_utf8(&digits).unwrap_or("3f");
                bytes.push(u8::from_str_radix(hex, 16).unwrap_or(b'?'));
            }
            _ => bytes.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
