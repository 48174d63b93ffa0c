//! The live view of `top`: a pure function from what is known, how it is looked at, and how much
//! room there is, to a screen.

mod rows;
#[cfg(test)]
mod tests;

use std::time::Duration;

use clap::ValueEnum;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table, Widget as _};

use super::{Paint, Tone, one_line};
use crate::cli::clock::utc;
use crate::fleet::view::{FleetView, GpuView, RunnerStatus};
use crate::supervisor::usage::UsageReport;
use crate::units::words::counted;
use rows::{Runner, Waiting};

pub use rows::waiting;

/// From this width on there is room for pools and notes.
const WIDE: u16 = 110;
/// Cards that are shown; the others are in `slate-fleet gpus`.
const CARDS_MAX: usize = 8;
/// The queue has this part of the screen at most, so that runners are always seen.
const QUEUE_SHARE: u16 = 3;
/// Width of a card's bar.
const BAR: u64 = 20;

/// What is known.
#[derive(Debug, Clone)]
pub struct View {
    /// The fleet.
    pub fleet: FleetView,
    /// What its runners use.
    pub usage: UsageReport,
    /// What waits, the next one first.
    pub waiting: Vec<Waiting>,
}

/// How it is looked at.
#[derive(Debug, Clone)]
pub struct Look {
    /// The order of the runners.
    pub sort: Sort,
    /// Whether it is turned round.
    pub order: Order,
    /// Runners above the first one that is shown.
    pub above: usize,
    /// Why the view is old, if it is.
    pub trouble: Option<String>,
    /// Whether there are colours.
    pub paint: Paint,
    /// Whether keys are explained.
    pub keys: Keys,
}

/// Which way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Names from the first one, figures from the largest.
    Usual,
    /// The other way.
    Reverse,
}

/// Whether somebody may type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// On a terminal.
    Told,
    /// In a plain frame.
    None,
}

/// By what runners are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// Their names
    Name,
    /// Trouble first, then those with a job
    Status,
    /// Their jobs
    Job,
    /// How long they have been as they are
    Age,
    /// Processors in use
    Cpu,
    /// Memory in use
    Memory,
    /// GPU memory in use
    Vram,
}

impl Sort {
    /// All of them, with the key that chooses each.
    pub const KEYS: [(char, Self, &'static str); 7] = [
        ('n', Self::Name, "name"),
        ('s', Self::Status, "status"),
        ('j', Self::Job, "job"),
        ('a', Self::Age, "age"),
        ('c', Self::Cpu, "cpu"),
        ('m', Self::Memory, "memory"),
        ('v', Self::Vram, "vram"),
    ];
}

/// Draws the whole screen.
pub fn draw(view: &View, look: &Look, area: Rect, buffer: &mut Buffer) {
    let runners = rows::runners(view, (look.sort, look.order));
    let parts = Parts::of(view, look, (area.width, area.height));
    let heights = parts.heights().map(Constraint::Length);
    let [head, cards, table, queue, foot] = Layout::vertical(heights).areas(area);
    Paragraph::new(headline(view, look)).render(head, buffer);
    let shown = view.fleet.gpus.cards.iter().take(usize::from(cards.height));
    Paragraph::new(shown.map(|card| card_line(card, look.paint)).collect::<Vec<_>>())
        .render(cards, buffer);
    let from = look.above.min(runners.len().saturating_sub(1));
    let shown = runners.get(from..).unwrap_or_default();
    runner_table(shown, look, area.width >= WIDE).render(table, buffer);
    Paragraph::new(queue_lines(view, look.paint, queue)).render(queue, buffer);
    Paragraph::new(foot_line(look, runners.len())).render(foot, buffer);
}

/// A frame without a terminal: as high as it needs to be.
#[must_use]
pub fn text(view: &View, look: &Look, width: u16) -> String {
    let parts = Parts::of(view, look, (width, u16::MAX / 2));
    let area = Rect::new(0, 0, width, parts.heights().iter().sum());
    let mut buffer = Buffer::empty(area);
    draw(view, look, area, &mut buffer);
    lines(&buffer)
}

/// The text of a screen, without spaces at the ends of lines.
fn lines(buffer: &Buffer) -> String {
    let rows = buffer.content().chunks(usize::from(buffer.area.width.max(1)));
    let line = |row: &[ratatui::buffer::Cell]| {
        let text: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        text.trim_end().to_owned() + "\n"
    };
    rows.map(line).collect()
}

/// How many lines each part of the screen has.
struct Parts {
    head: u16,
    cards: u16,
    runners: u16,
    queue: u16,
    foot: u16,
}

impl Parts {
    fn of(view: &View, look: &Look, (_, height): (u16, u16)) -> Self {
        let head = if look.trouble.is_some() || !view.fleet.troubles.is_empty() { 3 } else { 2 };
        let foot = u16::from(look.keys == Keys::Told);
        let room = height.saturating_sub(head + foot);
        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let cards = count(view.fleet.gpus.cards.len().min(CARDS_MAX)).min(room / 4);
        let room = room - cards;
        // A blank line and a head line stand before the jobs.
        let queue = match view.waiting.len() {
            0 => 0,
            waiting => count(waiting).saturating_add(2).min(room / QUEUE_SHARE),
        };
        let runners = match look.keys {
            Keys::Told => room - queue,
            Keys::None => count(view.fleet.runners.len()).saturating_add(1).min(room - queue),
        };
        Self { head, cards, runners, queue, foot }
    }

