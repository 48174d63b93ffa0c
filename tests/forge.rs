//! The adapter for GitHub against the strict stand-in (`tests/github`): what it asks, and what it
//! makes of answers, good and bad. A violation that the stand-in saw fails the test.
#![cfg(feature = "fleet")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::Method;
use hyper::header::CONTENT_TYPE;
use serde_json::{Value, json};
use slate_fleet::fleet::forge::{
    Enlistment, ForgeEntry, ForgeErrorClass, ForgeJobStatus, ListenMode, RegisterOrder,
};
use slate_fleet::forge::{
    Ask, CallError, Dispatch, Forge, Github, GithubSettings, Governor, Grant, Level, ReadClock,
    ReadSecret, Removal, Right, Secret, Web,
};
use slate_fleet::ids::{ForgeRunId, ForgeRunnerId, ScopeUrl};
use slate_fleet::spec::{ForgeKind, ForkJobs};
use slate_fleet::units::Time;

const KEY: &str = include_str!("data/app-key-pkcs1.pem");

/// The stand-in, as long as this lives.
struct StandIn {
    child: Child,
    url: String,
    token: String,
    web: Web,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Cargo builds it with the tests, unless single targets of them are named.
fn built() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this program");
    let profile = test.ancestors().nth(2).unwrap_or(Path::new(""));
    let program = profile.join("examples/github_stand_in");
    let name = program.display();
    assert!(program.exists(), "{name} is not built; run: cargo build --example github_stand_in");
    program
}

impl StandIn {
    fn start() -> Self {
        let mut child = Command::new(built())
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the stand-in starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let mut line = || lines.next().expect("a line").expect("text");
        let last = |text: String| text.rsplit(' ').next().expect("a word").to_owned();
        let (url, token) = (last(line()), last(line()));
        let web = Web::new(b"").expect("a client");
        Self { child, url, token, web }
    }

    async fn control(&self, method: Method, path: &str, body: Value) -> Value {
        let mut ask = Ask::new(method, format!("{}/_control/{path}", self.url))
            .header(CONTENT_TYPE, "application/json");
        ask.body = body.to_string().into();
        let answer = self.web.call(ask).await.expect("the control answers");
        let words = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{path}: {words}");
        serde_json::from_str(&words).expect("JSON")
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.control(Method::POST, path, body).await
    }

    async fn get(&self, path: &str) -> Value {
        self.control(Method::GET, path, json!({})).await
    }

    async fn set(&self, settings: Value) {
        self.control(Method::PATCH, "settings", settings).await;
    }

    async fn fault(&self, method: &str, path: &str, action: Value) {
        self.post("faults", json!({"method": method, "path": path, "action": action})).await;
    }

    /// The names of the runners that there are.
    async fn names(&self) -> Vec<String> {
        let all = self.get("runners").await;
        let name = |runner: &Value| runner["name"].as_str().expect("a name").to_owned();
        all.as_array().expect("a list").iter().map(name).collect()
    }

    /// How often a call was made: `GET /repos/me/site/actions/runners`, with any status. Long
    /// numbers in its path are `N`.
    async fn count(&self, call: &str) -> u64 {
        let seen = self.get("requests").await;
        let counts = seen["counts"].as_object().expect("counts").clone();
        let fits = |(key, _): &(String, Value)| {
            key.rsplit_once(' ').is_some_and(|(known, _status)| known == call)
        };
        counts.into_iter().filter(fits).filter_map(|(_, count)| count.as_u64()).sum()
    }

    async fn ends_well(&self) {
        assert_eq!(self.get("violations").await, json!([]));
    }

    fn personal(&self, scope: &str) -> Github {
        self.github(scope, Right::Personal(secret(&self.token)), clock(0))
    }

