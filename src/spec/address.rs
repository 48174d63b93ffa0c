//! Addresses of servers that secrets are sent to.

use core::net::{IpAddr, Ipv6Addr};

/// A server's address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// `https://github.com`, in lower case and without a slash.
    pub(super) origin: String,
    /// The parts of its path.
    pub(super) path: Vec<String>,
    /// What is between here and there.
    pub(super) way: Way,
}

/// What is between here and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// TLS.
    Https,
    /// This host's own loopback.
    Loopback,
    /// A private network, unencrypted.
    Private,
}

/// What a fleet file names no server beyond the private networks with.
const PRIVATE_ENDINGS: [&str; 5] = [".lan", ".local", ".internal", ".localdomain", ".home.arpa"];

impl Address {
    /// Reads an address; a name of a variable or a secret in it is no part of the message.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("write it with `https://` before it")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err("write it with `https://` before it"),
        };
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        if place.contains('@') {
            return Err("write it without a user or password");
        }
        let (host, port) = host_and_port(place).ok_or("write a host and perhaps a port")?;
        let host = host.to_ascii_lowercase();
        let path = path.trim_end_matches('/');
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
        let path: Vec<String> = match path {
            "" => Vec::new(),
            _ => path.split('/').map(str::to_owned).collect(),
        };
        let is_step = |part: &String| matches!(part.as_str(), "" | "." | "..");
        if path.iter().any(|part| is_step(part) || !part.chars().all(is_part)) {
            return Err("write its path with letters, digits, `-`, `_` and `.` only");
        }
        let way = if secure { Way::Https } else { unencrypted(&host)? };
        let scheme = if secure { "https" } else { "http" };
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        Ok(Self { origin: format!("{scheme}://{host}{port}"), path, way })
    }
}

/// How far an address without TLS reaches.
fn unencrypted(host: &str) -> Result<Way, &'static str> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<IpAddr>() {
        Ok(ip) if ip.is_loopback() => Ok(Way::Loopback),
        Ok(IpAddr::V4(ip)) if ip.is_private() || ip.is_link_local() => Ok(Way::Private),
        Ok(IpAddr::V6(ip)) if ip.is_unique_local() || ip.is_unicast_link_local() => {
            Ok(Way::Private)
        }
        Err(_) if bare == "localhost" => Ok(Way::Loopback),
        Err(_) if !bare.contains('.') || PRIVATE_ENDINGS.iter().any(|end| bare.ends_with(end)) => {
            Ok(Way::Private)
        }
        Ok(_) | Err(_) => {
            Err("write it with `https://`: tokens would cross the network unencrypted")
        }
    }
}

/// The host, in brackets where it is IPv6, and the port.
pub(super) fn host_and_port(place: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match place.find(']') {
        Some(end) => {
            let (host, rest) = place.split_at_checked(end + 1)?;
            host.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let is_part = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let is_name = host.starts_with('[')
        || (host.starts_with(|c: char| c.is_ascii_alphanumeric()) && host.chars().all(is_part));
    let port = match port {
        Some(port) => Some(port.parse::<u16>().ok().filter(|port| *port > 0)?),
        None => None,
    };
    (is_name && host.len() <= 253).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_one_form() {
        let table = [
            ("https://GitHub.com/me/site/", "https://github.com", 2, Way::Https),
            ("https://github.com", "https://github.com", 0, Way::Https),
            ("HTTPS://ghe.corp:8443/acme", "https://ghe.corp:8443", 1, Way::Https),
            ("http://127.0.0.1:3000/a/b", "http://127.0.0.1:3000", 2, Way::Loopback),
            ("http://[::1]:3000/a", "http://[::1]:3000", 1, Way::Loopback),
            ("http://172.17.0.1:80/a", "http://172.17.0.1:80", 1, Way::Private),
            ("http://gitea:3000/a", "http://gitea:3000", 1, Way::Private),
            ("http://git.home.arpa/a", "http://git.home.arpa", 1, Way::Private),
        ];
        for (text, origin, parts, way) in table {
            let read = Address::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!((read.origin.as_str(), read.path.len(), read.way), (origin, parts, way));
        }
    }

    #[test]
    fn what_is_no_address_or_not_private_is_refused() {
        for text in [
            "github.com/me/site",
            "ftp://github.com/me",
            "https://me:secret@github.com/me",
            "https:///me",
            "https://github.com/me/../site",
            "https://github.com//site",
            "https://github.com/me/site?x=1",
            "https://github.com:0/me",
            "https://git hub.com/me",
            "http://github.com/me/site",
            "http://8.8.8.8/me",
            "http://[2001:db8::1]/me",
            "https://[nonsense]/me",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
