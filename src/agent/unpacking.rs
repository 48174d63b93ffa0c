//! A working folder that arrives: passed on to a process of its own that runs as the job's user.
//!
//! The kernel then sees to it that a hostile archive can do no more than the job itself could, and
//! the memory that unpacking takes is gone when it is done.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, WaitStatus, kill_process};
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::time::{Instant, sleep_until};

use super::Settings;
use super::job::JobEvent;
use super::place::own_work;
use crate::wire::message::{End, JobOrder};

/// Most that is read of the unpacker's complaint.
const COMPLAINT: usize = 2048;

/// The working folder is in its place.
pub(super) struct Unpacked;

/// The unpacker and what waits for it.
pub(super) struct Unpacking {
    child: Pid,
    stdin: Option<Sender>,
    stderr: Receiver,
    pending: Vec<u8>,
    written: usize,
    complete: bool,
    deadline: Instant,
    status: Option<WaitStatus>,
}

impl Unpacking {
    /// Starts the unpacker.
    pub(super) fn begin(order: &JobOrder, settings: &Settings) -> Result<Self, String> {
        own_work(order, settings)?;
        let unusable = |error: io::Error| format!("the unpacker cannot be started: {error}");
        // Not by its path: that may be a newer agent by now.
        let mut child = Command::new("/proc/self/exe")
            .arg("unpack")
            .arg(&settings.work)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .uid(order.uid)
            .gid(order.gid)
            .process_group(0)
            .spawn()
            .map_err(unusable)?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let missing = || io::Error::other("the system gave no pipe or process id");
        let stdin = child.stdin.take().map(OwnedFd::from).ok_or_else(missing).map_err(unusable)?;
        let stderr =
            child.stderr.take().map(OwnedFd::from).ok_or_else(missing).map_err(unusable)?;
        Ok(Self {
            child: pid.ok_or_else(missing).map_err(unusable)?,
            stdin: Some(Sender::from_owned_fd(stdin).map_err(unusable)?),
            stderr: Receiver::from_owned_fd(stderr).map_err(unusable)?,
            pending: Vec::new(),
            written: 0,
            complete: false,
            deadline: Instant::now() + order.timeout,
            status: None,
        })
    }

    /// The next thing that happens by itself.
    pub(super) async fn next(&mut self) -> JobEvent {
        let busy = self.is_busy();
        tokio::select! {
            () = writable(self.stdin.as_ref()), if busy => JobEvent::Writable,
            () = sleep_until(self.deadline) => JobEvent::Due,
        }
    }

    /// Whether a piece waits.
    pub(super) fn is_busy(&self) -> bool {
        self.stdin.is_some() && self.written < self.pending.len()
    }

    /// Whether all of it has arrived.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Takes a piece. There is at most one at a time, because the agent reads no more while it
    /// waits.
    pub(super) fn put(&mut self, bytes: Vec<u8>) {
        self.pending = bytes;
        self.written = 0;
        self.write();
    }

    /// Nothing more comes.
    pub(super) fn complete(&mut self) {
        self.complete = true;
        self.close_if_done();
    }

    /// Passes on what fits.
    pub(super) fn write(&mut self) {
        while let Some(stdin) = self.stdin.as_ref().filter(|_| self.written < self.pending.len()) {
            match stdin.try_write(self.pending.get(self.written..).unwrap_or_default()) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It has ended; its status and its complaint say why.
                Err(_) => self.stdin = None,
            }
        }
        self.close_if_done();
    }

    fn close_if_done(&mut self) {
        if self.complete && !self.is_busy() {
            self.stdin = None;
            self.pending = Vec::new();
        }
    }

    /// Ends the unpacker; whoever buries the dead buries it.
    pub(super) fn kill(&self) {
        if self.status.is_none() {
            // That it ended just now is as good.
            let _ = kill_process(self.child, Signal::KILL);
        }
    }

    /// A child died.
    pub(super) fn reaped(&mut self, pid: Pid, status: WaitStatus) {
        if pid == self.child {
            self.status = Some(status);
        }
    }

    /// How it went, once it is over.
    pub(super) fn outcome(&mut self, now: Instant) -> Option<Result<Unpacked, End>> {
        match self.status {
            Some(status) if status.exit_status() == Some(0) => Some(Ok(Unpacked)),
            Some(_) => Some(Err(End::NotStarted(format!(
                "the working folder cannot be unpacked: {}",
                self.complaint()
            )))),
            None if now >= self.deadline => {
                self.kill();
                Some(Err(End::TimedOut))
            }
            None => None,
        }
    }

    fn complaint(&self) -> String {
        let mut bytes = [0; COMPLAINT];
        let count = rustix::io::read(&self.stderr, &mut bytes).unwrap_or(0);
        let text = String::from_utf8_lossy(bytes.get(..count).unwrap_or_default());
        match text.trim() {
            "" => "the unpacker was killed".to_owned(),
            text => text.to_owned(),
        }
    }
}

async fn writable(pipe: Option<&Sender>) {
    let Some(pipe) = pipe else { return std::future::pending().await };
    // An error shows again when the pipe is written.
    let _ = pipe.writable().await;
}