    fn github(&self, scope: &str, right: Right, clock: ReadClock) -> Github {
        let settings = GithubSettings {
            scope: ScopeUrl::new(format!("https://github.com/{scope}")),
            api: Some(self.url.clone()),
            right,
            repositories: Vec::new(),
            groups: Vec::new(),
        };
        let web = Web::new(b"").expect("a client").with_deadline(Duration::from_secs(5));
        Github::new(settings, web, Governor::new(clock.clone()), clock).expect("an adapter")
    }

    async fn app(&self, permissions: Value) -> (Right, Value) {
        self.post("apps", json!({"key": KEY, "client_id": "Iv1.test"})).await;
        let body = json!({"account": "me", "permissions": permissions});
        let installation = self.post("installations", body).await["id"].clone();
        let right = Right::App { id: "Iv1.test".to_owned(), installation: None, key: secret(KEY) };
        (right, installation)
    }
}

fn secret(text: &str) -> ReadSecret {
    let secret = Secret::new(text.to_owned());
    Arc::new(move || {
        let secret = secret.clone();
        Box::pin(async move { Ok(secret) })
    })
}

/// This host's clock, put forward by some seconds.
#[expect(clippy::disallowed_methods, reason = "the stand-in has the system's time, too")]
fn clock(ahead: i64) -> ReadClock {
    Arc::new(move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
        let millis = u64::try_from(now.as_millis()).expect("a time before the year 500000");
        Time(millis.saturating_add_signed(ahead * 1000))
    })
}

fn order(name: &str) -> RegisterOrder {
    let enlistment = Enlistment {
        kind: ForgeKind::Github,
        scope: ScopeUrl::new("https://github.com/me/site"),
        labels: vec!["self-hosted".to_owned(), "linux".to_owned()],
        group: None,
        mode: ListenMode::OneJob,
        fork_jobs: ForkJobs::Deny,
    };
    RegisterOrder { name: name.to_owned(), enlistment }
}

fn entry(name: &str, id: Option<ForgeRunnerId>) -> ForgeEntry {
    ForgeEntry { scope: ScopeUrl::new("https://github.com/me/site"), name: name.to_owned(), id }
}

fn class<T: std::fmt::Debug>(result: Result<T, CallError>) -> (ForgeErrorClass, String) {
    match result {
        Err(CallError::Failed(error)) => (error.class, error.message),
        other => panic!("a certain failure was expected: {other:?}"),
    }
}

const RUNNERS: &str = "/repos/me/site/actions/runners";
const TOKENS: &str = "POST /app/installations/N/access_tokens";

#[tokio::test]
async fn a_runner_is_registered_listed_and_removed() {
    let stand_in = StandIn::start();
    let github = stand_in.personal("me/site");
    let grant: Grant = github.register(&order("one")).await.unwrap();
    assert!(!grant.secret.is_empty() && !format!("{grant:?}").contains(&grant.secret));
    let listed = github.runners().await.unwrap();
    let [runner] = listed.items.as_slice() else { panic!("{listed:?}") };
    assert_eq!((runner.id, runner.name.as_str()), (grant.id, "one"));
    assert_eq!((runner.online, runner.busy), (Some(false), false));
    assert_eq!(class(github.register(&order("one")).await).0, ForgeErrorClass::NameTaken);
    assert_eq!(github.remove(&entry("one", Some(grant.id))).await, Ok(Removal::Removed));
    assert_eq!(github.remove(&entry("one", Some(grant.id))).await, Ok(Removal::Removed), "gone");
    assert!(github.runners().await.unwrap().items.is_empty());
    assert_eq!(github.newest_runner().await, Ok(Some("2.337.0".to_owned())));
}

