//! Looks at the write-ahead log before SQLite does.
//!
//! SQLite ends a damaged log at its first bad frame and forgets what follows, without a word: after
//! a flipped bit the state would be an older one. A power cut leaves the same picture, but only in
//! the last transaction, because each is synced before the next begins. So a log that goes on with
//! more transactions behind a bad frame is damaged, and is refused.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The header's first word; its lowest bit says how checksums read the bytes.
const MAGIC: u32 = 0x377f_0682;
/// SQLite's largest page.
const PAGE_MAX: usize = 65_536;

/// What the log is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Log {
    /// There is none, or nothing is in it.
    Empty,
    /// It is whole, or torn at its very end as by a power cut.
    Sound,
    /// What was synced is damaged.
    Damaged,
}

/// Reads a log through; it stays as it is.
pub(super) fn look(path: &Path) -> io::Result<Log> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Log::Empty),
        Err(error) => return Err(error),
    };
    let mut file = BufReader::new(file);
    let mut header = [0; HEADER];
    if !fill(&mut file, &mut header)? {
        return Ok(Log::Empty);
    }
    let Some((mut sum, page)) = begin(&header) else { return Ok(Log::Damaged) };
    let mut frame = vec![0; FRAME_HEADER + page];
    let (mut is_bad, mut commits_behind) = (false, 0_u32);
    while fill(&mut file, &mut frame)? {
        // A frame of the log's earlier life has other salts, and is the end of this one.
        if frame.get(8..16) != header.get(16..24) {
            if is_bad {
                continue;
            }
            break;
        }
        if !is_bad {
            sum.add(frame.get(..8).unwrap_or_default());
            sum.add(frame.get(FRAME_HEADER..).unwrap_or_default());
            is_bad = Some(sum.words()) != pair(&frame, 16);
        }
        if is_bad && word(&frame, 4).is_some_and(|pages| pages > 0) {
            commits_behind += 1;
        }
    }
    Ok(if commits_behind > 1 { Log::Damaged } else { Log::Sound })
}

/// The checksum after the header, and the size of pages; none if the header is damaged.
fn begin(header: &[u8; HEADER]) -> Option<(Sum, usize)> {
    let magic = word(header, 0)?;
    let page = usize::try_from(word(header, 8)?).ok()?;
    if magic & !1 != MAGIC || !page.is_power_of_two() || !(512..=PAGE_MAX).contains(&page) {
        return None;
    }
    let mut sum = Sum { is_big: magic & 1 == 1, first: 0, second: 0 };
    sum.add(header.get(..24)?);
    (Some(sum.words()) == pair(header, 24)).then_some((sum, page))
}

/// Fills a buffer; false at the end of the file.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn pair(bytes: &[u8], at: usize) -> Option<(u32, u32)> {
    Some((word(bytes, at)?, word(bytes, at + 4)?))
}

/// SQLite's running checksum.
#[derive(Debug)]
struct Sum {
    is_big: bool,
    first: u32,
    second: u32,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for eight in bytes.chunks_exact(8) {
            let (left, right) = eight.split_at(4);
            self.first = self.first.wrapping_add(self.read(left)).wrapping_add(self.second);
            self.second = self.second.wrapping_add(self.read(right)).wrapping_add(self.first);
        }
    }

    fn read(&self, four: &[u8]) -> u32 {
        let four = four.try_into().unwrap_or_default();
        if self.is_big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }

    fn words(&self) -> (u32, u32) {
        (self.first, self.second)
    }
}
