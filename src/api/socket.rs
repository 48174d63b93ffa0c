//! Unix socket paths of any length: the kernel takes 107 bytes, state folders may be deeper.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// `sun_path` has 108 bytes, one of them the final NUL (unix(7)).
const PATH_MAX: usize = 107;

/// A path that the kernel takes for a socket, valid as long as this lives.
#[derive(Debug)]
pub struct SocketPath {
    path: PathBuf,
    /// Keeps the folder open that `path` goes through.
    _folder: Option<File>,
}

impl SocketPath {
    /// The path itself if it is short enough, else the same file through its open folder.
    ///
    /// # Errors
    /// The folder does not exist or cannot be opened.
    pub fn new(path: &Path) -> io::Result<Self> {
        if path.as_os_str().len() <= PATH_MAX {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let folder = File::open(parent)?;
        let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
        Ok(Self { path, _folder: Some(folder) })
    }

    /// What to bind or connect to.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_socket_in_a_very_deep_folder_can_be_bound_and_reached() {
        let root = tempfile::tempdir().expect("temporary folder");
        let deep = root.path().join("d".repeat(90)).join("e".repeat(90));
        std::fs::create_dir_all(&deep).expect("deep folder");
        let path = deep.join("api.sock");
        let bound = SocketPath::new(&path).expect("path");
        let _listener = UnixListener::bind(bound.as_path()).expect("bind");
        let reached = SocketPath::new(&path).expect("path");
        UnixStream::connect(reached.as_path()).expect("connect");
    }
}
