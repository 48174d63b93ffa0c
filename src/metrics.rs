//! What Prometheus reads at `/metrics`.
//!
//! The [`catalogue`] has every metric. What *happens* is counted when it does: by [`Meters`],
//! which the shell's parts share, and by [`Lives`], which reads the records of the core's steps.
//! What *is* comes from the read model at each scrape, so that an idle fleet shows zeros. No label
//! names a job, a run or a runner: ten thousand jobs add no series.

pub mod catalogue;
mod gauges;
mod lives;
mod meters;
mod page;
mod process;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use prometheus::TextEncoder;

use crate::fleet::view::{FleetView, WaitCode};
use crate::forge::GovernorView;
use crate::ids::{PoolName, ScopeUrl};
use page::Page;

pub use lives::Lives;
pub use meters::Meters;
pub use prometheus::TEXT_FORMAT;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[error("the metrics cannot be written: {0}")]
pub struct MetricsError(#[from] prometheus::Error);

/// What the loop knows at a scrape.
#[derive(Debug)]
pub struct Scrape {
    /// What was counted.
    pub meters: Arc<Meters>,
    /// The fleet.
    pub fleet: Arc<FleetView>,
    /// Waiting jobs by the pool that each counts for, if one may serve it, and by why.
    pub waiting: BTreeMap<(Option<PoolName>, WaitCode), u32>,
    /// How each credential's budget stands, under the first scope that it is for.
    pub budgets: BTreeMap<ScopeUrl, GovernorView>,
    /// What came in by webhooks, if there is a door for them.
    pub webhooks: Option<Webhooks>,
    /// The number of the audit log's last entry.
    pub audit_head: u64,
}

/// Deliveries since the supervisor began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Webhooks {
    /// Good ones.
    pub taken: u64,
    /// Those with a wrong signature, or none.
    pub bad_signatures: u64,
    /// Those that were turned away because too many waited.
    pub turned_away: u64,
}

impl Scrape {
    /// How many jobs wait for a runner of each pool, as `queue_depth` counts them.
    #[must_use]
    pub fn queue_depths(&self) -> BTreeMap<PoolName, u32> {
        let mut depths = BTreeMap::new();
        for ((pool, why), count) in &self.waiting {
            if let Some(pool) = pool.as_ref().filter(|_| why.is_for_runner()) {
                *depths.entry(pool.clone()).or_default() += count;
            }
        }
        depths
    }

    /// The page, in the text format 0.0.4. `database` is the state's file; its size and this
    /// process' own figures are read now.
    ///
    /// # Errors
    /// [`MetricsError`]; names and labels are constants, so it tells of a defect.
    pub fn page(&self, database: &Path) -> Result<String, MetricsError> {
        let mut page = Page::default();
        gauges::fleet(&mut page, self);
        gauges::store(&mut page, database);
        process::put(&mut page);
        page.add(self.meters.gather());
        let mut text = TextEncoder::new().encode_to_string(&page.families())?;
        page.put_empty(&mut text);
        Ok(text)
    }
}

#[cfg(test)]
mod tests;
