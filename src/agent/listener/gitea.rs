//! The runner of Gitea and Forgejo: registered for one job with a token, then run as a daemon.
//!
//! It has no worker of its own and no hooks. That it has a job is known by its log alone, and it
//! lasts until the program ends, which a runner of one job does after its job.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::time::Instant;

use super::program::{Program, Start};
use super::words::Word;
use super::{Listener, Phase, files};
use crate::agent::place;
use crate::ids::ForgeRunnerId;
use crate::wire::listen::{Credential, ListenerEnd};

/// What the program is called: by Gitea before and now, and by Forgejo.
const NAMES: [&str; 3] = ["act_runner", "gitea-runner", "forgejo-runner"];

/// Where it may be, beside `bin` in the places of GitHub's.
const FOLDERS: [&str; 2] = ["/usr/local/bin", "/usr/bin"];

/// Its own folder, in the job's working folder.
const HOME: &str = ".forge-runner";

/// How it takes its token: not by an argument, which every process could read.
const TOKEN: &str = "GITEA_RUNNER_REGISTRATION_TOKEN";

/// Without a time to shut down in it would cancel its job at once.
const CONFIG: &str = "runner:\n  file: .runner\n  capacity: 1\n  shutdown_timeout: 1h\n";

/// The first place that has the program.
fn find(roots: &[PathBuf]) -> Result<PathBuf, String> {
    let folders = roots.iter().map(|root| root.join("bin"));
    let folders = folders.chain(FOLDERS.map(PathBuf::from));
    let found = folders.flat_map(|folder| NAMES.map(|name| folder.join(name)));
    found.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        format!(
            "the image has no runner of Gitea or Forgejo: none of {} is in {}",
            NAMES.join(", "),
            FOLDERS.join(", ")
        )
    })
}

/// The server of a scope's address.
fn instance(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| host + at);
    url.get(..end).unwrap_or(url)
}

/// Labels as the program takes them: with where their jobs run, which is here.
fn labels(labels: &[String]) -> String {
    let placed = |label: &String| match label.contains(':') {
        true => label.clone(),
        false => format!("{label}:host"),
    };
    labels.iter().map(placed).collect::<Vec<_>>().join(",")
}

/// What a line of its log means, if anything: `time="…" level=info msg="…"`.
pub(super) fn parse(line: &str) -> Option<Word> {
    let rest = line.strip_prefix("time=").and_then(|rest| rest.split_once(" msg=\""))?.1;
    if rest.starts_with("task ") {
        let (task, _) = rest.split_once(" repo is ")?;
        return Some(Word::Claimed(task.to_owned()));
    }
    rest.contains("declare successfully").then_some(Word::Listening)
}

/// What a failed registration means.
fn failure(code: i32, said: &str) -> ListenerEnd {
    let has = |texts: &[&str]| texts.iter().any(|text| said.contains(text));
    let why = said.lines().last().unwrap_or("it did not say why");
    if has(&["token not found", "unauthenticated", "registration token"]) {
        return ListenerEnd::TokenRefused(format!("the forge does not take the token ({why})"));
    }
    ListenerEnd::NotRegistered(format!("registering ended with code {code}: {why}"))
}

/// The runner's number, from its own file.
fn number(home: &Path) -> Option<ForgeRunnerId> {
    let file = files::read_bounded(&home.join(files::SETTINGS)).ok()?;
    let file: Value = serde_json::from_slice(&file).ok()?;
    file.get("id").and_then(Value::as_u64).map(ForgeRunnerId)
}

impl Listener {
    /// Registers with the token that its order has.
    pub(super) fn prepare_gitea(&mut self, now: Instant) -> Result<Phase, ListenerEnd> {
        let Credential::OneJob(token) = self.order.credential.clone() else {
            let why = "runners of Gitea and Forgejo are registered for one job each";
            return Err(ListenerEnd::NotStarted(why.to_owned()));
        };
        self.order.credential = Credential::OneJob(String::new());
        self.register_gitea(token, now).map_err(ListenerEnd::NotStarted)
    }

    fn register_gitea(&mut self, token: String, now: Instant) -> Result<Phase, String> {
        let program = find(&self.settings.listeners.roots)?;
        let work = self.work_folder();
        place::own(&work, self.owner())?;
        self.root = place::make_own(&work, HOME, self.owner())?;
        let config = self.root.join("config.yaml");
        fs::write(&config, CONFIG)
            .map_err(|error| format!("cannot write {}: {error}", config.display()))?;
        let labels = labels(&self.order.labels);
        let arguments = [
            "register",
            "--no-interactive",
            "--ephemeral",
            "--instance",
            instance(&self.order.url),
            "--name",
            &self.order.name,
            "--labels",
            &labels,
        ];
        let mut env = self.env()?;
        env.insert(TOKEN.to_owned(), token);
        let arguments = arguments.map(str::to_owned).to_vec();
        let start =
            Start { program: &program, folder: &self.root, arguments, env, owner: self.owner() };
        let started = Program::start(&start)?;
        Ok(Phase::Registering(Box::new(started), now + self.waits().register))
    }

    /// Its registration ended.
    pub(super) fn registered_gitea(
        &mut self,
        code: i32,
        now: Instant,
    ) -> Result<Phase, ListenerEnd> {
        if code != 0 {
            return Err(failure(code, &self.last_words.text()));
        }
        self.runner = number(&self.root).filter(|id| id.0 > 0);
        let started = || -> Result<Program, String> {
            let program = find(&self.settings.listeners.roots)?;
            let arguments = ["daemon", "--config", "config.yaml"].map(str::to_owned).to_vec();
            let env = self.env()?;
            Program::start(&Start {
                program: &program,
                folder: &self.root,
                arguments,
                env,
                owner: self.owner(),
            })
        };
        let program = started().map_err(ListenerEnd::NotStarted)?;
        self.progress.begin(now);
        Ok(Phase::Running(Box::new(program)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_log_is_understood() {
        let line = |said: &str| format!("time=\"2026-11-21T15:42:44Z\" level=info msg=\"{said}\"");
        let declared =
            line("runner: n, with version: v0.2.11, with labels: [a], declare successfully");
        assert_eq!(parse(&declared), Some(Word::Listening));
        let task = line("task 51 repo is me/site https://gitea.com http://gitea.lan");
        assert_eq!(parse(&task), Some(Word::Claimed("task 51".to_owned())));
        assert_eq!(parse(&line("Starting runner daemon")), None);
        assert_eq!(parse("echo task 51 repo is x"), None);
    }

    #[test]
    fn addresses_and_labels_are_as_it_takes_them() {
        for url in ["https://git.lan:3000/me/site", "https://git.lan:3000"] {
            assert_eq!(instance(url), "https://git.lan:3000");
        }
        let given = ["linux".to_owned(), "ubuntu:docker://node:22".to_owned()];
        assert_eq!(labels(&given), "linux:host,ubuntu:docker://node:22");
    }

    #[test]
    fn a_refused_token_is_told_apart() {
        let refused =
            failure(1, "level=error msg=\"fail to register: runner registration token not found\"");
        assert!(matches!(refused, ListenerEnd::TokenRefused(_)), "{refused:?}");
        let other = failure(1, "dial tcp: lookup git.lan: no such host");
        assert!(matches!(other, ListenerEnd::NotRegistered(_)), "{other:?}");
    }
}
