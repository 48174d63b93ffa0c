//! A job's processes: started, watched, stopped, and gone to the last one.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitStatus};
use tokio::net::unix::pipe::Receiver;
use tokio::time::{Instant, sleep_until};

use super::job::JobEvent;
use super::memory;
use super::output::Outbox;
use super::place::Place;
use super::processes::{Left, signal_all};
use super::say;
use crate::wire::frame::Stream;
use crate::wire::message::{End, JobOrder};

/// After the job's own process ended: how long what it left behind may still write before it is
/// killed. Long enough for a pipeline's last words, short enough to forgive a forgotten daemon.
const DRAIN: Duration = Duration::from_millis(500);

/// How often what will not die is killed again, and how many times: then the kernel holds it.
const KILL_AGAIN: Duration = Duration::from_secs(1);
const KILLS_MAX: u32 = 30;

/// Bytes read from a pipe at a time, on the stack.
const READ: usize = 16 * 1024;

/// Added to a job's `oom_score_adj`: the kernel must take the job before the agent.
const OOM_MORE: i32 = 300;
const OOM_MAX: i32 = 1000;

/// The number of the signal that the kernel kills with for memory.
const KILL: i32 = 9;

/// What a job is started from.
pub(super) struct Start<'a> {
    pub(super) order: &'a JobOrder,
    pub(super) place: &'a Place,
}

struct Stop {
    cause: End,
}

struct Exit {
    status: WaitStatus,
    at: Instant,
}

/// A job whose first process was started.
pub(super) struct Running {
    main: Pid,
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    deadline: Instant,
    grace: Duration,
    stop: Option<Stop>,
    exit: Option<Exit>,
    left: Left,
    kill_at: Option<Instant>,
    kills: u32,
    memory_kills: u64,
}

impl Running {
    /// Starts the job. Comes back when its program runs, or with the end that it has instead.
    pub(super) fn start(start: &Start<'_>) -> Result<Self, End> {
        let memory_kills = memory::kills();
        let mut child = spawn(start)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let impossible = || End::NotStarted("the system gave an impossible process id".to_owned());
        let main = pid.ok_or_else(impossible)?;
        let stdout = child.stdout.take().map(OwnedFd::from);
        let stderr = child.stderr.take().map(OwnedFd::from);
        let now = Instant::now();
        Ok(Self {
            main,
            stdout: receiver(stdout).map_err(End::NotStarted)?,
            stderr: receiver(stderr).map_err(End::NotStarted)?,
            deadline: now + start.order.timeout,
            grace: start.order.stop_grace,
            stop: None,
            exit: None,
            left: Left::Some,
            kill_at: None,
            kills: 0,
            memory_kills,
        })
    }

    /// The next thing that happens by itself. Without room nothing is read.
    pub(super) async fn next(&mut self, room: bool) -> JobEvent {
        let due = self.due();
        tokio::select! {
            () = readable(self.stdout.as_ref()), if room => JobEvent::Readable(Stream::Stdout),
            () = readable(self.stderr.as_ref()), if room => JobEvent::Readable(Stream::Stderr),
            () = until(due) => JobEvent::Due,
        }
    }

    fn due(&self) -> Option<Instant> {
        match (&self.exit, self.left) {
            (None, _) if self.stop.is_none() => Some(self.deadline),
            (None, _) => self.kill_at,
            (Some(exit), Left::Some) => self.kill_at.or(Some(exit.at + DRAIN)),
            (Some(_), Left::None) => None,
        }
    }

    /// Reads what there is, up to one buffer.
    pub(super) fn read(&mut self, stream: Stream, output: &mut Outbox) {
        let pipe = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(receiver) = pipe else { return };
        let mut bytes = [0; READ];
        match receiver.try_read(&mut bytes) {
            Ok(0) => *pipe = None,
            Ok(count) => output.push(stream, bytes.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                say(&format!("the job's output cannot be read: {error}"));
                *pipe = None;
            }
        }
    }

    /// Asks everything to end; what has not ended after the grace is killed.
    pub(super) fn stop(&mut self, cause: End, grace: Duration) {
        let now = Instant::now();
        if self.exit.is_some() {
            return;
        }
        if self.stop.is_none() {
            self.stop = Some(Stop { cause });
            if !grace.is_zero() {
                signal_all(Signal::TERM);
            }
        }
        let kill_at = now + grace;
        self.kill_at = Some(self.kill_at.map_or(kill_at, |earlier| earlier.min(kill_at)));
    }

    /// A child died.
    pub(super) fn reaped(&mut self, pid: Pid, status: WaitStatus) {
        if pid == self.main {
            self.exit = Some(Exit { status, at: Instant::now() });
        }
    }

    /// Whether children live.
    pub(super) fn counted(&mut self, left: Left) {
        self.left = left;
    }

