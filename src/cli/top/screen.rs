//! A terminal that is taken over for a while and always given back: at the end, on a signal, and
//! when the program panics.

use std::io;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::cli::failure::Failure;
use crate::cli::render::top::{self, Look, View};

/// Keys that were typed and not yet acted on; a person types slower.
const KEYS_MAX: usize = 64;
/// How soon the reader of keys sees that it is to end.
const READ_TIMEOUT: Duration = Duration::from_millis(100);

/// The terminal, in its other screen and without echo.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    events: mpsc::Receiver<Event>,
    over: Arc<AtomicBool>,
}

impl Screen {
    /// Takes the terminal over.
    pub(super) fn open() -> Result<Self, Failure> {
        let failed = |error| Failure::system("cannot use this terminal", &error);
        let opened = ratatui::try_init();
        if opened.is_err() {
            // A part of it may be done.
            ratatui::restore();
        }
        let terminal = opened.map_err(failed)?;
        // Its own hook leaves the other screen, and forgets that the cursor was hidden.
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            show_cursor();
            hook(info);
        }));
        let (out, events) = mpsc::channel(KEYS_MAX);
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        spawn_blocking(move || read(&out, &told));
        Ok(Self { terminal, events, over })
    }

    /// Shows a view.
    pub(super) fn draw(&mut self, view: &View, look: &Look) -> Result<(), Failure> {
        let drawn = self.terminal.draw(|frame| {
            let area = frame.area();
            top::draw(view, look, area, frame.buffer_mut());
        });
        drawn.map(drop).map_err(|error| Failure::system("cannot write to this terminal", &error))
    }

    /// The next key or change of size; none when the terminal is gone. Safe to drop and call
    /// again.
    pub(super) async fn event(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        show_cursor();
        ratatui::restore();
    }
}

fn show_cursor() {
    // A terminal that is gone has no cursor.
    let _shown = execute!(io::stdout(), Show);
}

/// Reads keys until the screen is given back or the terminal goes away.
fn read(out: &mpsc::Sender<Event>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        match event::poll(READ_TIMEOUT) {
            Ok(false) => {}
            Ok(true) => match event::read() {
                Ok(event) => {
                    if out.blocking_send(event).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            },
            Err(_) => return,
        }
    }
}