#[tokio::test]
async fn a_registration_whose_answer_is_lost_is_unknown_and_found_by_its_name() {
    let stand_in = StandIn::start();
    let github = stand_in.personal("me/site");
    for (name, action) in [
        ("lost", json!("lost")),
        ("bad-gateway", json!("lost_with502")),
        ("truncated", json!("truncated")),
        ("empty", json!("empty")),
    ] {
        stand_in.fault("POST", "generate-jitconfig", action).await;
        let outcome = github.register(&order(name)).await;
        assert!(matches!(outcome, Err(CallError::Unknown(_))), "{name}: {outcome:?}");
        assert_eq!(stand_in.names().await, [name], "it exists all the same");
        assert_eq!(github.remove(&entry(name, None)).await, Ok(Removal::Removed));
        assert!(stand_in.names().await.is_empty(), "{name} is gone");
    }
    assert_eq!(stand_in.count(&format!("POST {RUNNERS}/generate-jitconfig")).await, 4, "no repeat");
    stand_in.ends_well().await;
}

#[tokio::test]
async fn a_removal_whose_answer_is_lost_is_unknown_and_may_be_repeated() {
    let stand_in = StandIn::start();
    let github = stand_in.personal("me/site");
    let grant = github.register(&order("one")).await.unwrap();
    stand_in.fault("DELETE", "/runners/", json!("lost")).await;
    let one = entry("one", Some(grant.id));
    assert!(matches!(github.remove(&one).await, Err(CallError::Unknown(_))));
    assert_eq!(github.remove(&one).await, Ok(Removal::Removed));
    stand_in.ends_well().await;
}

#[tokio::test]
async fn a_busy_runner_stays() {
    let stand_in = StandIn::start();
    let github = stand_in.personal("me/site");
    let body = json!({"name": "busy", "labels": ["self-hosted"], "online": true});
    let id = stand_in.post("runners", body).await["id"].as_u64().unwrap();
    let jobs = json!([{"name": "build", "labels": ["self-hosted"], "seconds": 600}]);
    stand_in.post("runs", json!({"jobs": jobs})).await;
    let has_job = async {
        loop {
            let jobs = github.jobs().await.unwrap().items;
            if jobs.iter().any(|job| job.status == ForgeJobStatus::Running) {
                return jobs;
            }
            tokio::task::yield_now().await;
        }
    };
    let jobs = tokio::time::timeout(Duration::from_secs(20), has_job).await.expect("it begins");
    assert_eq!(jobs[0].runner.as_deref(), Some("busy"));
    let busy = entry("busy", Some(ForgeRunnerId(id)));
    assert_eq!(github.remove(&busy).await, Ok(Removal::Busy));
}

#[tokio::test]
async fn the_queue_is_read_with_forks_and_without_what_is_over() {
    let stand_in = StandIn::start();
    let github = stand_in.personal("me/site");
    let job = |name: &str| json!({"name": name, "labels": ["self-hosted", "linux"]});
    let held = json!({"name": "held", "labels": [], "held": "waiting"});
    stand_in.post("runs", json!({"workflow": "CI", "jobs": [job("own"), held]})).await;
    stand_in.post("runs", json!({"fork": true, "jobs": [job("fork")]})).await;
    stand_in.post("runs", json!({"fork": "deleted", "jobs": [job("gone")]})).await;
    let over = stand_in.post("runs", json!({"jobs": [job("over"), job("more")]})).await;
    stand_in.post(&format!("jobs/{}/complete", over["jobs"][0]), json!({})).await;
    let listed = github.jobs().await.unwrap();
    assert_eq!(listed.gaps, Vec::<String>::new());
    let jobs: BTreeMap<&str, _> = listed.items.iter().map(|job| (job.name.as_str(), job)).collect();
    let names: Vec<&str> = jobs.keys().copied().collect();
    assert_eq!(names, ["fork", "gone", "held", "more", "own"]);
    assert_eq!(jobs["own"].fork, Some(false));
    assert_eq!((jobs["fork"].fork, jobs["gone"].fork), (Some(true), Some(true)));
    assert_eq!(jobs["own"].status, ForgeJobStatus::Queued);
    assert_eq!(jobs["held"].status, ForgeJobStatus::Held);
    assert_eq!(jobs["own"].repository, "me/site");
    assert_eq!(jobs["own"].labels, ["self-hosted", "linux"]);
    assert_eq!((jobs["own"].runner.as_deref(), jobs["own"].attempt), (None, 1));
    stand_in.ends_well().await;
}

