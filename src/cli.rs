//! The command line: parses, asks the supervisor through its API, and prints.
//!
//! One file per verb. Data goes to stdout, progress and messages to stderr. Exit codes are those of
//! [`crate::exit`]. Only `up`, `down` and `supervise` may run a supervisor in this process; every
//! other verb is a client and starts no thread.

mod aliases;
mod assign;
mod attach;
mod audit;
mod benchmark;
mod border;
mod cancel;
mod clock;
mod completion;
mod config;
mod context;
mod dashboard;
mod debug;
mod dispatch;
mod doctor;
mod down;
mod events;
mod exec;
mod explain;
mod failure;
mod follow;
mod gc;
mod gpus;
mod healthz;
mod hold;
mod host;
mod init;
mod interrupt;
mod jobs;
mod logs;
mod man;
mod names;
mod pause;
mod plan;
mod progress;
mod ps;
mod render;
mod reports;
mod run;
mod runners;
mod scale;
mod stats;
mod status;
mod submit;
mod suggest;
mod supervise;
mod token;
mod top;
mod up;
mod version;
mod wait;
mod wanted;
mod workspace;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::exit::Exit;
use context::{Context, Globals};
use failure::Failure;

/// docker compose for self-hosted CI runners
#[derive(Debug, Parser)]
#[command(
    name = "slate-fleet",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "Examples:\n  slate-fleet init                        write a fleet file\n  \
                  slate-fleet up -d                       bring the fleet up\n  \
                  slate-fleet run -- ruff check .         run a command on a runner\n  \
                  slate-fleet ps                          show the runners\n  \
                  slate-fleet down                        remove the fleet"
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Init(init::InitArgs),
    Benchmark(benchmark::BenchmarkArgs),
    Plan(plan::PlanArgs),
    Up(up::UpArgs),
    Down(down::DownArgs),
    Scale(scale::ScaleArgs),
    Ps(ps::PsArgs),
    Status(status::StatusArgs),
    Logs(logs::LogsArgs),
    Exec(exec::ExecArgs),
    Wait(wait::WaitArgs),
    Events(events::EventsArgs),
    Audit(audit::AuditArgs),
    Run(run::RunArgs),
    Submit(submit::SubmitArgs),
    Jobs(jobs::JobsArgs),
    Cancel(cancel::CancelArgs),
    Hold(hold::HoldArgs),
    Release(hold::ReleaseArgs),
    Assign(assign::AssignArgs),
    Complete(assign::CompleteArgs),
    Dispatch(dispatch::DispatchArgs),
    Explain(explain::ExplainArgs),
    Dashboard(dashboard::DashboardArgs),
    Stats(stats::StatsArgs),
    Doctor(doctor::DoctorArgs),
    Debug(debug::DebugArgs),
    Gpus(gpus::GpusArgs),
    Top(top::TopArgs),
    Cordon(runners::CordonArgs),
    Drain(runners::DrainArgs),
    Pause(pause::PauseArgs),
    Resume(runners::ResumeArgs),
    Restart(runners::RestartArgs),
    Reports(reports::ReportsArgs),
    Gc(gc::GcArgs),
    Token(token::TokenArgs),
    Config(config::ConfigArgs),
    Completion(completion::CompletionArgs),
    Man(man::ManArgs),
    Version(version::VersionArgs),
    #[command(hide = true)]
    Supervise(supervise::SuperviseArgs),
    #[command(hide = true, alias = "health")]
    Healthz(healthz::HealthzArgs),
}

/// The whole command tree, for completion, documentation and tests.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the command line of this process.
#[must_use]
pub fn main(args: Vec<OsString>) -> ExitCode {
    match completion::answer(&args) {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        // A shell that completes shows nothing that is not a completion.
        Err(_unknown_shell) => return ExitCode::from(Exit::Usage.code()),
    }
    let exit = run(args).unwrap_or_else(|failure| {
        // Nobody can be told that stderr is closed.
        let _told = io::stderr().lock().write_all(failure.render().as_bytes());
        failure.exit()
    });
    ExitCode::from(exit.code())
}

fn run(args: Vec<OsString>) -> Result<Exit, Failure> {
    let cli = match Cli::try_parse_from(aliases::rewrite(args)) {
        Ok(cli) => cli,
        Err(error) => return Ok(show_usage(&error)),
    };
    let context = Context::new(cli.globals);
    let runtime = runtime(&cli.verb)
        .map_err(|error| Failure::system("cannot start the event loop", &error))?;
    let result = runtime.block_on(cli.verb.run(&context));
    // A thread that still reads the terminal must not keep the process.
    runtime.shutdown_background();
    result
}

