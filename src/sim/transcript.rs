//! The story of a simulation as a person reads it: one line for each thing, with its time.

mod forges;

use std::fmt::Write;

use forges::of_listener;
pub use forges::of_outcome;

use super::world::BEGIN;
use super::world::truth::Truth;
use crate::fleet::audit::AuditEntry;
use crate::fleet::effect::{AgentOrder, Answer, Effect, EngineAction, ForgeAction};
use crate::fleet::event::{
    AgentEvent, ContainerFact, ContainerState, Cordon, EngineEvent, Event, Outcome, Request,
    RestartTime, ScaleRequest, ScaleTarget,
};
use crate::fleet::oom::Finding;
use crate::ids::{AttemptNo, JobId};
use crate::units::Time;

/// Whether a story is written down; writing costs more than simulating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// Nothing is written.
    Off,
    /// Everything is written.
    On,
}

/// How lists begin.
const LISTS: [&str; 3] = ["  < list: ", "  < forge's runners: ", "  < forge's jobs: "];

/// The lines written so far.
#[derive(Debug, Clone)]
pub struct Transcript {
    writing: Writing,
    lines: Vec<String>,
    last_lists: [String; LISTS.len()],
}

impl Transcript {
    /// An empty story.
    #[must_use]
    pub fn new(writing: Writing) -> Self {
        Self { writing, lines: Vec::new(), last_lists: Default::default() }
    }

    /// Begins or ends the writing.
    pub fn set(&mut self, writing: Writing) {
        self.writing = writing;
    }

    /// Whether lines are kept.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.writing == Writing::On
    }

    /// Adds a line. A list that says what the last one said is no news.
    pub fn note(&mut self, now: Time, line: String) {
        let mut lists = LISTS.iter().zip(&mut self.last_lists);
        if let Some((_, last)) = lists.find(|(list, _)| line.starts_with(*list)) {
            if line == *last {
                return;
            }
            last.clone_from(&line);
        }
        if self.is_on() {
            let passed = now.since(BEGIN);
            self.lines.push(format!(
                "{:5}.{:03}  {line}",
                passed.as_secs(),
                passed.subsec_millis()
            ));
        }
    }

    /// Adds a heading without a time.
    pub fn heading(&mut self, text: &str) {
        if self.is_on() {
            self.lines.push(format!("# {text}"));
        }
    }

    /// The last lines.
    #[must_use]
    pub fn tail(&self, most: usize) -> &[String] {
        let from = self.lines.len().saturating_sub(most);
        self.lines.get(from..).unwrap_or_default()
    }

    /// The whole story.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for line in &self.lines {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// What a supervisor hears; nothing for what it hears all the time.
#[must_use]
pub fn of_event(event: &Event, truth: &Truth) -> Option<String> {
    let line = match event {
        Event::Engine(event) => of_engine(event)?,
        Event::Operation { op, outcome } => {
            let what = truth.operations.get(op).map_or("?", String::as_str);
            match outcome {
                Outcome::Created(id) => format!("{what}: {id}"),
                Outcome::Done => format!("{what}: done"),
                Outcome::Failed(error) => format!("{what}: {:?}, {}", error.class, error.message),
                Outcome::Unknown(why) => format!("{what}: outcome unknown, {why}"),
            }
        }
        Event::Forge(event) => forges::of_event(event),
        Event::ForgeOperation { op, outcome } => {
            let what = truth.operations.get(op).map_or("?", String::as_str);
            format!("{what}: {}", of_outcome(outcome))
        }
        Event::Agent { incarnation, event } => format!("{incarnation} {}", of_agent(event)?),
        Event::Published { job, outcome, found, .. } => {
            let stored = match outcome {
                Ok(()) => "published".to_owned(),
                Err(why) => format!("not published: {why}"),
            };
            match found {
                Finding::NotAsked => format!("{job} {stored}"),
                Finding::Nothing => format!("{job} {stored}, nothing found"),
                Finding::Line(line) => format!("{job} {stored}, it says: {line}"),
                Finding::Unreadable(why) => format!("{job} {stored}, not searched: {why}"),
            }
        }
        Event::ForgePublished { incarnation, reports, outcome } => match outcome {
            Ok(()) => format!("{reports} of {incarnation} published"),
            Err(why) => format!("{reports} of {incarnation} not published: {why}"),
        },
        Event::Disks(disks) => {
            let free: Vec<String> =
                disks.iter().map(|disk| format!("{} {} free", disk.holds, disk.free)).collect();
            format!("disks: {}", free.join(", "))
        }
        Event::RolledBack { known, found } => format!("rolled back from {known} to {found}"),
        Event::Xid(report) => format!("{}: Xid {}", report.card, report.xid),
        Event::Request { .. } | Event::Host(_) | Event::Gpus(_) | Event::Tick => return None,
    };
    Some(format!("  < {line}"))
}