#[tokio::test]
async fn lists_are_read_to_their_end_and_what_did_not_change_is_free() {
    let stand_in = StandIn::start();
    let github = stand_in.personal("me/site");
    for n in 0..230 {
        let body = json!({"name": format!("r{n}"), "labels": ["x"], "online": false});
        stand_in.post("runners", body).await;
    }
    assert_eq!(github.runners().await.unwrap().items.len(), 230);
    assert_eq!(stand_in.count(&format!("GET {RUNNERS}")).await, 3);
    let used = |limits: Value| limits[0]["used"].as_u64().expect("calls");
    let before = used(stand_in.get("limits").await);
    assert_eq!(github.runners().await.unwrap().items.len(), 230);
    assert_eq!(used(stand_in.get("limits").await), before, "three answers of 304");
    stand_in.ends_well().await;
}

#[tokio::test]
async fn a_silence_is_kept_by_all_calls() {
    let stand_in = StandIn::start();
    let github = stand_in.personal("me/site");
    stand_in.fault("GET", "/runners", json!({"secondary": 30})).await;
    let (limited, words) = class(github.runners().await);
    let ForgeErrorClass::Limited(until) = limited else { panic!("{limited:?} {words}") };
    let wait = until.since(clock(0)());
    assert!(wait > Duration::from_secs(25) && wait <= Duration::from_secs(31), "{wait:?}");
    let calls = stand_in.get("requests").await["total"].clone();
    for outcome in [class(github.register(&order("x")).await).0, class(github.jobs().await).0] {
        assert_eq!(outcome, limited);
    }
    let removal = github.remove(&entry("x", None)).await;
    assert_eq!(class(removal).0, limited);
    assert_eq!(stand_in.get("requests").await["total"], calls, "nobody asked");
    stand_in.ends_well().await;
}

#[tokio::test]
async fn when_the_hours_calls_run_out_removals_go_on_longest() {
    let stand_in = StandIn::start();
    stand_in.set(json!({"primary_limit": 20})).await;
    let github = stand_in.personal("me/site");
    let grant = github.register(&order("one")).await.unwrap();
    let mut lists = 0;
    let limited = loop {
        // Another runner each time, so that the list is never the same.
        let body = json!({"name": format!("f{lists}"), "labels": ["x"]});
        stand_in.post("runners", body).await;
        match github.runners().await {
            Ok(_) => lists += 1,
            refused => break class(refused).0,
        }
    };
    assert!(matches!(limited, ForgeErrorClass::Limited(_)), "{limited:?}");
    assert_eq!(lists, 15, "a fifth of 20 is kept, and one went to the registration");
    assert_eq!(github.remove(&entry("one", Some(grant.id))).await, Ok(Removal::Removed));
    stand_in.ends_well().await;
}

#[tokio::test]
async fn rights_that_are_missing_are_told_with_what_is_needed() {
    let stand_in = StandIn::start();
    let weak = stand_in.post("tokens", json!({"permissions": {"metadata": "read"}})).await;
    let weak = Right::Personal(secret(weak["token"].as_str().unwrap()));
    let github = stand_in.github("me/site", weak, clock(0));
    let (denied, words) = class(github.register(&order("x")).await);
    assert_eq!(denied, ForgeErrorClass::Denied);
    assert!(words.contains("Administration: write") && words.contains("403"), "{words}");
    assert_eq!(class(stand_in.personal("me/none").runners().await).0, ForgeErrorClass::Denied);
    let wrong = Right::Personal(secret("ghp_wrongwrongwrong"));
    let github = stand_in.github("me/site", wrong, clock(0));
    let (denied, words) = class(github.runners().await);
    assert_eq!(denied, ForgeErrorClass::Denied);
    assert!(words.contains("renew it") && !words.contains("wrongwrong"), "{words}");
    assert_eq!(stand_in.count(&format!("GET {RUNNERS}")).await, 1, "no loop");
}

