//! Takes the evidence: what the engine says, and the last lines that the agent printed.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::words::Sight;
use super::{PostMortem, words};
use crate::engine::{Engine, EngineError, Follow, Inspection, LogRange, OutputChunk};
use crate::fleet::death::Death;
use crate::fleet::runner::Cause;
use crate::ids::ContainerId;
use crate::spec::{Secrets, redact};

/// Lines that are kept of an agent's own output.
pub const LOG_LINES_MAX: u32 = 100;
/// Bytes that are kept of it: agents write short lines, and little of them.
pub const LOG_BYTES_MAX: usize = 32 * 1024;
/// Longest line that is kept whole.
const LINE_MAX: usize = 2000;
/// Evidence that takes longer is done without: the removal is what a new runner may wait for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Looks at what is left of a runner. Never fails: what cannot be had is said in the result.
pub async fn gather<E: Engine>(
    engine: &E,
    death: &Death,
    container: Option<&ContainerId>,
) -> PostMortem {
    let mut missing = Vec::new();
    let (looked, log) = match container {
        Some(container) => {
            let (looked, log) = tokio::join!(look(engine, container), read_log(engine, container));
            (looked, log.unwrap_or_else(|why| note(&mut missing, "the agent's output", why)))
        }
        None => (Err("no container of it is known".to_owned()), Vec::new()),
    };
    let clean = |text: &str| redact(&death.secrets.mask(text));
    let clean_view = |seen: Inspection| Inspection {
        error: seen.error.as_deref().map(clean),
        health: seen.health.as_deref().map(clean),
        ..seen
    };
    let looked = looked.map(|seen| seen.map(clean_view));
    let sight = match &looked {
        Ok(Some(seen)) => Sight::There(seen),
        Ok(None) => Sight::Gone,
        Err(_) => Sight::Unknown,
    };
    let summary = clean(&words::summary(death, sight));
    let cause = words::cause(death, sight).word().to_owned();
    if matches!(looked, Ok(None)) {
        // The engine's words about the output would only say so again.
        missing = vec!["the container was gone already".to_owned()];
    }
    let seen = looked.unwrap_or_else(|why| note(&mut missing, "the engine's view", why));
    PostMortem {
        summary,
        cause,
        why: clean(&death.cause.to_string()),
        at: death.at,
        incarnation: death.incarnation,
        slot: death.slot,
        runner: death.runner.clone(),
        pool: death.pool.clone(),
        profile: death.profile.clone(),
        image: death.image.to_string(),
        container: container.cloned(),
        container_name: death.container_name.clone(),
        job: death.job.map(|(job, _)| job),
        attempt: death.job.map(|(_, attempt)| attempt),
        gpu_oom: match &death.cause {
            Cause::GpuOom(oom) => Some(oom.as_ref().clone()),
            _ => None,
        },
        exit_code: seen.as_ref().and_then(|seen| seen.exit_code),
        heard: death.heard,
        engine: seen,
        log: lines(&log, &death.secrets),
        missing: missing.iter().map(|why| clean(why)).collect(),
    }
}

fn note<T: Default>(missing: &mut Vec<String>, what: &str, why: String) -> T {
    missing.push(format!("{what}: {why}"));
    T::default()
}

async fn look<E: Engine>(engine: &E, id: &ContainerId) -> Result<Option<Inspection>, String> {
    match timeout(PATIENCE, engine.inspect(id)).await {
        Ok(Ok(seen)) => Ok(seen),
        Ok(Err(error)) => Err(error.describe()),
        Err(_) => Err(late()),
    }
}

async fn read_log<E: Engine>(engine: &E, id: &ContainerId) -> Result<Vec<u8>, String> {
    let range = LogRange { tail: Some(LOG_LINES_MAX), follow: Follow::No };
    tail(engine.container_logs(id, range), PATIENCE).await
}

