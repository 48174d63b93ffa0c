//! `GET /api/v1/stream`: the fleet, and then only what changes in it, as server-sent events.
//!
//! A follower gets the whole fleet first, then the runners that changed, and, with a token, the
//! audit log. One that was cut off names the last entry that it has, and misses none.

use std::collections::BTreeMap;
use std::mem::{replace, take};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::Api;
use super::access::{Asker, Role};
use super::problem::{Problem, ProblemKind};
use super::stream::{Ended, Out, body, follower, send, step_or_left};
use crate::fleet::view::{FleetView, RunnerView};
use crate::ids::SlotId;
use crate::supervisor::handle::{AuditFilter, Query};

/// Content type of server-sent events.
pub const EVENT_STREAM_TYPE: &str = "text/event-stream";

/// A follower sees at most this many changes: ten per second is live to the eye.
const INTERVAL: Duration = Duration::from_millis(100);
/// After this long without a change a comment is sent: whoever hears nothing knows that the
/// connection is lost. Tokens are looked at as often.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Entries that a new follower gets.
const ENTRIES_FIRST: usize = 50;
/// Most entries read from the record at a time.
const ENTRIES_MAX: usize = 1000;

/// What changed since the event before: a fleet with only those runners that are new or other than
/// they were. A runner's last sign of life alone is no change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The fleet, with the runners that changed.
    #[serde(flatten)]
    pub fleet: FleetView,
    /// The slots that are gone.
    pub gone: Vec<SlotId>,
}

/// What a follower knows.
struct Known {
    /// The fleet without its runners.
    rest: FleetView,
    runners: BTreeMap<SlotId, RunnerView>,
}

impl Known {
    fn new(mut fleet: FleetView) -> Self {
        let runners = take(&mut fleet.runners);
        Self { rest: fleet, runners: runners.into_iter().map(|it| (it.id, it)).collect() }
    }

    /// Takes a later view; what is other in it, if anything is.
    fn take(&mut self, fleet: FleetView) -> Option<Change> {
        let before = replace(self, Self::new(fleet));
        let changed: Vec<RunnerView> = self
            .runners
            .values_mut()
            .filter_map(|runner| match before.runners.get(&runner.id) {
                Some(known) if is_same(known, runner) => None,
                Some(_) | None => Some(runner.clone()),
            })
            .collect();
        let is_gone = |slot: &SlotId| !self.runners.contains_key(slot);
        let gone: Vec<SlotId> = before.runners.into_keys().filter(is_gone).collect();
        let rest = FleetView { at: self.rest.at, ..before.rest };
        if changed.is_empty() && gone.is_empty() && rest == self.rest {
            return None;
        }
        Some(Change { fleet: FleetView { runners: changed, ..self.rest.clone() }, gone })
    }
}

/// Whether a runner says the same as before; that it was heard again is no news.
fn is_same(before: &RunnerView, after: &mut RunnerView) -> bool {
    let heard = replace(&mut after.heard, before.heard);
    let same = before == after;
    after.heard = heard;
    same
}

pub(super) async fn stream(
    State(api): State<Arc<Api>>,
    Extension(asker): Extension<Asker>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let after = headers.get("last-event-id").map(last_event).transpose()?;
    let permit = follower(&api)?;
    let first = api.fleet_view().await?;
    let (out, chunks) = body();
    tokio::spawn(async move {
        let follower = Follower { api: &api, asker: &asker, out: &out };
        // Why it ended is for nobody: the client left, or the supervisor goes.
        let _ended = follower.run(first, after).await;
        drop(permit);
    });
    let head = [
        (header::CONTENT_TYPE, EVENT_STREAM_TYPE),
        // A proxy in between must not collect events.
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((head, Body::from_stream(chunks)).into_response())
}

fn last_event(value: &HeaderValue) -> Result<u64, Problem> {
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| {
        let detail = "`Last-Event-ID` is the number of an entry of the audit log, such as 42";
        Problem::new(ProblemKind::Invalid, detail)
    })
}

/// One client that follows the fleet.
struct Follower<'a> {
    api: &'a Api,
    asker: &'a Asker,
    out: &'a Out,
}

