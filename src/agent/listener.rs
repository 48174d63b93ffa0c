//! A forge's listener: the program in the image that takes the forge's jobs, started, watched and
//! ended by the agent.
//!
//! It is another process with a life of its own, so nothing that it says once is relied on: where
//! it stands is made from its process, its worker's and its words, again and again, and told when
//! it differs from what was told last. While it has a job nothing here ends it but an order to do
//! so.
//!
//! Rooms: `places` (folders and waits), `files` (its registration on disk), `registration` (one
//! that is kept), `configure` (registering), `program` (its process), `words` (what it says),
//! `work` (its job), `progress` (alive is not working), `hooks`, `fork` and `inside` (inside of a
//! job). They are about GitHub's program; `gitea` says what is other for Gitea's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, WaitStatus, getpid};
use tokio::time::Instant;

use super::place::{self, Owner};
use super::processes::{Processes, signal, signal_all};
use super::running::until;
use super::{Settings, memory, say};
use crate::ids::{ForgeRunnerId, IncarnationId, folder_name};
use crate::wire::enrolment::Enrolment;
use crate::wire::frame::Stream;
use crate::wire::listen::{Credential, ForgeKind, ListenOrder, ListenerEnd};

mod configure;
mod ending;
mod files;
mod fork;
mod gitea;
pub mod hooks;
pub mod inside;
mod places;
mod program;
mod progress;
mod registration;
mod status;
mod words;
mod work;

pub use places::{Places, Waits};

use hooks::{HookWord, Hooks};
use program::{Program, Start};
use progress::Progress;
use registration::Registration;
use status::Told;
use words::{LastWords, Word};
use work::Work;

/// Where jobs work unless they reach the engine; the settings say where that is.
const WORK: &str = "/work";

/// What happens to a listener by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListenerEvent {
    /// It says something.
    Readable(Stream),
    /// A job's hook says something.
    Hook,
    /// It is time to look.
    Due,
}

enum Phase {
    /// Its program registers.
    Registering(Box<Program>, Instant),
    /// Its program runs.
    Running(Box<Program>),
    /// Its program ended, or never began.
    Over(ListenerEnd),
}

/// It was asked to end.
#[derive(Debug, Clone, Copy)]
struct Stop {
    kill_at: Instant,
    /// Whether its job ends with it.
    with_job: bool,
}

/// A listener.
pub(super) struct Listener {
    /// Its order. Of a secret only what must be known to try again with another one.
    order: ListenOrder,
    settings: Settings,
    root: PathBuf,
    phase: Phase,
    /// Its number at the forge.
    runner: Option<ForgeRunnerId>,
    work: Work,
    progress: Progress,
    hooks: Option<Hooks>,
    last_words: LastWords,
    /// Whether it waits or waited for jobs.
    listening: bool,
    /// Whether it said that its registration is gone.
    deleted: bool,
    /// When its program was seen dead while its worker lived.
    alone_since: Option<Instant>,
    memory_kills: u64,
    stop: Option<Stop>,
    next_look: Instant,
    over_since: Option<Instant>,
    told: Told,
}

/// The next thing that happens to the listener, if there is one. Cancel-safe.
pub(super) async fn next(listener: Option<&Listener>) -> ListenerEvent {
    match listener {
        Some(listener) => listener.next().await,
        None => std::future::pending().await,
    }
}

impl Listener {
    /// Begins with an order: registers if that is still to be done, then starts the program.
    pub(super) fn begin(order: ListenOrder, settings: &Settings) -> Self {
        let now = Instant::now();
        let mut listener = Self {
            settings: settings.clone(),
            root: PathBuf::new(),
            phase: Phase::Over(ListenerEnd::NeedsToken),
            runner: None,
            work: Work::default(),
            progress: Progress::new(settings.listeners.counters.clone(), now),
            hooks: None,
            last_words: LastWords::default(),
            listening: false,
            deleted: false,
            alone_since: None,
            memory_kills: memory::kills(),
            stop: None,
            next_look: now,
            over_since: None,
            told: Told::default(),
            order,
        };
        match listener.prepare(now) {
            Ok(phase) => listener.phase = phase,
            Err(end) => listener.over(end, now),
        }
        listener
    }

    /// A listener that this very runner had before it was started again, without its supervisor.
    pub(super) fn resume(settings: &Settings) -> Option<Self> {
        let registration = Registration::new(&settings.listeners.identity);
        let order = registration.recall(enrolment(settings).ok()?.incarnation)?;
        say(&format!("takes the forge's jobs again as {}", order.name));
        Some(Self::begin(order, settings))
    }

