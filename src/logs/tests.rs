//! Job logs: nothing twice, nothing torn, nothing beyond the bound, and followers to the end.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::ids::AttemptNo;
use crate::wire::frame::Stream;

const JOB: JobId = JobId(7);
const NOW: Time = Time(1_700_000_000_000);

fn store(folder: &TempDir, log_max: u64) -> LogStore {
    LogStore::new(StateDir::new(folder.path().to_owned()), Bytes(log_max)).unwrap()
}

fn output(stream: Stream, offset: u64, bytes: &[u8]) -> Output {
    Output { stream, job: JOB, attempt: AttemptNo(1), offset, bytes: bytes.to_vec() }
}

fn out(offset: u64, bytes: &[u8]) -> Output {
    output(Stream::Stdout, offset, bytes)
}

fn records(folder: &TempDir) -> Vec<Record> {
    let path = StateDir::new(folder.path().to_owned()).job_log(JOB);
    let mut decoder = Decoder::default();
    decoder.push(&std::fs::read(path).unwrap());
    let mut records = Vec::new();
    while let Some(record) = decoder.next_record().unwrap() {
        records.push(record);
    }
    assert_eq!(decoder.pending(), 0, "the file ends with a whole record");
    records
}

fn text(folder: &TempDir, wanted: Stream) -> String {
    let pieces = records(folder).into_iter().filter_map(|record| match record {
        Record::Output { stream, bytes, .. } if stream == wanted => Some(bytes),
        Record::Output { .. } | Record::Attempt { .. } | Record::End { .. } => None,
    });
    String::from_utf8(pieces.flatten().collect()).unwrap()
}

#[test]
fn streams_are_kept_apart_with_their_time() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder, 1000);
    assert_eq!(store.append(&out(0, b"a"), NOW).unwrap(), Written { stdout: 1, stderr: 0 });
    let written = store.append(&output(Stream::Stderr, 0, b"bc"), NOW).unwrap();
    assert_eq!(written, Written { stdout: 1, stderr: 2 });
    store.finish(JOB, NOW).unwrap();
    store.finish(JOB, NOW).unwrap();
    let expected = [
        Record::Output { stream: Stream::Stdout, at: NOW, bytes: b"a".to_vec() },
        Record::Output { stream: Stream::Stderr, at: NOW, bytes: b"bc".to_vec() },
        Record::End { at: NOW },
    ];
    assert_eq!(records(&folder), expected);
    assert_eq!(store.size(JOB).unwrap(), Bytes(13 * 3 + 3));
    assert_eq!(store.total_size().unwrap(), store.size(JOB).unwrap());
}

#[test]
fn output_that_was_sent_twice_is_written_once() {
    let folder = TempDir::new().unwrap();
    let first = store(&folder, 1000);
    first.append(&out(0, b"hello "), NOW).unwrap();
    first.append(&out(0, b"hello "), NOW).unwrap();
    first.append(&out(3, b"lo wor"), NOW).unwrap();
    drop(first);
    let restarted = store(&folder, 1000);
    let written = restarted.append(&out(6, b"world"), NOW).unwrap();
    assert_eq!(written, Written { stdout: 11, stderr: 0 });
    assert_eq!(text(&folder, Stream::Stdout), "hello world");
}

#[test]
fn a_torn_record_is_cut_off_and_sent_again() {
    let folder = TempDir::new().unwrap();
    let first = store(&folder, 1000);
    first.append(&out(0, b"whole"), NOW).unwrap();
    drop(first);
    let path = StateDir::new(folder.path().to_owned()).job_log(JOB);
    let torn = format::output(Stream::Stdout, NOW, b"torn");
    for cut in 1..torn.len() {
        let length = std::fs::metadata(&path).unwrap().len();
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&torn[..cut]).unwrap();
        let restarted = store(&folder, 1000);
        restarted.append(&out(0, b"whole"), NOW).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), length, "cut at {cut}");
    }
    let restarted = store(&folder, 1000);
    restarted.append(&out(5, b"torn"), NOW).unwrap();
    assert_eq!(text(&folder, Stream::Stdout), "wholetorn");
}

#[test]
fn output_beyond_the_bound_is_counted_and_named() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder, 8);
    store.append(&out(0, b"12345"), NOW).unwrap();
    let written = store.append(&out(5, b"67890"), NOW).unwrap();
    assert_eq!(written.stdout, 10, "the agent may forget what was dropped");
    store.append(&output(Stream::Stderr, 0, b"no room"), NOW).unwrap();
    store.finish(JOB, NOW).unwrap();
    assert_eq!(text(&folder, Stream::Stdout), "12345678");
    let marker = text(&folder, Stream::Stderr);
    assert!(marker.contains("(9 bytes) are missing"), "{marker}");
    store.append(&out(10, b"late"), NOW).unwrap();
    assert_eq!(text(&folder, Stream::Stdout), "12345678", "nothing follows the end");
}

