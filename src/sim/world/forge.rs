//! The simulated forge: its list of runners, its jobs, and what the shell keeps of it.
//!
//! The forge gives out its jobs by itself, to any runner that matches, foreign ones too; and what
//! it says of itself is late, incomplete and sometimes wrong. What really is so stands here.

mod calls;
pub mod jobs;
mod lists;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Happening, Turn, World};
use crate::fleet::forge::{ForgeContact, ForgeEntry, RegisterOrder};
use crate::ids::{
    ContainerId, ForgeJobId, ForgeRunId, ForgeRunnerId, IncarnationId, OpId, ScopeUrl,
};
use crate::units::Time;

/// Where simulated runners register if nobody says otherwise.
pub const SCOPE: &str = "https://github.com/acme/site";
/// The shell reads each scope this often.
const POLL_EVERY: Duration = Duration::from_secs(30);

/// A forge, and what the supervisor's shell keeps of it.
#[derive(Debug, Clone)]
pub struct Forge {
    /// Every runner in its list.
    pub entries: BTreeMap<ForgeRunnerId, Entry>,
    /// Every job that it ever had.
    pub jobs: BTreeMap<ForgeJobId, ForgeJob>,
    /// What `.env` says.
    pub tokens: BTreeMap<String, Token>,
    /// Whether webhooks come in.
    pub has_webhooks: bool,
    /// Whether the version of the listeners is too old.
    pub is_too_old: bool,
    /// How long a runner that had its one job is still listed.
    pub lingers: Duration,
    /// What the listeners that start from now on are like.
    pub fate: Fate,
    /// Names that runners were registered under for one job: none comes twice.
    pub names: BTreeSet<String>,
    /// The runner that each incarnation was registered as.
    pub made: BTreeMap<IncarnationId, BTreeSet<ForgeRunnerId>>,
    /// Registrations and removals that were asked for.
    pub calls: u64,
    pub(super) away: Time,
    pub(super) limited: Time,
    pub(super) is_denied: bool,
    pub(super) identities: BTreeMap<(ScopeUrl, String), ForgeRunnerId>,
    pub(super) grants: BTreeMap<IncarnationId, ForgeRunnerId>,
    scopes: BTreeSet<ScopeUrl>,
    told: BTreeMap<ScopeUrl, (ForgeContact, Time)>,
    pub(super) in_flight: BTreeMap<IncarnationId, OpId>,
    runners: u64,
    last_job: u64,
}

impl Default for Forge {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
            jobs: BTreeMap::new(),
            tokens: BTreeMap::new(),
            has_webhooks: true,
            is_too_old: false,
            lingers: Duration::from_secs(5),
            fate: Fate::Serves,
            names: BTreeSet::new(),
            made: BTreeMap::new(),
            calls: 0,
            away: Time(0),
            limited: Time(0),
            is_denied: false,
            identities: BTreeMap::new(),
            grants: BTreeMap::new(),
            scopes: BTreeSet::new(),
            told: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            runners: 0,
            last_job: 100,
        }
    }
}

/// A runner in the forge's list.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where.
    pub scope: ScopeUrl,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Whose it is.
    pub whose: Whose,
    /// Whether it goes after its first job.
    pub is_ephemeral: bool,
    /// Whether it had that job.
    pub is_done: bool,
    /// The listener that serves it.
    pub session: Option<Session>,
    /// The job that it has, by the forge's own books.
    pub job: Option<ForgeJobId>,
    /// An older session is kept until then.
    pub(super) held: Time,
    /// Lists show it from then on.
    shown: Time,
    /// Lists show it as busy from then on.
    busy_from: Time,
    /// Whether a listener ever served it.
    pub(super) was_online: bool,
}

/// Whose a runner in the list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The fleet's.
    Fleet,
    /// Somebody else's; it serves by itself.
    Others,
}

/// The life of a first process that serves a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// In which container.
    pub container: ContainerId,
    /// In which life.
    pub life: Turn,
}

/// What a variable in `.env` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// A token that registers.
    Good,
    /// One whose hour is over.
    Expired,
}

/// What becomes of a listener by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It serves.
    Serves,
    /// It never comes online.
    Mute,
    /// It ends with this code instead of serving.
    Ends(i32),
    /// It comes online, and makes no progress from then on.
    Freezes,
}