    /// A further order. One that listens goes on; one that could not register tries again.
    pub(super) fn order(&mut self, order: ListenOrder) {
        let is_new = order.credential != self.order.credential;
        let again = match &self.phase {
            Phase::Registering(..) | Phase::Running(_) => false,
            Phase::Over(end) => match end {
                ListenerEnd::NeedsToken
                | ListenerEnd::TokenRefused(_)
                | ListenerEnd::NameTaken(_)
                | ListenerEnd::NotRegistered(_) => is_new,
                ListenerEnd::Exited { .. } | ListenerEnd::NotStarted(_) => false,
            },
        };
        if again {
            let settings = self.settings.clone();
            // Its socket must be free for the next one.
            self.hooks = None;
            *self = Self::begin(order, &settings);
        } else {
            self.told.again();
        }
    }

    fn owner(&self) -> Owner {
        Owner { uid: self.order.uid, gid: self.order.gid }
    }

    fn registration(&self) -> Registration {
        Registration::new(&self.settings.listeners.identity)
    }

    /// Whether its registration lasts.
    fn is_kept(&self) -> bool {
        matches!(self.order.credential, Credential::Kept(_))
    }

    fn work_folder(&self) -> PathBuf {
        match self.order.work.as_str() {
            WORK => self.settings.work.clone(),
            other => PathBuf::from(other),
        }
    }

    fn prepare(&mut self, now: Instant) -> Result<Phase, ListenerEnd> {
        if let Err(why) = inside::install(&self.settings.listeners.hooks, &self.order.name) {
            say(&why);
        }
        if self.order.forge == ForgeKind::Gitea {
            return self.prepare_gitea(now);
        }
        self.root = files::find(&self.settings.listeners.roots).map_err(ListenerEnd::NotStarted)?;
        let work = self.work_folder();
        let incarnation = self.make_ready(&work).map_err(ListenerEnd::NotStarted)?;
        let work = work.display().to_string();
        match self.order.credential.clone() {
            Credential::OneJob(blob) => {
                let files = files::unpack(&blob, &work).map_err(ListenerEnd::NotStarted)?;
                // It is good for one start, and the files have it.
                self.order.credential = Credential::OneJob(String::new());
                self.start(&files, now)
            }
            Credential::Kept(token) => {
                let registration = self.registration();
                registration.remember(&self.order, incarnation);
                match (registration.find(&self.order), token) {
                    (Some(files), _) => self.start(&files, now),
                    (None, Some(token)) => self.register(&token, &work, now),
                    (None, None) => Err(ListenerEnd::NeedsToken),
                }
            }
        }
    }

    /// Folders, their owners, and the hooks.
    fn make_ready(&mut self, work: &std::path::Path) -> Result<IncarnationId, String> {
        files::own(&self.root, self.owner())?;
        place::own(work, self.owner())?;
        let enrolment = enrolment(&self.settings)?;
        let hooks = &self.settings.listeners.hooks;
        self.hooks = Some(Hooks::prepare(hooks, &enrolment, self.order.refuse_forks)?);
        Ok(enrolment.incarnation)
    }

    fn register(&self, token: &str, work: &str, now: Instant) -> Result<Phase, ListenerEnd> {
        files::clean(&self.root).map_err(ListenerEnd::NotStarted)?;
        let env = configure::env(&self.env().map_err(ListenerEnd::NotStarted)?, token);
        let arguments = configure::arguments(&self.order, work);
        let program = files::program(&self.root);
        let start =
            Start { program: &program, folder: &self.root, arguments, env, owner: self.owner() };
        let program = Program::start(&start).map_err(ListenerEnd::NotStarted)?;
        Ok(Phase::Registering(Box::new(program), now + self.waits().register))
    }

    /// Starts the program with a registration.
    fn start(&mut self, files: &files::Files, now: Instant) -> Result<Phase, ListenerEnd> {
        let started = || -> Result<Program, String> {
            files::write(&self.root, files, self.owner())?;
            let env = self.env()?;
            let arguments = vec!["run".to_owned()];
            let (program, folder) = (files::program(&self.root), &self.root);
            let owner = self.owner();
            Program::start(&Start { program: &program, folder, arguments, env, owner })
        };
        let program = started().map_err(ListenerEnd::NotStarted)?;
        let settings = files.get(files::SETTINGS).and_then(|bytes| files::describe(bytes));
        self.runner = settings.and_then(|settings| settings.id);
        self.progress.begin(now);
        Ok(Phase::Running(Box::new(program)))
    }

