//! Watches the engine: list, then follow, then admit that something may have been missed.

mod ears;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, Sleep, interval, sleep};

use self::ears::Ears;
use super::clock::Clock;
use crate::engine::Engine;
use crate::fleet::event::{EngineEvent, Event};

/// A complete list is the truth; events only make it early. Also finds what events never told.
const LIST_EVERY: Duration = Duration::from_secs(30);
/// The first wait after a failure, doubled up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LONGEST: Duration = Duration::from_secs(5);
/// How much later than the end of an agent's session the engine may tell of its container's death
/// (0.1 s were seen), and how much later than a list its event may come.
const TELLING: Duration = Duration::from_secs(1);

/// How far before its own beginning a stream begins: what happened since the last one broke is told
/// as well, because a list can be behind it. What was told already changes nothing.
const OVERLAP: Duration = Duration::from_secs(10);

/// What makes the watcher look before its time.
#[derive(Debug, Default)]
pub(super) struct Calls {
    /// An outcome is not known: list now.
    pub relist: Arc<Notify>,
    /// An agent's session ended; the engine should tell why.
    pub lost: Arc<Notify>,
}

/// Feeds the loop with what the engine says, until the loop is gone.
pub(super) async fn watch<E: Engine>(
    engine: Arc<E>,
    clock: Clock,
    events: mpsc::Sender<Event>,
    calls: Calls,
) {
    let mut wait = RETRY_FIRST;
    loop {
        let why = match follow(engine.as_ref(), &clock, &events, &calls, &mut wait).await {
            Ok(()) => return,
            Err(why) => why,
        };
        tracing::warn!("lost sight of the engine: {why}");
        if events.send(Event::Engine(EngineEvent::Unreachable { why })).await.is_err() {
            return;
        }
        sleep(wait).await;
        wait = RETRY_LONGEST.min(wait * 2);
    }
}

/// Lists and follows until something breaks; `Ok` when nobody listens any more.
async fn follow<E: Engine>(
    engine: &E,
    clock: &Clock,
    events: &mpsc::Sender<Event>,
    calls: &Calls,
    wait: &mut Duration,
) -> Result<(), String> {
    let mut stream = engine.watch(clock.now().before(OVERLAP));
    let mut lists = interval(LIST_EVERY);
    lists.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ears = Ears::default();
    let mut look: Look = None;
    loop {
        let event = tokio::select! {
            _ = lists.tick() => list(engine, clock).await?,
            () = calls.relist.notified() => list(engine, clock).await?,
            () = due(&mut look) => {
                look = None;
                list(engine, clock).await?
            }
            () = calls.lost.notified() => {
                look.get_or_insert_with(later);
                continue;
            }
            next = stream.next() => match next {
                Some(Ok(event)) => event,
                Some(Err(error)) => return Err(error.describe()),
                None => return Err("its event stream ended".to_owned()),
            },
        };
        *wait = RETRY_FIRST;
        match &event {
            EngineEvent::Listed { containers, .. } => {
                if ears.listed(containers).is_deaf {
                    return Err("its event stream is silent about what its list shows".to_owned());
                }
                if ears.is_waiting() {
                    look.get_or_insert_with(later);
                }
            }
            told => {
                ears.told(told);
                // A stream that tells needs no look.
                look = look.filter(|_| ears.is_waiting());
            }
        }
        if events.send(Event::Engine(event)).await.is_err() {
            return Ok(());
        }
    }
}

/// A look that is to come, if any.
type Look = Option<Pin<Box<Sleep>>>;

fn later() -> Pin<Box<Sleep>> {
    Box::pin(sleep(TELLING))
}

async fn due(look: &mut Look) {
    match look {
        Some(look) => look.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn list<E: Engine>(engine: &E, clock: &Clock) -> Result<EngineEvent, String> {
    let begun = clock.now();
    match engine.list().await {
        Ok(containers) => Ok(EngineEvent::Listed { begun, containers }),
        Err(error) => Err(error.describe()),
    }
}
