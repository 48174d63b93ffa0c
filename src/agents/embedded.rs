//! The agent's program, which travels inside this one.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use ring::digest::{SHA256, digest};

use super::AgentsError;
use crate::state_dir::StateDir;
use crate::state_dir::write::{Durability, write_atomically};
use crate::wire::enrolment::to_hex;

/// The agent, built by `build.rs` for the machine that this program runs on.
const AGENT: &[u8] = include_bytes!(env!("SLATE_RUNNER_PROGRAM"));

/// Whether [`install`] had something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// The file is new or was replaced.
    Written,
    /// The file was there already.
    Present,
}

/// SHA-256 of the agent's program, in hex.
#[must_use]
pub fn sha256() -> &'static str {
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| to_hex(digest(&SHA256, AGENT).as_ref()))
}

/// Size of the agent's program in bytes.
#[must_use]
pub fn size() -> usize {
    AGENT.len()
}

/// Puts the agent where runners find it. Running containers keep the one that they started with.
///
/// # Errors
/// When the folder cannot be written.
pub fn install(state: &StateDir) -> Result<Installed, AgentsError> {
    let path = state.agent();
    if is_current(&path) {
        return Ok(Installed::Present);
    }
    let folder = state.shared_with_runners();
    fs::create_dir_all(&folder)
        .map_err(|source| AgentsError::file("make the folder", folder, source))?;
    write_atomically(&path, AGENT, 0o755, Durability::Synced)
        .map_err(|source| AgentsError::file("write", &path, source))?;
    Ok(Installed::Written)
}

/// Compares whole files: cheaper than hashing, and a damaged file is replaced too.
fn is_current(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let right_mode =
        fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o777 == 0o755);
    right_mode && fs::read(path).is_ok_and(|found| found == AGENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_installed_once_and_a_damaged_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::new(folder.path().to_owned());
        assert_eq!(install(&state).unwrap(), Installed::Written);
        assert_eq!(install(&state).unwrap(), Installed::Present);
        fs::write(state.agent(), "something else").unwrap();
        assert_eq!(install(&state).unwrap(), Installed::Written);
        assert_eq!(sha256().len(), 64);
    }
}