/// Help and version are data; all else that clap says is a usage error.
fn show_usage(error: &clap::Error) -> Exit {
    // Nobody can be told that the stream is closed.
    let _told = error.print();
    match error.exit_code() {
        0 => Exit::Done,
        _ => Exit::Usage,
    }
}

/// A client needs one thread; starting more would cost a short command most of its time.
fn runtime(verb: &Verb) -> io::Result<Runtime> {
    let mut builder = match verb {
        Verb::Up(_) | Verb::Down(_) | Verb::Supervise(_) => Builder::new_multi_thread(),
        Verb::Init(_)
        | Verb::Benchmark(_)
        | Verb::Plan(_)
        | Verb::Scale(_)
        | Verb::Ps(_)
        | Verb::Status(_)
        | Verb::Logs(_)
        | Verb::Exec(_)
        | Verb::Wait(_)
        | Verb::Events(_)
        | Verb::Audit(_)
        | Verb::Run(_)
        | Verb::Submit(_)
        | Verb::Jobs(_)
        | Verb::Cancel(_)
        | Verb::Hold(_)
        | Verb::Release(_)
        | Verb::Assign(_)
        | Verb::Complete(_)
        | Verb::Dispatch(_)
        | Verb::Explain(_)
        | Verb::Dashboard(_)
        | Verb::Stats(_)
        | Verb::Doctor(_)
        | Verb::Debug(_)
        | Verb::Gpus(_)
        | Verb::Top(_)
        | Verb::Cordon(_)
        | Verb::Drain(_)
        | Verb::Pause(_)
        | Verb::Resume(_)
        | Verb::Restart(_)
        | Verb::Reports(_)
        | Verb::Gc(_)
        | Verb::Token(_)
        | Verb::Config(_)
        | Verb::Completion(_)
        | Verb::Man(_)
        | Verb::Version(_)
        | Verb::Healthz(_) => Builder::new_current_thread(),
    };
    builder.enable_all().build()
}

impl Verb {
    async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Init(args) => args.run(context),
            Self::Benchmark(args) => args.run(context).await,
            Self::Plan(args) => args.run(context).await,
            Self::Up(args) => args.run(context).await,
            Self::Down(args) => args.run(context).await,
            Self::Scale(args) => args.run(context).await,
            Self::Ps(args) => args.run(context).await,
            Self::Status(args) => args.run(context).await,
            Self::Logs(args) => args.run(context).await,
            Self::Exec(args) => args.run(context).await,
            Self::Wait(args) => args.run(context).await,
            Self::Events(args) => args.run(context).await,
            Self::Audit(args) => args.run(context),
            Self::Run(args) => args.run(context).await,
            Self::Submit(args) => args.run(context).await,
            Self::Jobs(args) => args.run(context).await,
            Self::Cancel(args) => args.run(context).await,
            Self::Hold(args) => args.run(context).await,
            Self::Release(args) => args.run(context).await,
            Self::Assign(args) => args.run(context).await,
            Self::Complete(args) => args.run(context).await,
            Self::Dispatch(args) => args.run(context).await,
            Self::Explain(args) => args.run(context).await,
            Self::Dashboard(args) => args.run(context).await,
            Self::Stats(args) => args.run(context).await,
            Self::Doctor(args) => args.run(context).await,
            Self::Debug(args) => args.run(context).await,
            Self::Gpus(args) => args.run(context).await,
            Self::Top(args) => args.run(context).await,
            Self::Cordon(args) => args.run(context).await,
            Self::Drain(args) => args.run(context).await,
            Self::Pause(args) => args.run(context).await,
            Self::Resume(args) => args.run(context).await,
            Self::Restart(args) => args.run(context).await,
            Self::Reports(args) => args.run(context).await,
            Self::Gc(args) => args.run(context).await,
            Self::Token(args) => args.run(context).await,
            Self::Config(args) => args.run(context),
            Self::Completion(args) => args.run(),
            Self::Man(args) => args.run(),
            Self::Version(args) => args.run(),
            Self::Supervise(args) => args.run(context).await,
            Self::Healthz(args) => args.run(context).await,
        }
    }
}

#[cfg(test)]
mod tests;