impl Follower<'_> {
    /// Until the client leaves, its token is no good any more, or the supervisor goes.
    async fn run(&self, first: FleetView, after: Option<u64>) -> Result<(), Ended> {
        let mut steps = self.api.handle.steps();
        self.tell("fleet", None, &first).await?;
        let mut known = Known::new(first);
        let limit = after.map_or(ENTRIES_FIRST, |_| ENTRIES_MAX);
        let mut entries = AuditFilter { after: after.unwrap_or(0), limit };
        let mut alive_until = Instant::now() + HEARTBEAT;
        loop {
            let next = Instant::now() + INTERVAL;
            steps.mark_unchanged();
            let now = self.api.fleet_view().await.map_err(|_| Ended)?;
            if let Some(change) = known.take(now) {
                self.tell("change", None, &change).await?;
            }
            self.entries(&mut entries).await?;
            if Instant::now() >= alive_until {
                self.check_token()?;
                send(self.out, ": alive\n\n").await?;
                alive_until = Instant::now() + HEARTBEAT;
            }
            match timeout_at(alive_until, step_or_left(&mut steps, self.out)).await {
                Ok(step) => step?,
                // Nothing happened for a while, and that is told.
                Err(_) => continue,
            }
            sleep_until(next).await;
        }
    }

    /// Tells what has happened since, to those who may know.
    async fn entries(&self, filter: &mut AuditFilter) -> Result<(), Ended> {
        if self.asker.role < Some(Role::Viewer) {
            return Ok(());
        }
        loop {
            let wanted = filter.clone();
            let found = self.api.ask(|reply| Query::Audit(wanted, reply)).await;
            let found = found.map_err(|_| Ended)?;
            for entry in &found {
                self.tell("audit", Some(entry.seq), entry).await?;
                filter.after = entry.seq;
            }
            let is_all = found.len() < ENTRIES_MAX;
            filter.limit = ENTRIES_MAX;
            if is_all {
                return Ok(());
            }
        }
    }

    /// Ends the stream of a token that was revoked or has ended since.
    fn check_token(&self) -> Result<(), Ended> {
        let Some(token) = &self.asker.token else { return Ok(()) };
        let valid = self.api.tokens.list().map_err(|_| Ended)?;
        valid.iter().any(|it| it.id == token.id).then_some(()).ok_or(Ended)
    }

    async fn tell(&self, event: &str, id: Option<u64>, data: &impl Serialize) -> Result<(), Ended> {
        let data = serde_json::to_string(data).map_err(|_| Ended)?;
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        send(self.out, format!("{id}event: {event}\ndata: {data}\n\n")).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::view::RunnerStatus;
    use crate::sim::script::{host, pool, spec};
    use crate::sim::{Sim, transcript::Writing};
    use crate::units::Time;

    /// Two light runners that idle.
    fn fleet() -> FleetView {
        let spec = spec().with(pool("light", 2));
        let mut sim = Sim::new(1, Writing::Off, (spec.clone(), host()));
        sim.up(spec);
        sim.settle().expect("a fleet without faults comes up");
        sim.fleet().expect("it lives").view(sim.now())
    }

    fn between(before: &FleetView, after: &FleetView) -> Option<Change> {
        Known::new(before.clone()).take(after.clone())
    }

    #[test]
    fn a_view_that_says_the_same_later_is_no_change() {
        let before = fleet();
        let mut after = FleetView { at: Time(before.at.0 + 5000), ..before.clone() };
        after.runners[0].heard = Some(after.at);
        assert_eq!(between(&before, &after), None);
    }

    #[test]
    fn only_the_runners_that_changed_are_told_and_those_that_are_gone() {
        let before = fleet();
        let mut after = before.clone();
        after.runners[1].status = RunnerStatus::Running;
        let change = between(&before, &after).expect("a change");
        assert_eq!(change.fleet.runners, [after.runners[1].clone()]);
        assert_eq!(change.gone, []);
        let gone = after.runners.remove(0);
        let change = between(&before, &after).expect("a change");
        assert_eq!(change.gone, [gone.id]);
        let back = between(&after, &before).expect("a change");
        assert_eq!(back.fleet.runners.len(), 2, "one is new, one is other than it was");
    }

    #[test]
    fn what_is_beside_the_runners_is_a_change_too() {
        let before = fleet();
        let after = FleetView { queued: 1, ..before.clone() };
        let change = between(&before, &after).expect("a change");
        assert_eq!((change.fleet.queued, change.fleet.runners.len()), (1, 0));
    }

    #[test]
    fn a_last_event_is_a_number() {
        assert_eq!(last_event(&HeaderValue::from_static("42")).expect("a number"), 42);
        assert!(last_event(&HeaderValue::from_static("x")).is_err());
    }
}
