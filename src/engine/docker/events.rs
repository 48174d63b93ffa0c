//! The engine's events: read promptly, because the engine drops them for slow readers in silence.
//!
//! One task does nothing but read, into a bounded queue. Questions that an event raises (was it
//! killed for memory?) are asked behind the queue, in order, several at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::models::EventMessage;
use bollard::query_parameters::{EventsOptionsBuilder, InspectContainerOptions};
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::DockerEngine;
use super::containers::own_filter;
use super::errors::{Call, deadline};
use crate::engine::EngineError;
use crate::fleet::event::{ContainerExit, EngineEvent};
use crate::ids::ContainerId;
use crate::units::Time;

/// Events that may wait for the consumer: some thousand containers dying at once.
const WAITING: usize = 8192;

/// Questions asked at a time.
const ASKED_AT_ONCE: usize = 16;

/// Exit code of a process that SIGKILL ended: by us, by somebody, or by the kernel for memory.
const KILLED: i64 = 137;

/// How long a list may be behind the event of a death; it was milliseconds where it was seen.
const LISTS_LAG: Duration = Duration::from_secs(30);

/// The containers whose death was told lately.
///
/// The engine (20.10) sends the event before it updates what its lists are made of, so that a
/// list asked for after the event can still say that the container runs.
#[derive(Debug, Default)]
pub(super) struct RecentDeaths(Mutex<BTreeMap<ContainerId, Instant>>);

impl RecentDeaths {
    fn add(&self, container: &ContainerId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, died| died.elapsed() < LISTS_LAG);
        if all.len() < WAITING {
            all.insert(container.clone(), Instant::now());
        }
    }

    /// Whether a list's word that this container runs has to be checked.
    pub(super) fn contains(&self, container: &ContainerId) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(container).is_some_and(|died| died.elapsed() < LISTS_LAG)
    }
}

/// An event as it was read.
enum Raw {
    /// A death whose cause has to be asked for.
    Ended {
        container: ContainerId,
        code: i64,
    },
    Died {
        container: ContainerId,
        exit: ContainerExit,
    },
    Removed {
        container: ContainerId,
    },
}

/// Ends the reading task when the consumer goes away.
struct Reading {
    raw: mpsc::Receiver<Raw>,
    end: Option<oneshot::Receiver<EngineError>>,
    task: AbortHandle,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DockerEngine {
    pub(super) fn follow_events(
        &self,
        since: Time,
    ) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send + Unpin + 'static {
        let call = self.call("follow the engine's events", deadline::INSPECT);
        let mut filter = own_filter(&self.project);
        filter.extend(fixed_filter());
        let options = EventsOptionsBuilder::default()
            .since(&format!("{}.{:03}", since.0 / 1000, since.0 % 1000))
            .filters(&filter)
            .build();
        let events = self.client.events(Some(options)).boxed();
        let (put, raw) = mpsc::channel(WAITING);
        let (put_end, end) = oneshot::channel();
        let end_call = call.clone();
        let died = Arc::clone(&self.died);
        let task = tokio::spawn(async move {
            let end = read(events, &put, &died, &end_call).await;
            // The queue is closed first, so that the end comes after the last event.
            drop(put);
            if put_end.send(end).is_err() {
                tracing::trace!("nobody waits for the events any more");
            }
        });
        let reading = Reading { raw, end: Some(end), task: task.abort_handle() };
        let client = self.client.clone();
        stream::unfold(reading, next)
            .map(move |item| finish(item, client.clone(), call.clone()))
            .buffered(ASKED_AT_ONCE)
            .boxed()
    }
}

fn fixed_filter() -> HashMap<String, Vec<String>> {
    let events = ["die", "oom", "destroy"].map(str::to_owned).to_vec();
    HashMap::from([("type".to_owned(), vec!["container".to_owned()]), ("event".to_owned(), events)])
}

/// Reads until the connection ends or the queue is full, and says which.
async fn read(
    mut events: impl Stream<Item = Result<EventMessage, bollard::errors::Error>> + Unpin,
    queue: &mpsc::Sender<Raw>,
    died: &RecentDeaths,
    call: &Call,
) -> EngineError {
    // Containers in which the kernel killed something; each leaves with its container.
    let mut out_of_memory = BTreeSet::new();
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => return call.sort(error),
        };
        let Some(raw) = sort(event, &mut out_of_memory) else { continue };
        if let Raw::Died { container, .. } = &raw {
            died.add(container);
        }
        if let Raw::Died { container, exit } = &raw
            && must_ask(*exit)
        {
            let ended = Raw::Ended { container: container.clone(), code: exit.code };
            if queue.try_send(ended).is_err() {
                return EngineError::Lagged { dropped_after: WAITING };
            }
        }
        if queue.try_send(raw).is_err() {
            return EngineError::Lagged { dropped_after: WAITING };
        }
    }
    let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
    EngineError::Broken { action: call.action.clone(), source: Box::new(source) }
}

