//! A secret that a program prints: `pass`, `op`, `aws secretsmanager`. No shell is in between.

use std::io;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{PATIENCE, SECRET_MAX, SecretError, text};
use crate::causes::with_causes;

/// What the program prints. Its errors are not read: who knows what it says there.
pub(super) async fn run(words: &[String], folder: Option<&Path>) -> Result<String, SecretError> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(SecretError::Empty("the command".to_owned()));
    };
    let failed = |why: String| SecretError::Command { program: program.clone(), why };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.process_group(0).kill_on_drop(true);
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let child = command.spawn().map_err(|error| failed(with_causes(&error)))?;
    let mut group = Group { child };
    match timeout(PATIENCE, group.output()).await {
        Ok(Ok(bytes)) => text(&format!("what `{program}` prints"), bytes),
        Ok(Err(why)) => Err(failed(why)),
        Err(_late) => Err(SecretError::Late(format!("`{program}`"))),
    }
}

/// A program and all that it started; they end with this.
struct Group {
    child: Child,
}

impl Group {
    async fn output(&mut self) -> Result<Vec<u8>, String> {
        let words = |error: io::Error| with_causes(&error);
        let mut bytes = Vec::new();
        if let Some(stdout) = self.child.stdout.take() {
            stdout.take(SECRET_MAX + 1).read_to_end(&mut bytes).await.map_err(words)?;
        }
        if bytes.len() as u64 > SECRET_MAX {
            // It is told why by whoever looks at the length; waiting for it would be for ever.
            return Ok(bytes);
        }
        let status = self.child.wait().await.map_err(words)?;
        if status.success() { Ok(bytes) } else { Err(format!("it ended with {status}")) }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = id {
            // It may be over already.
            let _gone = kill_process_group(group, Signal::KILL);
        }
    }
}
