//! What the stand-in knows: accounts, rights, runners, runs and jobs, and all that went wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::faults::Fault;
use crate::limits::Bucket;

/// Where runners register. Logins and names compare in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    Repository(String),
    Organization(String),
    Enterprise(String),
}

impl Scope {
    /// From `owner/name`, `orgs/login` or `enterprises/slug`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim_matches('/').to_ascii_lowercase();
        match text.split('/').collect::<Vec<_>>()[..] {
            ["enterprises", slug] => Some(Self::Enterprise(slug.to_owned())),
            ["orgs", login] | [login] if !login.is_empty() => {
                Some(Self::Organization(login.to_owned()))
            }
            ["repos", owner, name] | [owner, name] => {
                Some(Self::Repository(format!("{owner}/{name}")))
            }
            _ => None,
        }
    }

    /// The account that owns it.
    pub fn owner(&self) -> &str {
        match self {
            Self::Repository(name) => name.split('/').next().unwrap_or_default(),
            Self::Organization(login) | Self::Enterprise(login) => login,
        }
    }

    /// Whether runners of this scope may serve that repository.
    pub fn covers(&self, repository: &Repository) -> bool {
        let name = repository.full_name.to_ascii_lowercase();
        match self {
            Self::Repository(own) => *own == name,
            Self::Organization(login) => name.split('/').next() == Some(login),
            Self::Enterprise(_) => true,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Account {
    pub id: u64,
    pub login: String,
    pub kind: String,
    pub groups: Vec<Group>,
}

#[derive(Debug, Clone)]
pub struct Group {
    pub id: u64,
    pub name: String,
    pub default: bool,
    pub public: bool,
    /// None: all repositories.
    pub repositories: Option<BTreeSet<u64>>,
}

#[derive(Debug, Clone)]
pub struct Repository {
    pub id: u64,
    pub full_name: String,
    pub private: bool,
    pub fork_policy: String,
    pub pushed: i64,
    pub workflows: Vec<Workflow>,
}

/// A workflow that can be dispatched; its jobs are queued at once.
#[derive(Debug, Clone, Deserialize)]
pub struct Workflow {
    pub file: String,
    pub name: String,
    #[serde(default)]
    pub inputs: Vec<String>,
    #[serde(default)]
    pub jobs: Vec<JobOrder>,
}

/// What a token may do, and where.
#[derive(Debug, Clone)]
pub struct Token {
    /// Calls are counted by it: tokens of one user or installation share a limit.
    pub bucket: String,
    pub installation: Option<u64>,
    /// Logins that it reaches, in lower case; none: all.
    pub owner: Option<String>,
    pub repositories: Option<BTreeSet<String>>,
    pub permissions: BTreeMap<String, String>,
    pub expires: Option<i64>,
    pub revoked: bool,
}

#[derive(Debug, Clone)]
pub struct App {
    pub id: u64,
    pub client_id: String,
    /// PKCS#1 `RSAPublicKey`.
    pub key: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct Installation {
    pub id: u64,
    pub app: u64,
    pub account: String,
    pub repositories: Option<BTreeSet<String>>,
    pub permissions: BTreeMap<String, String>,
    pub suspended: bool,
    pub removed: bool,
}

#[derive(Debug, Clone)]
pub struct RegistrationToken {
    pub scope: Scope,
    pub expires: i64,
    pub removes: bool,
    /// Times that it was refused because it was too fresh.
    pub refused: u32,
}

/// A listener's hold on its registration.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: String,
    pub seen: i64,
    pub polls: u32,
}

#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "facts of their own, which tests set one by one")]
pub struct Runner {
    pub id: u64,
    pub name: String,
    pub scope: Scope,
    pub group: u64,
    /// Name, and whether it is a system label.
    pub labels: Vec<(String, bool)>,
    pub ephemeral: bool,
    pub jit: bool,
    pub client: String,
    pub key: String,
    pub os: String,
    pub version: Option<String>,
    pub created: i64,
    pub connected: Option<i64>,
    pub session: Option<Session>,
    /// Sessions that were opened; the second one with a JIT registration is a conflict.
    pub sessions: u32,
    pub conflicts: u32,
    pub job: Option<u64>,
    pub jobs: u32,
    /// When its one job ended; it stays listed for a while.
    pub finished: Option<i64>,
    /// The stand-in itself plays its listener.
    pub played: bool,
    pub foreign: bool,
    /// What its listener is told to do wrong, at its next poll or its next job.
    pub command: Option<Value>,
    pub status: Option<String>,
    pub busy: Option<bool>,
    pub hidden: bool,
    /// A DELETE that should be refused goes well: the service's view is wrong.
    pub removable: bool,
}

#[derive(Debug, Clone)]
pub struct Run {
    pub id: u64,
    pub repository: u64,
    pub workflow: String,
    pub event: String,
    pub branch: String,
    pub attempt: u32,
    pub created: i64,
    /// The id of the head's repository; none if that was deleted.
    pub head: Option<u64>,
    pub approval: bool,
    pub cancelled: bool,
    pub inputs: Value,
    pub orders: Vec<JobOrder>,
}

/// A job that a test or a workflow asks for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobOrder {
    pub name: Option<String>,
    pub labels: Vec<String>,
    pub group: Option<String>,
    /// How long its only step takes, where there are no others.
    pub seconds: f64,
    /// `failure` makes that step fail.
    pub conclusion: Option<String>,
    /// Shell scripts.
    pub steps: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// `waiting` or `pending`: no runner is needed yet.
    pub held: Option<JobStatus>,
    /// For GitHub's own runners: nobody here ever gets it.
    pub hosted: bool,
}

/// Where a job stands, in the words of the published API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobStatus {
    Waiting,
    Pending,
    Queued,
    InProgress,
    Completed,
}