#[tokio::test]
async fn an_app_registers_with_a_token_that_is_renewed_when_it_is_refused() {
    let stand_in = StandIn::start();
    let rights = json!({"administration": "write", "actions": "read", "metadata": "read"});
    let (right, installation) = stand_in.app(rights).await;
    let github = stand_in.github("me/site", right, clock(0));
    // Many at once make one token.
    let first = order("a");
    let (one, two, three) = tokio::join!(github.register(&first), github.runners(), github.jobs());
    assert!(one.is_ok() && two.is_ok() && three.is_ok(), "{one:?} {two:?} {three:?}");
    assert_eq!(stand_in.count(TOKENS).await, 1);
    stand_in.post("tokens/revoke", json!({})).await;
    assert!(github.register(&order("b")).await.is_ok());
    assert_eq!(stand_in.count(TOKENS).await, 2, "renewed once");
    assert_eq!(stand_in.names().await.len(), 2);
    stand_in
        .control(
            Method::PATCH,
            &format!("installations/{installation}"),
            json!({"suspended": true}),
        )
        .await;
    assert_eq!(class(github.runners().await).0, ForgeErrorClass::Denied);
    stand_in.ends_well().await;
}

#[tokio::test]
async fn an_app_on_a_host_whose_clock_is_wrong_takes_githubs_time_once() {
    let stand_in = StandIn::start();
    let rights = json!({"administration": "write", "actions": "read", "metadata": "read"});
    let (right, _) = stand_in.app(rights).await;
    for ahead in [-900, 900] {
        let github = stand_in.github("me/site", right.clone(), clock(ahead));
        assert!(github.runners().await.is_ok(), "{ahead} s");
        let findings = github.findings().await;
        let told =
            findings.iter().any(|it| it.level == Level::Warning && it.message.contains("clock"));
        assert!(told, "{findings:?}");
    }
    assert_eq!(stand_in.count(TOKENS).await, 2, "one each, since the lookup found the time");
    let mine = stand_in.github("me/site", right, clock(0));
    let findings = mine.findings().await;
    assert!(findings.iter().all(|it| it.level == Level::Good), "{findings:?}");
}

#[tokio::test]
async fn an_app_that_is_not_installed_or_unknown_says_so() {
    let stand_in = StandIn::start();
    stand_in.post("apps", json!({"key": KEY, "client_id": "Iv1.test"})).await;
    let app = |id: &str| Right::App { id: id.to_owned(), installation: None, key: secret(KEY) };
    let (denied, words) =
        class(stand_in.github("me/site", app("Iv1.test"), clock(0)).runners().await);
    assert_eq!(denied, ForgeErrorClass::Denied);
    assert!(words.contains("not installed"), "{words}");
    let (denied, words) = class(stand_in.github("me/site", app("Iv1.x"), clock(0)).runners().await);
    assert_eq!(denied, ForgeErrorClass::Denied);
    assert!(words.contains("id and private key"), "{words}");
}

#[tokio::test]
async fn a_workflow_is_started_and_its_run_is_told_or_found() {
    let stand_in = StandIn::start();
    let workflows = json!([{"file": "ci.yml", "name": "CI", "inputs": ["task_id"]}]);
    let body = json!({"full_name": "me/site", "private": true, "workflows": workflows});
    stand_in.post("repositories", body).await;
    let github = stand_in.personal("me/site");
    let dispatch = |workflow: &str, input: &str| Dispatch {
        repository: "me/site".to_owned(),
        workflow: workflow.to_owned(),
        reference: None,
        inputs: BTreeMap::from([(input.to_owned(), "7".to_owned())]),
    };
    for is_old in [false, true] {
        stand_in.set(json!({"old_dispatch": is_old})).await;
        let started = github.dispatch(&dispatch("ci.yml", "task_id")).await.unwrap();
        let run: ForgeRunId = started.run.expect("its run");
        let state = github.run("me/site", run).await.unwrap();
        assert!(!state.status.is_empty() && state.url.is_some(), "{state:?}");
    }
    let runs = stand_in.get("runs").await;
    assert_eq!(runs.as_array().map(Vec::len), Some(2));
    let (invalid, words) = class(github.dispatch(&dispatch("ci.yml", "colour")).await);
    assert_eq!(invalid, ForgeErrorClass::Invalid);
    assert!(words.contains("Unexpected inputs"), "{words}");
    let (denied, _) = class(github.dispatch(&dispatch("none.yml", "task_id")).await);
    assert_eq!(denied, ForgeErrorClass::Denied);
    assert_eq!(class(github.dispatch(&dispatch("../x", "a")).await).0, ForgeErrorClass::Invalid);
    stand_in.ends_well().await;
}

