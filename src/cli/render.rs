//! What data looks like: tables, the specification's status text, and machine formats.
//!
//! Everything here is pure: views in, text out. Times are told from the view's own clock.

pub mod ago;
pub mod doctor;
pub mod events;
pub mod explain;
#[cfg(test)]
pub(super) mod fixture;
pub mod forges;
#[cfg(test)]
mod gpu_fixture;
pub mod gpu_map;
pub mod gpus;
pub mod jobs;
pub mod plan;
pub mod pools;
pub mod ps;
pub mod reports;
pub mod stats;
pub mod status;
mod table;
pub mod tasks;
pub mod tokens;
pub mod top;
mod yaml;

use serde::Serialize;

use super::context::Format;

/// Whether text may be coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// Plain text.
    Off,
    /// ANSI colours.
    On,
}

/// What a colour says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Under way.
    Busy,
    /// In trouble.
    Bad,
    /// Of less interest.
    Dim,
}

impl Paint {
    /// Colours only on a terminal, and not where `NO_COLOR` is set (<https://no-color.org>).
    #[must_use]
    pub fn for_terminal(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match terminal && !refused {
            true => Self::On,
            false => Self::Off,
        }
    }

    /// Text in a tone.
    #[must_use]
    pub fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => 32,
            Tone::Busy => 36,
            Tone::Bad => 31,
            Tone::Dim => 2,
        };
        match self {
            Self::Off => text.to_owned(),
            Self::On => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// Text of others in one line that cannot steer the terminal: control characters as escapes.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
        line
    })
}

/// Data in a machine format; none for tables, which every kind of data has its own of.
#[must_use]
pub fn machine<T: Serialize>(format: Format, items: &[T]) -> Option<String> {
    match format {
        Format::Table | Format::Wide => None,
        Format::Json => Some(format!("{}\n", json(items))),
        Format::Jsonl => Some(json_lines(items)),
        Format::Yaml => Some(yaml::emit(items)),
    }
}

/// One document in a machine format; none for tables.
#[must_use]
pub fn machine_one<T: Serialize>(format: Format, item: &T) -> Option<String> {
    match format {
        Format::Table | Format::Wide => None,
        Format::Json => Some(format!("{}\n", json(item))),
        Format::Jsonl => Some(json_lines(std::slice::from_ref(item))),
        Format::Yaml => Some(yaml::emit(item)),
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    // View types always serialise: their keys are texts.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn json_lines<T: Serialize>(items: &[T]) -> String {
    items
        .iter()
        .filter_map(|item| serde_json::to_string(item).ok())
        .map(|line| line + "\n")
        .collect()
}
