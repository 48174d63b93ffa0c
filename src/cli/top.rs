//! `top`: the fleet, live on a terminal.

mod screen;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::clock;
use super::context::{Context, print};
use super::failure::Failure;
use super::interrupt::Interrupts;
use super::render::Paint;
use super::render::top::{self, Keys, Look, Order, Sort, View};
use crate::client::Client;
use crate::exit::Exit;
use crate::fleet::forge::ForgeJobView;
use crate::fleet::view::{FleetView, JobView};
use crate::supervisor::usage::UsageReport;
use screen::Screen;

/// Jobs that are asked for; a screen has room for fewer.
const WAITING_MAX: usize = 200;
/// Faster than this says nothing new: use is read once a second.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// A mean needs two readings so far apart.
const SECOND_LOOK: Duration = Duration::from_millis(1100);
/// A supervisor that answers slower than this is out of contact for a view that is live.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// The width of a frame without a terminal.
const WIDTH: u16 = 80;

/// Show the fleet live: runners and what they use, GPUs, and what waits
///
/// Keys: `q` quits; `n`, `s`, `j`, `a`, `c`, `m`, `v` sort by name, status, job, age, CPU, memory
/// and GPU memory; `r` turns the order round; arrows, page keys, `Home` and `End` move through the
/// runners. CPU is what was used since the look before, in processors.
/// Without a terminal, or with `--once`, it prints one frame and ends.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  slate-fleet top\n  slate-fleet top --sort cpu --interval 5s\n  \
                        slate-fleet top --once | head -20"
)]
pub(super) struct TopArgs {
    /// Print one frame and end
    #[arg(long)]
    once: bool,
    /// The order of the runners
    #[arg(long, value_name = "BY", default_value = "status")]
    sort: Sort,
    /// How often it looks again, from 1s
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    interval: Duration,
}

fn interval(text: &str) -> Result<Duration, String> {
    match clock::parse_duration(text)? {
        span if span < INTERVAL_MIN => Err("use is read once a second: give `1s` or more".into()),
        span => Ok(span),
    }
}

impl TopArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let is_live = !self.once && io::stdout().is_terminal();
        let mut look = Look {
            sort: self.sort,
            order: Order::Usual,
            above: 0,
            trouble: None,
            paint: if is_live { context.paint() } else { Paint::Off },
            keys: if is_live { Keys::Told } else { Keys::None },
        };
        let mut client = context.connect().await?;
        let first = see(&mut client).await?;
        match is_live {
            true => live(context, (client, self.interval), first, &mut look).await,
            false => {
                print(&top::text(&once(&mut client, first).await?, &look, width()))?;
                Ok(Exit::Done)
            }
        }
    }
}

/// A frame's width without a live screen: the terminal's if there is one.
fn width() -> u16 {
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let terminal = || match io::stdout().is_terminal() {
        true => ratatui::crossterm::terminal::size().ok().map(|(columns, _)| columns),
        false => None,
    };
    columns.or_else(terminal).filter(|it| *it > 0).unwrap_or(WIDTH)
}

/// One frame needs two looks where nobody looked before.
async fn once(client: &mut Client, first: View) -> Result<View, Failure> {
    let runners = &first.usage.runners;
    if runners.is_empty() || runners.iter().any(|it| it.cpus.is_some()) {
        return Ok(first);
    }
    sleep(SECOND_LOOK).await;
    see(client).await
}

async fn see(client: &mut Client) -> Result<View, Failure> {
    let fleet: FleetView = client.get("/api/v1/fleet").await?;
    let usage: UsageReport = client.get("/api/v1/usage").await?;
    let queue = format!("/api/v1/jobs?status=queued&order=queue&limit={WAITING_MAX}");
    let jobs: Vec<JobView> = client.get(&queue).await?;
    let forge: Vec<ForgeJobView> = match fleet.forges.is_empty() {
        true => Vec::new(),
        false => client.get(&format!("/api/v1/forge/jobs?limit={WAITING_MAX}")).await?,
    };
    Ok(View { waiting: top::waiting(&jobs, &forge), fleet, usage })
}

/// What the last look brought.
type Seen = Result<View, String>;

/// Looks again and again; a supervisor that went away may come back.
async fn watch_fleet(
    context: &Context,
    (client, every): (Client, Duration),
    out: watch::Sender<Option<Seen>>,
) {
    let mut client = Some(client);
    loop {
        sleep(every).await;
        let looked = timeout(LOOK_TIMEOUT, look_again(context, &mut client)).await;
        let seen = looked.unwrap_or_else(|_late| {
            Err(format!("the supervisor did not answer within {} s", LOOK_TIMEOUT.as_secs()))
        });
        if seen.is_err() {
            client = None;
        }
        out.send_replace(Some(seen));
    }
}

