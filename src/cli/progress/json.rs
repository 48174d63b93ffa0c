//! Progress as one JSON document per change, for programs.

use super::{Renderer, Update};
use crate::cli::context::note;

pub(super) struct Json;

impl Renderer for Json {
    fn update(&mut self, update: Update<'_>) {
        for step in update.changed.iter().filter_map(|index| update.all.get(*index)) {
            if let Ok(text) = serde_json::to_string(step) {
                note(&text);
            }
        }
    }

    fn finish(&mut self) {}
}
