//! The last lines of a job's output.

use futures_util::StreamExt;

use crate::api::logs::{Follow, JobLogs};
use crate::api::record::{RecordKind, RecordReader};
use crate::ids::JobId;
use crate::spec::{Secrets, redact};

/// Lines that are shown; `logs` has them all.
const LINES_MAX: usize = 20;
/// Bytes of the output's end that are looked at.
const BYTES_MAX: usize = 16 * 1024;
/// Longest line that is shown whole.
const LINE_MAX: usize = 500;

/// What the last attempt wrote last; empty when nothing can be read.
pub(super) async fn last_lines(logs: &dyn JobLogs, job: JobId, secrets: &Secrets) -> Vec<String> {
    let mut chunks = logs.read(job, 0, Follow::No);
    let mut records = RecordReader::default();
    let mut end: Vec<u8> = Vec::new();
    while let Some(Ok(chunk)) = chunks.next().await {
        records.push(&chunk);
        while let Ok(Some(record)) = records.next_record() {
            match record.kind {
                RecordKind::Stdout | RecordKind::Stderr => {
                    end.extend_from_slice(&record.bytes);
                    end.drain(..end.len().saturating_sub(BYTES_MAX));
                }
                RecordKind::Attempt => end.clear(),
                RecordKind::Job | RecordKind::End => {}
            }
        }
    }
    lines(&end, secrets)
}

fn lines(end: &[u8], secrets: &Secrets) -> Vec<String> {
    let text = secrets.mask(&String::from_utf8_lossy(end));
    // The first line may have lost its beginning, and with it what makes a secret known as one.
    let torn = usize::from(end.len() == BYTES_MAX);
    let all: Vec<&str> = text.lines().skip(torn).collect();
    let first = all.len().saturating_sub(LINES_MAX);
    all.into_iter().skip(first).map(|line| redact(line).chars().take(LINE_MAX).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_last_lines_are_shown_without_secrets() {
        let text: String = (0..5000).map(|n| format!("line {n} password=x\n")).collect();
        let end = &text.as_bytes()[text.len() - BYTES_MAX..];
        let shown = lines(end, &Secrets::default());
        assert_eq!(shown.len(), LINES_MAX);
        assert_eq!(shown[LINES_MAX - 1], "line 4999 password=***");
        let one = [b'z'; BYTES_MAX];
        assert_eq!(lines(&one, &Secrets::default()), Vec::<String>::new());
        assert_eq!(lines(b"a\nb", &Secrets::default()), ["a", "b"]);
    }
}
