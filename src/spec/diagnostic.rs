//! What is wrong with a fleet file, where, and what would be right.
//!
//! Checks add [`Finding`]s that know a [`Span`]; at the end these become [`Diagnostic`]s that carry
//! their line of text, so that they can be shown long after the files are gone from memory.

use std::fmt;

use serde::Serialize;

use super::secret;
use crate::units::words::counted;

/// Most diagnostics that are kept: a reader cannot use more, and bad input must not grow memory.
const DIAGNOSTICS_MAX: usize = 100;

/// Longest line, in bytes, of which anything is shown: no person wrote a longer one.
const LINE_MAX: usize = 16 * 1024;

/// Most characters of a source line that are shown; longer lines are cut around the place.
const EXCERPT_MAX: usize = 120;

/// A place in one of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    /// Which file, in the order they were given.
    pub(super) file: usize,
    /// Line, counted from 1.
    pub(super) line: usize,
    /// Column in characters, counted from 1.
    pub(super) column: usize,
    /// How many characters are meant; at least one is shown.
    pub(super) width: usize,
}

/// Whether a finding prevents the use of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is used, and the operator should know this.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One finding, while the files are still at hand.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    severity: Severity,
    span: Option<Span>,
    message: String,
    help: Option<String>,
}

/// The finding just added, to which help may be added.
pub(super) struct Added<'a>(&'a mut Vec<Finding>);

impl Added<'_> {
    /// Adds what would be right.
    pub(super) fn help(self, text: impl Into<String>) {
        if let Some(finding) = self.0.last_mut() {
            finding.help = Some(text.into());
        }
    }
}

/// Collects findings; every check writes here and goes on.
#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
    /// Values that no finding shows.
    hidden: Vec<Span>,
}

impl Findings {
    /// Adds a finding for which the file is refused.
    pub(super) fn error(&mut self, span: Span, message: impl Into<String>) -> Added<'_> {
        self.add(Severity::Error, Some(span), message.into())
    }

    /// Adds a finding that belongs to no place in a file.
    pub(super) fn error_nowhere(&mut self, message: impl Into<String>) -> Added<'_> {
        self.add(Severity::Error, None, message.into())
    }

    /// Adds something the operator should know.
    pub(super) fn warning(&mut self, span: Span, message: impl Into<String>) -> Added<'_> {
        self.add(Severity::Warning, Some(span), message.into())
    }

    /// Whether the file is refused.
    pub(super) fn has_errors(&self) -> bool {
        self.list.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Whether there are more findings than will be shown, so that costly help is not worth it.
    pub(super) fn is_crowded(&self) -> bool {
        self.list.len() > 2 * DIAGNOSTICS_MAX
    }

    /// What is said of the first finding, an error or not.
    pub(super) fn first_message(&self) -> Option<String> {
        self.list.first().map(|finding| finding.message.clone())
    }

    /// Shows what stands there in no line of the file that is shown.
    pub(super) fn hide(&mut self, span: Span) {
        self.hidden.push(span);
    }

    fn add(&mut self, severity: Severity, span: Option<Span>, message: String) -> Added<'_> {
        self.list.push(Finding { severity, span, message, help: None });
        Added(&mut self.list)
    }

    /// Ends the collection: the errors, each in one line with the name of its place, and their
    /// number. Of very many, the first hundred are kept.
    pub(super) fn into_lines(
        mut self,
        name: impl Fn(Span) -> Option<String>,
    ) -> (Vec<String>, usize) {
        self.list.retain(|finding| finding.severity == Severity::Error);
        self.list.sort_by_key(|finding| finding.span);
        let errors = self.list.len();
        let line = |finding: Finding| {
            let place = finding.span.and_then(&name).map(|place| format!("`{place}`"));
            // Some messages begin with their place already.
            let place = place.filter(|place| !finding.message.contains(place.as_str()));
            let place = place.map(|place| place + ": ").unwrap_or_default();
            let help = finding.help.map(|help| format!("; {help}")).unwrap_or_default();
            printable(&format!("{place}{}{help}", finding.message))
        };
        let mut lines: Vec<String> =
            self.list.into_iter().take(DIAGNOSTICS_MAX).map(line).collect();
        lines.dedup();
        (lines, errors)
    }

    /// Ends the collection: errors first, each kind in the order of the files.
    pub(super) fn into_diagnostics(mut self, files: &[(&str, &str)]) -> Diagnostics {
        self.list.sort_by_key(|finding| (finding.severity, finding.span));
        let count =
            |severity| self.list.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let mut list: Vec<Diagnostic> = Vec::new();
        for finding in self.list {
            // Looking up a place costs a walk over the text, so it ends with the list.
            if list.len() == DIAGNOSTICS_MAX {
                break;
            }
            let next = Diagnostic::new(finding, files, &self.hidden);
            if list.last() != Some(&next) {
                list.push(next);
            }
        }
        Diagnostics { list, errors, warnings }
    }
}

