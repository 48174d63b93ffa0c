//! Working folders: streamed to a temporary file, hashed on the way, kept until their job is over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use futures_util::StreamExt;
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::Api;
use super::dto::Uploaded;
use super::problem::{Problem, ProblemKind};
use crate::ids::BlobId;
use crate::supervisor::handle::Query;
use crate::units::Bytes as Size;

/// A client that sends nothing for this long has gone.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn upload(
    State(api): State<Arc<Api>>,
    body: Body,
) -> Result<(StatusCode, Json<Uploaded>), Problem> {
    let limit = api.ask(Query::Room).await??;
    let folder = blob_folder(&api).await?;
    let part = Part::new(&folder);
    let (hash, bytes) = receive(body, part.path(), limit).await?;
    // Equal folders of two jobs are two files: each goes with its own job.
    let blob = BlobId::new(format!("{hash}-{}", hex(&unique()?)));
    fs::rename(part.path(), api.state.blob(&blob)).await.map_err(storing)?;
    File::open(&folder).await.map_err(storing)?.sync_all().await.map_err(storing)?;
    Ok((StatusCode::CREATED, Json(Uploaded { blob, bytes })))
}

async fn blob_folder(api: &Api) -> Result<PathBuf, Problem> {
    let folder = api.state.blobs();
    fs::create_dir_all(&folder).await.map_err(storing)?;
    Ok(folder)
}

async fn receive(body: Body, to: &Path, limit: Size) -> Result<(String, u64), Problem> {
    let mut file = File::create(to).await.map_err(storing)?;
    let mut hash = Context::new(&SHA256);
    let mut bytes = 0_u64;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = next_chunk(&mut chunks).await? {
        bytes = bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if bytes > limit.0 {
            return Err(Problem::new(
                ProblemKind::TooLarge,
                format!(
                    "the working folder is larger than {limit}; leave things out with \
                     .gitignore or .slateignore, or raise `limits.workspace_max`"
                ),
            ));
        }
        hash.update(&chunk);
        file.write_all(&chunk).await.map_err(storing)?;
    }
    // A job that is acknowledged must find its folder after a power cut, too.
    file.sync_all().await.map_err(storing)?;
    Ok((hex(hash.finish().as_ref()), bytes))
}

async fn next_chunk(chunks: &mut axum::body::BodyDataStream) -> Result<Option<Bytes>, Problem> {
    let cut = |why: String| {
        Problem::new(
            ProblemKind::Invalid,
            format!("the working folder did not arrive whole: {why}"),
        )
    };
    match timeout(STALL_TIMEOUT, chunks.next()).await {
        Ok(Some(Ok(chunk))) => Ok(Some(chunk)),
        Ok(Some(Err(error))) => Err(cut(error.to_string())),
        Ok(None) => Ok(None),
        Err(_) => Err(cut(format!("nothing came for {} s", STALL_TIMEOUT.as_secs()))),
    }
}

/// Four bytes that no other upload has, except by a chance of one in billions.
fn unique() -> Result<[u8; 4], Problem> {
    let mut bytes = [0; 4];
    SystemRandom::new().fill(&mut bytes).map_err(|_unspecified| {
        Problem::new(ProblemKind::Internal, "the system gives no random numbers".to_owned())
    })?;
    Ok(bytes)
}

/// Whether a text is of the form that uploads get; it becomes a file's name.
fn is_name(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    text.split_once('-').is_some_and(|(hash, own)| {
        hash.len() == 64 && own.len() == 8 && is_hex(hash) && is_hex(own)
    })
}

impl Api {
    /// Refuses a job whose working folder is not here, instead of failing it later on a runner.
    pub(super) async fn check_blob(&self, blob: &BlobId) -> Result<(), Problem> {
        let name = blob.as_str();
        if !is_name(name) {
            return Err(Problem::new(
                ProblemKind::Invalid,
                format!("`{name}` is no workspace; `POST /api/v1/blobs` answers with one"),
            ));
        }
        match fs::try_exists(self.state.blob(blob)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Problem::new(
                ProblemKind::NotFound,
                format!("the workspace `{name}` is not here any more; upload it again"),
            )),
            Err(error) => Err(storing(error)),
        }
    }
}

/// A file that is gone unless it was renamed: uploads that break off leave nothing.
struct Part(PathBuf);

impl Part {
    fn new(folder: &Path) -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        Self(folder.join(format!(".part-{}-{number}", std::process::id())))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After a rename there is nothing to remove, and nobody to tell either way.
        let _gone = std::fs::remove_file(&self.0);
    }
}

fn storing(error: std::io::Error) -> Problem {
    Problem::new(
        ProblemKind::Internal,
        format!("cannot keep the working folder in the state folder: {error}"),
    )
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