/// A job of the forge.
#[derive(Debug, Clone)]
pub struct ForgeJob {
    /// Where.
    pub scope: ScopeUrl,
    /// Its run.
    pub run: ForgeRunId,
    /// Its labels.
    pub labels: Vec<String>,
    /// How long it runs.
    pub runs: Duration,
    /// Whether it runs a fork's code.
    pub is_fork: bool,
    /// Where it stands.
    pub stage: JobStage,
    /// When it came.
    pub created: Time,
    /// The runners that began it, by name.
    pub begun: Vec<String>,
    /// When it began first.
    pub started: Option<Time>,
    /// The container that it runs in, or ran in, if that is the fleet's.
    pub container: Option<ContainerId>,
    /// How it ended; more than once is never right.
    pub ends: Vec<&'static str>,
    turn: Turn,
}

/// Where a job of the forge stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStage {
    /// Not to be run yet.
    Held,
    /// Waits.
    Queued,
    /// Given to a runner, which does not know it yet.
    Given(ForgeRunnerId),
    /// Runs.
    Running(ForgeRunnerId),
    /// Over.
    Over,
}

/// Something that will happen at the forge.
#[derive(Debug, Clone)]
pub(in crate::sim) enum ForgeDue {
    /// A call of a supervisor arrives.
    Call(Box<Call>),
    /// A supervisor's shell reads all scopes, again and again.
    Poll(Turn),
    /// The lists of a scope that were asked for then are made.
    Lists(Turn, ScopeUrl, Time),
    /// A listener goes on.
    Listener(ContainerId, Turn, Step),
    /// Jobs are given out.
    GiveOut,
    /// A job reaches the runner that it was given to.
    Take(ForgeJobId, Turn),
    /// A job that its runner did not take.
    Miss(ForgeJobId, Turn),
    /// A job whose runner fell silent.
    Lapse(ForgeJobId, Turn),
    /// A job's steps are over.
    Done(ForgeJobId, Turn),
    /// A job is not held any longer.
    Release(ForgeJobId),
    /// A runner goes from the list by itself.
    Purge(ForgeRunnerId),
    /// It answers again.
    Back,
}

/// How a listener goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) enum Step {
    /// It registers with its token.
    Register,
    /// It opens its session; how often it has tried.
    Connect(u32),
    /// Its agent sees no progress.
    Stuck,
    /// It learns that it is not registered any more.
    Expelled,
    /// It ends after its job.
    Ends,
    /// Its agent waits no longer for a supervisor that could say what is to be done.
    Quits,
}

/// A call on its way to the forge.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Call {
    epoch: Turn,
    op: OpId,
    incarnation: IncarnationId,
    action: CallAction,
    is_told: bool,
}

#[derive(Debug, Clone)]
enum CallAction {
    Register(Box<RegisterOrder>),
    Remove(ForgeEntry),
}

impl ForgeDue {
    /// Whether it may still change what a fleet at rest looks like.
    pub(super) fn is_awaited(&self) -> bool {
        match self {
            Self::Poll(_) | Self::Lists(..) => false,
            Self::Call(_)
            | Self::Listener(..)
            | Self::GiveOut
            | Self::Take(..)
            | Self::Miss(..)
            | Self::Lapse(..)
            | Self::Done(..)
            | Self::Release(_)
            | Self::Purge(_)
            | Self::Back => true,
        }
    }
}

impl Entry {
    /// Whether it takes jobs, by what really is so.
    #[must_use]
    pub fn is_online(&self) -> bool {
        (self.whose == Whose::Others || self.session.is_some()) && !self.is_done
    }

    /// Whether lists show it.
    #[must_use]
    pub fn is_shown(&self, now: Time) -> bool {
        self.shown <= now
    }

    fn serves(&self, job: &ForgeJob) -> bool {
        self.scope == job.scope && matches(&self.labels, &job.labels)
    }
}

/// Whether a runner with these labels may take a job that asks for those.
#[must_use]
pub fn matches(labels: &[String], asked: &[String]) -> bool {
    asked.iter().all(|label| labels.iter().any(|own| own.eq_ignore_ascii_case(label)))
}

impl Forge {
    /// The fleet's own runners in its list.
    pub fn own(&self) -> impl Iterator<Item = (&ForgeRunnerId, &Entry)> {
        self.entries.iter().filter(|(_, entry)| entry.whose == Whose::Fleet)
    }

    /// The jobs that are not over.
    pub fn open_jobs(&self) -> impl Iterator<Item = (&ForgeJobId, &ForgeJob)> {
        self.jobs.iter().filter(|(_, job)| job.stage != JobStage::Over)
    }

    /// A supervisor is gone, and with it what only it knew.
    pub(super) fn unwatch(&mut self) {
        self.grants.clear();
        self.told.clear();
        self.in_flight.clear();
    }

