//! The agent's command line: few words, read by hand to keep the program small.

use std::path::PathBuf;

use super::listener::hooks::{Hook, Moment};
use super::listener::inside::Asked;
use super::listener::{Places, Waits};
use super::{Settings, cpus};

/// What the agent is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Serve.
    Serve(Box<Settings>),
    /// Ask the running agent how it is; for health checks.
    Health {
        /// Its enrolment file, which names it.
        enrolment: PathBuf,
    },
    /// Unpack a working folder from standard input; the agent runs itself so, as the job's user.
    Unpack {
        /// Into this folder.
        folder: PathBuf,
    },
    /// Tell the agent of a moment in a job; its listener runs the agent so, as the job's user.
    Hook(Hook),
    /// Answer a job that runs `slate-fleet`.
    Inside(Asked),
    /// Print the version.
    Version,
}

/// A command line that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}\n{USAGE}")]
pub struct UsageError(String);

const USAGE: &str = "usage: slate-runner [--cpus 0,3] [--enrolment FILE] [--endpoint unix:/SOCKET]
                    [--work FOLDER] [--reports FOLDER] [--listeners FOLDER] [--hurry TIMES]
       slate-runner health [--enrolment FILE]
       slate-runner unpack FOLDER
       slate-runner hook started|completed SOCKET [refuse-forks]
       slate-runner inside RUNNER [WORD...]
       slate-runner --version";

/// Reads the arguments after the program's name.
///
/// # Errors
/// [`UsageError`] with what is wrong.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Invocation, UsageError> {
    let mut arguments = arguments.into_iter();
    let mut settings = Settings {
        enrolment: "/run/slate/enrol.json".into(),
        endpoint: None,
        work: "/work".into(),
        reports: "/reports".into(),
        cpus: Vec::new(),
        listeners: Places::default(),
    };
    let mut below: Option<PathBuf> = None;
    let mut health = false;
    let mut first = true;
    while let Some(argument) = arguments.next() {
        let mut value = || {
            let missing = || UsageError(format!("`{argument}` needs a value"));
            arguments.next().ok_or_else(missing)
        };
        match argument.as_str() {
            "--version" if first => return Ok(Invocation::Version),
            "unpack" if first => return Ok(Invocation::Unpack { folder: value()?.into() }),
            "hook" if first => return parse_hook(arguments).map(Invocation::Hook),
            "inside" if first => {
                let runner = value()?;
                return Ok(Invocation::Inside(Asked { runner, words: arguments.collect() }));
            }
            "health" if first => health = true,
            "--enrolment" => settings.enrolment = value()?.into(),
            "--work" => settings.work = value()?.into(),
            "--reports" => settings.reports = value()?.into(),
            "--cpus" => settings.cpus = parse_cpus(&value()?)?,
            "--listeners" => below = Some(value()?.into()),
            "--hurry" => {
                let times = value()?
                    .parse()
                    .map_err(|_| UsageError("`--hurry` needs a number, such as 60".to_owned()))?;
                settings.listeners.waits = Waits::hurried(times);
            }
            "--endpoint" => {
                let parsed = value()?.parse();
                settings.endpoint = Some(parsed.map_err(|error| UsageError(format!("{error}")))?);
            }
            other => return Err(UsageError(format!("`{other}` is not understood"))),
        }
        first = false;
    }
    if let Some(folder) = below {
        settings.listeners = Places::below(&folder, settings.listeners.waits);
    }
    Ok(match health {
        true => Invocation::Health { enrolment: settings.enrolment },
        false => Invocation::Serve(Box::new(settings)),
    })
}

fn parse_hook(arguments: impl Iterator<Item = String>) -> Result<Hook, UsageError> {
    let arguments: Vec<String> = arguments.collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (moment, rest) = match words.as_slice() {
        ["started", rest @ ..] => (Moment::Started, rest),
        ["completed", rest @ ..] => (Moment::Completed, rest),
        _ => return Err(UsageError("a hook is `started` or `completed`".to_owned())),
    };
    let hook = |socket: &&str, refuse_forks| {
        Ok(Hook { moment, socket: (*socket).to_owned(), refuse_forks })
    };
    match rest {
        [socket] => hook(socket, false),
        [socket, "refuse-forks"] => hook(socket, true),
        _ => Err(UsageError("a hook needs the agent's socket".to_owned())),
    }
}

fn parse_cpus(text: &str) -> Result<Vec<u32>, UsageError> {
    cpus::parse(text)
        .ok_or_else(|| UsageError(format!("`{text}` is no list of CPU numbers such as 0,3")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Invocation, UsageError> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn defaults_are_right_in_a_container() {
        let Ok(Invocation::Serve(settings)) = parsed("--cpus 0,3") else { panic!("serves") };
        assert_eq!(settings.cpus, [0, 3]);
        assert_eq!(settings.work, PathBuf::from("/work"));
        assert_eq!(
            parsed("health"),
            Ok(Invocation::Health { enrolment: "/run/slate/enrol.json".into() })
        );
    }

    #[test]
    fn hooks_are_told_apart() {
        let Ok(Invocation::Hook(hook)) = parsed("hook started a/b refuse-forks") else {
            panic!("a hook")
        };
        assert_eq!((hook.moment, hook.refuse_forks), (Moment::Started, true));
        assert!(parsed("hook completed a/b").is_ok());
        for line in ["hook", "hook started", "hook ended a", "hook started a b"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_a_job_asks_is_taken_word_for_word() {
        let Ok(Invocation::Inside(asked)) = parsed("inside a-1 --complete a-1") else {
            panic!("a job's question")
        };
        assert_eq!(
            (asked.runner.as_str(), asked.words.join(" ")),
            ("a-1", "--complete a-1".into())
        );
    }

    #[test]
    fn nonsense_is_refused_with_the_usage() {
        for line in [
            "--cpus",
            "--cpus x",
            "serve",
            "--endpoint http://a",
            "health x",
            "unpack",
            "inside",
            "--hurry x",
        ] {
            let error = parsed(line).unwrap_err().to_string();
            assert!(error.contains("usage:"), "{line}: {error}");
        }
    }
}
