//! Starts supervisors: a detached one that outlives this process, or one inside it.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, interval};

use super::border::{self, Intent, SuperviseOptions};
use super::clock;
use super::failure::Failure;
use crate::client::{Client, ClientError};
use crate::exit::{CATALOGUE, Exit};
use crate::inventory::GpuSources;
use crate::spec::Spec;
use crate::state_dir::StateDir;

/// How often the new supervisor's socket is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// Lines of a dead supervisor's log that are shown.
const LAST_LINES: usize = 20;
/// Bytes of the log that are searched for them.
const LAST_BYTES: u64 = 16 * 1024;

/// A supervisor that was started.
pub(super) enum Host {
    /// In its own process.
    Detached(Child),
    /// In this one.
    Here(Here),
}

/// A supervisor in this process.
pub(super) struct Here {
    /// None once its end was taken.
    task: Option<JoinHandle<Result<(), Failure>>>,
}

impl Here {
    /// Waits for it to end.
    pub(super) async fn ended(&mut self) -> Result<(), Failure> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let end = task.await.unwrap_or_else(|error| {
            Err(Failure::new(Exit::Failed, format!("the supervisor broke down: {error}")))
        });
        self.task = None;
        end
    }

    fn is_over(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// How far a supervisor is that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// It takes connections.
    Serving,
    /// It has ended well already: there was nothing to take down.
    End,
}

/// Starts a supervisor that outlives this process.
pub(super) fn start_detached(
    (state, gpus): (&StateDir, GpuSources),
    spec: &Spec,
    listen: Option<SocketAddr>,
) -> Result<Host, Failure> {
    make_state(state)?;
    let log = fresh_log(state)?;
    let program = std::env::current_exe()
        .map_err(|error| Failure::system("cannot find this program's own file", &error))?;
    let start = || -> io::Result<Child> {
        let mut child = Command::new(program)
            .arg("--state-dir")
            .arg(state.root())
            .args(
                gpus.nvml_lib.iter().flat_map(|path| [OsStr::new("--nvml-lib"), path.as_os_str()]),
            )
            .arg("supervise")
            .envs(listen.map(|address| ("SLATE_LISTEN", address.to_string())))
            // Not the folder of the caller, which would be kept busy.
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        // The spec that was checked here, not the file, which may change in between.
        if let Some(mut input) = child.stdin.take() {
            input.write_all(&serde_json::to_vec(spec)?)?;
        }
        Ok(child)
    };
    start()
        .map(Host::Detached)
        .map_err(|error| Failure::system("cannot start the background supervisor", &error))
}

/// Starts a supervisor in this process.
pub(super) fn start_here(
    (state, gpus): (&StateDir, GpuSources),
    spec: Option<Spec>,
    intent: Intent,
    listen: Option<SocketAddr>,
) -> Result<Host, Failure> {
    make_state(state)?;
    let listen = listen.map(|address| address.to_string());
    let options = SuperviseOptions { state: state.clone(), spec, intent, gpus, listen };
    Ok(Host::Here(Here { task: Some(tokio::spawn(border::supervise(options))) }))
}

