//! How a listener ends: by itself, because it is asked to, or because its runner goes.

use std::time::Duration;

use rustix::process::Signal;
use tokio::time::Instant;

use super::{Listener, Phase, Stop, configure, files, memory, say, signal_all};
use crate::agent::health::Outage;
use crate::wire::frame::Stream;
use crate::wire::listen::{ForgeKind, ListenerEnd};

/// How often what will not die is killed again.
const KILL_AGAIN: Duration = Duration::from_secs(1);

impl Listener {
    /// Does what is due by now.
    pub(in crate::agent) fn advance(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Running(_)) && now >= self.next_look {
            self.look(now);
        }
        self.kill_if_due(now);
        match &self.phase {
            Phase::Registering(program, deadline) => match program.exit {
                Some(code) => self.registered(code, now),
                None if now >= *deadline => {
                    program.kill();
                    let seconds = self.waits().register.as_secs();
                    let why = format!("registering was not done within {seconds} s");
                    self.over(ListenerEnd::NotRegistered(why), now);
                }
                None => {}
            },
            Phase::Running(program) => {
                if let Some(code) = program.exit {
                    self.ended(code, now);
                }
            }
            Phase::Over(_) => {}
        }
    }

    fn registered(&mut self, code: i32, now: Instant) {
        self.hear_rest(now);
        let phase = match self.order.forge {
            ForgeKind::Github => self.registered_github(code, now),
            ForgeKind::Gitea => self.registered_gitea(code, now),
        };
        match phase {
            Ok(phase) => self.phase = phase,
            Err(end) => self.over(end, now),
        }
    }

    fn registered_github(&mut self, code: i32, now: Instant) -> Result<Phase, ListenerEnd> {
        if code != 0 {
            return Err(configure::failure(code, &self.last_words.text()));
        }
        let kept = self.registration().keep(&self.order, &self.root);
        self.start(&kept.map_err(ListenerEnd::NotRegistered)?, now)
    }

    fn ended(&mut self, code: i32, now: Instant) {
        self.hear_rest(now);
        self.look(now);
        self.work.end();
        if self.work.worker().is_some() {
            // Its job may still go on; the forge decides what its results are worth.
            let since = *self.alone_since.get_or_insert(now);
            if now.duration_since(since) < self.waits().worker_alone {
                return;
            }
        }
        if self.is_kept() && (self.deleted || files::read(&self.root).is_none()) {
            // It found its registration gone at the forge, and may have removed it here, too.
            if let Err(why) = self.registration().forget() {
                say(&why);
            }
        }
        if memory::kills() > self.memory_kills {
            self.last_words.push("the kernel killed a process here: the runner was out of memory");
        }
        self.over(ListenerEnd::Exited { code, said: self.last_words.text() }, now);
    }

    fn hear_rest(&mut self, now: Instant) {
        if let Phase::Registering(program, _) | Phase::Running(program) = &mut self.phase {
            let mut lines = program.read_rest();
            lines.extend(program.finish());
            self.hear(&lines, now);
        }
    }

    /// Nothing of it stays.
    pub(super) fn over(&mut self, end: ListenerEnd, now: Instant) {
        if matches!(self.phase, Phase::Running(_)) {
            signal_all(Signal::KILL);
        }
        self.work.look(None, now, &self.waits());
        self.work.done();
        self.stop = None;
        self.over_since = Some(now);
        self.phase = Phase::Over(end);
    }

    /// Whether it has ended.
    pub(in crate::agent) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over(_))
    }

    /// Whether it ended and nobody is there to replace its runner: then the engine starts the
    /// container again.
    pub(in crate::agent) fn is_forsaken(&self, now: Instant, outage: Outage) -> bool {
        let wait = self.waits().forsaken;
        let alone = match outage {
            Outage::None => false,
            Outage::Always => true,
            Outage::Lasts(span) => span >= wait,
        };
        let exited = matches!(self.phase, Phase::Over(ListenerEnd::Exited { .. }));
        let long = self.over_since.is_some_and(|since| now.duration_since(since) >= wait);
        self.is_kept() && exited && alone && long
    }

    /// Whether there is a job that would be lost with it. One that was claimed long ago and never
    /// begun is none.
    fn is_busy(&self, now: Instant) -> bool {
        self.work.fact().is_some() && self.work.stuck(now, &self.waits()).is_none()
    }

    /// Asks it to end if it has no job; the order is void if it has one, or gets one meanwhile.
    pub(in crate::agent) fn stop_idle(&mut self, now: Instant) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Phase::Running(program) = &mut self.phase {
                let lines = program.read(stream);
                self.hear(&lines, now);
            }
        }
        self.look(now);
        match &self.phase {
            Phase::Over(_) => {}
            Phase::Registering(program, _) => {
                program.kill();
                let why = "it was asked to end while it registered".to_owned();
                self.over(ListenerEnd::NotRegistered(why), now);
            }
            Phase::Running(_) if self.is_busy(now) => {}
            Phase::Running(program) => {
                if self.stop.is_none() {
                    program.signal(Signal::INT);
                    self.stop = Some(Stop { kill_at: now + self.waits().end, with_job: false });
                }
            }
        }
        self.told.again();
    }

    /// Ends it, and its job after a grace.
    pub(in crate::agent) fn cancel(&mut self, grace: Duration, now: Instant) {
        let Phase::Running(program) = &self.phase else { return self.stop_idle(now) };
        let kill_at = now + grace;
        match self.stop.filter(|stop| stop.with_job) {
            Some(stop) => {
                let kill_at = stop.kill_at.min(kill_at);
                self.stop = Some(Stop { kill_at, with_job: true });
            }
            None => {
                if !grace.is_zero() {
                    program.signal(Signal::TERM);
                    if program.exit.is_some() {
                        signal_all(Signal::TERM);
                    }
                }
                self.stop = Some(Stop { kill_at, with_job: true });
            }
        }
    }

    /// The container is asked to stop.
    pub(in crate::agent) fn leave(&mut self, again: bool, now: Instant) {
        if again {
            return self.cancel(Duration::ZERO, now);
        }
        self.stop_idle(now);
        if !self.is_over() && self.work.fact().is_some() {
            self.cancel(self.waits().end, now);
        }
    }

    fn kill_if_due(&mut self, now: Instant) {
        let Some(stop) = self.stop.filter(|stop| now >= stop.kill_at) else { return };
        let Phase::Running(program) = &self.phase else { return };
        if stop.with_job {
            signal_all(Signal::KILL);
        } else if self.is_busy(now) {
            // It got a job while it was asked to end: it ends after it.
            self.stop = None;
            return;
        } else {
            program.kill();
        }
        self.stop = Some(Stop { kill_at: now + KILL_AGAIN, ..stop });
    }
}