impl JobStatus {
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Job {
    pub id: u64,
    pub run: u64,
    pub attempt: u32,
    pub order: JobOrder,
    pub status: JobStatus,
    pub conclusion: Option<String>,
    pub created: i64,
    pub offered: Option<(u64, i64)>,
    pub runner: Option<(u64, String)>,
    pub started: Option<i64>,
    pub completed: Option<i64>,
    pub renewed: i64,
    pub cancel: bool,
    /// Runners that began it; more than one entry means that it ran twice.
    pub began: Vec<String>,
    pub first_step: Option<i64>,
    pub log: String,
}

/// What a test may set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "switches of their own")]
pub struct Settings {
    /// Every REST answer takes that long.
    pub latency_ms: u64,
    /// A listener's long poll.
    pub poll_seconds: f64,
    /// How long a session lives after its last poll.
    pub session_seconds: f64,
    /// Between a listener's tries at a session that another holds, and for how long it tries.
    pub conflict_retry_seconds: f64,
    pub conflict_seconds: f64,
    /// A claimed job that is not begun is queued again.
    pub claim_seconds: f64,
    pub renew_seconds: f64,
    /// A job whose runner is silent fails.
    pub lock_seconds: f64,
    /// An ephemeral runner stays listed after its job.
    pub removal_lag_seconds: f64,
    /// A runner that is silent counts as online.
    pub online_seconds: f64,
    pub queue_hours: f64,
    /// Exit code of a listener whose registration is deleted while it polls.
    pub deleted_exit: i32,
    /// Below: registering is refused; no job is given; connecting is refused.
    pub register_floor: Option<String>,
    pub job_floor: Option<String>,
    pub connect_floor: Option<String>,
    /// What downloads offers.
    pub newest: String,
    /// Above the runner's: its listener stages an update at its next poll and ends with 4 or 3.
    pub update_to: Option<String>,
    /// A fresh registration token is refused that often.
    pub token_refusals: u32,
    pub primary_limit: u64,
    pub points_limit: u64,
    /// Set: rate limits answer without `Retry-After`.
    pub silent_limits: bool,
    pub limit_status: u16,
    /// Runner lists come in another order each time.
    pub shuffle: bool,
    /// `total_count` of runner lists is this much off.
    pub count_off: i64,
    /// Online and offline by turns, at each reading.
    pub flapping: bool,
    /// `busy` says no whatever is so, and DELETE believes it.
    pub busy_lies: bool,
    /// Webhooks: how many of 100 are lost, doubled, delayed.
    pub hooks_lost: u64,
    pub hooks_doubled: u64,
    pub hooks_late: u64,
    pub hooks_late_ms: u64,
    /// Self-hosted runners are disabled: registering answers 403.
    pub disabled: bool,
    /// What each runner is told to do wrong at its first poll.
    pub every_runner: Option<Value>,
    /// Dispatches answer 204 whatever was asked.
    pub old_dispatch: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            poll_seconds: 50.0,
            session_seconds: 240.0,
            conflict_retry_seconds: 30.0,
            conflict_seconds: 240.0,
            claim_seconds: 60.0,
            renew_seconds: 2.0,
            lock_seconds: 600.0,
            removal_lag_seconds: 3.0,
            online_seconds: 70.0,
            queue_hours: 24.0,
            deleted_exit: 0,
            register_floor: Some("2.329.0".to_owned()),
            job_floor: None,
            connect_floor: None,
            newest: "2.337.0".to_owned(),
            update_to: None,
            token_refusals: 0,
            primary_limit: 5000,
            points_limit: 900,
            silent_limits: false,
            limit_status: 403,
            shuffle: false,
            count_off: 0,
            flapping: false,
            busy_lies: false,
            hooks_lost: 0,
            hooks_doubled: 0,
            hooks_late: 0,
            hooks_late_ms: 2000,
            disabled: false,
            every_runner: None,
            old_dispatch: false,
        }
    }
}

