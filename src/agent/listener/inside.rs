//! `slate-fleet` inside of a forge's job.
//!
//! Specification 1's workflow ends with a step that reports its runner's completion. The forge and
//! the listener see for themselves when a job is over, so nothing is left to report: the step gets
//! that answer instead of failing, for its own runner alone. Nothing else is answered here, and no
//! way leads from a job to the supervisor.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::hooks;

/// The folder of the command, below the one of the hooks.
const FOLDER: &str = "bin";
/// What it is called, as on the host.
const NAME: &str = "slate-fleet";

/// Exit codes as the host's `slate-fleet` has them.
const DONE: u8 = 0;
const USAGE: u8 = 2;
const NOT_ALLOWED: u8 = 7;

/// What the command was asked, and on which runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The name that this runner has at its forge.
    pub runner: String,
    /// The words of the command line.
    pub words: Vec<String>,
}

/// What it says, and its exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// One line.
    pub line: String,
    /// The exit code.
    pub code: u8,
}

/// Puts the command into a folder of its own, for every user.
pub(super) fn install(hooks: &Path, runner: &str) -> Result<(), String> {
    let folder = hooks.join(FOLDER);
    let made = || -> io::Result<()> {
        let agent = hooks::own_path()?;
        fs::create_dir_all(&folder)?;
        let path = folder.join(NAME);
        fs::write(&path, format!("#!/bin/sh\nexec '{agent}' inside '{runner}' \"$@\"\n"))?;
        for public in [hooks, &folder, &path] {
            fs::set_permissions(public, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    };
    made().map_err(|error| {
        let folder = folder.display();
        format!("jobs have no `{NAME}` here: it cannot be made in {folder}: {error}")
    })
}

/// Adds the command to a search path, behind all that the image has.
pub(super) fn add_to(path: &mut String, hooks: &Path) {
    if !path.is_empty() {
        path.push(':');
    }
    path.push_str(&hooks.join(FOLDER).display().to_string());
}

/// Answers a job's command line.
#[must_use]
pub fn answer(asked: &Asked) -> Answer {
    let own = asked.runner.as_str();
    let words: Vec<&str> = asked.words.iter().map(String::as_str).collect();
    let (line, code) = match words.as_slice() {
        ["--complete" | "complete", runner] if *runner == own => (
            format!(
                "nothing to complete: {own} is given back when this job ends, and its forge sees \
                 for itself when it does"
            ),
            DONE,
        ),
        ["--complete" | "complete", runner] => {
            (format!("this job runs on {own} and cannot complete {runner}"), NOT_ALLOWED)
        }
        _ => (
            format!(
                "inside of a job `{NAME}` knows `complete {own}` alone; run everything else where \
                 the fleet file is"
            ),
            USAGE,
        ),
    };
    Answer { line: format!("{NAME}: {line}"), code }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Answer {
        let words = line.split_whitespace().map(str::to_owned).collect();
        answer(&Asked { runner: "slate-light-2-0011aabb".to_owned(), words })
    }

    #[test]
    fn a_job_completes_its_own_runner_and_no_other() {
        for line in ["complete slate-light-2-0011aabb", "--complete slate-light-2-0011aabb"] {
            let told = asked(line);
            assert_eq!(told.code, DONE, "{told:?}");
            assert!(told.line.contains("given back when this job ends"), "{told:?}");
        }
        let other = asked("--complete slate-light-3-0011aabb");
        assert_eq!(other.code, NOT_ALLOWED);
        assert!(other.line.contains("cannot complete slate-light-3-0011aabb"), "{other:?}");
        for line in ["", "complete", "down", "--scale 0", "complete slate-light-2-0011aabb x"] {
            assert_eq!(asked(line).code, USAGE, "{line}");
        }
    }

    #[test]
    fn it_comes_last_in_the_search_path_and_every_user_may_run_it() {
        let folder = tempfile::tempdir().unwrap();
        install(folder.path(), "a-1").unwrap();
        let script = folder.path().join("bin/slate-fleet");
        let text = fs::read_to_string(&script).unwrap();
        assert!(text.contains("inside 'a-1' \"$@\""), "{text}");
        assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o755);
        let mut path = "/usr/bin:/bin".to_owned();
        add_to(&mut path, Path::new("/.slate-hooks"));
        assert_eq!(path, "/usr/bin:/bin:/.slate-hooks/bin");
    }
}
