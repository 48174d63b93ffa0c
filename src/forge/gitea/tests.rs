//! The adapter against a small strict stand-in for Gitea: an unknown path, a wrong method or a
//! missing token ends its test.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::*;
use crate::fleet::forge::{Enlistment, ForgeJobStatus, ListenMode};
use crate::forge::secret::Secret;
use crate::spec::{ForgeKind, ForkJobs};
use crate::units::Time;

const TOKEN: &str = "gitea-0123456789";

/// What there is at this Gitea, and what it can do.
#[derive(Default)]
struct World {
    /// Name, whether it is busy, whether it is closed.
    runners: BTreeMap<u64, (String, bool, bool)>,
    jobs: Vec<Value>,
    /// Runners cannot be closed.
    is_old: bool,
    /// A job comes at the moment that the runner is closed.
    race: bool,
    misuse: Vec<String>,
    calls: Vec<String>,
}

type Shared = Arc<Mutex<World>>;

async fn answer(State(world): State<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut world = world.lock().unwrap();
    let (method, path) = (head.method.to_string(), head.uri.path().to_owned());
    world.calls.push(format!("{method} {path}"));
    let token = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    if token != Some(&format!("token {TOKEN}")) || !head.headers.contains_key("user-agent") {
        return (StatusCode::UNAUTHORIZED, r#"{"message":"token is required"}"#).into_response();
    }
    let query = head.uri.query().unwrap_or_default().to_owned();
    let (status, body) = world.rest(&method, &path, &query, &body);
    (StatusCode::from_u16(status).unwrap(), body.to_string()).into_response()
}

impl World {
    fn rest(&mut self, method: &str, path: &str, query: &str, body: &Value) -> (u16, Value) {
        let word = |name: &str| {
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
        };
        let page: usize = word("page").and_then(|page| page.parse().ok()).unwrap_or(1);
        let limit: usize = word("limit").and_then(|n| n.parse().ok()).unwrap_or(30).min(50);
        let paged = |all: Vec<Value>, key: &str| {
            let total = all.len();
            let some: Vec<Value> = all.into_iter().skip((page - 1) * limit).take(limit).collect();
            let list = if some.is_empty() { Value::Null } else { Value::Array(some) };
            (200, json!({"total_count": total, key: list}))
        };
        let Some(rest) = path.strip_prefix("/api/v1/repos/me/site/actions/") else {
            self.misuse.push(format!("{method} {path}"));
            return (404, json!({"message": "not found"}));
        };
        let shown = |id: u64, runner: &(String, bool, bool)| {
            json!({"id": id, "name": runner.0, "status": "online", "busy": runner.1,
                "disabled": runner.2, "ephemeral": true, "labels": []})
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let id = parts.get(1).and_then(|id| id.parse::<u64>().ok());
        match (method, parts.as_slice(), id) {
            ("POST", ["runners", "registration-token"], _) => (200, json!({"token": "reg-1"})),
            ("GET", ["runners"], _) => {
                paged(self.runners.iter().map(|(id, it)| shown(*id, it)).collect(), "runners")
            }
            ("GET", ["jobs"], _) => {
                let wanted = word("status").unwrap_or_default();
                let fits = |job: &&Value| job["status"] == wanted;
                paged(self.jobs.iter().filter(fits).cloned().collect(), "jobs")
            }
            ("GET", ["runners", _], Some(id)) => match self.runners.get(&id) {
                Some(runner) => (200, shown(id, runner)),
                None => (404, json!({})),
            },
            ("PATCH", ["runners", _], Some(_)) if self.is_old => (405, json!({})),
            ("PATCH", ["runners", _], Some(id)) => {
                let race = self.race;
                let Some(runner) = self.runners.get_mut(&id) else { return (404, json!({})) };
                runner.2 = body["disabled"] == true;
                runner.1 |= race;
                (200, json!({}))
            }
            // There is no guard: a busy runner goes, and its job is lost.
            ("DELETE", ["runners", _], Some(id)) => match self.runners.remove(&id) {
                Some((name, true, _)) => {
                    self.misuse.push(format!("{name} was removed with a job"));
                    (204, Value::Null)
                }
                Some(_) => (204, Value::Null),
                None => (500, json!({"message": "runner does not exist"})),
            },
            _ => {
                self.misuse.push(format!("{method} {path}"));
                (404, json!({"message": "not found"}))
            }
        }
    }
}

async fn serve(world: World) -> (Shared, Gitea) {
    let world = Arc::new(Mutex::new(world));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scope = format!("http://{}/me/site", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(Arc::clone(&world));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (world, adapter(&scope, TOKEN).unwrap())
}

fn adapter(scope: &str, token: &str) -> Result<Gitea, String> {
    let token = Secret::new(token.to_owned());
    let read: ReadSecret = Arc::new(move || {
        let token = token.clone();
        Box::pin(async move { Ok(token) })
    });
    let clock: ReadClock = Arc::new(|| Time(1_000_000));
    let settings =
        GiteaSettings { scope: ScopeUrl::new(scope), token: read, repositories: Vec::new() };
    Gitea::new(settings, Web::new(b"").unwrap(), Governor::new(clock.clone()), clock)
}

fn with(name: &str, busy: bool) -> World {
    World { runners: BTreeMap::from([(7, (name.to_owned(), busy, false))]), ..World::default() }
}

fn entry(name: &str) -> ForgeEntry {
    ForgeEntry {
        scope: ScopeUrl::new("http://gitea/me/site"),
        name: name.to_owned(),
        id: Some(ForgeRunnerId(0)),
    }
}

fn well(world: &Shared) {
    assert_eq!(world.lock().unwrap().misuse, Vec::<String>::new());
}

#[tokio::test]
async fn registering_is_a_token_that_the_runner_uses() {
    let (world, gitea) = serve(World::default()).await;
    let order = RegisterOrder {
        name: "one".to_owned(),
        enlistment: Enlistment {
            kind: ForgeKind::Gitea,
            scope: ScopeUrl::new("http://gitea/me/site"),
            labels: vec!["linux".to_owned()],
            group: None,
            mode: ListenMode::OneJob,
            fork_jobs: ForkJobs::Deny,
        },
    };
    let grant = gitea.register(&order).await.unwrap();
    assert_eq!((grant.id, grant.secret.as_str()), (ForgeRunnerId(0), "reg-1"));
    well(&world);
}

#[tokio::test]
async fn an_idle_runner_is_closed_before_it_is_removed() {
    let (world, gitea) = serve(with("one", false)).await;
    assert_eq!(gitea.remove(&entry("one")).await, Ok(Removal::Removed));
    assert_eq!(gitea.remove(&entry("one")).await, Ok(Removal::Removed), "it is gone");
    let unknown = ForgeEntry { id: None, ..entry("one") };
    assert_eq!(gitea.remove(&unknown).await, Ok(Removal::NotListed));
    let calls = world.lock().unwrap().calls.clone();
    let methods: Vec<&str> = calls.iter().filter_map(|call| call.split(' ').next()).collect();
    assert_eq!(methods, ["GET", "PATCH", "GET", "DELETE", "GET", "GET"]);
    well(&world);
}

#[tokio::test]
async fn a_busy_runner_stays_even_if_its_job_came_last() {
    let (world, gitea) = serve(with("one", true)).await;
    assert_eq!(gitea.remove(&entry("one")).await, Ok(Removal::Busy));
    well(&world);
    let (world, gitea) = serve(World { race: true, ..with("one", false) }).await;
    assert_eq!(gitea.remove(&entry("one")).await, Ok(Removal::Busy));
    assert!(!world.lock().unwrap().runners[&7].2, "it is open as before");
    well(&world);
}

#[tokio::test]
async fn an_older_server_is_asked_as_far_as_it_goes() {
    let (world, gitea) = serve(World { is_old: true, ..with("one", false) }).await;
    assert_eq!(gitea.remove(&entry("one")).await, Ok(Removal::Removed));
    assert!(world.lock().unwrap().runners.is_empty());
    well(&world);
}

#[tokio::test]
async fn lists_have_pages_and_jobs_their_places() {
    let job = |id: u64, status: &str| {
        json!({"id": id, "run_id": 3, "name": "build", "labels": ["linux"], "status": status,
            "run_url": "http://x/api/v1/repos/me/site/actions/runs/3", "runner_id": 0})
    };
    let mut jobs: Vec<Value> = (1..=70).map(|id| job(id, "queued")).collect();
    jobs.extend([job(99, "in_progress"), job(100, "completed")]);
    let runners = (1..=120).map(|id| (id, (format!("r{id}"), false, false))).collect();
    let (world, gitea) = serve(World { jobs, runners, ..World::default() }).await;
    assert_eq!(gitea.runners().await.unwrap().items.len(), 120);
    let listed = gitea.jobs().await.unwrap();
    assert_eq!((listed.items.len(), listed.gaps.len()), (71, 0));
    let running = listed.items.iter().find(|job| job.status == ForgeJobStatus::Running).unwrap();
    assert_eq!((running.id.0, running.repository.as_str()), (99, "me/site"));
    assert!(gitea.look().await.iter().all(|it| it.level == crate::forge::Level::Good));
    well(&world);
}

#[tokio::test]
async fn a_bad_token_is_denied_without_its_letters() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scope = format!("http://{}/me/site", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(Shared::default());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let gitea = adapter(&scope, "wrong-wrong-wrong").unwrap();
    let Err(CallError::Failed(error)) = gitea.runners().await else { panic!() };
    assert_eq!(error.class, ForgeErrorClass::Denied);
    assert!(!error.message.contains("wrong-wrong"), "{}", error.message);
}

#[test]
fn places_are_told_by_their_address() {
    for (scope, path) in [
        ("https://git.lan/me/site", "/repos/me/site"),
        ("https://git.lan/acme", "/orgs/acme"),
        ("https://git.lan", "/admin"),
    ] {
        assert_eq!(adapter(scope, "x").unwrap().path, path);
    }
    for scope in ["git.lan/a", "https://git.lan/a/b/c", "ftp://git.lan/a", "https://git.lan/a?b"] {
        assert!(adapter(scope, "x").is_err(), "{scope}");
    }
}
