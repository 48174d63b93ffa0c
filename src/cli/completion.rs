//! `completion`: a script that completes this command line in a shell, with live names.
//!
//! The script asks this program at each completion, by the variable [`VARIABLE`]. So the names of
//! runners, jobs and pools are those of the fleet that is up.

use std::ffi::OsString;
use std::io;

use clap::Args;
use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};

use super::context::print_bytes;
use super::failure::Failure;
use super::names;
use crate::exit::Exit;

/// The shell that asks, if one does.
const VARIABLE: &str = "SLATE_COMPLETE";
/// What clap's script for zsh lacks: from a folder of `fpath` zsh reads it at the first completion,
/// and takes what it then does for the answer.
const ZSH_AT_ONCE: &str = r#"
if [[ $funcstack[1] == _slate-fleet ]]; then
    _clap_dynamic_completer_slate_fleet "$@"
fi
"#;
/// The program as the shell finds it.
const PROGRAM: &str = "slate-fleet";

/// Print a completion script for a shell
///
/// It completes verbs, options and the names of runners, jobs, pools, profiles and lanes of the
/// fleet that is up; without one it is silent about names.
///
/// zsh reads the folders of its `fpath`: put `fpath=(~/.zfunc $fpath)` before `compinit` in
/// `~/.zshrc`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  source <(slate-fleet completion bash)\n  \
                        slate-fleet completion zsh > ~/.zfunc/_slate-fleet\n  \
                        slate-fleet completion fish > ~/.config/fish/completions/slate-fleet.fish")]
pub(super) struct CompletionArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl CompletionArgs {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        let shells = Shells::builtins();
        // Both lists are of one crate, and have the same shells.
        let known = shells.completer(&self.shell.to_string()).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{} cannot be completed", self.shell))
        })?;
        known
            .write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)
            .map_err(|error| Failure::system("cannot write the script", &error))?;
        if self.shell == Shell::Zsh {
            script.extend_from_slice(ZSH_AT_ONCE.as_bytes());
        }
        print_bytes(&script)?;
        Ok(Exit::Done)
    }
}

/// Answers a shell that asks for completions; false if none does.
///
/// # Errors
/// The shell is unknown, or went away.
pub(super) fn answer(args: &[OsString]) -> io::Result<bool> {
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(names::command).var(VARIABLE);
    asked.try_complete(args, here.as_deref()).map_err(io::Error::other)
}
