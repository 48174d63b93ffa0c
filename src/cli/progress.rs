//! Progress of the fleet towards a goal: one stream of steps, four ways to show it.
//!
//! A [`Tracker`] turns fleet views into steps and knows nothing of terminals; a renderer shows
//! steps and knows nothing of fleets. Progress goes to stderr, so that stdout stays data.

mod json;
mod plain;
mod tracker;
mod tty;

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

pub(super) use tracker::Tracker;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Live lines on a terminal, plain lines elsewhere
    Auto,
    /// Live lines
    Tty,
    /// One line per change
    Plain,
    /// One JSON document per change
    Json,
    /// Nothing
    Quiet,
}

/// Where a runner is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StepState {
    /// Under way.
    Working,
    /// Where it should be.
    Done,
    /// In trouble.
    Failed,
}

/// One runner's place on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Step {
    /// The runner's name.
    pub runner: String,
    /// In one word: `Creating`, `Started`, `Removed`.
    pub what: &'static str,
    /// What that means.
    pub state: StepState,
    /// Why, where it is known.
    pub note: Option<String>,
    /// Since progress began; none for runners that needed nothing.
    #[serde(skip)]
    pub took: Option<Duration>,
}

/// All steps, and which of them are new.
#[derive(Debug, Clone, Copy)]
pub(super) struct Update<'a> {
    /// Every runner, in the fleet's order.
    pub all: &'a [Step],
    /// Indices of those that changed since the last update.
    pub changed: &'a [usize],
    /// Since progress began.
    pub elapsed: Duration,
}

/// Shows steps.
pub(super) trait Renderer {
    /// Shows an update; also called now and then without a change, to move the seconds on.
    fn update(&mut self, update: Update<'_>);
    /// Leaves the terminal in order.
    fn finish(&mut self);
}

/// The renderer for a mode on this process's stderr.
pub(super) fn renderer(mode: ProgressMode) -> Box<dyn Renderer> {
    match mode {
        ProgressMode::Auto if io::stderr().is_terminal() => Box::new(tty::Tty::new()),
        ProgressMode::Auto | ProgressMode::Plain => Box::new(plain::Plain),
        ProgressMode::Tty => Box::new(tty::Tty::new()),
        ProgressMode::Json => Box::new(json::Json),
        ProgressMode::Quiet => Box::new(Quiet),
    }
}

/// Shows nothing.
struct Quiet;

impl Renderer for Quiet {
    fn update(&mut self, _update: Update<'_>) {}
    fn finish(&mut self) {}
}

/// `Runner slate-light-01  Started  0.4s`, with names padded to the longest.
fn line(step: &Step, width: usize) -> String {
    let head = format!("Runner {:<width$}  {:<8}", step.runner, step.what);
    let took = step.took.map(|took| format!("  {:.1}s", took.as_secs_f64())).unwrap_or_default();
    let note = step.note.as_deref().map(|note| format!("  {note}")).unwrap_or_default();
    format!("{head}{took}{note}").trim_end().to_owned()
}

/// The longest name, for alignment.
fn width(steps: &[Step]) -> usize {
    steps.iter().map(|step| step.runner.chars().count()).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_a_compose_user_expects() {
        let step = Step {
            runner: "slate-light-01".to_owned(),
            what: "Started",
            state: StepState::Done,
            note: None,
            took: Some(Duration::from_millis(420)),
        };
        assert_eq!(line(&step, 14), "Runner slate-light-01  Started   0.4s");
        let waiting = Step { what: "Error", note: Some("no image".to_owned()), ..step };
        assert_eq!(line(&waiting, 16), "Runner slate-light-01    Error     0.4s  no image");
    }
}
