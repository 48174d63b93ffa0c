//! Programs beside the agent in a running container, for `slate-fleet exec`.

use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use futures_util::StreamExt;

use super::DockerEngine;
use super::containers::chunk;
use super::errors::deadline;
use crate::engine::{EngineError, ExecId, ExecRequest, ExecSession, Terminal, TerminalSize};
use crate::fleet::event::OpErrorClass;
use crate::ids::ContainerId;

impl DockerEngine {
    pub(super) async fn start_exec(
        &self,
        container: &ContainerId,
        request: &ExecRequest,
    ) -> Result<ExecSession, EngineError> {
        let tty = request.terminal != Terminal::None;
        let call = self.call(format!("run a program in container {container}"), deadline::START);
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(tty),
            env: Some(request.env.iter().map(|(key, value)| format!("{key}={value}")).collect()),
            cmd: Some(request.command.clone()),
            privileged: Some(false),
            user: request.user.clone(),
            working_dir: request.workdir.clone(),
            detach_keys: None,
        };
        let made = call.run(self.client.create_exec(container.as_str(), options)).await?;
        let start = StartExecOptions { detach: false, tty, output_capacity: None };
        let started = call.run(self.client.start_exec(&made.id, Some(start))).await?;
        let StartExecResults::Attached { output, input } = started else {
            return Err(call.refused(OpErrorClass::Fatal, "the engine did not connect to it"));
        };
        let id = ExecId(made.id);
        if let Terminal::Sized(size) = request.terminal {
            // The program may have ended already; its output and exit code say so.
            if let Err(error) = self.resize_terminal(&id, size).await {
                tracing::debug!("the terminal keeps its size: {}", error.describe());
            }
        }
        let output =
            output.map(move |item| item.map(chunk).map_err(|error| call.sort(error))).boxed();
        Ok(ExecSession { id, output, input })
    }

    pub(super) async fn resize_terminal(
        &self,
        exec: &ExecId,
        size: TerminalSize,
    ) -> Result<(), EngineError> {
        let call = self.call("resize a terminal", deadline::INSPECT);
        let size = ResizeExecOptions { height: size.rows, width: size.columns };
        call.run(self.client.resize_exec(&exec.0, size)).await
    }

    pub(super) async fn read_exec_exit(&self, exec: &ExecId) -> Result<Option<i64>, EngineError> {
        let call = self.call("read a program's exit code", deadline::INSPECT);
        let found = call.run(self.client.inspect_exec(&exec.0)).await?;
        Ok(found.exit_code.filter(|_| found.running != Some(true)))
    }
}
