//! `exec`: a command in a runner's container, beside its job.

use std::io::{self, IsTerminal};

use clap::Args;

use super::border::{self, ExecOrder, ExecTerminal};
use super::context::Context;
use super::failure::Failure;
use super::ps;
use crate::exit::Exit;
use crate::fleet::view::FleetView;

/// Run a command in a runner's container, to look around
///
/// Gets a terminal when standard input is one. For work use `run`: what is changed here is gone
/// when the container is replaced, and nothing is recorded.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet exec slate-light-01 -- sh\n  \
                        slate-fleet exec -T runner-001 -- cat /proc/meminfo")]
pub(super) struct ExecArgs {
    /// No terminal, even where standard input is one
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// Numeric user: UID or UID:GID
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Folder to start in
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The runner by name or id
    #[arg(value_name = "RUNNER")]
    runner: String,
    /// Program and arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<String>,
}

impl ExecArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let fleet: FleetView = context.get("/api/v1/fleet").await?;
        let runner = ps::find(&fleet, &self.runner)?;
        let container = runner.container.clone().ok_or_else(|| {
            let status = crate::api::words::runner_status(runner.status);
            Failure::new(Exit::NotFound, format!("{} has no container: {status}", runner.name))
                .help("`slate-fleet wait` waits until every runner is ready")
        })?;
        let terminal = match io::stdin().is_terminal() && !self.no_tty {
            true => ExecTerminal::Terminal,
            false => ExecTerminal::Pipes,
        };
        let order = ExecOrder {
            container,
            command: self.command,
            user: self.user,
            workdir: self.workdir,
            terminal,
        };
        let code = border::exec(order).await?;
        Ok(match code {
            0 => Exit::Done,
            code => Exit::Job(u8::try_from(code).unwrap_or(u8::MAX)),
        })
    }
}