    fn heights(&self) -> [u16; 5] {
        [self.head, self.cards, self.runners, self.queue, self.foot]
    }
}

fn headline<'a>(view: &'a View, look: &'a Look) -> Vec<Line<'a>> {
    let fleet = &view.fleet;
    let count = |is_so: fn(RunnerStatus) -> bool| {
        fleet.runners.iter().filter(|it| is_so(it.status)).count()
    };
    let running = count(|it| it == RunnerStatus::Running);
    let idle = count(|it| it == RunnerStatus::Idle);
    let error = count(RunnerStatus::is_trouble);
    let other = fleet.runners.len() - running - idle - error;
    let part = |count: usize, what: &str, tone| {
        let tone = if count == 0 { None } else { Some(tone) };
        Span::styled(format!("{count} {what}"), style(look.paint, tone))
    };
    let mut first = vec![
        Span::styled(fleet.project.as_str(), bold(look.paint)),
        Span::raw("  "),
        part(running, "running", Tone::Busy),
        Span::raw(", "),
        part(idle, "idle", Tone::Good),
        Span::raw(", "),
        part(error, "in error", Tone::Bad),
    ];
    if other > 0 {
        first.push(Span::raw(format!(", {other} on their way")));
    }
    first.push(Span::raw(format!(" · {} queued", waiting_count(view))));
    if fleet.held > 0 {
        first.push(Span::raw(format!(", {} held", fleet.held)));
    }
    let time = utc(fleet.at);
    first.push(Span::raw(format!(" · {}", time.get(11..19).unwrap_or_default())));
    let mut lines = vec![Line::from(first), Line::from(use_of_all(view))];
    if let Some(why) = look.trouble.as_ref().or_else(|| fleet.troubles.first()) {
        lines.push(Line::styled(one_line(why), style(look.paint, Some(Tone::Bad))));
    }
    lines
}

fn waiting_count(view: &View) -> usize {
    view.waiting.len().max(usize::try_from(view.fleet.queued).unwrap_or(usize::MAX))
}

/// What all runners use together.
fn use_of_all(view: &View) -> String {
    let runners = &view.usage.runners;
    if runners.is_empty() {
        return "Use is not known yet".to_owned();
    }
    let memory = runners.iter().fold(0u64, |sum, it| sum.saturating_add(it.memory.0));
    let pids: u64 = runners.iter().map(|it| it.pids).sum();
    let known: Vec<u32> = runners.iter().filter_map(|it| it.cpus).map(|it| it.0).collect();
    let cpus = match known.is_empty() {
        true => "-".to_owned(),
        false => rows::cpus(known.iter().copied().fold(0, u32::saturating_add)),
    };
    let memory = rows::size(memory);
    format!("Use: {cpus} CPUs, {memory} memory, {pids} processes")
}

fn card_line(card: &GpuView, paint: Paint) -> Line<'static> {
    let reading = &card.reading;
    let all = u64::from(reading.card.memory.0).max(1);
    let used = reading.used.map(|used| u64::from(used.0));
    let cells = used.map_or(0, |used| (used.saturating_mul(BAR) / all).min(BAR));
    let bar: String = (0..BAR).map(|cell| if cell < cells { '#' } else { '.' }).collect();
    let used = used.map_or_else(|| "-".to_owned(), |used| used.to_string());
    let busy = reading.busy_percent.map_or_else(|| "-".to_owned(), |it| format!("{it}%"));
    let leases = counted(card.leases.len(), "lease");
    let name = one_line(&reading.card.name);
    let closed = if card.cordon.is_some() { ", closed" } else { "" };
    let text = format!(
        "GPU {} [{bar}] {used}/{all} MiB  {busy:>4}  {leases}{closed}  {name}",
        reading.card.index
    );
    let tone = card.cordon.as_ref().map(|_| Tone::Bad);
    Line::styled(text, style(paint, tone))
}

