//! The proxy's addresses, and what is reached without it.

use super::super::document::Value;
use super::super::proxy::{Proxy, ProxyUrl, WholeProxyUrl};
use super::super::raw::RawProxy;
use super::super::secret;
use super::{Context, Spot};

/// More exceptions than this are a list for the proxy itself, not for an environment.
const EXCEPTIONS_MAX: usize = 256;

pub(super) fn proxy(raw: Option<&RawProxy>, cx: &mut Context<'_>) -> Option<Proxy> {
    let raw = raw?;
    let spot = Spot::root(cx.root).key("proxy");
    if !spot.key("http").is_written() && !spot.key("https").is_written() {
        cx.findings
            .error(spot.key, "`proxy` has neither `http` nor `https`")
            .help("add `https: http://proxy.example:3128`, or remove `proxy`");
    }
    let http = url(spot.key("http"), raw.http.as_deref(), cx);
    let https = url(spot.key("https"), raw.https.as_deref(), cx);
    let no_proxy = exceptions(spot.key("no_proxy"), raw.no_proxy.as_deref(), cx);
    Some(Proxy { http, https, no_proxy })
}

fn url(spot: Spot<'_>, text: Option<&str>, cx: &mut Context<'_>) -> Option<ProxyUrl> {
    let text = text?;
    let whole = match WholeProxyUrl::parse(text) {
        Ok(whole) => whole,
        Err(why) => {
            let shown = secret::mask_user(spot.shown());
            cx.findings
                .error(spot.span, format!("`{shown}` is no address of a proxy"))
                .help(why.to_string());
            return None;
        }
    };
    let written = match spot.node.map(|node| &node.value) {
        Some(Value::Scalar(scalar)) => scalar.written.as_deref(),
        Some(Value::List(_) | Value::Map(_)) | None => None,
    };
    let url = match (whole.user(), written) {
        (None, _) | (Some(_), None) => ProxyUrl::parse(text),
        (Some(_), Some(written)) => ProxyUrl::kept(written, &whole),
    };
    match url {
        Ok(url) => Some(url),
        Err(why) => {
            cx.findings
                .error(
                    spot.span,
                    "this looks like a secret: the address holds a user or a password",
                )
                .help(why.to_string());
            None
        }
    }
}

fn exceptions(spot: Spot<'_>, hosts: Option<&[String]>, cx: &mut Context<'_>) -> Vec<String> {
    let hosts = hosts.unwrap_or_default();
    if hosts.len() > EXCEPTIONS_MAX {
        cx.findings
            .error(spot.span, format!("`no_proxy` has more than {EXCEPTIONS_MAX} hosts"))
            .help("write domains instead of hosts: `.example.com` is all of its hosts");
    }
    for host in hosts {
        let is_part = |c: char| c.is_ascii_alphanumeric() || ".-_:*/[]".contains(c);
        if host.is_empty() || host.len() > 255 || !host.chars().all(is_part) {
            let item = spot.item(host);
            cx.findings.error(item.span, format!("`{}` is no host", item.shown())).help(
                "write one host, domain or network in each item: `registry.lan`, `.lan`, \
                 `10.0.0.0/8`",
            );
        }
    }
    hosts.to_vec()
}