    /// Does what is due by now. The end, when all processes are gone and all output was read.
    pub(super) fn advance(&mut self, now: Instant, output: &mut Outbox) -> Option<End> {
        if self.exit.is_none() && self.stop.is_none() && now >= self.deadline {
            self.stop(End::TimedOut, self.grace);
        }
        let Some(exit) = &self.exit else {
            self.kill_if_due(now);
            return None;
        };
        if self.left == Left::Some && self.kills <= KILLS_MAX {
            let silent = self.stdout.is_none() && self.stderr.is_none();
            if self.stop.is_none() && (silent || now >= exit.at + DRAIN) {
                self.kill_at.get_or_insert(now);
            }
            self.kill_if_due(now);
            return None;
        }
        let (status, cause) = (exit.status, self.stop.as_ref().map(|stop| stop.cause.clone()));
        if self.left == Left::Some {
            say("some of the job's processes do not die; the kernel holds them");
        }
        let rest_read = drain(&mut self.stdout, Stream::Stdout, output)
            & drain(&mut self.stderr, Stream::Stderr, output);
        rest_read.then(|| cause.unwrap_or_else(|| end_of(status, self.memory_kills)))
    }

    fn kill_if_due(&mut self, now: Instant) {
        if self.kill_at.is_some_and(|at| now >= at) {
            signal_all(Signal::KILL);
            self.kills += 1;
            self.kill_at = Some(now + KILL_AGAIN);
        }
    }
}

/// How a job ended. One that was killed while the kernel killed for memory was killed for memory:
/// the signal alone does not say so.
fn end_of(status: WaitStatus, memory_kills_before: u64) -> End {
    let killed =
        matches!(status.terminating_signal(), Some(KILL)) || status.exit_status() == Some(137);
    if killed && memory::kills() > memory_kills_before {
        return End::OutOfMemory;
    }
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Signalled(signal),
        (None, None) => End::NotStarted("the system did not say how the job ended".to_owned()),
    }
}

pub(super) async fn readable(pipe: Option<&Receiver>) {
    let Some(pipe) = pipe else { return std::future::pending().await };
    // An error shows again when the pipe is read.
    let _ = pipe.readable().await;
}

pub(super) async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

pub(super) fn receiver(pipe: Option<OwnedFd>) -> Result<Option<Receiver>, String> {
    let receiver = pipe.map(Receiver::from_owned_fd).transpose();
    receiver.map_err(|error| format!("the job's output cannot be read: {error}"))
}

/// Reads what the dead left in a pipe, as far as there is room; true when that was all. Reads past
/// the runtime, which may not know yet that there is something.
fn drain(pipe: &mut Option<Receiver>, stream: Stream, output: &mut Outbox) -> bool {
    while let Some(receiver) = pipe.as_ref().filter(|_| output.has_room()) {
        let mut bytes = [0; READ];
        match rustix::io::read(receiver, &mut bytes) {
            Ok(count) if count > 0 => {
                output.push(stream, bytes.get(..count).unwrap_or_default());
            }
            Err(Errno::INTR) => {}
            // Empty without an end of file: somebody outside the runner holds the other end.
            Ok(_) | Err(_) => *pipe = None,
        }
    }
    pipe.is_none()
}

fn spawn(start: &Start<'_>) -> Result<Child, End> {
    let order = start.order;
    let empty = || End::NotStarted("its command is empty".to_owned());
    let (program, arguments) = order.command.split_first().ok_or_else(empty)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(&start.place.env)
        .envs(&order.env)
        .current_dir(&start.place.work)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Without supplementary groups: the library drops them together with the user.
        .uid(order.uid)
        .gid(order.gid)
        .process_group(0);
    let spawned = with_higher_oom_score(|| command.spawn());
    spawned.map_err(|error| not_started(program, &error))
}

fn not_started(program: &str, error: &io::Error) -> End {
    match error.kind() {
        io::ErrorKind::NotFound => {
            End::NoSuchProgram(format!("the program `{program}` was not found"))
        }
        io::ErrorKind::PermissionDenied => End::NotExecutable(format!(
            "the program `{program}` may not be run by the job's user: {error}"
        )),
        _ => End::NotStarted(format!("the program `{program}` cannot be started: {error}")),
    }
}

/// Children inherit the score. Raising one's own and lowering it again needs no capability, while
/// writing a child's would need to override its file permissions.
pub(super) fn with_higher_oom_score<T>(act: impl FnOnce() -> T) -> T {
    const SCORE: &str = "/proc/self/oom_score_adj";
    let own = fs::read_to_string(SCORE).ok().and_then(|text| text.trim().parse::<i32>().ok());
    let raised = own.map(|own| own.saturating_add(OOM_MORE).min(OOM_MAX));
    let write = |score: i32| {
        if let Err(error) = fs::write(SCORE, score.to_string()) {
            say(&format!("cannot set {SCORE} to {score}: {error}"));
        }
    };
    raised.into_iter().for_each(write);
    let result = act();
    own.into_iter().for_each(write);
    result
}