#[test]
fn a_later_attempt_begins_at_zero_and_fences_the_one_before() {
    let folder = TempDir::new().unwrap();
    let first = store(&folder, 1000);
    first.append(&out(0, b"lost "), NOW).unwrap();
    let second = Output { attempt: AttemptNo(2), ..out(0, b"again") };
    first.append(&second, NOW).unwrap();
    drop(first);
    let restarted = store(&folder, 1000);
    restarted.append(&second, NOW).unwrap();
    restarted.append(&out(5, b"stale"), NOW).unwrap();
    assert_eq!(text(&folder, Stream::Stdout), "lost again");
    assert!(matches!(records(&folder)[1], Record::Attempt { attempt: AttemptNo(2), .. }));
}

async fn collect(mut reader: LogReader) -> Vec<u8> {
    let mut all = Vec::new();
    let read = async {
        while let Some(piece) = reader.next().await.unwrap() {
            all.extend(piece);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), read).await.expect("the log ends in time");
    all
}

#[tokio::test]
async fn a_reader_follows_to_the_end_record() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(store(&folder, 10_000_000));
    let early = tokio::spawn(collect(store.reader(JOB, 0).unwrap()));
    for round in 0..50_u64 {
        store.append(&out(round * 40_000, &vec![b'x'; 40_000]), NOW).unwrap();
        tokio::task::yield_now().await;
    }
    let middle = tokio::spawn(collect(store.reader(JOB, 13 + 40_000).unwrap()));
    store.finish(JOB, NOW).unwrap();
    let whole = std::fs::read(StateDir::new(folder.path().to_owned()).job_log(JOB)).unwrap();
    assert_eq!(early.await.unwrap(), whole);
    assert_eq!(middle.await.unwrap(), whole[13 + 40_000..]);
    assert_eq!(collect(store.reader(JOB, 0).unwrap()).await, whole);
    assert!(collect(store.reader(JOB, whole.len() as u64).unwrap()).await.is_empty());
}

#[tokio::test]
async fn a_reader_ends_when_the_log_is_removed() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder, 1000);
    let reader = tokio::spawn(collect(store.reader(JOB, 0).unwrap()));
    store.remove(JOB).unwrap();
    store.remove(JOB).unwrap();
    assert!(reader.await.unwrap().is_empty());
    assert_eq!(store.size(JOB).unwrap(), Bytes(0));
}

#[tokio::test]
async fn an_offset_between_records_is_refused() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder, 1000);
    store.append(&out(0, b"hello"), NOW).unwrap();
    assert!(store.reader(JOB, 5).unwrap().next().await.is_err());
}

#[test]
fn garbage_is_no_log_and_never_panics() {
    let mut seed = 1_u64;
    for _ in 0..2000 {
        let mut decoder = Decoder::default();
        let garbage: Vec<u8> = (0..48)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let byte = seed.to_le_bytes()[6];
                if byte < 128 { byte % 5 } else { byte }
            })
            .collect();
        decoder.push(&garbage);
        while let Ok(Some(_)) = decoder.next_record() {}
    }
}

#[test]
fn the_ends_of_both_streams_are_the_last_attempts_own() {
    let folder = TempDir::new().unwrap();
    let store = store(&folder, 1000);
    let (first, second) = (AttemptNo(1), AttemptNo(2));
    let ends = |attempt, most| store.ends(JOB, attempt, most).unwrap();
    assert_eq!(ends(first, 10), Ends::default(), "nothing was written yet");
    // A line of standard error, torn by the other stream.
    store.append(&output(Stream::Stderr, 0, b"CUDA out "), NOW).unwrap();
    store.append(&out(0, b"step 1\n"), NOW).unwrap();
    store.append(&output(Stream::Stderr, 9, b"of memory\n"), NOW).unwrap();
    let whole = ends(first, 100);
    assert_eq!(whole.stderr, End { bytes: b"CUDA out of memory\n".to_vec(), is_cut: false });
    assert_eq!(whole.stdout, End { bytes: b"step 1\n".to_vec(), is_cut: false });
    assert_eq!(ends(first, 7).stderr, End { bytes: b"memory\n".to_vec(), is_cut: true });
    assert_eq!(ends(second, 100), Ends::default(), "what is there is an earlier attempt's");
    store.append(&Output { attempt: second, ..out(0, b"again\n") }, NOW).unwrap();
    store.finish(JOB, NOW).unwrap();
    let wanted = End { bytes: b"again\n".to_vec(), is_cut: false };
    assert_eq!(ends(second, 100), Ends { stdout: wanted, stderr: End::default() });
}
