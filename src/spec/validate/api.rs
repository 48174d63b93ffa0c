//! Where the API is reached: an address, and a certificate where others can reach it.

use core::net::SocketAddr;

use super::{Context, Spot};
use crate::spec::api::{ApiPolicy, TlsFiles};
use crate::spec::raw::{RawApi, RawTls};

pub(super) fn api(raw: Option<&RawApi>, cx: &mut Context<'_>) -> ApiPolicy {
    let Some(raw) = raw else { return ApiPolicy::default() };
    let spot = Spot::root(cx.root).key("api");
    let tls = raw.tls.as_ref().and_then(|raw| tls(raw, cx));
    let listen = raw.listen.as_deref().and_then(|text| {
        let address: Option<SocketAddr> = text.parse().ok();
        let Some(address) = address else {
            cx.findings
                .error(spot.key("listen").span, "this is no address and port")
                .help("write `127.0.0.1:7373`; names are not looked up");
            return None;
        };
        if !address.ip().is_loopback() && raw.tls.is_none() {
            cx.findings
                .error(
                    spot.key("listen").span,
                    "others can reach this address, and there is no `tls`",
                )
                .help("write `tls: {cert: ./fleet.pem, key: ./fleet.key}` beside it, or 127.0.0.1");
        }
        Some(address)
    });
    ApiPolicy { listen, tls }
}

/// What is missing, the check of the structure has told.
fn tls(raw: &RawTls, cx: &mut Context<'_>) -> Option<TlsFiles> {
    Some(TlsFiles { cert: cx.path(raw.cert.as_deref()?), key: cx.path(raw.key.as_deref()?) })
}