fn sort(event: EventMessage, out_of_memory: &mut BTreeSet<ContainerId>) -> Option<Raw> {
    let actor = event.actor?;
    let container = ContainerId::new(actor.id?);
    match event.action?.as_str() {
        "oom" => {
            out_of_memory.insert(container);
            None
        }
        "die" => {
            let code = actor.attributes.as_ref().and_then(|all| all.get("exitCode"));
            let code = code.and_then(|code| code.parse().ok()).unwrap_or(-1);
            let oom = out_of_memory.contains(&container);
            Some(Raw::Died { container, exit: ContainerExit { code, oom } })
        }
        "destroy" => {
            out_of_memory.remove(&container);
            Some(Raw::Removed { container })
        }
        _ => None,
    }
}

async fn next(mut reading: Reading) -> Option<(Result<Raw, EngineError>, Reading)> {
    if let Some(raw) = reading.raw.recv().await {
        return Some((Ok(raw), reading));
    }
    let end = reading.end.take()?;
    // The sender is gone without a word only when the runtime shuts down.
    let end = end.await.ok()?;
    Some((Err(end), reading))
}

/// Whether it may have been killed for memory without a word so far.
fn must_ask(exit: ContainerExit) -> bool {
    exit.code == KILLED && !exit.oom
}

/// Completes an event. The event for memory may come after the death: ask where it matters.
async fn finish(
    item: Result<Raw, EngineError>,
    client: Docker,
    call: Call,
) -> Result<EngineEvent, EngineError> {
    match item? {
        Raw::Ended { container, code } => Ok(EngineEvent::Ended { container, code }),
        Raw::Removed { container } => Ok(EngineEvent::Removed { container }),
        Raw::Died { container, mut exit } => {
            if must_ask(exit) {
                let none = None::<InspectContainerOptions>;
                let inspect = client.inspect_container(container.as_str(), none);
                exit.oom = match call.run(inspect).await {
                    Ok(found) => found.state.and_then(|state| state.oom_killed).unwrap_or(false),
                    // Removed already; the list that follows a gap would not know better.
                    Err(error) => {
                        tracing::debug!(%container, "no cause of death: {}", error.describe());
                        false
                    }
                };
            }
            Ok(EngineEvent::Died { container, exit })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bollard::models::EventActor;

    fn event(action: &str, code: Option<&str>) -> EventMessage {
        let attributes = code.map(|code| ("exitCode".to_owned(), code.to_owned()));
        EventMessage {
            action: Some(action.to_owned()),
            actor: Some(EventActor {
                id: Some("c1".to_owned()),
                attributes: Some(attributes.into_iter().collect()),
            }),
            ..EventMessage::default()
        }
    }

    fn call() -> Call {
        Call {
            action: "follow".to_owned(),
            host: "unix:///x".to_owned(),
            deadline: deadline::INSPECT,
        }
    }

    #[test]
    fn a_death_after_an_out_of_memory_event_is_one_for_memory() {
        let mut seen = BTreeSet::new();
        assert!(sort(event("oom", None), &mut seen).is_none());
        let Some(Raw::Died { exit, .. }) = sort(event("die", Some("137")), &mut seen) else {
            panic!("a death")
        };
        assert_eq!(exit, ContainerExit { code: 137, oom: true });
        assert!(matches!(sort(event("destroy", None), &mut seen), Some(Raw::Removed { .. })));
        assert!(seen.is_empty());
    }

    #[tokio::test]
    async fn a_consumer_that_is_too_slow_is_told_instead_of_blocking_the_reader() {
        let (queue, mut waiting) = mpsc::channel(1);
        let many = stream::iter(
            [event("die", Some("0")), event("die", Some("0"))].map(Ok::<_, bollard::errors::Error>),
        );
        let end = read(many, &queue, &RecentDeaths::default(), &call()).await;
        assert!(matches!(end, EngineError::Lagged { .. }));
        assert!(matches!(waiting.recv().await, Some(Raw::Died { .. })));
    }

    #[tokio::test]
    async fn a_kill_is_told_before_its_cause_is_asked_for() {
        let (queue, mut waiting) = mpsc::channel(8);
        let events = [event("die", Some("137")), event("oom", None), event("die", Some("137"))];
        let events = stream::iter(events.map(Ok::<_, bollard::errors::Error>));
        let _end = read(events, &queue, &RecentDeaths::default(), &call()).await;
        assert!(matches!(waiting.recv().await, Some(Raw::Ended { code: 137, .. })));
        assert!(matches!(waiting.recv().await, Some(Raw::Died { .. })));
        let known = waiting.recv().await;
        assert!(matches!(known, Some(Raw::Died { exit, .. }) if exit.oom), "nothing to ask");
    }

    #[tokio::test]
    async fn an_engine_that_hangs_up_ends_the_stream_with_an_error() {
        let (queue, _waiting) = mpsc::channel(1);
        let none = stream::iter(Vec::<Result<EventMessage, bollard::errors::Error>>::new());
        let end = read(none, &queue, &RecentDeaths::default(), &call()).await;
        assert!(matches!(end, EngineError::Broken { .. }));
    }
}
