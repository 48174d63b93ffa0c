//! The one job that the agent holds, from its order to the acknowledgement of its end.

use std::time::Duration;

use rustix::process::{Pid, WaitStatus};
use tokio::time::Instant;

use super::Settings;
use super::caches::{self, Held};
use super::output::Outbox;
use super::place::{self, Place};
use super::processes::Left;
use super::running::{Running, Start};
use super::unpacking::{Unpacked, Unpacking};
use crate::wire::frame::Stream;
use crate::wire::message::{End, JobOrder, JobRef};

/// What happens to a job by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobEvent {
    /// Output can be read.
    Readable(Stream),
    /// More of the working folder can be passed on.
    Writable,
    /// A deadline has come.
    Due,
}

enum Phase {
    /// Its working folder arrives.
    Unpacking(Box<Unpacking>),
    /// Its first process has been started.
    Running(Box<Running>),
    /// All of its processes are gone.
    Over(End),
}

/// A job.
pub(super) struct Job {
    order: JobOrder,
    output: Outbox,
    phase: Phase,
    started: bool,
    caches: Vec<Held>,
}

/// The next thing that happens to the job, if there is one. Cancel-safe.
pub(super) async fn next(job: &mut Option<Job>) -> JobEvent {
    match job {
        None => std::future::pending().await,
        Some(job) => {
            let room = job.output.has_room();
            match &mut job.phase {
                Phase::Unpacking(unpacking) => unpacking.next().await,
                Phase::Running(running) => running.next(room).await,
                Phase::Over(_) => std::future::pending().await,
            }
        }
    }
}

impl Job {
    /// Begins a job: at once if it needs no working folder.
    pub(super) fn new(order: JobOrder, settings: &Settings) -> Self {
        let output = Outbox::new(order.job);
        let phase = Phase::Over(End::Cancelled);
        let mut job = Self { order, output, phase, started: false, caches: Vec::new() };
        if let Err(why) = place::empty_work(settings) {
            job.phase = Phase::Over(End::NotStarted(why));
            return job;
        }
        job.phase = match job.order.workspace {
            None => job.start(settings),
            Some(_) => match Unpacking::begin(&job.order, settings) {
                Ok(unpacking) => Phase::Unpacking(Box::new(unpacking)),
                Err(why) => Phase::Over(End::NotStarted(why)),
            },
        };
        job
    }

    fn start(&mut self, settings: &Settings) -> Phase {
        let place = Place::prepare(&self.order, settings).and_then(|place| {
            self.caches = caches::give(&self.order, settings)?;
            Ok(place)
        });
        let started = place
            .map_err(End::NotStarted)
            .and_then(|place| Running::start(&Start { order: &self.order, place: &place }));
        match started {
            Ok(running) => {
                self.started = true;
                Phase::Running(Box::new(running))
            }
            Err(end) => Phase::Over(end),
        }
    }

    /// Which attempt it is.
    pub(super) fn id(&self) -> JobRef {
        self.order.job
    }

    /// Whether its first process was started.
    pub(super) fn has_started(&self) -> bool {
        self.started
    }

    /// How it ended, if it has.
    pub(super) fn end(&self) -> Option<&End> {
        match &self.phase {
            Phase::Over(end) => Some(end),
            Phase::Unpacking(_) | Phase::Running(_) => None,
        }
    }

    /// Time between TERM and KILL.
    pub(super) fn stop_grace(&self) -> Duration {
        self.order.stop_grace
    }

    pub(super) fn output(&self) -> &Outbox {
        &self.output
    }

    pub(super) fn output_mut(&mut self) -> &mut Outbox {
        &mut self.output
    }

    /// Whether the unpacker is behind; nothing more must be read for it then.
    pub(super) fn is_busy_unpacking(&self) -> bool {
        match &self.phase {
            Phase::Unpacking(unpacking) => unpacking.is_busy(),
            Phase::Running(_) | Phase::Over(_) => false,
        }
    }

    /// Passes a piece of the working folder on. A piece that comes too late is dropped.
    pub(super) fn unpack(&mut self, bytes: Vec<u8>) {
        if let Phase::Unpacking(unpacking) = &mut self.phase {
            unpacking.put(bytes);
        }
    }

    /// The working folder is complete.
    pub(super) fn unpack_end(&mut self) {
        if let Phase::Unpacking(unpacking) = &mut self.phase {
            unpacking.complete();
        }
    }

    /// The working folder will never be complete.
    pub(super) fn unpack_failed(&mut self, why: String) {
        if let Phase::Unpacking(unpacking) = &mut self.phase {
            unpacking.kill();
            self.phase = Phase::Over(End::NotStarted(why));
        }
    }

    /// Gives the job up if its working folder is not complete; true if so.
    pub(super) fn abandon_if_incomplete(&mut self) -> bool {
        match &mut self.phase {
            Phase::Unpacking(unpacking) if !unpacking.is_complete() => {
                unpacking.kill();
                true
            }
            Phase::Unpacking(_) | Phase::Running(_) | Phase::Over(_) => false,
        }
    }

    /// Stops the job. What stopped it first stays the cause.
    pub(super) fn stop(&mut self, cause: End, grace: Duration) {
        match &mut self.phase {
            Phase::Unpacking(unpacking) => {
                unpacking.kill();
                self.phase = Phase::Over(cause);
            }
            Phase::Running(running) => running.stop(cause, grace),
            Phase::Over(_) => {}
        }
    }

    pub(super) fn handle(&mut self, event: JobEvent) {
        match (&mut self.phase, event) {
            (Phase::Unpacking(unpacking), JobEvent::Writable) => unpacking.write(),
            (Phase::Running(running), JobEvent::Readable(stream)) => {
                running.read(stream, &mut self.output);
            }
            // Deadlines are looked at in `advance`, which follows.
            (Phase::Unpacking(_) | Phase::Running(_) | Phase::Over(_), _) => {}
        }
    }

    /// A child died.
    pub(super) fn reaped(&mut self, pid: Pid, status: WaitStatus) {
        match &mut self.phase {
            Phase::Unpacking(unpacking) => unpacking.reaped(pid, status),
            Phase::Running(running) => running.reaped(pid, status),
            Phase::Over(_) => {}
        }
    }

    /// All dead children are buried; whether others live.
    pub(super) fn counted(&mut self, left: Left) {
        if let Phase::Running(running) = &mut self.phase {
            running.counted(left);
        }
    }

    /// Does what is due by now.
    pub(super) fn advance(&mut self, now: Instant, settings: &Settings) {
        let next = match &mut self.phase {
            Phase::Unpacking(unpacking) => match unpacking.outcome(now) {
                None => None,
                Some(Ok(Unpacked)) => Some(self.start(settings)),
                Some(Err(end)) => Some(Phase::Over(end)),
            },
            Phase::Running(running) => running.advance(now, &mut self.output).map(Phase::Over),
            Phase::Over(_) => None,
        };
        if let Some(phase) = next {
            self.phase = phase;
        }
    }
}
