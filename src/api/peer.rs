//! The other end of a connection: the user of the unix socket, as the kernel says, or a port's.

use std::convert::Infallible;
use std::fs;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::access::Asker;
use crate::fleet::audit::Client;

/// Where names of users are; users of other sources are told by their number.
const USERS: &str = "/etc/passwd";

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A process of this user.
    User(u32),
    /// Whoever may open the socket; the kernel does not say who.
    Owner,
    /// Whoever is on this machine.
    Loopback,
    /// Whoever reaches a port from elsewhere.
    Remote,
}

impl Peer {
    /// The name that it has in the audit log.
    #[must_use]
    pub fn client(self) -> Client {
        match self {
            Self::User(uid) => Client::new(user_name(uid).unwrap_or_else(|| format!("uid {uid}"))),
            Self::Owner => Client::new("unknown"),
            Self::Loopback => Client::new("loopback"),
            Self::Remote => Client::new("remote"),
        }
    }
}

/// The client of a request, as an argument of a handler.
#[derive(Debug)]
pub(super) struct By(pub Client);

impl<S: Sync> FromRequestParts<S> for By {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let asker = parts.extensions.get::<Asker>();
        Ok(Self(asker.map_or_else(|| Peer::Remote.client(), |asker| asker.client.clone())))
    }
}

fn user_name(uid: u32) -> Option<String> {
    named_in(&fs::read_to_string(USERS).ok()?, uid)
}

/// `name:password:uid:…` of passwd(5).
fn named_in(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let id: u32 = fields.nth(1)?.parse().ok()?;
        (id == uid).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_told_by_name_where_the_machine_knows_one() {
        let users = "root:x:0:0::/root:/bin/sh\nbroken\n:x:7::\nalice:x:1000:1000::/:/bin/sh\n";
        assert_eq!(named_in(users, 1000).as_deref(), Some("alice"));
        assert_eq!(named_in(users, 7), None);
        assert_eq!(named_in(users, 1001), None);
        assert_eq!(Peer::Loopback.client(), Client::new("loopback"));
    }
}