impl Host {
    /// Waits until the supervisor takes connections, or tells why it does not.
    pub(super) async fn ready(
        &mut self,
        state: &StateDir,
        timeout: Duration,
    ) -> Result<Reached, Failure> {
        let until = clock::start() + timeout;
        let mut looks = interval(LOOK);
        loop {
            looks.tick().await;
            match Client::connect(state).await {
                Ok(_) => return Ok(Reached::Serving),
                Err(ClientError::NotUp { .. }) => {
                    if self.check(state, until).await? == Some(Reached::End) {
                        return Ok(Reached::End);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Fails when the supervisor has failed or the time is up.
    async fn check(
        &mut self,
        state: &StateDir,
        until: Instant,
    ) -> Result<Option<Reached>, Failure> {
        let late = clock::start() >= until;
        match self {
            Self::Detached(child) => match child.try_wait() {
                Ok(Some(status)) => Err(ended(state, status)),
                Ok(None) if late => Err(silent(state)),
                Ok(None) => Ok(None),
                Err(error) => Err(Failure::system("cannot watch the supervisor", &error)),
            },
            Self::Here(here) if here.is_over() => here.ended().await.map(|()| Some(Reached::End)),
            Self::Here(_) if late => Err(silent(state)),
            Self::Here(_) => Ok(None),
        }
    }
}

/// The supervisor's own code says what kind of failure it was.
fn ended(state: &StateDir, status: ExitStatus) -> Failure {
    let known = CATALOGUE.iter().map(|(exit, _)| *exit);
    let code = status.code().unwrap_or_default();
    let exit = known
        .filter(|exit| *exit != Exit::Done)
        .find(|exit| i32::from(exit.code()) == code)
        .unwrap_or(Exit::Failed);
    let log = state.supervisor_log();
    let lines = last_lines(&log).unwrap_or_default();
    Failure::new(exit, format!("the supervisor ended at once; its last words:\n{lines}"))
        .help(format!("the whole log is {}", log.display()))
}

fn silent(state: &StateDir) -> Failure {
    Failure::new(Exit::NotReady, "the supervisor was started but takes no connections")
        .help(format!("its log is {}", state.supervisor_log().display()))
}

fn last_lines(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LAST_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(LAST_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LAST_LINES);
    Ok(lines.get(from..).unwrap_or_default().join("\n"))
}

/// The state folder holds keys, so it is the owner's alone.
fn make_state(state: &StateDir) -> Result<(), Failure> {
    let folder = state.root();
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        Failure::system(format!("cannot make the state folder {}", folder.display()), &error)
    })
}

/// The log begins anew with each supervisor, and the one before is kept beside it.
fn fresh_log(state: &StateDir) -> Result<File, Failure> {
    let path = state.supervisor_log();
    let failed = |error| Failure::system(format!("cannot write {}", path.display()), &error);
    let old = path.with_extension("log.1");
    match fs::rename(&path, old) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let open = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    let file = open.map_err(failed)?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(file)
}

/// The last things that a supervisor does after it closed its socket: removing the network, ending.
const ENDING: Duration = Duration::from_secs(60);

/// How a supervisor ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// All that it had to remove is removed.
    Finished,
    /// It was killed or failed on the way.
    CutOff,
}

/// Waits until a supervisor that has closed its socket has let go of the state folder.
pub(super) async fn released(state: &StateDir) -> Result<Ending, Failure> {
    let until = clock::start() + ENDING;
    let mut looks = interval(LOOK);
    loop {
        looks.tick().await;
        let failed = |error| Failure::system("cannot look at the lock", &error);
        let lock = match File::open(state.lock()) {
            Ok(lock) => lock,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ending::Finished),
            Err(error) => return Err(failed(error)),
        };
        if lock.try_lock().is_ok() {
            // Whoever comes to its end empties it.
            return match lock.metadata().map_err(failed)?.len() {
                0 => Ok(Ending::Finished),
                _ => Ok(Ending::CutOff),
            };
        }
        if clock::start() >= until {
            return Err(Failure::new(Exit::NotReady, "the supervisor did not end in time"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_supervisor_begins_a_new_log_and_keeps_one_old_one() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let state = StateDir::new(folder.path().join("state"));
        make_state(&state).expect("state folder");
        let mode = fs::metadata(state.root()).expect("metadata").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        for text in ["first\n", "second\n", "third\n"] {
            fresh_log(&state).expect("log").write_all(text.as_bytes()).expect("written");
        }
        assert_eq!(last_lines(&state.supervisor_log()).expect("log"), "third");
        let old = fs::read_to_string(folder.path().join("state/supervisor.log.1"));
        assert_eq!(old.expect("old log"), "second\n");
    }
}