#[tokio::test]
async fn an_organizations_group_and_repositories_are_looked_at() {
    let stand_in = StandIn::start();
    stand_in.post("repositories", json!({"full_name": "acme/open", "private": false})).await;
    let groups = json!([{"name": "closed", "repositories": []}]);
    stand_in.post("accounts", json!({"login": "acme", "groups": groups})).await;
    let github = stand_in.personal("acme");
    let mut wanted = order("one");
    wanted.enlistment.group = Some("closed".to_owned());
    assert!(github.register(&wanted).await.is_ok());
    wanted.name = "two".to_owned();
    wanted.enlistment.group = Some("none".to_owned());
    let (invalid, words) = class(github.register(&wanted).await);
    assert_eq!(invalid, ForgeErrorClass::Invalid);
    assert!(words.contains("`none`") && words.contains("closed"), "{words}");
    stand_in.post("runs", json!({"repository": "acme/open", "jobs": [{"labels": ["x"]}]})).await;
    assert_eq!(github.jobs().await.unwrap().items.len(), 1, "repositories are found");
    let settings = GithubSettings {
        scope: ScopeUrl::new("https://github.com/acme"),
        api: Some(stand_in.url.clone()),
        right: Right::Personal(secret(&stand_in.token)),
        repositories: vec!["acme/open".to_owned()],
        groups: vec!["closed".to_owned(), "none".to_owned()],
    };
    let (web, clock) = (Web::new(b"").unwrap(), clock(0));
    let github = Github::new(settings, web, Governor::new(clock.clone()), clock).unwrap();
    let findings = github.findings().await;
    let errors: Vec<&str> = findings
        .iter()
        .filter(|it| it.level == Level::Error)
        .map(|it| it.message.as_str())
        .collect();
    assert!(errors.iter().any(|it| it.contains("public") && it.contains("`closed`")), "{errors:?}");
    assert!(errors.iter().any(|it| it.contains("no runner group `none`")), "{errors:?}");
}

#[tokio::test]
async fn failures_of_lists_are_no_empty_lists() {
    let stand_in = StandIn::start();
    let github = stand_in.personal("me/site");
    for action in [json!("truncated"), json!("empty"), json!({"page": 502}), json!("cut")] {
        let body = json!({"method": "GET", "path": "/runners", "times": 2, "action": action});
        stand_in.post("faults", body).await;
        assert_eq!(class(github.runners().await).0, ForgeErrorClass::Retry, "{action}");
    }
    for status in [500, 503] {
        stand_in.fault("GET", "/actions/runs", json!({"error": status})).await;
        assert!(github.jobs().await.is_ok(), "one failure is asked about again");
    }
    stand_in.ends_well().await;
}

#[tokio::test]
async fn a_renamed_repository_is_followed() {
    let stand_in = StandIn::start();
    let github = stand_in.personal("me/site");
    let grant = github.register(&order("one")).await.unwrap();
    stand_in.post("repositories/rename", json!({"from": "me/site", "to": "me/page"})).await;
    assert_eq!(github.runners().await.map(|it| it.items.len()), Ok(1));
    assert_eq!(github.remove(&entry("one", Some(grant.id))).await, Ok(Removal::Removed));
    stand_in.ends_well().await;
}
