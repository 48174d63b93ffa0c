//! The agent's program. What it does is in the library's `agent`.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use slate_fleet::agent::args::{Invocation, parse};
use slate_fleet::agent::listener::{hooks, inside};
use slate_fleet::agent::unpack::{Bounds, unpack};
use slate_fleet::agent::{Agent, AgentError, Ended, Settings, health, setup};

/// Exit code for a command line that makes no sense.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok(Invocation::Serve(settings)) => match serve(*settings) {
            Ok(Ended::Asked) => ExitCode::SUCCESS,
            // The engine starts containers again that fail.
            Ok(Ended::Forsaken) => ExitCode::FAILURE,
            Err(error) => finish(Err(explain(&error))),
        },
        Ok(Invocation::Health { enrolment }) => check(&enrolment),
        Ok(Invocation::Unpack { folder }) => {
            let source = io::BufReader::with_capacity(64 * 1024, io::stdin().lock());
            finish(unpack(source, &folder, Bounds::DEFAULT).map_err(|error| error.to_string()))
        }
        Ok(Invocation::Hook(hook)) => match hooks::run(&hook) {
            None => ExitCode::SUCCESS,
            Some(why) => {
                print(&format!("slate-runner: {why}"));
                ExitCode::FAILURE
            }
        },
        Ok(Invocation::Inside(asked)) => {
            let answer = inside::answer(&asked);
            complain(&answer.line);
            ExitCode::from(answer.code)
        }
        Ok(Invocation::Version) => {
            print(concat!("slate-runner ", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(USAGE)
        }
    }
}

fn serve(settings: Settings) -> Result<Ended, AgentError> {
    setup::prepare(&settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|source| AgentError { action: "prepare the event loop", source })?;
    runtime.block_on(async { Ok(Agent::new(settings)?.run().await) })
}

fn check(enrolment: &Path) -> ExitCode {
    match health::check(enrolment) {
        Ok((healthy, line)) => {
            print(&line);
            if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            print(&format!("unhealthy: the agent does not answer: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn explain(error: &AgentError) -> String {
    format!("{error}: {}", error.source)
}

fn finish(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

/// That nobody reads it does not change the exit code.
fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
