//! The API's part of the fleet file, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

/// Where the API is reached beside its socket.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RawApi {
    /// Address and port on this host. Whoever is on this host may read there what shows no job;
    /// all else takes a token. An address that others can reach needs `tls`.
    #[schemars(example = &"127.0.0.1:7373")]
    pub(in super::super) listen: Option<String>,
    /// The certificate that is shown there.
    pub(in super::super) tls: Option<RawTls>,
}

/// A certificate and its key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RawTls {
    /// The certificate and those between it and its root, in PEM; relative to the fleet file.
    #[schemars(required, example = &"./fleet.pem")]
    pub(in super::super) cert: Option<String>,
    /// Its key, in PEM; relative to the fleet file.
    #[schemars(required, example = &"./fleet.key")]
    pub(in super::super) key: Option<String>,
}