/// One finding with its place, complete in itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Whether the file is refused for it.
    pub severity: Severity,
    /// What is wrong; never contains a secret.
    pub message: String,
    /// What would be right, if that can be said.
    pub help: Option<String>,
    /// Where, if it belongs to a place.
    pub place: Option<Place>,
}

/// A place in a file together with its line of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file, as the operator named it.
    pub file: String,
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// The line, with control characters replaced and secrets masked.
    pub excerpt: String,
    /// Where in `excerpt` the caret stands, counted from 0.
    pub caret: usize,
    /// How many characters the caret underlines, at least one.
    pub width: usize,
}

impl Diagnostic {
    fn new(finding: Finding, files: &[(&str, &str)], hidden: &[Span]) -> Self {
        let place = finding.span.and_then(|span| Place::new(span, files, hidden));
        let (message, help) = (printable(&finding.message), finding.help.as_deref().map(printable));
        Self { severity: finding.severity, message, help, place }
    }
}

/// A text that cannot command a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A line without the values in it that are hidden.
fn without(line: &str, at: Span, hidden: &[Span]) -> String {
    let here = |span: &&Span| span.file == at.file && span.line == at.line;
    let mut hidden: Vec<&Span> = hidden.iter().filter(here).collect();
    hidden.sort_by_key(|span| std::cmp::Reverse(span.column));
    hidden.dedup();
    let mut chars: Vec<char> = line.chars().collect();
    for span in hidden {
        let from = span.column.saturating_sub(1).min(chars.len());
        let to = from.saturating_add(span.width.max(1)).min(chars.len());
        chars.splice(from..to, secret::MASK.chars());
    }
    chars.into_iter().collect()
}

impl Place {
    fn new(span: Span, files: &[(&str, &str)], hidden: &[Span]) -> Option<Self> {
        let (file, text) = files.get(span.file)?;
        let line = text.lines().nth(span.line.saturating_sub(1)).unwrap_or_default();
        let shown = match line.len() > LINE_MAX {
            true => String::new(),
            false => secret::mask_line(&without(line, span, hidden)),
        };
        let chars: Vec<char> = printable(&shown).chars().collect();
        let column = span.column.max(1);
        let start =
            if chars.len() > EXCERPT_MAX { column.saturating_sub(EXCERPT_MAX / 3) } else { 0 };
        let cut: Vec<char> = chars.iter().skip(start).take(EXCERPT_MAX).copied().collect();
        let caret = (column - 1).saturating_sub(start).min(cut.len());
        let width = span.width.clamp(1, (cut.len() - caret).max(1));
        let excerpt = cut.into_iter().collect::<String>().trim_end().to_owned();
        Some(Self { file: (*file).to_owned(), line: span.line, column, excerpt, caret, width })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.message)?;
        if let Some(place) = &self.place {
            let number = place.line.to_string();
            let gutter = " ".repeat(number.len());
            write!(f, "\n{gutter}--> {}:{number}:{}", place.file, place.column)?;
            if !place.excerpt.is_empty() {
                let caret = format!("{}{}", " ".repeat(place.caret), "^".repeat(place.width));
                write!(f, "\n{gutter} |\n{number} | {}\n{gutter} | {caret}", place.excerpt)?;
            }
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// Everything that was found, errors first.
///
/// `Display` shows all of it, ready for a terminal; it ends without a line break.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
}

impl Diagnostics {
    /// The findings; of very many, the first hundred.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many errors were found.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// How many warnings were found.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.warnings
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            write!(f, "{gap}{diagnostic}")?;
        }
        match self.errors {
            0 => Ok(()),
            count => write!(f, "\n\n{}; nothing was changed", counted(count, "error")),
        }
    }
}

impl std::error::Error for Diagnostics {}
