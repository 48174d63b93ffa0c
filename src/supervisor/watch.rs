//! Watches the engine: list, then follow, then admit that something may have been missed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Notify, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::clock::Clock;
use crate::engine::Engine;
use crate::fleet::event::{EngineEvent, Event};

/// A complete list is the truth; events only make it early. Also finds what events never told.
const LIST_EVERY: Duration = Duration::from_secs(30);
/// The first wait after a failure, doubled up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// Feeds the loop with what the engine says, until the loop is gone.
pub(super) async fn watch<E: Engine>(
    engine: Arc<E>,
    clock: Clock,
    events: mpsc::Sender<Event>,
    relist: Arc<Notify>,
) {
    let mut wait = RETRY_FIRST;
    loop {
        let why = match follow(engine.as_ref(), &clock, &events, &relist, &mut wait).await {
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
    relist: &Notify,
    wait: &mut Duration,
) -> Result<(), String> {
    let mut stream = engine.watch(clock.now());
    let mut lists = interval(LIST_EVERY);
    lists.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let event = tokio::select! {
            _ = lists.tick() => list(engine, clock).await?,
            () = relist.notified() => list(engine, clock).await?,
            next = stream.next() => match next {
                Some(Ok(event)) => event,
                Some(Err(error)) => return Err(error.describe()),
                None => return Err("its event stream ended".to_owned()),
            },
        };
        *wait = RETRY_FIRST;
        if events.send(Event::Engine(event)).await.is_err() {
            return Ok(());
        }
    }
}

async fn list<E: Engine>(engine: &E, clock: &Clock) -> Result<EngineEvent, String> {
    let begun = clock.now();
    match engine.list().await {
        Ok(containers) => Ok(EngineEvent::Listed { begun, containers }),
        Err(error) => Err(error.describe()),
    }
}
