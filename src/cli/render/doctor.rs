//! Checks for people: a section each, then the counts.

use std::fmt::Write as _;

use super::{Paint, Tone, one_line};
use crate::api::doctor::{Check, CheckLevel, Diagnosis};
use crate::units::words::counted;

/// The text that `doctor` prints: the checks that are shown, then the counts of all.
#[must_use]
pub fn text(shown: &Diagnosis, all: &Diagnosis, paint: Paint) -> String {
    let mut out = String::new();
    for section in &shown.sections {
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "{}", one_line(&section.name));
        section.checks.iter().for_each(|check| line(&mut out, check, paint));
        out.push('\n');
    }
    out.push_str(&counts(all));
    out
}

fn line(out: &mut String, check: &Check, paint: Paint) {
    let (word, tone) = match check.level {
        CheckLevel::Skipped => ("skipped", Tone::Dim),
        CheckLevel::Ok => ("ok", Tone::Good),
        CheckLevel::Warning => ("warning", Tone::Busy),
        CheckLevel::Error => ("error", Tone::Bad),
    };
    let head = paint.paint(tone, &format!("{word:<7}"));
    // What is wrong with a fleet file has lines of its own.
    for (index, text) in check.message.lines().enumerate() {
        let head = if index == 0 { head.clone() } else { " ".repeat(7) };
        // Writing to a String cannot fail.
        let _infallible = writeln!(out, "{}", format!("  {head}  {}", one_line(text)).trim_end());
    }
    if let Some(advice) = &check.advice {
        let id = check.id.as_ref().map(|id| paint.paint(Tone::Dim, &format!(" ({id})")));
        let (advice, id) = (one_line(advice), id.unwrap_or_default());
        let _infallible = writeln!(out, "           help: {advice}{id}");
    }
}

fn counts(found: &Diagnosis) -> String {
    let checks = found.sections.iter().flat_map(|section| &section.checks);
    let count = |level| checks.clone().filter(|check| check.level == level).count();
    let (ok, skipped) = (count(CheckLevel::Ok), count(CheckLevel::Skipped));
    let warnings = counted(count(CheckLevel::Warning), "warning");
    let errors = counted(count(CheckLevel::Error), "error");
    format!("{ok} ok, {skipped} skipped, {warnings}, {errors}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::doctor::Section;

    #[test]
    fn each_check_has_its_word_and_what_to_do() {
        let mut engine = Section::new("Engine");
        engine.ok("Docker 27.1, API 1.46");
        let mut forge = Section::new("github.com/acme/site");
        forge.warning("limited until 16:14 UTC", Some("wait"));
        forge.error("slate.yaml:3: no such key\n  3 | profil\u{1b}[2J", None);
        let found = Diagnosis { sections: vec![engine, forge] };
        let expected = "\
Engine
  ok       Docker 27.1, API 1.46

github.com/acme/site
  warning  limited until 16:14 UTC
           help: wait
  error    slate.yaml:3: no such key
             3 | profil\\u{1b}[2J

1 ok, 0 skipped, 1 warning, 1 error
";
        assert_eq!(text(&found, &found, Paint::Off), expected);
        assert_eq!(found.worst(), CheckLevel::Error);
        let mut problems = found.clone();
        problems.keep_problems();
        let shown = text(&problems, &found, Paint::Off);
        assert!(!shown.contains("Engine"), "{shown}");
        assert!(shown.ends_with("\n\n1 ok, 0 skipped, 1 warning, 1 error\n"), "{shown}");
    }
}
