//! What happens inside a job before its first and after its last step: the forge's program runs a
//! script there, which runs this program, which tells the agent.
//!
//! The agent listens on a socket that needs no folder. What is said there may come from a job
//! itself, so it is only believed where that harms nobody but the job.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::{SendFlags, SocketAddrUnix, sendto};
use serde::{Deserialize, Serialize};
use tokio::net::UnixDatagram;

use super::fork;
use crate::agent::say;
use crate::ids::ForgeRunId;
use crate::wire::enrolment::Enrolment;
use crate::wire::listen::WorkFact;

/// More than any hook says.
const WORD_MAX: usize = 8 * 1024;

/// How long a job waits for the agent before its first step. The agent answers at once; a job must
/// not fail because it does not.
const ANSWER: Duration = Duration::from_secs(3);

/// Which hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before the first step.
    Started,
    /// After the last step.
    Completed,
}

/// What a hook is run with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Which.
    pub moment: Moment,
    /// Where the agent listens.
    pub socket: String,
    /// Whether a job from a fork is refused.
    pub refuse_forks: bool,
}

/// What a hook says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum HookWord {
    /// A job begins.
    Started(WorkFact),
    /// A job is over.
    Completed,
}

/// The agent's end.
pub(super) struct Hooks {
    socket: UnixDatagram,
    folder: PathBuf,
}

impl Hooks {
    /// Listens, and writes the scripts.
    pub(super) fn prepare(
        folder: &Path,
        enrolment: &Enrolment,
        refuse_forks: bool,
    ) -> Result<Self, String> {
        let name = format!("slate-runner/{}/{}/hooks", enrolment.fleet, enrolment.incarnation);
        let made = || -> io::Result<Self> {
            let socket = StdDatagram::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
            socket.set_nonblocking(true)?;
            let socket = UnixDatagram::from_std(socket)?;
            fs::create_dir_all(folder)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
            let agent = own_path()?;
            for (moment, word) in [("started", refuse_forks), ("completed", false)] {
                let forks = if word { " refuse-forks" } else { "" };
                let text = format!("#!/bin/bash\nexec '{agent}' hook {moment} '{name}'{forks}\n");
                let path = folder.join(format!("{moment}.sh"));
                fs::write(&path, text)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
            Ok(Self { socket, folder: folder.to_path_buf() })
        };
        made().map_err(|error| {
            format!("the hooks of jobs cannot be made in {}: {error}", folder.display())
        })
    }

    /// The variables by which the forge's program finds the scripts.
    pub(super) fn env(&self) -> [(String, String); 2] {
        let path = |name: &str| self.folder.join(name).display().to_string();
        [
            ("ACTIONS_RUNNER_HOOK_JOB_STARTED".to_owned(), path("started.sh")),
            ("ACTIONS_RUNNER_HOOK_JOB_COMPLETED".to_owned(), path("completed.sh")),
        ]
    }

    /// A hook may have said something.
    pub(super) async fn next(&self) {
        // An error shows again when it is read.
        let _ = self.socket.readable().await;
    }

    /// What a hook has said, and where it waits for an answer.
    pub(super) fn read(&self) -> Option<(HookWord, Asker)> {
        let mut bytes = [0; WORD_MAX];
        match self.socket.try_recv_from(&mut bytes) {
            Ok((count, from)) => {
                let word = serde_json::from_slice(bytes.get(..count)?).ok()?;
                let asker = SocketAddr::from(from).as_abstract_name().map(<[u8]>::to_vec);
                Some((word, Asker(asker)))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => {
                say(&format!("a job's hook is not heard: {error}"));
                None
            }
        }
    }

    /// Lets the hook go on. One that does not wait any more needs no answer.
    pub(super) fn answer(&self, asker: &Asker) {
        if let Some(name) = &asker.0
            && let Ok(address) = SocketAddrUnix::new_abstract_name(name)
        {
            let _ = sendto(self.socket.as_fd(), b"go on", SendFlags::DONTWAIT, &address);
        }
    }
}

/// Where this program is, or the newer one that has taken its place.
pub(super) fn own_path() -> io::Result<String> {
    let path = std::env::current_exe()?.display().to_string();
    Ok(path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned())
}

/// Who waits for an answer, by the name of its socket.
pub(super) struct Asker(Option<Vec<u8>>);

/// Runs a hook. The reason why the job must not run, if it must not: nothing else may fail it.
#[must_use]
pub fn run(hook: &Hook) -> Option<String> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let word = match hook.moment {
        Moment::Completed => HookWord::Completed,
        Moment::Started => HookWord::Started(WorkFact {
            // `GITHUB_JOB` is the job's key in its workflow, not the name that people see.
            name: None,
            repository: variable("GITHUB_REPOSITORY"),
            workflow: variable("GITHUB_WORKFLOW"),
            run: variable("GITHUB_RUN_ID").and_then(|id| id.parse().ok()).map(ForgeRunId),
        }),
    };
    if let Err(error) = tell(&hook.socket, &word) {
        // It is in the job's own log, under its first step.
        let _ = writeln!(io::stdout(), "slate-runner: the agent was not told: {error}");
    }
    if hook.moment == Moment::Started && hook.refuse_forks {
        let event = variable("GITHUB_EVENT_NAME").unwrap_or_default();
        return fork::refusal(&event, variable("GITHUB_EVENT_PATH").as_deref().map(Path::new));
    }
    None
}

/// Tells the agent, and waits for its answer.
fn tell(socket: &str, word: &HookWord) -> io::Result<()> {
    let name = format!("{socket}/{}", std::process::id());
    let own = StdDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
    own.set_read_timeout(Some(ANSWER))?;
    own.set_write_timeout(Some(ANSWER))?;
    own.connect_addr(&SocketAddr::from_abstract_name(socket)?)?;
    own.send(&serde_json::to_vec(word)?)?;
    own.recv(&mut [0; 16])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{FleetId, IncarnationId, ProjectName};

    #[tokio::test]
    async fn a_hook_is_heard_and_answered() {
        let folder = tempfile::tempdir().unwrap();
        let enrolment = Enrolment {
            endpoint: String::new(),
            fleet: FleetId::new(folder.path().file_name().unwrap().to_string_lossy()),
            project: ProjectName::new("p"),
            incarnation: IncarnationId(1),
            ca: String::new(),
            nonce: None,
        };
        let hooks = Hooks::prepare(folder.path(), &enrolment, true).unwrap();
        let script = fs::read_to_string(folder.path().join("started.sh")).unwrap();
        assert!(script.contains("hook started") && script.contains("refuse-forks"), "{script}");
        let socket = format!("slate-runner/{}/{}/hooks", enrolment.fleet, enrolment.incarnation);
        let fact = WorkFact { workflow: Some("w".to_owned()), ..WorkFact::default() };
        let word = HookWord::Started(fact);
        let said = word.clone();
        let hook = std::thread::spawn(move || tell(&socket, &said));
        let (heard, asker) = loop {
            hooks.next().await;
            if let Some(heard) = hooks.read() {
                break heard;
            }
        };
        assert_eq!(heard, word);
        hooks.answer(&asker);
        hook.join().unwrap().unwrap();
    }
}
