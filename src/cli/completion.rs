//! `completion`: a script that completes this command line in a shell.

use clap::Args;
use clap_complete::Shell;

use super::context::print_bytes;
use super::failure::Failure;
use crate::exit::Exit;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  source <(slate-fleet completion bash)\n  \
                        slate-fleet completion zsh > ~/.zfunc/_slate-fleet")]
pub(super) struct CompletionArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl CompletionArgs {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "slate-fleet", &mut script);
        print_bytes(&script)?;
        Ok(Exit::Done)
    }
}