async fn look_again(context: &Context, client: &mut Option<Client>) -> Seen {
    let told = |failure: Failure| {
        let words = failure.render();
        let first = words.lines().next().unwrap_or_default();
        first.strip_prefix("error: ").unwrap_or(first).to_owned()
    };
    if client.is_none() {
        *client = Some(context.connect().await.map_err(told)?);
    }
    match client {
        Some(client) => see(client).await.map_err(told),
        None => Err("there is no connection".to_owned()),
    }
}

async fn live(
    context: &Context,
    fetch: (Client, Duration),
    first: View,
    look: &mut Look,
) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::new()?;
    let (out, mut seen) = watch::channel(None);
    let watching = watch_fleet(context, fetch, out);
    tokio::pin!(watching);
    let mut view = first;
    let mut screen = Screen::open()?;
    loop {
        screen.draw(&view, look)?;
        tokio::select! {
            () = &mut watching => return Ok(Exit::Done),
            changed = seen.changed() => {
                let Some(news) = changed.ok().and_then(|()| seen.borrow_and_update().clone())
                    else { continue };
                match news {
                    Ok(new) => (view, look.trouble) = (new, None),
                    Err(why) => {
                        let age = clock::now().since(view.fleet.at).as_secs();
                        look.trouble = Some(format!("no contact for {age} s: {why}"));
                    }
                }
            }
            event = screen.event() => match event {
                Some(event) if react(&event, look, view.fleet.runners.len()) == Next::Quit => {
                    return Ok(Exit::Done);
                }
                Some(_) => {}
                // The terminal is gone.
                None => return Ok(Exit::Done),
            },
            _ = interrupts.next() => return Ok(Exit::Done),
        }
    }
}

/// What follows a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Stay,
    Quit,
}

fn react(event: &Event, look: &mut Look, runners: usize) -> Next {
    let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else {
        return Next::Stay;
    };
    /// Runners that a page key passes.
    const PAGE: usize = 10;
    let last = runners.saturating_sub(1);
    match code {
        KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => return Next::Quit,
        KeyCode::Char('q') | KeyCode::Esc => return Next::Quit,
        KeyCode::Char('r') => {
            look.order = match look.order {
                Order::Usual => Order::Reverse,
                Order::Reverse => Order::Usual,
            };
        }
        KeyCode::Char(key) => {
            if let Some((_, sort, _)) = Sort::KEYS.iter().find(|(it, ..)| it == key) {
                (look.sort, look.order, look.above) = (*sort, Order::Usual, 0);
            }
        }
        KeyCode::Down => look.above = (look.above + 1).min(last),
        KeyCode::Up => look.above = look.above.saturating_sub(1),
        KeyCode::PageDown => look.above = (look.above + PAGE).min(last),
        KeyCode::PageUp => look.above = look.above.saturating_sub(PAGE),
        KeyCode::Home => look.above = 0,
        KeyCode::End => look.above = last,
        _ => {}
    }
    Next::Stay
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Look {
        Look {
            sort: Sort::Status,
            order: Order::Usual,
            above: 0,
            trouble: None,
            paint: Paint::Off,
            keys: Keys::Told,
        }
    }

    fn key(code: KeyCode) -> Event {
        Event::Key(KeyEvent::new(code, KeyModifiers::NONE))
    }

    #[test]
    fn keys_sort_turn_round_and_move_within_the_runners() {
        let mut look = look();
        for (code, above) in [
            (KeyCode::Down, 1),
            (KeyCode::PageDown, 4),
            (KeyCode::Down, 4),
            (KeyCode::Up, 3),
            (KeyCode::End, 4),
            (KeyCode::Home, 0),
            (KeyCode::Up, 0),
        ] {
            assert_eq!(react(&key(code), &mut look, 5), Next::Stay);
            assert_eq!(look.above, above, "{code:?}");
        }
        for (name, sort, _) in Sort::KEYS {
            react(&key(KeyCode::Char('r')), &mut look, 5);
            react(&key(KeyCode::Char(name)), &mut look, 5);
            assert_eq!((look.sort, look.order), (sort, Order::Usual), "{name}");
        }
        react(&key(KeyCode::Char('r')), &mut look, 5);
        assert_eq!(look.order, Order::Reverse);
        react(&key(KeyCode::Char('x')), &mut look, 5);
        assert_eq!(look.sort, Sort::Vram, "a key without a meaning changes nothing");
    }

    #[test]
    fn ctrl_c_ends_it_and_c_alone_sorts() {
        let mut look = look();
        let ctrl_c = Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert_eq!(react(&ctrl_c, &mut look, 1), Next::Quit);
        for code in [KeyCode::Char('q'), KeyCode::Esc] {
            assert_eq!(react(&key(code), &mut look, 1), Next::Quit);
        }
        assert_eq!(react(&key(KeyCode::Char('c')), &mut look, 1), Next::Stay);
        assert_eq!(look.sort, Sort::Cpu);
    }

    #[test]
    fn looking_more_often_than_use_is_read_is_refused() {
        assert_eq!(interval("2s"), Ok(Duration::from_secs(2)));
        assert!(interval("100ms").is_err() && interval("soon").is_err());
    }
}
