//! Where the API is reached beside its socket.

use core::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the API is reached beside its socket. Without a word: nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiPolicy {
    /// The address; one that others can reach needs TLS.
    pub listen: Option<SocketAddr>,
    /// The certificate that it shows.
    pub tls: Option<TlsFiles>,
}

/// A certificate and its key, read when the port is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TlsFiles {
    /// The certificate and those between it and its root, in PEM.
    pub cert: PathBuf,
    /// Its key, in PEM.
    pub key: PathBuf,
}