    fn env(&self) -> Result<BTreeMap<String, String>, String> {
        let user = place::user_env(self.owner(), &self.work_folder())?;
        let mut env: BTreeMap<String, String> =
            user.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        env.extend(self.order.env.clone());
        let own = [
            // Without it the log is in files that go with the container.
            ("ACTIONS_RUNNER_PRINT_LOG_TO_STDOUT", "1"),
            // Without it a program that is too old ends like one that is not registered.
            ("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "1"),
        ];
        env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        env.extend(self.hooks.iter().flat_map(Hooks::env));
        inside::add_to(env.entry("PATH".to_owned()).or_default(), &self.settings.listeners.hooks);
        Ok(env)
    }

    fn waits(&self) -> Waits {
        self.settings.listeners.waits
    }

    async fn next(&self) -> ListenerEvent {
        let program = match &self.phase {
            Phase::Registering(program, _) | Phase::Running(program) => Some(program),
            Phase::Over(_) => None,
        };
        let said = async {
            match program {
                Some(program) => program.next().await,
                None => std::future::pending().await,
            }
        };
        let hook = async {
            match &self.hooks {
                Some(hooks) => hooks.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            stream = said => ListenerEvent::Readable(stream),
            () = hook => ListenerEvent::Hook,
            () = until(self.due()) => ListenerEvent::Due,
        }
    }

    fn due(&self) -> Option<Instant> {
        let own = match &self.phase {
            Phase::Registering(_, deadline) => *deadline,
            Phase::Running(_) => self.next_look,
            Phase::Over(_) => return None,
        };
        Some(self.stop.map_or(own, |stop| own.min(stop.kill_at)))
    }

    pub(super) fn handle(&mut self, event: ListenerEvent) {
        match event {
            ListenerEvent::Readable(stream) => {
                let lines = match &mut self.phase {
                    Phase::Registering(program, _) | Phase::Running(program) => {
                        program.read(stream)
                    }
                    Phase::Over(_) => Vec::new(),
                };
                self.hear(&lines, Instant::now());
            }
            ListenerEvent::Hook => self.hear_hook(Instant::now()),
            // `advance` follows.
            ListenerEvent::Due => {}
        }
    }

    fn hear(&mut self, lines: &[String], now: Instant) {
        for line in lines {
            let word = match self.order.forge {
                ForgeKind::Github => words::parse(line),
                ForgeKind::Gitea => gitea::parse(line),
            };
            let mut clean = words::redact(line);
            if let Credential::Kept(Some(token)) = &self.order.credential
                && !token.is_empty()
            {
                clean = clean.replace(token.as_str(), "***");
            }
            say(&format!("listener: {clean}"));
            self.last_words.push(&clean);
            match word {
                Some(Word::Listening) => {
                    self.listening = true;
                    self.work.done();
                    self.progress.begin(now);
                }
                Some(Word::Claimed(name)) => self.work.claim(name, now),
                Some(Word::Done) => self.work.done(),
                Some(Word::Unconnected) => self.progress.disconnect(),
                Some(Word::Connected) => self.progress.begin(now),
                Some(Word::Deleted) => self.deleted = true,
                None => continue,
            }
            self.next_look = now;
        }
    }

    fn hear_hook(&mut self, now: Instant) {
        let Some((word, asker)) = self.hooks.as_ref().and_then(Hooks::read) else { return };
        match word {
            HookWord::Started(fact) => {
                self.look(now);
                self.make_reports(&fact);
                self.work.describe(fact, now);
            }
            // The listener says it, too, and its worker ends.
            HookWord::Completed => {}
        }
        if let Some(hooks) = &self.hooks {
            hooks.answer(&asker);
        }
    }

    /// Where a job's steps put its reports.
    fn make_reports(&self, fact: &crate::wire::listen::WorkFact) {
        let (Some(workflow), Some(run)) = (&fact.workflow, fact.run) else { return };
        let names = [folder_name(workflow), run.to_string()];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if let Err(why) = place::make_reports(&names, self.owner(), &self.settings) {
            say(&why);
        }
    }

    /// A child died.
    pub(super) fn reaped(&mut self, pid: Pid, status: WaitStatus) {
        match &mut self.phase {
            Phase::Registering(program, _) | Phase::Running(program) => {
                program.reaped(pid, status);
                self.next_look = Instant::now();
            }
            Phase::Over(_) => {}
        }
    }

    /// Looks at the processes.
    fn look(&mut self, now: Instant) {
        let waits = self.waits();
        let Phase::Running(program) = &self.phase else { return };
        let all = Processes::now();
        let worker = match (program.exit, self.order.forge) {
            (None, ForgeKind::Github) => work::worker_of(program.pid, &all),
            // It is its own worker.
            (None, ForgeKind::Gitea) => self.work.fact().map(|_| program.pid),
            (Some(_), _) => self.work.worker().filter(|worker| all.has(*worker)),
        };
        self.work.look(worker, now, &waits);
        let idle = self.work.fact().is_none();
        if self.listening && idle {
            self.progress.look(now);
        } else {
            self.progress.begin(now);
        }
        if idle && self.is_kept() {
            sweep(program, &all);
        }
        self.next_look = now + if idle { waits.look_idle } else { waits.look_busy };
    }
}

/// Ends what jobs have left: everything below the agent but the listener and its own.
fn sweep(program: &Program, all: &Processes) {
    let own = all.below(program.pid);
    let left = all.below(getpid());
    let left = left.iter().filter(|pid| **pid != program.pid && !own.contains(pid));
    left.for_each(|pid| signal(*pid, Signal::KILL));
}

fn enrolment(settings: &Settings) -> Result<Enrolment, String> {
    let problem = |why: String| format!("the enrolment file cannot be read: {why}");
    let text = std::fs::read(&settings.enrolment).map_err(|error| problem(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| problem(error.to_string()))
}
