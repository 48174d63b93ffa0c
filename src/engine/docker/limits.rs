//! Whether a container has what it was made with: fields get lost on the way through engines,
//! proxies and older APIs, and a limit that is missing shows only when it is needed.

use bollard::models::{ContainerInspectResponse, DeviceMapping, DeviceRequest, HostConfig};
use bollard::query_parameters::InspectContainerOptions;

use super::DockerEngine;
use super::errors::deadline;
use super::facts::Unlimited;
use crate::engine::EngineError;
use crate::engine::translate::VISIBLE_DEVICES;
use crate::fleet::event::OpErrorClass;
use crate::ids::ContainerId;

/// What a container was asked to have.
pub(super) struct Asked {
    pub host: HostConfig,
    pub env: Vec<String>,
}

impl DockerEngine {
    /// Looks at a container that was just made. One with other limits than asked for is removed: it
    /// must never get a job.
    pub(super) async fn check_limits(
        &self,
        id: &ContainerId,
        asked: &Asked,
        unlimited: Unlimited,
    ) -> Result<(), EngineError> {
        let call = self.call("check the limits of the container", deadline::INSPECT);
        let inspect = self.client.inspect_container(id.as_str(), None::<InspectContainerOptions>);
        let why = match call.run(inspect).await {
            Ok(made) => match differences(asked, &made, unlimited) {
                different if different.is_empty() => return Ok(()),
                different => call.refused(
                    OpErrorClass::Fatal,
                    format!(
                        "the engine made it with other ones: {}; is there something between \
                         slate-fleet and the engine that changes requests?",
                        different.join(", ")
                    ),
                ),
            },
            // Nobody knows what it has, so it must go as well.
            Err(error) => call.refused(OpErrorClass::Retry, error.describe()),
        };
        if let Err(error) = self.remove_container(id).await {
            tracing::warn!(%id, "left for the next look: {}", error.describe());
        }
        self.seen.forget(id);
        Err(why)
    }
}

/// Each limit that is not as asked for, with both values. What the engine cannot set at all was
/// told when it was asked what it can do.
fn differences(
    asked: &Asked,
    made: &ContainerInspectResponse,
    unlimited: Unlimited,
) -> Vec<String> {
    let none = HostConfig::default();
    let (want, has) = (&asked.host, made.host_config.as_ref().unwrap_or(&none));
    let mut found = Vec::new();
    let numbers = [
        (!unlimited.cpu, "CPU (in 1e-9)", want.nano_cpus, has.nano_cpus),
        (!unlimited.memory, "memory", want.memory, has.memory),
        (!unlimited.pids, "processes", want.pids_limit, has.pids_limit),
        (true, "/dev/shm", want.shm_size, has.shm_size),
    ];
    for (is_set, what, want, has) in numbers {
        if is_set && want != has {
            found.push(differ(what, &number(want), &number(has)));
        }
    }
    let texts = [
        ("device requests", requests(want), requests(has)),
        ("devices", devices(want), devices(has)),
        ("groups", groups(want), groups(has)),
        (VISIBLE_DEVICES, pin(&asked.env), pin(env_of(made))),
    ];
    for (what, want, has) in texts {
        if want != has {
            found.push(differ(what, &want, &has));
        }
    }
    found
}

fn differ(what: &str, want: &str, has: &str) -> String {
    format!("{what} is {has} instead of {want}")
}

fn number(value: Option<i64>) -> String {
    value.map_or_else(|| "none".to_owned(), |value| value.to_string())
}

fn list(mut items: Vec<String>) -> String {
    items.sort();
    match items.is_empty() {
        true => "none".to_owned(),
        false => items.join(" "),
    }
}

fn requests(host: &HostConfig) -> String {
    let one = |it: &DeviceRequest| {
        let ids = it.device_ids.as_deref().unwrap_or_default().join(",");
        format!("{}:{ids}:{}", it.driver.as_deref().unwrap_or_default(), it.count.unwrap_or(0))
    };
    list(host.device_requests.iter().flatten().map(one).collect())
}

