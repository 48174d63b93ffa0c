//! Every command line that the documentation and the help texts show is understood.

use std::fs;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;

use super::*;

/// A command line and where it stands.
struct Example {
    place: String,
    words: Vec<String>,
}

/// The pages that people read.
fn pages() -> Vec<PathBuf> {
    fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                collect(&path, into);
            } else if path.extension().is_some_and(|it| it == "md") {
                into.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    for folder in ["docs", "config", "compose", "images"] {
        collect(&root.join(folder), &mut pages);
    }
    pages.sort();
    pages
}

/// The lines of a page's shell blocks, joined where they go on.
fn shell_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let (mut in_shell, mut in_other) = (false, false);
    let mut begun: Option<(usize, String)> = None;
    for (line, number) in text.lines().zip(1..) {
        let bare = line.trim_start();
        if let Some(kind) = bare.strip_prefix("```") {
            let is_shell =
                ["sh", "bash", "console"].contains(&kind.split(' ').next().unwrap_or(""));
            let opens = !in_shell && !in_other;
            (in_shell, in_other) = (opens && is_shell, opens && !is_shell);
            continue;
        }
        if !in_shell {
            continue;
        }
        let (start, before) = begun.take().unwrap_or((number, String::new()));
        match line.strip_suffix('\\') {
            Some(part) => begun = Some((start, before + part)),
            None => lines.push((start, before + line)),
        }
    }
    lines
}

/// The words of each `slate-fleet …` of a line, as a shell would split them, up to what ends a
/// command.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.chars().peekable();
    while let Some(c) = letters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().extend(letters.next()),
            (None, '#') if word.is_none() => break,
            (None, ' ' | '\t' | '|' | '&' | ';' | '<' | '>' | '(' | ')') => {
                // What another command tells is not known here: a name that every verb takes.
                let is_told = c == '(' && word.as_deref() == Some("$");
                let word = word.take().map(|word| if is_told { "job-1".to_owned() } else { word });
                all.last_mut().expect("one at least").extend(word);
                if c != ' ' && c != '\t' {
                    all.push(Vec::new());
                }
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    all.last_mut().expect("one at least").extend(word.take());
    all.into_iter().filter_map(from_program).collect()
}

/// From the program's name on, without what runs it: a prompt, `sudo`, variables.
fn from_program(words: Vec<String>) -> Option<Vec<String>> {
    let is_program = |word: &String| word.rsplit('/').next() == Some("slate-fleet");
    let at = words.iter().position(is_program)?;
    let before = words.get(..at).unwrap_or_default();
    let runs_it = |word: &String| {
        ["$", "sudo", "exec", "time", "watch", "!"].contains(&word.as_str()) || word.contains('=')
    };
    before.iter().all(runs_it).then(|| words.into_iter().skip(at).collect())
}

fn documented() -> Vec<Example> {
    let mut all = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        for (number, line) in shell_lines(&text) {
            let place = format!("{}:{number}", page.display());
            let words = commands(&line).into_iter();
            all.extend(words.map(|words| Example { place: place.clone(), words }));
        }
    }
    all
}

/// The examples below the help of each verb; what stands behind two spaces explains them.
fn helped() -> Vec<Example> {
    let mut all = Vec::new();
    for (name, verb) in verbs() {
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().skip(1).filter_map(|line| line.strip_prefix("  ")) {
            let line = line.split("  ").next().unwrap_or_default();
            let place = format!("help of `{name}`");
            let words = commands(line).into_iter();
            all.extend(words.map(|words| Example { place: place.clone(), words }));
        }
    }
    all
}

fn check(examples: Vec<Example>) -> usize {
    let mut wrong = String::new();
    let count = examples.len();
    for Example { place, words } in examples {
        let args = aliases::rewrite(words.iter().map(OsString::from).collect());
        match Cli::try_parse_from(args) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::DisplayHelp => {}
            Err(error) => wrong += &format!("{place}: `{}`\n{error}\n", words.join(" ")),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    count
}

#[test]
fn every_command_line_of_the_documentation_is_understood() {
    assert!(check(documented()) > 100, "the pages were not found");
}

#[test]
fn every_example_of_the_help_is_understood() {
    assert!(check(helped()) > 60, "the examples were not found");
}

#[test]
fn command_lines_are_found_where_a_shell_would_find_them() {
    let found = |line| {
        let all = commands(line).into_iter().map(|words| words.join("_"));
        all.collect::<Vec<_>>()
    };
    assert_eq!(found("$ slate-fleet ps -q"), ["slate-fleet_ps_-q"]);
    assert_eq!(
        found("slate-fleet init && slate-fleet plan | head"),
        ["slate-fleet_init", "slate-fleet_plan"]
    );
    assert_eq!(found("source <(slate-fleet completion bash)"), ["slate-fleet_completion_bash"]);
    assert_eq!(
        found("A=1 sudo slate-fleet run -- sh -c 'a; b'  # why"),
        ["slate-fleet_run_--_sh_-c_a; b"]
    );
    assert_eq!(
        found("slate-fleet wait $(slate-fleet submit -- make)"),
        ["slate-fleet_wait_job-1", "slate-fleet_submit_--_make"]
    );
    assert_eq!(found("docker run slate-fleet ps"), Vec::<String>::new());
    let page = "```sh\nslate-fleet run \\\n  true\n```\n\n```yaml\nslate-fleet: x\n```\n";
    let lines = shell_lines(page);
    assert_eq!(lines, [(2, "slate-fleet run   true".to_owned())]);
}
