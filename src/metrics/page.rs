//! The page: families of samples in the order of the catalogue.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::catalogue::{ALL, Entry, Kind};

/// What is on the page so far, by name.
#[derive(Debug, Default)]
pub(super) struct Page {
    families: BTreeMap<String, MetricFamily>,
}

impl Page {
    /// A metric without labels.
    pub fn one(&mut self, entry: &Entry, value: f64) {
        self.put::<0>(entry, [([], value)]);
    }

    /// A metric's samples, each with the values of its labels in the catalogue's order.
    pub fn put<'a, const N: usize>(
        &mut self,
        entry: &Entry,
        samples: impl IntoIterator<Item = ([&'a str; N], f64)>,
    ) {
        let metrics: Vec<Metric> =
            samples.into_iter().map(|(labels, value)| sample(entry, &labels, value)).collect();
        if metrics.is_empty() {
            return;
        }
        let mut family = MetricFamily::default();
        family.set_name(entry.name.to_owned());
        family.set_help(entry.help.to_owned());
        family.set_field_type(match entry.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram(_) => MetricType::HISTOGRAM,
        });
        family.set_metric(metrics);
        self.families.insert(entry.name.to_owned(), family);
    }

    /// What was counted.
    pub fn add(&mut self, counted: Vec<MetricFamily>) {
        self.families.extend(counted.into_iter().map(|it| (it.name().to_owned(), it)));
    }

    /// All of it, as the catalogue orders it.
    pub fn families(&self) -> Vec<MetricFamily> {
        ALL.iter().filter_map(|entry| self.families.get(entry.name)).cloned().collect()
    }

    /// Names what has no sample yet, so that the page says all that it may ever say.
    pub fn put_empty(&self, text: &mut String) {
        for entry in ALL.iter().filter(|it| !self.families.contains_key(it.name)) {
            let Entry { name, help, kind, .. } = entry;
            let kind = kind.word();
            // Writing to a string does not fail.
            let _written = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        }
    }
}

fn sample(entry: &Entry, labels: &[&str], value: f64) -> Metric {
    let pair = |(name, value): (&&str, &&str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    let mut pairs: Vec<LabelPair> = entry.labels.iter().zip(labels).map(pair).collect();
    // As the library orders those of what is counted.
    pairs.sort_by(|one, other| one.name().cmp(other.name()));
    let mut metric = Metric::from_label(pairs);
    match entry.kind {
        Kind::Counter => {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        }
        // A histogram is counted, never read from the state.
        Kind::Gauge | Kind::Histogram(_) => {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
    }
    metric
}
