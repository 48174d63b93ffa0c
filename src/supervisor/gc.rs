//! Removes what is kept too long or left over: on demand, and by itself once an hour.
//!
//! What is in use is never touched, and neither is what does not carry the fleet's labels or its
//! own mark. A failure of one kind is told and does not hold up the others.

mod files;
mod images;

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use crate::causes::with_causes;
use crate::engine::{Engine, HostPaths};
use crate::fleet::holdings::Holdings;
use crate::logs::LogStore;
use crate::post_mortems::{Keep, PostMortems, Pruning};
use crate::units::{Bytes, Time};

pub(super) use files::mark_published;
pub(super) use images::PulledImages;

/// How often the supervisor does it by itself.
pub(super) const EVERY: Duration = Duration::from_secs(60 * 60);
/// Names that are told of one kind; their number is told in any case.
const NAMES_MAX: usize = 20;

/// How a collection is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GcOrder {
    /// Whether anything is removed.
    pub effect: GcEffect,
    /// What is old enough.
    pub age: GcAge,
}

/// Whether anything is removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GcEffect {
    /// It is removed.
    #[default]
    Remove,
    /// It is only told (`--dry-run`).
    Tell,
}

/// What is old enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GcAge {
    /// What the fleet file says.
    #[default]
    AsWritten,
    /// Everything that is over (`--all`); reports keep their age.
    Any,
}

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GcReport {
    /// By kind; a kind of which there is nothing is left out.
    pub removed: Vec<GcItem>,
    /// What could not be looked at or removed, in words.
    pub failures: Vec<String>,
}

/// What was removed of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GcItem {
    /// Which: `job logs`, `reports`, `images` …
    pub kind: String,
    /// How many.
    pub count: usize,
    /// Their size, where it is known.
    pub bytes: Bytes,
    /// The names of the first of them.
    pub names: Vec<String>,
}

/// Things of one kind that may go.
#[derive(Debug, Default)]
struct Found {
    count: usize,
    bytes: u64,
    names: Vec<String>,
}

impl Found {
    fn add(&mut self, name: impl ToString, bytes: u64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.names.len() < NAMES_MAX {
            self.names.push(name.to_string());
        }
    }
}

impl GcReport {
    fn take(&mut self, kind: &str, outcome: Result<Found, String>) {
        match outcome {
            Ok(Found { count: 0, .. }) => {}
            Ok(Found { count, bytes, names }) => {
                let bytes = Bytes(bytes);
                self.removed.push(GcItem { kind: kind.to_owned(), count, bytes, names });
            }
            Err(why) => self.failures.push(format!("{kind}: {why}")),
        }
    }
}

/// What a collection works on.
pub(super) struct Collector<E> {
    pub engine: Arc<E>,
    pub logs: Arc<LogStore>,
    pub paths: HostPaths,
    pub pulled: PulledImages,
    /// One collection at a time: two would count each other's things.
    pub alone: Mutex<()>,
}

impl<E: Engine> Collector<E> {
    /// Removes, or tells of, what nobody needs.
    pub async fn collect(&self, holdings: Holdings, order: GcOrder, now: Time) -> GcReport {
        let _alone = self.alone.lock().await;
        let mut report = GcReport::default();
        let holdings = Arc::new(holdings);
        let work = files::Work {
            state: self.paths.state.clone(),
            logs: Arc::clone(&self.logs),
            holdings: Arc::clone(&holdings),
            order,
            now,
        };
        match spawn_blocking(move || work.collect()).await {
            Ok(found) => report = found,
            Err(error) => report.failures.push(format!("files: {error}")),
        }
        self.collect_objects(&holdings, order, &mut report).await;
        let images = self.collect_images(&holdings, order, now).await;
        report.take("images", images);
        for item in &report.removed {
            let GcItem { kind, count, bytes, .. } = item;
            tracing::info!(%kind, count, %bytes, effect = ?order.effect, "garbage");
        }
        for why in &report.failures {
            tracing::warn!("cannot collect garbage: {why}");
        }
        report
    }

    /// Volumes and networks with the fleet's labels that belong to no runner any more.
    async fn collect_objects(&self, holdings: &Holdings, order: GcOrder, report: &mut GcReport) {
        let left = match self.engine.leftovers().await {
            Ok(left) => left,
            Err(error) => return report.failures.push(error.describe()),
        };
        let (mut volumes, mut networks) = (Found::default(), Found::default());
        for object in left.into_iter().filter(|it| holdings.is_left_over(it.incarnation)) {
            if order.effect == GcEffect::Remove
                && let Err(error) = self.engine.remove_leftover(&object).await
            {
                report.failures.push(error.describe());
                continue;
            }
            match object.incarnation {
                Some(_) => volumes.add(&object.name, 0),
                None => networks.add(&object.name, 0),
            }
        }
        report.take("volumes", Ok(volumes));
        report.take("networks", Ok(networks));
    }
}

/// Post-mortems beyond their age; their number and size are bounded whenever one is written.
fn post_mortems(work: &files::Work) -> Result<Found, String> {
    let age = match work.order.age {
        GcAge::Any => Some(Duration::ZERO),
        GcAge::AsWritten => work.holdings.retention.post_mortems,
    };
    let keep = Keep { age: age.unwrap_or(Duration::MAX), ..Keep::SPACE };
    let how = match work.order.effect {
        GcEffect::Remove => Pruning::Delete,
        GcEffect::Tell => Pruning::Count,
    };
    let pruned = PostMortems::new(&work.state).prune(&keep, work.now, how);
    let pruned = pruned.map_err(|error| with_causes(&error))?;
    Ok(Found { count: pruned.count, bytes: pruned.bytes.0, names: Vec::new() })
}
