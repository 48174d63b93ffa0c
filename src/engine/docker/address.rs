//! Where the engine is: `DOCKER_HOST`, and what of Docker's other ways is not supported yet.

use std::path::{Path, PathBuf};

use crate::engine::EngineError;

const DEFAULT: &str = "unix:///var/run/docker.sock";

/// An engine's address, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineAddress {
    url: String,
    transport: Transport,
}

/// How to speak to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// A unix socket.
    Unix,
    /// Plain HTTP over TCP.
    Tcp,
}

/// The variables of the environment that Docker's own client reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DockerEnv {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`, or the current context of Docker's own configuration.
    pub context: Option<String>,
    /// `DOCKER_TLS_VERIFY`.
    pub tls_verify: Option<String>,
}

impl DockerEnv {
    /// Reads this process's environment and Docker's configuration file.
    #[must_use]
    pub fn from_process() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            host: text("DOCKER_HOST"),
            context: text("DOCKER_CONTEXT").or_else(configured_context),
            tls_verify: text("DOCKER_TLS_VERIFY"),
        }
    }
}

/// The context that `docker context use` chose, if any.
///
/// A file that is missing or unreadable chooses none, as for Docker's own client.
fn configured_context() -> Option<String> {
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".docker")))?;
    let text = std::fs::read_to_string(folder.join("config.json")).ok()?;
    let config: serde_json::Value = serde_json::from_str(&text).ok()?;
    config.get("currentContext")?.as_str().map(str::to_owned)
}

impl EngineAddress {
    /// Chooses the address as Docker's own client does, and refuses what is not supported.
    ///
    /// # Errors
    /// [`EngineError::Unusable`], with what to do instead.
    pub fn choose(env: &DockerEnv) -> Result<Self, EngineError> {
        if let (None, Some(context)) = (&env.host, &env.context)
            && context != "default"
        {
            return Err(EngineError::Unusable(format!(
                "Docker's context `{context}` is chosen, and contexts are not supported yet; set \
                 DOCKER_HOST to its address (`docker context inspect {context}` shows it)"
            )));
        }
        let address = Self::parse(env.host.as_deref().unwrap_or(DEFAULT))?;
        if address.transport == Transport::Tcp && env.tls_verify.is_some() {
            return Err(EngineError::Unusable(
                "DOCKER_TLS_VERIFY is set, and TLS to the engine is not supported yet; forward \
                 its socket (`ssh -L /tmp/engine.sock:/var/run/docker.sock HOST`) and set \
                 DOCKER_HOST=unix:///tmp/engine.sock"
                    .to_owned(),
            ));
        }
        Ok(address)
    }

    /// Reads an address such as `unix:///var/run/docker.sock` or `tcp://127.0.0.1:2375`.
    ///
    /// # Errors
    /// [`EngineError::Unusable`] for every other scheme.
    pub fn parse(url: &str) -> Result<Self, EngineError> {
        let of = |transport| Ok(Self { url: url.to_owned(), transport });
        match url.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => of(Transport::Unix),
            Some(("tcp" | "http", host)) if !host.is_empty() => of(Transport::Tcp),
            Some(("ssh", _)) => Err(EngineError::Unusable(format!(
                "DOCKER_HOST is `{url}`, and SSH is not supported yet; forward the socket (`ssh \
                 -L /tmp/engine.sock:/var/run/docker.sock HOST`) and set \
                 DOCKER_HOST=unix:///tmp/engine.sock"
            ))),
            _ => Err(EngineError::Unusable(format!(
                "DOCKER_HOST is `{url}`; it should look like `unix:///var/run/docker.sock` or \
                 `tcp://127.0.0.1:2375`"
            ))),
        }
    }

    /// The address as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The socket's path, where it is one.
    pub(super) fn socket(&self) -> Option<&Path> {
        match self.transport {
            Transport::Unix => self.url.strip_prefix("unix://").map(Path::new),
            Transport::Tcp => None,
        }
    }

    pub(super) fn transport(&self) -> Transport {
        self.transport
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(env: &DockerEnv) -> String {
        EngineAddress::choose(env).expect_err("refused").to_string()
    }

    #[test]
    fn docker_host_is_honoured_and_the_usual_socket_is_the_default() {
        let usual = EngineAddress::choose(&DockerEnv::default()).expect("a default");
        assert_eq!(usual.as_str(), "unix:///var/run/docker.sock");
        let env =
            DockerEnv { host: Some("tcp://10.0.0.1:2375".to_owned()), ..DockerEnv::default() };
        let tcp = EngineAddress::choose(&env).expect("tcp");
        assert_eq!(tcp.transport(), Transport::Tcp);
    }

    #[test]
    fn what_is_not_supported_is_refused_with_what_to_do() {
        let ssh = DockerEnv { host: Some("ssh://me@box".to_owned()), ..DockerEnv::default() };
        assert!(refusal(&ssh).contains("forward the socket"));
        let context = DockerEnv { context: Some("far".to_owned()), ..DockerEnv::default() };
        assert!(refusal(&context).contains("docker context inspect far"));
        let tls = DockerEnv {
            host: Some("tcp://h:2376".to_owned()),
            tls_verify: Some("1".to_owned()),
            ..DockerEnv::default()
        };
        assert!(refusal(&tls).contains("TLS"));
        let odd = DockerEnv { host: Some("/var/run/x".to_owned()), ..DockerEnv::default() };
        assert!(refusal(&odd).contains("unix:///"));
    }

    #[test]
    fn docker_host_wins_over_a_context() {
        let env = DockerEnv {
            host: Some("unix:///a".to_owned()),
            context: Some("far".to_owned()),
            tls_verify: None,
        };
        assert_eq!(EngineAddress::choose(&env).expect("host").as_str(), "unix:///a");
    }
}