fn of_engine(event: &EngineEvent) -> Option<String> {
    Some(match event {
        EngineEvent::Listed { begun: _, containers } if containers.is_empty() => {
            "list: nothing".to_owned()
        }
        EngineEvent::Listed { begun: _, containers } => {
            let all: Vec<String> = containers.iter().map(of_fact).collect();
            format!("list: {}", all.join(", "))
        }
        EngineEvent::Ended { container, code } => format!("{container} ended, {code}"),
        EngineEvent::Died { container, exit } => format!("{container} died, {}", exit.code),
        EngineEvent::Removed { container } => format!("{container} removed"),
        EngineEvent::Unreachable { why } => format!("engine unreachable, {why}"),
        EngineEvent::Image { image, outcome: Ok(id) } => format!("image {image}: {id}"),
        EngineEvent::Image { image, outcome: Err(why) } => format!("image {image}: {why}"),
    })
}

fn of_fact(fact: &ContainerFact) -> String {
    let state = match fact.state {
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Exited(_) => "exited",
        ContainerState::Removing => "removing",
    };
    format!("{} {} {state}", fact.incarnation, fact.id)
}

fn of_agent(event: &AgentEvent) -> Option<String> {
    Some(match event {
        AgentEvent::Connected { holding: None } => "connected".to_owned(),
        AgentEvent::Connected { holding: Some(held) } => {
            format!("connected, holding {}", work(held.job, held.attempt))
        }
        AgentEvent::Disconnected => "disconnected".to_owned(),
        AgentEvent::Heartbeat => return None,
        AgentEvent::DeviceLost { path } => format!("lost {path}"),
        AgentEvent::Listener(status) => of_listener(status),
        AgentEvent::Started { job, attempt } => format!("started {}", work(*job, *attempt)),
        AgentEvent::Ended { job, attempt, end } => {
            format!("ended {}: {end:?}", work(*job, *attempt))
        }
    })
}

fn work(job: JobId, attempt: AttemptNo) -> String {
    format!("{job}.{attempt}")
}

/// What the core wants done.
#[must_use]
pub fn of_effect(effect: &Effect) -> String {
    let line = match effect {
        Effect::Engine { incarnation, action, .. } => match action {
            EngineAction::Create(plan) => format!("create {incarnation} as {}", plan.name),
            EngineAction::Start(container) => format!("start {incarnation} {container}"),
            EngineAction::Remove { container, evidence } => {
                let which = container.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
                let look = if evidence.is_some() { " after a look at it" } else { "" };
                format!("remove {incarnation}{which}{look}")
            }
        },
        Effect::Forge { incarnation, action, .. } => match action {
            ForgeAction::Register(order) => format!("register {incarnation} as {}", order.name),
            ForgeAction::Remove(entry) => format!("deregister {}", entry.name),
        },
        Effect::LookAtForge(scope) => format!("look at {scope}"),
        Effect::ResolveImage(image) => format!("look up image {image}"),
        Effect::Agent { incarnation, order } => match order {
            AgentOrder::Assign(order) => {
                format!("{incarnation} run {}", work(order.job, order.attempt))
            }
            AgentOrder::Listen(order) => format!("{incarnation} listen as {}", order.name),
            AgentOrder::StopListening(patience) => {
                format!("{incarnation} {}", forges::of_patience(*patience))
            }
            AgentOrder::Cancel { job, attempt, .. } => {
                format!("{incarnation} stop {}", work(*job, *attempt))
            }
            AgentOrder::Acknowledge { job, attempt } => {
                format!("{incarnation} forget {}", work(*job, *attempt))
            }
        },
        Effect::Answer { answer, .. } => of_answer(answer),
        Effect::PublishReports { job, reports, search, .. } => {
            let look = if search.is_some() { ", and look into its output" } else { "" };
            format!("publish {job} as {reports}{look}")
        }
        Effect::PublishForgeReports { incarnation, reports } => {
            format!("publish what {incarnation} wrote as {reports}")
        }
        Effect::DropBlob(blob) => format!("drop folder {blob}"),
        Effect::CloseLog(job) => format!("close log of {job}"),
        Effect::DropLog(job) => format!("drop log of {job}"),
        Effect::Forget(incarnation) => format!("forget {incarnation}"),
        Effect::Relist => "list soon".to_owned(),
        Effect::Finish => "finish".to_owned(),
    };
    format!("  > {line}")
}

