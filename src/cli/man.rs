//! `man`: manual pages, made of the same definitions as `--help`.

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man;

use super::context::{note, print_bytes};
use super::failure::Failure;
use crate::exit::Exit;

/// When the pages' form was last gone over: `apropos` and `mandoc` want a date.
const DATE: &str = "2026-11-21";
/// What each section begins with: how an apostrophe is written. Once is enough.
const PREAMBLE: [&str; 2] = [r".ie \n(.g .ds Aq \(aq", ".el .ds Aq '"];

/// Print the manual page, or write those of all verbs
///
/// Packages write them all to a folder of manual pages. `man slate-fleet-up` then shows the page of
/// one verb.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet man | man -l -\n  \
                        slate-fleet man --dir /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// Write the pages of all verbs to this folder
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// One page.
struct Page {
    /// The command with its verbs, joined: `slate-fleet-up`.
    name: String,
    text: String,
}

impl ManArgs {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let pages = pages().map_err(|error| Failure::system("cannot make the pages", &error))?;
        let Some(dir) = self.dir else {
            if let Some(page) = pages.first() {
                print_bytes(page.text.as_bytes())?;
            }
            return Ok(Exit::Done);
        };
        let failed = |error| Failure::system(format!("cannot write to {}", dir.display()), &error);
        fs::create_dir_all(&dir).map_err(failed)?;
        for page in &pages {
            fs::write(dir.join(format!("{}.1", page.name)), &page.text).map_err(failed)?;
        }
        note(&format!("the pages are in {}", dir.display()));
        Ok(Exit::Done)
    }
}

/// All pages, the program's own first.
fn pages() -> io::Result<Vec<Page>> {
    let mut command = super::command().disable_help_subcommand(true);
    command.build();
    let verbs: Vec<String> = verbs(&command).map(|it| it.get_name().to_owned()).collect();
    let mut found = Vec::new();
    add(&mut found, &command, None, &verbs)?;
    Ok(found)
}

/// Adds a command's page, and those of its verbs.
fn add(
    found: &mut Vec<Page>,
    command: &Command,
    above: Option<&str>,
    all: &[String],
) -> io::Result<()> {
    let name = name(command);
    let body = body(command)?;
    let mut see: Vec<String> = above.map(str::to_owned).into_iter().collect();
    see.extend(verbs(command).map(self::name));
    let named = all.iter().filter(|verb| names(&body, verb)).map(|it| format!("slate-fleet-{it}"));
    for other in named {
        if other != name && !see.contains(&other) {
            see.push(other);
        }
    }
    let version = env!("CARGO_PKG_VERSION");
    let title = name.to_uppercase();
    let see: Vec<String> = see.iter().map(|it| format!(".BR {} (1)", escaped(it))).collect();
    let text = format!(
        "{}\n.TH \"{title}\" \"1\" \"{DATE}\" \"slate-fleet {version}\" \"User Commands\"\n{body}{}\
         .SH SEE ALSO\n{}\n",
        PREAMBLE.join("\n"),
        examples(command),
        see.join(",\n"),
    );
    found.push(Page { name: name.clone(), text });
    for verb in verbs(command) {
        add(found, verb, Some(&name), all)?;
    }
    Ok(())
}

fn verbs(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|it| !it.is_hide_set())
}

fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

/// What is said of a command but its examples.
fn body(command: &Command) -> io::Result<String> {
    let man = Man::new(command.clone());
    let mut written = Vec::new();
    man.render_name_section(&mut written)?;
    man.render_synopsis_section(&mut written)?;
    man.render_description_section(&mut written)?;
    man.render_options_section(&mut written)?;
    if verbs(command).next().is_some() {
        man.render_subcommands_section(&mut written)?;
    }
    let written = String::from_utf8_lossy(&written);
    let lines = written.lines().map(str::trim_end).filter(|line| !PREAMBLE.contains(line));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    // A gap between two breaks is a gap, and the breaks are for nothing.
    Ok(text.replace("\n.br\n\n.br\n", "\n.sp\n"))
}

/// Whether a text says `slate-fleet VERB`.
fn names(body: &str, verb: &str) -> bool {
    let call = format!("{} {}", escaped("slate-fleet"), escaped(verb));
    body.split(&call).skip(1).any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
}

/// The examples that `--help` ends with, as they are typed.
fn examples(command: &Command) -> String {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let Some(lines) = help.strip_prefix("Examples:\n") else { return String::new() };
    let lines: Vec<String> = lines.lines().map(|line| escaped(line.trim())).collect();
    format!(".SH EXAMPLES\n.nf\n{}\n.fi\n", lines.join("\n"))
}

/// Text as roff takes it literally.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    match text.starts_with('.') {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(command: &Command, names: &mut Vec<String>) {
        names.push(name(command));
        verbs(command).for_each(|verb| all(verb, names));
    }

    #[test]
    fn every_verb_has_a_page_with_examples_that_leads_on_to_others() {
        let mut command = super::super::command().disable_help_subcommand(true);
        command.build();
        let mut expected = Vec::new();
        all(&command, &mut expected);
        let pages = pages().expect("pages");
        let written: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        assert_eq!(written, expected);
        for Page { name, text } in &pages {
            for section in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS", ".SH EXAMPLES"] {
                assert!(text.contains(section), "{name} has no {section}: {text}");
            }
            let see = text.rsplit(".SH SEE ALSO\n").next().unwrap_or_default();
            assert!(see.starts_with(".BR slate\\-fleet"), "{name}: {see}");
            assert!(!see.contains(&format!(".BR {} (1)", escaped(name))), "{name}: {see}");
        }
    }

    #[test]
    fn what_a_page_names_is_found_from_it() {
        let body = "then `slate\\-fleet up \\-d`; `slate\\-fleet psalm`";
        assert!(names(body, "up"));
        assert!(!names(body, "ps"));
        assert_eq!(escaped(".a-b\\'"), "\\&.a\\-b\\e\\(aq");
    }
}
