//! The proxies that jobs go through. Their addresses may hold a user and a password.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret::MASK;

/// What jobs are told of the network's proxies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Proxy {
    /// For `http://` addresses.
    pub http: Option<ProxyUrl>,
    /// For `https://` addresses.
    pub https: Option<ProxyUrl>,
    /// Hosts, domains and networks that are reached directly.
    pub no_proxy: Vec<String>,
}

impl Proxy {
    /// The same without users and passwords.
    #[must_use]
    pub fn masked(&self) -> Self {
        Self {
            http: self.http.as_ref().map(ProxyUrl::masked),
            https: self.https.as_ref().map(ProxyUrl::masked),
            no_proxy: self.no_proxy.clone(),
        }
    }
}

/// A proxy's address. Shown without its user and password; only jobs get the whole.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct ProxyUrl(String);

/// Why a text is no proxy's address, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAProxy(pub(super) &'static str);

impl ProxyUrl {
    /// Reads an address such as `http://proxy.example:3128`, with or without a user.
    ///
    /// # Errors
    /// [`NotAProxy`] with what would be right.
    pub fn parse(text: &str) -> Result<Self, NotAProxy> {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
        let Some(rest) = rest else {
            return Err(NotAProxy("write it with `http://` or `https://` before the name"));
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
        let is_user = |c: char| c.is_ascii_graphic() && !"@/?#[]\"\\".contains(c);
        if !user.chars().all(is_user) {
            return Err(NotAProxy(
                "special characters of a user or password are written as in every address: `@` \
                 is `%40`",
            ));
        }
        match is_place(place) {
            true => Ok(Self(text.to_owned())),
            false => Err(NotAProxy("write a host and a port, such as `http://proxy.example:3128`")),
        }
    }

    /// The whole address, with its user and password, for a job's environment.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is a user in it.
    #[must_use]
    pub fn has_user(&self) -> bool {
        self.0.contains('@')
    }

    fn masked(&self) -> Self {
        Self(self.to_string())
    }
}

/// A host and perhaps a port.
fn is_place(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').or(rest.is_empty().then_some("80"))),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("80")),
        },
    };
    let bracketed = text.starts_with('[');
    let is_host =
        |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c) || (bracketed && c == ':');
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    !host.is_empty() && host.chars().all(is_host) && port.is_some_and(is_port)
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        match rest.rsplit_once('@') {
            Some((_, place)) => write!(f, "{scheme}://{MASK}@{place}"),
            None => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyUrl({self})")
    }
}

impl TryFrom<String> for ProxyUrl {
    type Error = NotAProxy;

    fn try_from(text: String) -> Result<Self, NotAProxy> {
        Self::parse(&text)
    }
}

impl From<ProxyUrl> for String {
    fn from(url: ProxyUrl) -> Self {
        url.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_other_texts_refused_with_what_would_be_right() {
        for right in [
            "http://proxy:3128",
            "https://proxy.example",
            "http://10.0.0.1:80/",
            "http://[fd00::1]:3128",
            "http://u:p%40ss@proxy:3128",
            "http://u@proxy",
        ] {
            assert!(ProxyUrl::parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "proxy:3128",
            "socks5://proxy:1080",
            "http://",
            "http://proxy:0",
            "http://proxy:99999",
            "http://proxy:3128/path",
            "http://u:p@ss@proxy:3128",
            "http://u:p/s@proxy:3128",
            "http://pro xy:3128",
            "http://[fd00::1:3128",
            "http://fd00::1",
        ] {
            assert!(ProxyUrl::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_in_the_jobs_address_only() {
        let url = ProxyUrl::parse("http://me:hunter2@proxy:3128").unwrap();
        assert_eq!(url.to_string(), "http://***@proxy:3128");
        assert!(!format!("{url:?}").contains("hunter2"));
        assert_eq!(url.reveal(), "http://me:hunter2@proxy:3128");
        let shown = Proxy { http: Some(url), ..Proxy::default() }.masked();
        let text = serde_json::to_string(&shown).unwrap();
        assert!(text.contains("***@proxy") && !text.contains("hunter2"), "{text}");
        assert_eq!(serde_json::from_str::<Proxy>(&text).unwrap(), shown);
    }
}
