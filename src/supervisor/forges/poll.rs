//! Reads a scope's lists again and again, and tells the loop of them. An error or a deadline never
//! becomes an empty list.

use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep, timeout};

use super::watch::{List, Watch};
use crate::fleet::event::Event;
use crate::fleet::forge::{ForgeContact, ForgeErrorClass, ForgeEvent};
use crate::forge::{CallError, Forge, Governor, Listed, ReadClock};
use crate::ids::ScopeUrl;
use crate::units::Time;

/// Runners tell by their agents what they do; the forge's list confirms it.
const RUNNERS: Duration = Duration::from_secs(5 * 60);
/// How far polling is stretched while webhooks tell what there is.
const STRETCHED: Duration = Duration::from_secs(5 * 60);
/// Between two lists of one kind that are asked for before their time.
const GAP: Duration = Duration::from_secs(10);
/// The first pause after a failure; it doubles up to the second.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_MOST: Duration = Duration::from_secs(60);
/// How often the newest version is asked for, and how soon after a failure.
const VERSION: Duration = Duration::from_secs(6 * 60 * 60);
const VERSION_AGAIN: Duration = Duration::from_secs(30 * 60);
/// An adapter's own deadlines are shorter; more pages than fit into this are a scope in trouble.
const LIST_MOST: Duration = Duration::from_secs(10 * 60);

/// One scope's poller.
pub(super) struct Poller<F> {
    pub forge: Arc<F>,
    pub scope: ScopeUrl,
    pub governor: Governor,
    pub clock: ReadClock,
    pub events: mpsc::Sender<Event>,
    pub watch: Arc<Watch>,
    /// How often jobs are read while webhooks are silent.
    pub poll: Duration,
}

impl<F: Forge> Poller<F> {
    /// Reads the queue until the scope is not wanted any more.
    pub async fn jobs(self: Arc<Self>) {
        let mut pauses = Pauses::new(self.poll);
        loop {
            let (begun, calls) = (self.now(), self.calls());
            let listed = bounded(self.forge.jobs()).await;
            let pause = match listed {
                Ok(Listed { items, gaps }) => {
                    let hears = self.watch.hears(&items, begun);
                    let scope = self.scope.clone();
                    self.tell(ForgeEvent::Jobs { scope, begun, jobs: items }).await;
                    self.good(List::Jobs, gaps).await;
                    pauses.good(hears).max(self.pace(calls))
                }
                Err(error) => self.failed(List::Jobs, &mut pauses, error).await,
            };
            tokio::select! {
                () = self.wait(pause, &self.watch.jobs) => {}
                () = self.hinted() => {}
            }
        }
    }

    /// Reads the runners, and now and then the newest version, until the scope is forgotten.
    pub async fn runners(self: Arc<Self>) {
        let mut pauses = Pauses::new(RUNNERS.max(self.poll));
        let mut version_at = self.now();
        loop {
            let (begun, calls) = (self.now(), self.calls());
            let listed = bounded(self.forge.runners()).await;
            let pause = match listed {
                Ok(Listed { items, gaps }) => {
                    let scope = self.scope.clone();
                    self.tell(ForgeEvent::Runners { scope, begun, runners: items }).await;
                    self.good(List::Runners, gaps).await;
                    if version_at <= self.now() {
                        version_at = self.now() + self.version().await;
                    }
                    pauses.good(false).max(self.pace(calls))
                }
                Err(error) => self.failed(List::Runners, &mut pauses, error).await,
            };
            self.wait(pause, &self.watch.runners).await;
        }
    }

    async fn version(&self) -> Duration {
        match self.forge.newest_runner().await {
            Ok(Some(newest)) => {
                let scope = self.scope.clone();
                self.tell(ForgeEvent::RunnerVersion { scope, newest }).await;
                VERSION
            }
            Ok(None) => VERSION,
            Err(error) => {
                tracing::debug!(scope = %self.scope, %error, "the newest runner is not known");
                VERSION_AGAIN
            }
        }
    }

    async fn good(&self, list: List, gaps: Vec<String>) {
        self.watch.set_gaps(list, gaps);
        self.contact(list, ForgeContact::Good).await;
    }

