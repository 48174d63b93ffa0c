//! How jobs that may reach this engine do so.

use std::os::unix::fs::MetadataExt;

use super::DockerEngine;
use super::errors::deadline;
use super::facts::Facts;
use crate::engine::EngineError;
use crate::engine::translate::EngineReach;
use crate::fleet::event::OpErrorClass;

impl DockerEngine {
    /// Its socket and folders, or why a container cannot have them.
    pub(super) fn reach(&self, facts: &Facts) -> Result<EngineReach, EngineError> {
        let call = self.call("let jobs reach the engine", deadline::CREATE);
        let refused = |why: String| call.refused(OpErrorClass::Fatal, why);
        let host = self.address.as_str();
        let Some(socket) = self.address.socket() else {
            return Err(refused(format!(
                "`docker: socket` needs the engine's socket on this host, and the engine is at \
                 {host}; set `docker: none`, or run slate-fleet on the engine's host"
            )));
        };
        let found = std::fs::metadata(socket).map_err(|error| {
            refused(format!("the engine's socket {} cannot be seen: {error}", socket.display()))
        })?;
        let Some(data_root) = facts.data_root.clone() else {
            return Err(refused(
                "the engine does not say where it keeps its volumes, so jobs could not mount \
                 their files; set `docker: none`"
                    .to_owned(),
            ));
        };
        Ok(EngineReach { socket: socket.to_owned(), group: found.gid(), data_root })
    }
}