/// Where webhooks go.
#[derive(Debug, Clone)]
pub struct Hook {
    pub id: u64,
    pub url: String,
    pub secret: String,
    pub form: bool,
}

/// A webhook on its way.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub hook: u64,
    pub guid: String,
    pub event: String,
    pub action: Option<String>,
    pub body: Value,
    pub redelivery: bool,
}

/// A request that was answered.
#[derive(Debug, Clone, Serialize)]
pub struct Asked {
    pub at: i64,
    pub method: String,
    pub path: String,
    pub status: u16,
    pub bucket: String,
}

#[derive(Debug)]
pub struct World {
    pub advertise: String,
    pub offset: i64,
    pub settings: Settings,
    pub accounts: BTreeMap<String, Account>,
    pub repositories: BTreeMap<u64, Repository>,
    /// Old names of what was renamed, and the ids.
    pub renamed: BTreeMap<String, u64>,
    pub tokens: BTreeMap<String, Token>,
    pub apps: Vec<App>,
    pub installations: BTreeMap<u64, Installation>,
    pub registration_tokens: BTreeMap<String, RegistrationToken>,
    /// What `runner-registration` gave to a registering runner, and its scope.
    pub admin_tokens: BTreeMap<String, Scope>,
    pub runners: BTreeMap<u64, Runner>,
    pub runs: BTreeMap<u64, Run>,
    pub jobs: BTreeMap<u64, Job>,
    pub hooks: Vec<Hook>,
    pub outbox: VecDeque<Delivery>,
    pub delivered: VecDeque<Value>,
    pub faults: Vec<Fault>,
    pub buckets: BTreeMap<String, Bucket>,
    pub violations: Vec<String>,
    pub asked: VecDeque<Asked>,
    /// Every name that was ever registered for one job.
    pub names: BTreeSet<String>,
    /// What a test wants to read: runners made and removed, jobs begun, conflicts.
    pub events: VecDeque<Value>,
    next: u64,
    random: u64,
}

/// Requests, events and deliveries that are kept.
const KEPT: usize = 20_000;

impl World {
    pub fn new(seed: u64, advertise: String) -> Self {
        Self {
            advertise,
            offset: 0,
            settings: Settings::default(),
            accounts: BTreeMap::new(),
            repositories: BTreeMap::new(),
            renamed: BTreeMap::new(),
            tokens: BTreeMap::new(),
            apps: Vec::new(),
            installations: BTreeMap::new(),
            registration_tokens: BTreeMap::new(),
            admin_tokens: BTreeMap::new(),
            runners: BTreeMap::new(),
            runs: BTreeMap::new(),
            jobs: BTreeMap::new(),
            hooks: Vec::new(),
            outbox: VecDeque::new(),
            delivered: VecDeque::new(),
            faults: Vec::new(),
            buckets: BTreeMap::new(),
            violations: Vec::new(),
            asked: VecDeque::new(),
            names: BTreeSet::new(),
            events: VecDeque::new(),
            // Above 2^53, where a float loses the last digit.
            next: 9_007_199_254_750_000,
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
        }
    }

