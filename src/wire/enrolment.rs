//! The enrolment file: what an agent needs to find and trust its supervisor, and to be trusted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{FleetId, IncarnationId, ProjectName};

/// The file's name in an incarnation's private folder.
pub const ENROLMENT_FILE: &str = "enrol.json";

/// Contents of the enrolment file. Unknown fields are ignored, so that fields can be added.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// Where the supervisor listens, as seen from the container: `unix:/path`.
    pub endpoint: String,
    /// The fleet.
    pub fleet: FleetId,
    /// The fleet's project, for people.
    pub project: ProjectName,
    /// Who the agent is.
    pub incarnation: IncarnationId,
    /// The only certificate authority that the agent trusts (DER, in hex).
    pub ca: String,
    /// 32 random bytes in hex, good for one enrolment; taken out of the file once they are used.
    pub nonce: Option<String>,
}

impl fmt::Debug for Enrolment {
    /// Leaves the nonce out: it is a secret until it is used.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment")
            .field("endpoint", &self.endpoint)
            .field("fleet", &self.fleet)
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

/// Where a supervisor listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(std::path::PathBuf),
}

/// A text that names no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an endpoint such as `unix:/.slate/agent.sock`")]
pub struct ParseEndpointError(String);

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, ParseEndpointError> {
        match text.strip_prefix("unix:") {
            Some(path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            Some(_) | None => Err(ParseEndpointError(text.to_owned())),
        }
    }
}

/// Bytes as lower-case hex.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of a hex text; nothing if it is none.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.last()?)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_reads_back_and_garbage_is_refused() {
        assert_eq!(to_hex(&[0, 171, 255]), "00abff");
        assert_eq!(from_hex("00abFF"), Some(vec![0, 171, 255]));
        for bad in ["0", "zz", "0é"] {
            assert_eq!(from_hex(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_absolute_unix_sockets_are_endpoints() {
        assert_eq!("unix:/a".parse(), Ok(Endpoint::Unix("/a".into())));
        for bad in ["unix:a", "/a", "tcp://a:1", ""] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
