//! Progress as one JSON document per change, for programs.

use serde::Serialize;

use super::{Renderer, Step, Update};
use crate::cli::context::note;

pub(super) struct Json;

/// One change.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    step: &'a Step,
    elapsed_seconds: Option<f64>,
}

impl Renderer for Json {
    fn update(&mut self, update: Update<'_>) {
        for step in update.changed.iter().filter_map(|index| update.all.get(*index)) {
            let seconds = step.took.map(|took| took.as_secs_f64());
            if let Ok(text) = serde_json::to_string(&Line { step, elapsed_seconds: seconds }) {
                note(&text);
            }
        }
    }

    fn finish(&mut self) {}
}
