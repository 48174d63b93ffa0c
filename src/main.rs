//! The `slate-fleet` program: hands its arguments to the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    slate_fleet::cli::main(std::env::args_os().collect())
}