    async fn failed(&self, list: List, pauses: &mut Pauses, error: CallError) -> Duration {
        let contact = contact(error);
        let pause = match &contact {
            ForgeContact::Limited { until, .. } => {
                until.since(self.now()) + pauses.first() + part(AGAIN)
            }
            // An operator has to act, and says so with `up`.
            ForgeContact::Denied(_) => jitter(AGAIN_MOST),
            ForgeContact::Unreachable(_) | ForgeContact::Good => pauses.bad(),
        };
        self.contact(list, contact).await;
        pause
    }

    async fn contact(&self, list: List, contact: ForgeContact) {
        let Some(contact) = self.watch.contact(list, contact) else { return };
        match &contact {
            ForgeContact::Good => tracing::info!(scope = %self.scope, "the forge answers"),
            ForgeContact::Unreachable(why)
            | ForgeContact::Limited { why, .. }
            | ForgeContact::Denied(why) => tracing::warn!(scope = %self.scope, "{why}"),
        }
        self.tell(ForgeEvent::Contact { scope: self.scope.clone(), contact }).await;
    }

    async fn tell(&self, event: ForgeEvent) {
        // Without a loop the supervisor is on its way out, and this task with it.
        let _gone = self.events.send(Event::Forge(event)).await;
    }

    /// Waits, less if somebody asks, but never for no time.
    async fn wait(&self, pause: Duration, asked: &Notify) {
        let soonest = sleep(GAP.min(self.poll).min(pause));
        let sooner = async {
            asked.notified().await;
            soonest.await;
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = sooner => {}
        }
    }

    /// Comes back when somebody gave a hint, but not before the usual pause is over.
    async fn hinted(&self) {
        let usual = sleep(self.poll);
        self.watch.hint.notified().await;
        usual.await;
    }

    fn now(&self) -> Time {
        (self.clock)()
    }

    fn calls(&self) -> u64 {
        let view = self.governor.view();
        view.calls.saturating_sub(view.unchanged)
    }

    /// How long so many calls as were made just now must last.
    fn pace(&self, before: u64) -> Duration {
        let made = self.calls().saturating_sub(before);
        self.governor.pace(u32::try_from(made).unwrap_or(u32::MAX))
    }
}

async fn bounded<T>(
    list: impl Future<Output = Result<Listed<T>, CallError>>,
) -> Result<Listed<T>, CallError> {
    let late = || CallError::Unknown("the list did not come to its end in time".to_owned());
    timeout(LIST_MOST, list).await.unwrap_or_else(|_| Err(late()))
}

fn contact(error: CallError) -> ForgeContact {
    match error {
        CallError::Unknown(why) => ForgeContact::Unreachable(why),
        CallError::Failed(error) => match error.class {
            ForgeErrorClass::Limited(until) => ForgeContact::Limited { until, why: error.message },
            ForgeErrorClass::Denied | ForgeErrorClass::Invalid => {
                ForgeContact::Denied(error.message)
            }
            ForgeErrorClass::Retry | ForgeErrorClass::NameTaken => {
                ForgeContact::Unreachable(error.message)
            }
        },
    }
}

/// How long to wait for the next list.
#[derive(Debug, Clone, Copy)]
struct Pauses {
    usual: Duration,
    good: Duration,
    bad: Duration,
}

impl Pauses {
    fn new(usual: Duration) -> Self {
        Self { usual, good: usual, bad: Duration::ZERO }
    }

    fn first(&self) -> Duration {
        AGAIN.min(self.usual)
    }

    /// After a list that came; longer each time while webhooks tell what there is.
    fn good(&mut self, hears: bool) -> Duration {
        self.bad = Duration::ZERO;
        self.good = match hears {
            true => self.good.saturating_mul(2).min(STRETCHED.max(self.usual)),
            false => self.usual,
        };
        jitter(self.good)
    }

    /// After one that did not.
    fn bad(&mut self) -> Duration {
        self.good = self.usual;
        self.bad = self.bad.saturating_mul(2).clamp(self.first(), AGAIN_MOST);
        jitter(self.bad)
    }
}

/// Up to a tenth more, so that the lists of many scopes do not come all at once.
fn jitter(pause: Duration) -> Duration {
    pause + part(pause / 10)
}

/// A random part of a span.
fn part(most: Duration) -> Duration {
    let mut byte = [0u8];
    // Without randomness it is nothing.
    let _unknown = SystemRandom::new().fill(&mut byte);
    let [byte] = byte;
    most * u32::from(byte) / u32::from(u8::MAX)
}

#[cfg(test)]
mod tests;
