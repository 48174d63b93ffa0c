//! Connects this process's terminal or pipes to a program in a container.

use std::io::{IsTerminal, Write};

use futures_util::StreamExt;
use rustix::termios::{self, OptionalActions, Termios};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use super::border::{ExecOrder, ExecTerminal};
use super::failure::Failure;
use crate::engine::{
    Engine, EngineError, ExecId, ExecRequest, ExecSession, OutputChunk, OutputSource, Terminal,
    TerminalSize,
};
use crate::exit::Exit;

/// Where an attached program starts unless told otherwise: where jobs work.
const WORKDIR: &str = "/work";

/// Runs a program until it ends; its exit code.
pub(super) async fn run<E: Engine>(engine: &E, order: ExecOrder) -> Result<i64, Failure> {
    let terminal = match order.terminal {
        ExecTerminal::Pipes => Terminal::None,
        ExecTerminal::Terminal => Terminal::Sized(size()),
    };
    let request = ExecRequest {
        command: order.command,
        env: std::env::var("TERM").map(|term| ("TERM".to_owned(), term)).into_iter().collect(),
        user: order.user,
        workdir: Some(order.workdir.unwrap_or_else(|| WORKDIR.to_owned())),
        terminal,
    };
    let session = engine.exec(&order.container, &request).await.map_err(failure)?;
    let id = session.id.clone();
    let raw = match order.terminal {
        ExecTerminal::Terminal => RawTerminal::enter(),
        ExecTerminal::Pipes => None,
    };
    let copied = copy(engine, session, order.terminal).await;
    drop(raw);
    copied?;
    let code = engine.exec_exit(&id).await.map_err(failure)?;
    code.ok_or_else(|| Failure::new(Exit::Failed, "the connection ended before the program did"))
}

fn failure(error: EngineError) -> Failure {
    Failure::new(Exit::Failed, error.describe())
}

/// Carries input in and output out until the output ends.
async fn copy<E: Engine>(
    engine: &E,
    session: ExecSession,
    terminal: ExecTerminal,
) -> Result<(), Failure> {
    let ExecSession { id, mut output, mut input } = session;
    let typing = tokio::spawn(async move {
        let mut stdin = tokio::io::stdin();
        let mut buffer = vec![0; 4096];
        while let Ok(count @ 1..) = stdin.read(&mut buffer).await {
            let typed = buffer.get(..count).unwrap_or_default();
            if input.write_all(typed).await.is_err() || input.flush().await.is_err() {
                return;
            }
        }
        // The end of our input is the end of the program's; it may have gone already.
        drop(input.shutdown().await);
    });
    let mut resized = signal(SignalKind::window_change())
        .map_err(|error| Failure::system("cannot watch the terminal's size", &error))?;
    let ended = loop {
        tokio::select! {
            chunk = output.next() => match chunk {
                None => break Ok(()),
                Some(Ok(chunk)) => show(&chunk)?,
                Some(Err(error)) => break Err(failure(error)),
            },
            _ = resized.recv(), if terminal == ExecTerminal::Terminal => resize(engine, &id).await,
        }
    };
    typing.abort();
    ended
}

async fn resize<E: Engine>(engine: &E, id: &ExecId) {
    if let Err(error) = engine.resize_exec(id, size()).await {
        tracing::warn!("cannot tell the program the terminal's size: {}", error.describe());
    }
}

fn show(chunk: &OutputChunk) -> Result<(), Failure> {
    let written = match chunk.source {
        OutputSource::Stdout => {
            let mut out = std::io::stdout().lock();
            out.write_all(&chunk.bytes).and_then(|()| out.flush())
        }
        OutputSource::Stderr => std::io::stderr().lock().write_all(&chunk.bytes),
    };
    written.map_err(|error| Failure::system("cannot write the program's output", &error))
}

fn size() -> TerminalSize {
    let stdout = std::io::stdout();
    match termios::tcgetwinsize(&stdout) {
        Ok(found) if found.ws_row > 0 => TerminalSize { rows: found.ws_row, columns: found.ws_col },
        Ok(_) | Err(_) => TerminalSize { rows: 24, columns: 80 },
    }
}

/// The terminal as the program wants it; put back when this is dropped.
struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    fn enter() -> Option<Self> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let before = termios::tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // Nothing is left to be done for a terminal that cannot be put back.
        let _unrestorable =
            termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}
