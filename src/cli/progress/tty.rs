//! Progress as live lines: one per runner, rewritten in place, never more than the screen holds.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use super::{Renderer, Step, StepState, Update, line, width};
use crate::cli::render::{Paint, Tone};

/// Screen size where the terminal does not tell.
const DEFAULT_SIZE: (usize, usize) = (24, 80);

pub(super) struct Tty {
    paint: Paint,
    drawn: usize,
}

impl Tty {
    pub(super) fn new() -> Self {
        Self { paint: Paint::for_terminal(true), drawn: 0 }
    }

    fn frame(&self, update: &Update<'_>, (rows, columns): (usize, usize)) -> Vec<String> {
        let done = update.all.iter().filter(|step| step.state == StepState::Done).count();
        let elapsed = update.elapsed.as_secs_f64();
        let mut lines = vec![format!("[+] Runners {done}/{}  {elapsed:.1}s", update.all.len())];
        let room = rows.saturating_sub(2).max(1);
        let width = width(update.all);
        let shown = visible(update.all, room);
        lines.extend(shown.iter().map(|step| {
            let text: String = line(step, width).chars().take(columns.saturating_sub(4)).collect();
            format!(" {} {text}", self.mark(step.state))
        }));
        lines
    }

    fn mark(&self, state: StepState) -> String {
        match state {
            StepState::Working => self.paint.paint(Tone::Busy, "⠿"),
            StepState::Done => self.paint.paint(Tone::Good, "✔"),
            StepState::Failed => self.paint.paint(Tone::Bad, "✘"),
        }
    }
}

/// The steps that fit: all, else those that are not done first, in the fleet's order.
fn visible(steps: &[Step], room: usize) -> Vec<&Step> {
    if steps.len() <= room {
        return steps.iter().collect();
    }
    let open = steps.iter().filter(|step| step.state != StepState::Done);
    let done = steps.iter().filter(|step| step.state == StepState::Done);
    open.chain(done).take(room).collect()
}

impl Renderer for Tty {
    fn update(&mut self, update: Update<'_>) {
        let lines = self.frame(&update, screen());
        let mut text = String::new();
        if self.drawn > 0 {
            // Up to the first line of the last frame, then clear to the end of the screen.
            let _infallible = write!(text, "\x1b[{}A\x1b[J", self.drawn);
        }
        for line in &lines {
            let _infallible = writeln!(text, "{line}");
        }
        self.drawn = lines.len();
        // Nobody can be told that stderr is closed.
        let _told = io::stderr().lock().write_all(text.as_bytes());
    }

    fn finish(&mut self) {
        self.drawn = 0;
    }
}

fn screen() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stderr()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => {
            (usize::from(size.ws_row), usize::from(size.ws_col))
        }
        Ok(_) | Err(_) => DEFAULT_SIZE,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn step(number: usize, state: StepState) -> Step {
        Step { runner: format!("r{number}"), what: "Creating", state, note: None, took: None }
    }

    #[test]
    fn a_frame_never_exceeds_the_screen_and_keeps_what_is_not_done() {
        let mut all: Vec<Step> = (0..50).map(|n| step(n, StepState::Done)).collect();
        all.push(step(50, StepState::Failed));
        let tty = Tty { paint: Paint::Off, drawn: 0 };
        let update = Update { all: &all, changed: &[], elapsed: Duration::from_secs(1) };
        let lines = tty.frame(&update, (10, 40));
        assert!(lines.len() < 10);
        assert_eq!(lines.first().map(String::as_str), Some("[+] Runners 50/51  1.0s"));
        assert!(lines.get(1).is_some_and(|line| line.contains("r50")), "{lines:?}");
    }
}