/// The end of a stream, from the beginning of a line on.
async fn tail(
    mut chunks: impl Stream<Item = Result<OutputChunk, EngineError>> + Unpin,
    patience: Duration,
) -> Result<Vec<u8>, String> {
    let mut kept = Vec::new();
    let ended = timeout(patience, async {
        while let Some(chunk) = chunks.next().await {
            kept.extend_from_slice(&chunk.map_err(|error| error.describe())?.bytes);
            cut(&mut kept);
        }
        Ok(())
    });
    match ended.await.unwrap_or_else(|_late| Err(late())) {
        // Something is better than nothing, and the engine's own view says how it ended.
        Err(why) if kept.is_empty() => Err(why),
        Ok(()) | Err(_) => Ok(kept),
    }
}

fn late() -> String {
    format!("the engine did not answer within {} s", PATIENCE.as_secs())
}

/// Keeps the last bytes. A line whose beginning is lost goes too: half a secret is not recognised.
fn cut(kept: &mut Vec<u8>) {
    let Some(surplus) = kept.len().checked_sub(LOG_BYTES_MAX).filter(|surplus| *surplus > 0) else {
        return;
    };
    kept.drain(..surplus);
    let line = kept.iter().position(|byte| *byte == b'\n').map_or(kept.len(), |at| at + 1);
    kept.drain(..line);
}

/// The lines, fit to be kept: no secrets, nothing that steers a terminal, bounded.
fn lines(log: &[u8], secrets: &Secrets) -> Vec<String> {
    let text = secrets.mask(&String::from_utf8_lossy(log));
    let all: Vec<&str> = text.lines().collect();
    let first = all.len().saturating_sub(LOG_LINES_MAX as usize);
    all.into_iter()
        .skip(first)
        .map(|line| {
            let plain: String =
                redact(line).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            match plain.char_indices().nth(LINE_MAX) {
                Some((end, _)) => format!("{}…", plain.get(..end).unwrap_or_default()),
                None => plain,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures_util::stream;

    use super::*;
    use crate::engine::OutputSource;

    fn chunk(bytes: &[u8]) -> Result<OutputChunk, EngineError> {
        Ok(OutputChunk { source: OutputSource::Stderr, bytes: bytes.to_vec().into() })
    }

    #[tokio::test]
    async fn only_the_last_whole_lines_are_kept_of_a_long_output() {
        let line = [&[b'x'; 99][..], b"\n"].concat();
        let chunks = stream::iter((0..1000).map(|_| chunk(&line)));
        let kept = tail(chunks, PATIENCE).await.expect("an output");
        assert!(kept.len() <= LOG_BYTES_MAX, "{}", kept.len());
        assert!(kept.len() > LOG_BYTES_MAX / 2, "{}", kept.len());
        assert_eq!(lines(&kept, &Secrets::default()).len(), LOG_LINES_MAX as usize);
        assert!(kept.starts_with(b"xxx") && kept.len() % 100 == 0, "a torn line");
    }

    #[tokio::test]
    async fn a_line_without_end_is_not_kept_in_part() {
        let chunks = stream::iter([chunk(&[b'y'; 2 * LOG_BYTES_MAX])]);
        assert_eq!(tail(chunks, PATIENCE).await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn an_output_that_breaks_off_is_kept_so_far_and_none_says_why() {
        let broken = || Err(EngineError::Unusable("it burns".to_owned()));
        let chunks = stream::iter([chunk(b"a\n"), broken()]);
        assert_eq!(tail(chunks, PATIENCE).await, Ok(b"a\n".to_vec()));
        let nothing = tail(stream::iter([broken()]), PATIENCE).await.expect_err("no output");
        assert!(nothing.contains("it burns"), "{nothing}");
    }

    #[tokio::test]
    async fn an_engine_that_does_not_answer_is_not_waited_for() {
        let silent = stream::pending::<Result<OutputChunk, EngineError>>();
        let why = tail(silent, Duration::from_millis(5)).await.expect_err("no output");
        assert!(why.contains("within 3 s"), "{why}");
    }

    #[test]
    fn secrets_and_terminal_controls_are_not_kept() {
        let variables = BTreeMap::from([("DB".to_owned(), "postgres://u:pw@h".to_owned())]);
        let secrets = Secrets::of_variables(&variables);
        let log = b"connect postgres://u:pw@h\ntoken=abc\n\x1b[31mred\nhf_\xff\n";
        let kept = lines(log, &secrets);
        assert_eq!(kept, ["connect ***", "token=***", " [31mred", "hf_\u{fffd}"]);
    }
}
