//! A working folder on its way to an agent.

use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use crate::state_dir::StateDir;
use crate::wire::frame::CHUNK_MAX;
use crate::wire::message::{JobOrder, JobRef};

/// A tar file that is sent piece by piece.
#[derive(Debug)]
pub(super) struct Sending {
    /// Whose it is.
    pub(super) job: JobRef,
    file: File,
    piece: Vec<u8>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Piece {
    /// Some bytes.
    Bytes(Vec<u8>),
    /// Nothing more.
    End,
    /// It cannot be read further.
    Failed(String),
}

impl Sending {
    /// Opens the working folder of a job, if it has one.
    pub(super) async fn open(state: &StateDir, order: &JobOrder) -> Result<Option<Self>, String> {
        let Some(blob) = &order.workspace else { return Ok(None) };
        let path = state.blob(blob);
        match File::open(&path).await {
            Ok(file) => Ok(Some(Self { job: order.job, file, piece: Vec::new() })),
            Err(error) => Err(format!("the uploaded working folder cannot be opened: {error}")),
        }
    }

    /// The next piece. Cancel-safe: what was read stays until it is given out.
    pub(super) async fn next(&mut self) -> Piece {
        self.piece.reserve(CHUNK_MAX);
        let wanted = CHUNK_MAX as u64;
        match (&mut self.file).take(wanted).read_buf(&mut self.piece).await {
            Ok(0) => Piece::End,
            Ok(_) => Piece::Bytes(std::mem::take(&mut self.piece)),
            Err(error) => {
                Piece::Failed(format!("the uploaded working folder cannot be read: {error}"))
            }
        }
    }
}
