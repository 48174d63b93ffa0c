//! A program in a terminal of 80 by 24, as a person at it would see and use it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use vt100::Parser;

/// A slow machine starts a program and a terminal within this.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A program in a terminal of its own; the screen is what a person would see.
pub struct Terminal {
    pub child: Child,
    pub keys: ChildStdin,
    pub screen: Parser,
    pub raw: String,
    output: ChildStdout,
}

impl Terminal {
    /// Runs a line of shell in it.
    pub fn open(folder: &Path, line: &str, variables: &[(&str, &str)]) -> Self {
        let line = format!("stty cols 80 rows 24; {line}");
        let mut child = Command::new("script")
            .args(["--quiet", "--flush", "--command", &line, "/dev/null"])
            .current_dir(folder)
            .env_remove("SLATE_STATE_DIR")
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("script (util-linux) gives a terminal");
        let keys = child.stdin.take().expect("piped");
        let output = child.stdout.take().expect("piped");
        Self { child, keys, output, screen: Parser::default(), raw: String::new() }
    }

    pub async fn type_keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).await.expect("the terminal takes keys");
    }

    /// What is on the screen.
    pub fn contents(&self) -> String {
        self.screen.screen().contents()
    }

    pub fn shows(&self, text: &str) -> bool {
        self.contents().contains(text)
    }

    /// Reads on until the terminal is so; false if the time is over, or its program.
    pub async fn is_within(&mut self, time: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let reading = async {
            while !is_so(self) {
                let count = self.output.read(&mut buffer).await.expect("a readable terminal");
                if count == 0 {
                    return false;
                }
                self.screen.process(&buffer[..count]);
                self.raw.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
            true
        };
        timeout(time, reading).await.unwrap_or(false)
    }

    /// Reads on until the terminal is so.
    pub async fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let is_seen = self.is_within(PATIENCE, is_so).await;
        assert!(is_seen, "waited in vain: {what}\n{}\n{}", self.contents(), self.raw);
    }

    pub async fn until_shown(&mut self, text: &str) {
        self.until(text, |it| it.shows(text)).await;
    }
}
