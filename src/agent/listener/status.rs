//! What is told of a listener: where it stands, when that differs from what was told last.

use tokio::time::Instant;

use super::{Listener, Phase, files};
use crate::agent::health::{Outage, Report};
use crate::wire::listen::{ForgeKind, ListenerStage, ListenerStatus, WorkFact};

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// In this session.
    status: Option<ListenerStatus>,
    /// The last job that was told of, with its number.
    job: Option<(u32, WorkFact)>,
}

impl Told {
    /// It is to be told again, whatever it is.
    pub(super) fn again(&mut self) {
        self.status = None;
    }
}

impl Listener {
    /// A new session knows nothing.
    pub(in crate::agent) fn rewind(&mut self) {
        self.told.again();
    }

    /// What is to be told, if anything; it counts as told. Of each job at least once that there is
    /// one: it may be over before anybody could hear of it.
    pub(in crate::agent) fn tell(&mut self) -> Option<ListenerStatus> {
        if let Some(over) = self.work.last()
            && self.told.job.as_ref().is_none_or(|told| told != over && told.0 <= over.0)
        {
            let (jobs, fact) = over.clone();
            self.told.job = Some((jobs, fact.clone()));
            self.told.status = None;
            let stage = ListenerStage::Working(fact);
            return Some(ListenerStatus { stage, runner: self.runner, jobs, stuck: None });
        }
        let status = self.status(Instant::now());
        if self.told.status.as_ref() == Some(&status) {
            return None;
        }
        if let ListenerStage::Working(fact) = &status.stage {
            self.told.job = Some((status.jobs, fact.clone()));
        }
        self.told.status = Some(status.clone());
        Some(status)
    }

    fn status(&self, now: Instant) -> ListenerStatus {
        let stage = match (&self.phase, self.work.fact()) {
            (Phase::Over(end), _) => ListenerStage::Over(end.clone()),
            (Phase::Registering(..), _) => ListenerStage::Registering,
            (Phase::Running(_), Some(fact)) => ListenerStage::Working(fact.clone()),
            (Phase::Running(_), None) if self.listening => ListenerStage::Listening,
            (Phase::Running(_), None) => ListenerStage::Starting,
        };
        // How long it lasts is no change that is worth telling.
        let stuck = match &self.told.status {
            Some(told) if told.stage == stage && told.stuck.is_some() => {
                self.stuck(now).and(told.stuck.clone())
            }
            Some(_) | None => self.stuck(now),
        };
        ListenerStatus { stage, runner: self.runner, jobs: self.work.count(), stuck }
    }

    /// How it lives without making progress.
    fn stuck(&self, now: Instant) -> Option<String> {
        let waits = self.waits();
        match (&self.phase, self.work.fact()) {
            (Phase::Running(program), Some(_)) if program.exit.is_some() => {
                Some("its listener is dead while its job goes on; the forge gives it up".to_owned())
            }
            (Phase::Running(_), Some(_)) => self.work.stuck(now, &waits),
            (Phase::Running(_), None) if self.listening => self.progress.stuck(now, &waits),
            (Phase::Running(_), None) | (Phase::Registering(..) | Phase::Over(_), _) => None,
        }
    }

    /// For a health check: whether it is well, and where it stands. One that works is well.
    pub(in crate::agent) fn health(&self, outage: Outage) -> Report {
        let name = &self.order.name;
        let now = Instant::now();
        let (healthy, text) = match (&self.phase, self.work.fact()) {
            (Phase::Over(_), _) => (false, format!("{name}: its listener has ended")),
            (Phase::Registering(..), _) => (false, format!("{name}: registering")),
            (Phase::Running(_), Some(_)) => (true, format!("{name}: registered, has a job")),
            (Phase::Running(_), None) => match (self.damage(), self.stuck(now)) {
                (Some(damage), _) => (false, format!("{name}: {damage}")),
                (None, Some(stuck)) => (false, format!("{name}: {stuck}")),
                (None, None) if self.listening => {
                    (true, format!("{name}: registered, waits for jobs"))
                }
                (None, None) => (false, format!("{name}: registered, its listener starts")),
            },
        };
        let link = match outage {
            Outage::None => "connected",
            // It takes its forge's jobs all the same.
            Outage::Always | Outage::Lasts(_) => "no supervisor",
        };
        Report { healthy, text: format!("{text}, {link}") }
    }

    /// What is wrong with its registration's files.
    fn damage(&self) -> Option<String> {
        let missing = || Some("its registration is not in its place".to_owned());
        if self.order.forge == ForgeKind::Gitea {
            return (!self.root.join(files::SETTINGS).is_file()).then(missing).flatten();
        }
        let Some(files) = files::read(&self.root) else { return missing() };
        let Some(described) = files.get(files::SETTINGS).and_then(|text| files::describe(text))
        else {
            return missing();
        };
        let other = described.name.filter(|name| *name != self.order.name);
        if let Some(name) = other {
            return Some(format!("it is registered as {name}"));
        }
        let elsewhere = described.url.filter(|url| !same(url, &self.order.url));
        elsewhere.map(|url| format!("it is registered at {url}"))
    }
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}
