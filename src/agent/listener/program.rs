//! The forge's own program: started as the job's user, heard line by line, and ended.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, WaitStatus, kill_process, kill_process_group};
use tokio::net::unix::pipe::Receiver;

use super::words::Lines;
use crate::agent::place::Owner;
use crate::agent::running::{readable, receiver, with_higher_oom_score};
use crate::agent::say;
use crate::wire::frame::Stream;

/// Bytes read from a pipe at a time, on the stack.
const READ: usize = 8 * 1024;

/// Most that is read of what a dead program left in its pipes.
const REST_MAX: usize = 256 * 1024;

/// What a program is started with.
pub(super) struct Start<'a> {
    pub(super) program: &'a Path,
    /// Where it runs.
    pub(super) folder: &'a Path,
    pub(super) arguments: Vec<String>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) owner: Owner,
}

/// A program that was started.
pub(super) struct Program {
    pub(super) pid: Pid,
    stdout: Option<Receiver>,
    stderr: Option<Receiver>,
    out: Lines,
    err: Lines,
    /// How it ended: its code, or 128 and the signal's number.
    pub(super) exit: Option<i32>,
}

impl Program {
    /// Starts it. Comes back when it runs.
    pub(super) fn start(start: &Start<'_>) -> Result<Self, String> {
        let program = start.program;
        let failed = |error: io::Error| format!("{} cannot be started: {error}", program.display());
        let mut command = Command::new(program);
        command
            .args(&start.arguments)
            .env_clear()
            .envs(&start.env)
            .current_dir(start.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .uid(start.owner.uid)
            .gid(start.owner.gid)
            .process_group(0);
        let mut child = with_higher_oom_score(|| command.spawn()).map_err(failed)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let missing = || failed(io::Error::other("the system gave an impossible process id"));
        Ok(Self {
            pid: pid.ok_or_else(missing)?,
            stdout: receiver(child.stdout.take().map(OwnedFd::from))?,
            stderr: receiver(child.stderr.take().map(OwnedFd::from))?,
            out: Lines::default(),
            err: Lines::default(),
            exit: None,
        })
    }

    /// Something can be read.
    pub(super) async fn next(&self) -> Stream {
        tokio::select! {
            () = readable(self.stdout.as_ref()) => Stream::Stdout,
            () = readable(self.stderr.as_ref()) => Stream::Stderr,
        }
    }

    /// The lines that are complete with what can be read now, up to one buffer.
    pub(super) fn read(&mut self, stream: Stream) -> Vec<String> {
        let (pipe, lines) = match stream {
            Stream::Stdout => (&mut self.stdout, &mut self.out),
            Stream::Stderr => (&mut self.stderr, &mut self.err),
        };
        let Some(receiver) = pipe else { return Vec::new() };
        let mut bytes = [0; READ];
        match receiver.try_read(&mut bytes) {
            Ok(0) => {
                *pipe = None;
                lines.finish().into_iter().collect()
            }
            Ok(count) => lines.push(bytes.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Vec::new(),
            Err(error) => {
                say(&format!("the listener's output cannot be read: {error}"));
                *pipe = None;
                Vec::new()
            }
        }
    }

    /// Everything that is in the pipes now, past the runtime, which may not know of it yet.
    /// Bounded: a process that the program has left may go on writing.
    pub(super) fn read_rest(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for (pipe, lines) in [(&mut self.stdout, &mut self.out), (&mut self.stderr, &mut self.err)]
        {
            let mut read = 0;
            while let Some(receiver) = pipe.as_ref().filter(|_| read < REST_MAX) {
                let mut bytes = [0; READ];
                match rustix::io::read(receiver, &mut bytes) {
                    Ok(0) => {
                        *pipe = None;
                        all.extend(lines.finish());
                    }
                    Ok(count) => {
                        read += count;
                        all.extend(lines.push(bytes.get(..count).unwrap_or_default()));
                    }
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => break,
                }
            }
        }
        all
    }

    /// What was begun and has no end of line; after the program's end.
    pub(super) fn finish(&mut self) -> Vec<String> {
        self.out.finish().into_iter().chain(self.err.finish()).collect()
    }

    /// A child died.
    pub(super) fn reaped(&mut self, pid: Pid, status: WaitStatus) {
        if pid == self.pid {
            let signalled = status.terminating_signal().map(|signal| 128 + signal);
            self.exit = Some(status.exit_status().or(signalled).unwrap_or(-1));
        }
    }

    /// Sends it a signal, and to none of its children.
    pub(super) fn signal(&self, signal: Signal) {
        if self.exit.is_none() {
            // That it ended just now is as good.
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Kills it and its group.
    pub(super) fn kill(&self) {
        if self.exit.is_none() {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }
}