fn runner_table(runners: &[Runner<'_>], look: &Look, is_wide: bool) -> Table<'static> {
    let columns: &[(&str, Option<Sort>, Constraint)] = &[
        ("NAME", Some(Sort::Name), Constraint::Min(16)),
        ("STATUS", Some(Sort::Status), Constraint::Length(11)),
        ("JOB", Some(Sort::Job), Constraint::Length(12)),
        ("AGE", Some(Sort::Age), Constraint::Length(6)),
        ("CPU", Some(Sort::Cpu), Constraint::Length(5)),
        ("MEMORY", Some(Sort::Memory), Constraint::Length(14)),
        ("VRAM", Some(Sort::Vram), Constraint::Length(6)),
        ("POOL", None, Constraint::Length(12)),
        ("NOTE", None, Constraint::Fill(1)),
    ];
    let shown = if is_wide { columns.len() } else { columns.len() - 2 };
    let shown = columns.iter().take(shown);
    let head = shown.clone().map(|(name, sort, _)| {
        let mark = match (*sort == Some(look.sort), look.order) {
            (false, _) => "",
            (true, Order::Usual) => "*",
            (true, Order::Reverse) => "^",
        };
        Cell::new(format!("{name}{mark}"))
    });
    let rows = runners.iter().map(|runner| {
        let texts = runner.cells().into_iter();
        let cells = texts.map(|(text, tone)| Cell::new(text).style(style(look.paint, tone)));
        Row::new(cells.take(if is_wide { columns.len() } else { columns.len() - 2 }))
    });
    let widths = shown.map(|(.., width)| *width);
    Table::new(rows, widths).header(Row::new(head).style(bold(look.paint))).column_spacing(1)
}

fn queue_lines(view: &View, paint: Paint, area: Rect) -> Vec<Line<'static>> {
    if area.height < 2 {
        return Vec::new();
    }
    let room = usize::from(area.height - 2);
    let count = waiting_count(view);
    // The last line says how many more there are.
    let shown = if count > room { room.saturating_sub(1) } else { room };
    let mut lines = vec![Line::raw(""), Line::styled(rows::WAITING_HEAD.to_owned(), bold(paint))];
    lines.extend(view.waiting.iter().take(shown).map(|it| Line::raw(it.line(view.fleet.at))));
    if count > shown {
        lines.push(Line::raw(format!("… and {} more", count - shown.min(view.waiting.len()))));
    }
    lines
}

fn foot_line(look: &Look, runners: usize) -> Line<'static> {
    let keys = Sort::KEYS.iter().map(|(key, _, name)| match name.strip_prefix(*key) {
        Some(rest) => format!("[{key}]{rest}"),
        None => format!("[{key}] {name}"),
    });
    let keys: Vec<String> = keys.collect();
    let above = match look.above {
        0 => String::new(),
        above => format!(" · {}/{runners}", above + 1),
    };
    let text = format!("[q]uit [r]everse · {}{above}", keys.join(" "));
    Line::styled(text, style(look.paint, Some(Tone::Dim)))
}

fn style(paint: Paint, tone: Option<Tone>) -> Style {
    let Some(tone) = tone.filter(|_| paint == Paint::On) else { return Style::new() };
    match tone {
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Busy => Style::new().fg(Color::Cyan),
        Tone::Bad => Style::new().fg(Color::Red),
        Tone::Dim => Style::new().add_modifier(Modifier::DIM),
    }
}

fn bold(paint: Paint) -> Style {
    match paint {
        Paint::On => Style::new().add_modifier(Modifier::BOLD),
        Paint::Off => Style::new(),
    }
}

/// `7s`, `4m`, `3h`, `12d`: a column has no room for more.
fn short(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h{:02}", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d", seconds / 86_400),
    }
}
