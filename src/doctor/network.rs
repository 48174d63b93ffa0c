//! Names, packets and addresses: what a runner needs to reach anything, and who reaches the fleet.

use std::net::{IpAddr, SocketAddr};

use super::facts::Facts;
use super::{Check, error, fine, no_engine, unread, warning};
use crate::engine::survey::AddressPool;

/// Networks that Docker makes of its own ranges: 172.17 to 172.31, and 192.168 in sixteen parts.
const DOCKERS_OWN: u64 = 31;
/// A fleet needs one; others on the engine need theirs.
const NETWORKS_FEW: u64 = 3;

pub(super) fn dns(facts: &Facts) -> Vec<Check> {
    let Some(servers) = &facts.host.resolvers else { return unread("the servers of names") };
    let reached =
        servers.iter().find(|it| it.parse::<IpAddr>().is_ok_and(|address| !address.is_loopback()));
    match reached {
        Some(server) => vec![fine(format!("runners ask {server} for names"))],
        None => vec![warning(
            "all servers of names are this machine's own, which runners do not reach: they ask a \
             public one",
            "set `\"dns\": [\"ADDRESS\"]` in /etc/docker/daemon.json, then restart the engine",
        )],
    }
}

pub(super) fn forwarding(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("forwarding") };
    match engine.forwards {
        Some(true) => vec![fine("the host passes runners' packets on")],
        Some(false) => vec![error(
            "the host does not pass runners' packets on: they reach nothing",
            "`echo 'net.ipv4.ip_forward = 1' | sudo tee -a /etc/sysctl.d/90-slate-fleet.conf && \
             sudo sysctl --system`",
        )],
        None => unread("net.ipv4.ip_forward"),
    }
}

/// Source: Docker's "Configure the daemon to use a proxy"; the engine reads it when it starts.
pub(super) fn engine_proxy(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("proxy") };
    let asked = facts.wanted.as_ref().is_some_and(|it| it.proxied);
    match (asked, engine.proxied) {
        (true, false) => vec![warning(
            "jobs use a proxy, and the engine pulls images without one",
            "set `\"proxies\": {\"https-proxy\": \"ADDRESS\"}` in /etc/docker/daemon.json (before \
             Docker 23: `Environment=HTTPS_PROXY=ADDRESS` by `sudo systemctl edit docker`), then \
             restart the engine",
        )],
        (_, true) => vec![fine("the engine pulls images through a proxy")],
        (false, false) => vec![fine("the engine pulls images without a proxy")],
    }
}

pub(super) fn address_pools(facts: &Facts) -> Vec<Check> {
    let Some(engine) = &facts.engine else { return no_engine("address pools") };
    let all = match engine.pools.as_slice() {
        [] => DOCKERS_OWN,
        pools => pools.iter().map(AddressPool::networks).sum(),
    };
    let used = u64::try_from(engine.networks).unwrap_or(u64::MAX);
    let free = all.saturating_sub(used);
    let advice = "`docker network prune`; more ranges: `\"default-address-pools\": [{\"base\": \
                  \"10.200.0.0/16\", \"size\": 24}]` in /etc/docker/daemon.json";
    if free == 0 {
        return vec![error(format!("all {all} networks of the engine are taken"), advice)];
    }
    match free < NETWORKS_FEW {
        true => vec![warning(
            format!("networks that the engine can still make: {free} of {all}"),
            advice,
        )],
        false => vec![fine(format!(
            "networks that the engine can still make: {free} of {all}; a fleet needs one"
        ))],
    }
}

pub(super) fn mtu(facts: &Facts) -> Vec<Check> {
    let Some((out, bridge)) = facts.host.mtu else { return unread("the sizes of packets") };
    match bridge > out {
        true => vec![warning(
            format!(
                "runners send packets of {bridge} bytes, and the way out takes {out}: TLS may stall"
            ),
            format!("set `\"mtu\": {out}` in /etc/docker/daemon.json, then restart the engine"),
        )],
        false => vec![fine(format!("runners' packets of {bridge} bytes fit the way out ({out})"))],
    }
}

pub(super) fn listen(facts: &Facts) -> Vec<Check> {
    let Some(listen) = &facts.env.listen else {
        return vec![fine("the API opens no port: only its socket's owner reaches it")];
    };
    let Ok(address) = listen.parse::<SocketAddr>() else {
        return vec![error(
            format!("the API's address is `{listen}`, which is none"),
            "`SLATE_LISTEN=127.0.0.1:PORT`, or `api: {listen: ADDRESS:PORT}`",
        )];
    };
    match (address.ip().is_loopback(), facts.env.api_tls) {
        (true, _) => {
            vec![fine(format!("the API listens on {listen}: only this machine reaches it"))]
        }
        (false, true) => vec![fine(format!(
            "the API listens on {listen} with TLS: others reach it, and need a token"
        ))],
        (false, false) => vec![error(
            format!("the API's address is {listen}, which others reach, and it has no TLS"),
            "`api.tls` in the fleet file, or `SLATE_LISTEN=127.0.0.1:PORT`",
        )],
    }
}