    /// Milliseconds since 1970, by the stand-in's clock.
    pub fn now(&self) -> i64 {
        real_ms() + self.offset
    }

    /// Seconds of the settings as milliseconds.
    #[expect(clippy::cast_possible_truncation, reason = "settings are small")]
    pub fn ms(seconds: f64) -> i64 {
        (seconds * 1000.0) as i64
    }

    pub fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Seeded: the same orders give the same choices.
    pub fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        if below == 0 { 0 } else { self.random % below }
    }

    pub fn violation(&mut self, what: String) {
        eprintln!("VIOLATION: {what}");
        self.violations.push(what);
    }

    pub fn note(&mut self, event: Value) {
        self.events.push_back(event);
        self.events.bound(KEPT);
    }

    pub fn log(&mut self, asked: Asked) {
        self.asked.push_back(asked);
        self.asked.bound(KEPT);
    }

    pub fn repository(&self, full_name: &str) -> Option<&Repository> {
        let name = full_name.to_ascii_lowercase();
        self.repositories.values().find(|one| one.full_name.to_ascii_lowercase() == name)
    }

    /// The groups of a scope: a repository has the default one alone.
    pub fn groups(&self, scope: &Scope) -> Vec<Group> {
        match scope {
            Scope::Repository(_) => vec![Group::default_one()],
            Scope::Organization(login) | Scope::Enterprise(login) => {
                self.accounts.get(login).map(|one| one.groups.clone()).unwrap_or_default()
            }
        }
    }

    /// Whether the scope is there.
    pub fn has(&self, scope: &Scope) -> bool {
        match scope {
            Scope::Repository(name) => self.repository(name).is_some(),
            Scope::Organization(login) => {
                self.accounts.get(login).is_some_and(|one| one.kind == "Organization")
            }
            Scope::Enterprise(login) => {
                self.accounts.get(login).is_some_and(|one| one.kind == "Enterprise")
            }
        }
    }

    pub fn runner_named(&self, scope: &Scope, name: &str) -> Option<u64> {
        let same =
            |runner: &&Runner| runner.scope == *scope && runner.name.eq_ignore_ascii_case(name);
        self.runners.values().find(same).map(|runner| runner.id)
    }
}

impl Group {
    pub fn default_one() -> Self {
        Self { id: 1, name: "Default".to_owned(), default: true, public: true, repositories: None }
    }
}

trait Bound {
    fn bound(&mut self, most: usize);
}

impl<T> Bound for VecDeque<T> {
    fn bound(&mut self, most: usize) {
        while self.len() > most {
            self.pop_front();
        }
    }
}

pub fn real_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// `2026-10-01T12:00:00Z`, or with a fraction, as both are seen.
pub fn stamp(ms: i64, fraction: bool) -> String {
    let ms = if fraction { ms } else { ms - ms.rem_euclid(1000) };
    jiff::Timestamp::from_millisecond(ms).map(|at| at.to_string()).unwrap_or_default()
}

/// Random letters and digits after a prefix.
pub fn secret(prefix: &str, length: usize) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut bytes = vec![0; length];
    SystemRandom::new().fill(&mut bytes).expect("randomness");
    let letters = bytes.iter().map(|byte| char::from(LETTERS[usize::from(*byte) % 62]));
    prefix.chars().chain(letters).collect()
}

/// A GUID's form.
pub fn guid() -> String {
    let hex = secret("", 32).bytes().map(|byte| format!("{:x}", byte % 16)).collect::<String>();
    let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// `2.9.1` is before `2.10`.
pub fn older(version: &str, than: &str) -> bool {
    let parts = |text: &str| -> Vec<u64> {
        text.split('.').map(|part| part.parse().unwrap_or(0)).collect()
    };
    parts(version) < parts(than)
}

/// `Sat, 21 Nov 2026 15:42:44 GMT`.
pub fn http_date(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}
