//! Progress as one line per change, for logs and CI.

use super::{Renderer, Update, line, width};
use crate::cli::context::note;

pub(super) struct Plain;

impl Renderer for Plain {
    fn update(&mut self, update: Update<'_>) {
        let width = width(update.all);
        for step in update.changed.iter().filter_map(|index| update.all.get(*index)) {
            note(&line(step, width));
        }
    }

    fn finish(&mut self) {}
}