    fn enter(&mut self, entry: Entry) -> ForgeRunnerId {
        self.runners += 1;
        let id = ForgeRunnerId(self.runners);
        self.entries.insert(id, entry);
        id
    }
}

impl World {
    /// The shell reads these scopes from now on.
    pub fn follow_scopes(&mut self, scopes: BTreeSet<ScopeUrl>) {
        let new: Vec<ScopeUrl> = scopes.difference(&self.forge.scopes).cloned().collect();
        if new.is_empty() {
            return;
        }
        let was_followed = !self.forge.scopes.is_empty();
        // A scope that no pool names any more is still read: somebody may have to leave it.
        self.forge.scopes.extend(new.iter().cloned());
        if !self.is_watched {
            return;
        }
        for scope in new {
            self.read_forge(scope);
        }
        if !was_followed {
            self.poll_later();
        }
    }

    /// A supervisor starts.
    pub(super) fn watch_forge(&mut self) {
        if self.forge.scopes.is_empty() {
            return;
        }
        for scope in self.forge.scopes.clone() {
            self.read_forge(scope);
        }
        self.poll_later();
    }

    fn poll_later(&mut self) {
        self.due_at_forge(POLL_EVERY, ForgeDue::Poll(self.epoch));
    }

    pub(super) fn due_at_forge(&mut self, wait: Duration, due: ForgeDue) {
        self.clock.after(wait, super::Due::Forge(due));
    }

    pub(super) fn at_forge(&mut self, due: ForgeDue) -> Happening {
        match due {
            ForgeDue::Call(call) => self.answer_call(*call),
            ForgeDue::Poll(epoch) => self.poll(epoch),
            ForgeDue::Lists(epoch, scope, begun) => self.list_forge(epoch, &scope, begun),
            ForgeDue::Listener(container, life, step) => self.listener_step(&container, life, step),
            ForgeDue::GiveOut => self.give_out(),
            ForgeDue::Take(job, turn) => self.take(job, turn),
            ForgeDue::Miss(job, turn) => self.miss(job, turn),
            ForgeDue::Lapse(job, turn) => self.lapse(job, turn),
            ForgeDue::Done(job, turn) => self.done(job, turn),
            ForgeDue::Release(job) => self.release(job),
            ForgeDue::Purge(runner) => {
                self.forge.entries.remove(&runner);
            }
            ForgeDue::Back => self.note("the forge answers again".to_owned()),
        }
        Happening::Unnoticed
    }

    fn poll(&mut self, epoch: Turn) {
        if epoch != self.epoch || !self.is_watched {
            return;
        }
        self.poll_later();
        for scope in self.forge.scopes.clone() {
            self.read_forge(scope);
        }
    }

    /// The forge answers nobody for a while: its runners go on with what they have.
    pub fn forge_away(&mut self, span: Duration) {
        self.note("the forge stops answering".to_owned());
        self.forge.away = self.now() + span;
        self.due_at_forge(span, ForgeDue::Back);
    }

    /// The forge asks for silence.
    pub fn limit_forge(&mut self, span: Duration) {
        self.note(format!("the forge asks for silence for {} s", span.as_secs()));
        self.forge.limited = self.now() + span;
    }

    /// The forge takes the credential, or takes it no more.
    pub fn deny_forge(&mut self, is_denied: bool) {
        let how = if is_denied { "refuses" } else { "takes" };
        self.note(format!("the forge {how} the fleet's credential"));
        self.forge.is_denied = is_denied;
    }

    /// Whether nobody is answered now.
    pub(super) fn is_forge_away(&self) -> bool {
        self.forge.away > self.now()
    }

    /// Whatever was wrong with the forge is over.
    pub fn heal_forge(&mut self) {
        self.forge.away = self.now();
        self.forge.limited = self.now();
        self.forge.is_denied = false;
        self.forge.is_too_old = false;
        self.forge.fate = Fate::Serves;
        for token in self.forge.tokens.values_mut() {
            *token = Token::Good;
        }
        self.due_at_forge(Duration::ZERO, ForgeDue::GiveOut);
    }

    /// Somebody else's runner, at the forge's usual place.
    pub fn add_foreign(&mut self, name: &str, labels: &[&str]) -> ForgeRunnerId {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let entry = self.new_entry((ScopeUrl::new(SCOPE), name.to_owned()), labels, Whose::Others);
        let id = self.forge.enter(entry);
        self.due_at_forge(Duration::ZERO, ForgeDue::GiveOut);
        id
    }
}
