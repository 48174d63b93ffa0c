//! What is counted when it happens; shared by all parts of the supervisor.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry};

use super::MetricsError;
use super::catalogue::{self, ALL, Entry, Kind, Origin};

/// Counters and histograms.
#[derive(Debug)]
pub struct Meters {
    registry: Registry,
    counters: BTreeMap<&'static str, IntCounterVec>,
    histograms: BTreeMap<&'static str, HistogramVec>,
}

impl Meters {
    /// Everything at zero.
    ///
    /// # Errors
    /// [`MetricsError`]; names and labels are constants, so it tells of a defect.
    pub fn new() -> Result<Self, MetricsError> {
        let registry = Registry::new();
        let (mut counters, mut histograms) = (BTreeMap::new(), BTreeMap::new());
        for entry in ALL.iter().filter(|it| it.origin == Origin::Happenings) {
            match entry.kind {
                Kind::Histogram(bounds) => {
                    let opts = HistogramOpts::new(entry.name, entry.help).buckets(bounds.to_vec());
                    let made = HistogramVec::new(opts, entry.labels)?;
                    registry.register(Box::new(made.clone()))?;
                    histograms.insert(entry.name, made);
                }
                Kind::Counter | Kind::Gauge => {
                    let made = IntCounterVec::new(Opts::new(entry.name, entry.help), entry.labels)?;
                    registry.register(Box::new(made.clone()))?;
                    counters.insert(entry.name, made);
                }
            }
        }
        let meters = Self { registry, counters, histograms };
        for entry in ALL.iter().filter(|it| it.labels.is_empty()) {
            meters.begin(entry);
        }
        Ok(meters)
    }

    /// A call to the container engine came to its end.
    pub fn engine_call(&self, call: &'static str, result: &'static str, took: Duration) {
        self.count(&catalogue::ENGINE_CALLS, &[call, result], 1);
        self.observe(&catalogue::ENGINE_CALL_TIME, &[call], took);
    }

    /// A call to a forge came to its end.
    pub fn forge_call(
        &self,
        forge: &'static str,
        call: &'static str,
        result: &'static str,
        took: Duration,
    ) {
        self.count(&catalogue::FORGE_CALLS, &[forge, call, result], 1);
        self.observe(&catalogue::FORGE_CALL_TIME, &[forge, call], took);
    }

    /// The core has decided.
    pub fn stepped(&self, took: Duration) {
        self.observe(&catalogue::STEP_TIME, &[], took);
    }

    /// The loop came to its clock so much later than it was due.
    pub fn lagged(&self, by: Duration) {
        self.observe(&catalogue::LOOP_LAG, &[], by);
    }

    /// A step is durable.
    pub fn committed(&self, took: Duration) {
        self.observe(&catalogue::COMMIT_TIME, &[], took);
    }

    /// A step could not be made durable.
    pub fn not_committed(&self) {
        self.count(&catalogue::COMMIT_FAILURES, &[], 1);
    }

    /// A notice was delivered, or was not.
    pub fn notified(&self, event: &'static str, result: &'static str) {
        self.count(&catalogue::NOTIFICATIONS, &[event, result], 1);
    }

    pub(super) fn count(&self, entry: &Entry, labels: &[&str], by: u64) {
        let counter =
            self.counters.get(entry.name).map(|it| it.get_metric_with_label_values(labels));
        match counter {
            Some(Ok(counter)) => counter.inc_by(by),
            Some(Err(error)) => tracing::error!(%error, name = entry.name, "not counted"),
            None => tracing::error!(name = entry.name, "nothing counts this"),
        }
    }

    pub(super) fn observe(&self, entry: &Entry, labels: &[&str], took: Duration) {
        let all = self.histograms.get(entry.name);
        match all.map(|it| it.get_metric_with_label_values(labels)) {
            Some(Ok(histogram)) => histogram.observe(took.as_secs_f64()),
            Some(Err(error)) => tracing::error!(%error, name = entry.name, "not counted"),
            None => tracing::error!(name = entry.name, "nothing counts this"),
        }
    }

    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// What has no labels shows zero before the first time.
    fn begin(&self, entry: &Entry) {
        let counter = self.counters.get(entry.name);
        // Made by asking for it.
        let _counter = counter.map(|it| it.get_metric_with_label_values::<&str>(&[]));
        let histogram = self.histograms.get(entry.name);
        let _histogram = histogram.map(|it| it.get_metric_with_label_values::<&str>(&[]));
    }
}