fn of_answer(answer: &Answer) -> String {
    match answer {
        Answer::Accepted => "answer: accepted".to_owned(),
        Answer::Submitted(job) => format!("answer: {job}"),
        Answer::SubmittedAll { first, last } => format!("answer: {first} to {last}"),
        Answer::Refused(refusal) => format!("answer: refused, {refusal}"),
    }
}

/// What somebody asks for.
#[must_use]
pub fn of_request(request: &Request) -> String {
    let line = match request {
        Request::Apply(spec) => {
            let pools = spec
                .pools
                .iter()
                .map(|pool| format!("{} {}x{}", pool.name, pool.size.at_rest(), pool.profile));
            format!("up: {}", pools.collect::<Vec<_>>().join(", "))
        }
        Request::Submit(job) => {
            let mut line = format!("submit {}", job.words());
            let mut add = |name: &str, value: Option<String>| {
                if let Some(value) = value {
                    // Writing into a string cannot fail.
                    let _written = write!(line, ", {name} {value}");
                }
            };
            add("profile", job.profile.as_ref().map(ToString::to_string));
            add("type", job.task_type.clone());
            add("pool", job.pool.as_ref().map(ToString::to_string));
            add("lane", job.lane.as_ref().map(ToString::to_string));
            add("workflow", job.workflow.clone());
            add("run", job.run_id.clone());
            add("on", job.hold.then(|| "hold".to_owned()));
            add("priority", (job.priority != 0).then(|| job.priority.to_string()));
            line
        }
        Request::SubmitAll(jobs) => format!("submit {} jobs", jobs.len()),
        Request::Cancel(job) => format!("cancel {job}"),
        Request::Hold(jobs) => format!("hold {}", named(jobs)),
        Request::Release(jobs) => format!("release {}", named(jobs)),
        Request::Complete { job, end } => format!("complete {job}, {end:?}").to_lowercase(),
        Request::Scale(ScaleRequest { target, lasting }) => {
            let numbers = match target {
                ScaleTarget::Total(total) => total.to_string(),
                ScaleTarget::Pools(pools) => format!("{pools:?}"),
            };
            let span = lasting.map(|span| format!(" for {span:?}")).unwrap_or_default();
            format!("scale to {numbers}{span}")
        }
        Request::Down(mode) => format!("down, {mode:?}").to_lowercase(),
        Request::Cordon { slots, to } => format!("cordon {slots:?} {to:?}"),
        Request::Pause { pools, to } => {
            let pools = if pools.is_empty() { "all pools".to_owned() } else { pools.join(", ") };
            let verb = if *to == Cordon::Closed { "pause" } else { "resume" };
            format!("{verb} {pools}")
        }
        Request::CordonCards { cards, to } => format!("cordon cards {cards:?} {to:?}"),
        Request::Restart { slots, when: RestartTime::AfterJob } => format!("restart {slots:?}"),
        Request::Restart { slots, when: RestartTime::Now } => {
            format!("restart {slots:?} by force")
        }
        Request::Token { token, change, why } => {
            format!("token {token} {change:?}: {why}").to_lowercase()
        }
    };
    format!("{line}?")
}

fn named(jobs: &[JobId]) -> String {
    jobs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// One line of the fleet's own record.
#[must_use]
pub fn of_audit(entry: &AuditEntry) -> String {
    let told = match entry.why.is_empty() {
        true => format!("* {} {}", entry.object, entry.what),
        false => format!("* {} {}: {}", entry.object, entry.what, entry.why),
    };
    match (&entry.before, &entry.after) {
        // Of a pool, the numbers are the story; of others, the lines before tell.
        (Some(before), Some(after)) if entry.object.starts_with("pool ") => {
            format!("{told} ({before} -> {after})")
        }
        _ => told,
    }
}
