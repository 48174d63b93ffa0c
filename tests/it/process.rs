//! Programs run with a bound on their time, and conditions waited for with a bound.

use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Longest run of one command: slow and shared machines run these tests.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// What a program wrote and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    pub line: String,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// 128 + signal when a signal ended it.
    pub code: i32,
}

impl Output {
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as lines.
    pub fn lines(&self) -> Vec<String> {
        self.out().lines().map(str::to_owned).collect()
    }

    /// Standard output without the white space around it.
    pub fn word(&self) -> String {
        self.out().trim().to_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self}"))
    }

    /// Fails unless it ended with this code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "another exit code than {code} of {self}");
        self
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        self.expect_code(0)
    }

    /// Fails unless standard error has this text.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.err().contains(text), "nothing says `{text}` in {self}");
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cut = |text: String| text.chars().take(8000).collect::<String>();
        write!(
            f,
            "`{}` (exit code {})\n--- stdout\n{}\n--- stderr\n{}\n---",
            self.line,
            self.code,
            cut(self.out()),
            cut(self.err())
        )
    }
}

/// A program that runs, with its output collected as it comes.
pub struct Running {
    line: String,
    child: Child,
    stdout: Receiver<Vec<u8>>,
    stderr: Receiver<Vec<u8>>,
    seen: [Vec<u8>; 2],
}

/// Runs a program to its end.
pub fn run(command: Command) -> Output {
    start(command).finish()
}

/// Starts a program with nothing on its standard input.
pub fn start(command: Command) -> Running {
    start_with(command, b"")
}

/// Starts a program with these bytes on its standard input.
pub fn start_with(mut command: Command, input: &[u8]) -> Running {
    let line = format!("{command:?}").chars().take(400).collect();
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).expect("input taken");
    }
    let stdout = collect(child.stdout.take().expect("piped"));
    let stderr = collect(child.stderr.take().expect("piped"));
    Running { line, child, stdout, stderr, seen: [Vec::new(), Vec::new()] }
}

/// Reads a stream in a thread of its own; the channel closes at its end.
fn collect(mut stream: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Running {
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("a process to signal");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits until standard output has this text.
    pub fn wait_for_stdout(&mut self, text: &str) {
        self.wait_for(0, text);
    }

    /// Waits until standard error has this text.
    pub fn wait_for_stderr(&mut self, text: &str) {
        self.wait_for(1, text);
    }

    fn wait_for(&mut self, which: usize, text: &str) {
        let deadline = Deadline::after(PATIENCE);
        while !String::from_utf8_lossy(&self.seen[which]).contains(text) {
            let stream = if which == 0 { &self.stdout } else { &self.stderr };
            match stream.recv_timeout(deadline.left()) {
                Ok(bytes) => self.seen[which].extend(bytes),
                Err(end) => {
                    let seen = self.seen.each_ref().map(|bytes| String::from_utf8_lossy(bytes));
                    panic!("{} never wrote `{text}` ({end}): {seen:?}", self.line)
                }
            }
        }
    }

    /// Waits for the program's end; kills it and fails when it takes too long.
    pub fn finish(mut self) -> Output {
        let deadline = Deadline::after(PATIENCE);
        for which in 0..2 {
            let stream = if which == 0 { &self.stdout } else { &self.stderr };
            loop {
                match stream.recv_timeout(deadline.left()) {
                    Ok(bytes) => self.seen[which].extend(bytes),
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                    Err(mpsc::RecvTimeoutError::Timeout) => self.too_slow(),
                }
            }
        }
        let mut status = None;
        let ended = wait_for(deadline.left(), || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        if !ended {
            self.too_slow();
        }
        let [stdout, stderr] = self.seen;
        Output { line: self.line, stdout, stderr, code: code(status.expect("ended")) }
    }

    fn too_slow(&mut self) -> ! {
        let _ = self.child.kill();
        for which in 0..2 {
            let stream = if which == 0 { &self.stdout } else { &self.stderr };
            while let Ok(bytes) = stream.recv_timeout(LOOK) {
                self.seen[which].extend(bytes);
            }
        }
        let seen = self.seen.each_ref().map(|bytes| String::from_utf8_lossy(bytes));
        panic!("{} did not end within {PATIENCE:?}: {seen:?}", self.line)
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// A moment by which something must be.
struct Deadline {
    at: std::time::Instant,
}

impl Deadline {
    #[expect(clippy::disallowed_methods, reason = "tests measure their own bounds")]
    fn after(bound: Duration) -> Self {
        Self { at: std::time::Instant::now() + bound }
    }

    #[expect(clippy::disallowed_methods, reason = "tests measure their own bounds")]
    fn left(&self) -> Duration {
        self.at.saturating_duration_since(std::time::Instant::now())
    }
}

/// Looks until the condition holds; whether it does within the bound.
pub fn wait_for(bound: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Deadline::after(bound);
    loop {
        if condition() {
            return true;
        }
        if deadline.left().is_zero() {
            return false;
        }
        thread::park_timeout(LOOK);
    }
}

/// Looks until the condition holds, or fails saying what was waited for.
#[track_caller]
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(wait_for(PATIENCE, condition), "waited {PATIENCE:?} in vain until {what}");
}