fn devices(host: &HostConfig) -> String {
    let one = |it: &DeviceMapping| {
        let rights = it.cgroup_permissions.as_deref().unwrap_or_default();
        format!("{}:{rights}", it.path_on_host.as_deref().unwrap_or_default())
    };
    list(host.devices.iter().flatten().map(one).collect())
}

fn groups(host: &HostConfig) -> String {
    list(host.group_add.clone().unwrap_or_default())
}

/// The variable that pins the container to its card or to none. A name alone removes the image's.
fn pin(env: &[String]) -> String {
    let is_pin =
        |entry: &&String| entry.split_once('=').is_some_and(|(name, _)| name == VISIBLE_DEVICES);
    list(env.iter().filter(is_pin).cloned().collect())
}

fn env_of(made: &ContainerInspectResponse) -> &[String] {
    made.config.as_ref().and_then(|it| it.env.as_deref()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bollard::models::ContainerConfig;

    use super::*;

    fn asked() -> Asked {
        let request = DeviceRequest {
            driver: Some("nvidia".to_owned()),
            count: Some(0),
            device_ids: Some(vec!["GPU-6a1c".to_owned()]),
            ..DeviceRequest::default()
        };
        let host = HostConfig {
            nano_cpus: Some(2_000_000_000),
            memory: Some(1 << 30),
            pids_limit: Some(4096),
            shm_size: Some(64 << 20),
            device_requests: Some(vec![request]),
            ..HostConfig::default()
        };
        Asked { host, env: vec![VISIBLE_DEVICES.to_owned()] }
    }

    fn made(host: HostConfig, env: &[&str]) -> ContainerInspectResponse {
        let env = Some(env.iter().map(|it| (*it).to_owned()).collect());
        ContainerInspectResponse {
            host_config: Some(host),
            config: Some(ContainerConfig { env, ..ContainerConfig::default() }),
            ..ContainerInspectResponse::default()
        }
    }

    #[test]
    fn a_container_that_is_as_asked_for_has_no_differences_however_the_engine_writes_it() {
        let mut host = asked().host;
        host.devices = Some(Vec::new());
        if let Some(request) = host.device_requests.as_mut().and_then(|all| all.first_mut()) {
            request.options = Some(std::collections::HashMap::new());
        }
        let made = made(host, &["PATH=/bin"]);
        assert_eq!(differences(&asked(), &made, Unlimited::default()), Vec::<String>::new());
    }

    #[test]
    fn each_limit_that_is_missing_or_other_is_told_with_both_values() {
        type Spoil = fn(&mut HostConfig);
        let spoil: [(Spoil, &str); 6] = [
            (|it| it.nano_cpus = Some(0), "CPU (in 1e-9) is 0 instead of 2000000000"),
            (|it| it.memory = Some(0), "memory is 0 instead of 1073741824"),
            (|it| it.pids_limit = None, "processes is none instead of 4096"),
            (|it| it.shm_size = Some(1), "/dev/shm is 1 instead of 67108864"),
            (
                |it| it.device_requests = None,
                "device requests is none instead of nvidia:GPU-6a1c:0",
            ),
            (
                |it| it.devices = Some(vec![DeviceMapping::default()]),
                "devices is : instead of none",
            ),
        ];
        for (spoil, words) in spoil {
            let mut host = asked().host;
            spoil(&mut host);
            let found = differences(&asked(), &made(host, &[]), Unlimited::default());
            assert_eq!(found, [words]);
        }
        let pinned = made(asked().host, &["NVIDIA_VISIBLE_DEVICES=all"]);
        let found = differences(&asked(), &pinned, Unlimited::default());
        assert_eq!(found.len(), 1, "{found:?}");
    }

    #[test]
    fn what_the_engine_said_it_cannot_limit_is_not_told_again() {
        let host = HostConfig { pids_limit: None, memory: Some(0), ..asked().host };
        let unlimited = Unlimited { pids: true, memory: true, cpu: false };
        assert!(differences(&asked(), &made(host, &[]), unlimited).is_empty());
    }
}
