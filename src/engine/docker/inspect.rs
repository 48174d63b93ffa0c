//! One container, looked at closely.

use bollard::models::{ContainerInspectResponse, ContainerState, Health, HostConfig};
use bollard::query_parameters::InspectContainerOptions;

use super::DockerEngine;
use super::errors::{deadline, is_gone};
use crate::engine::{EngineError, Inspection};
use crate::ids::ContainerId;
use crate::units::{Bytes, MilliCpu};

impl DockerEngine {
    /// What the engine says of a container; none if it is gone.
    pub(super) async fn look_at(
        &self,
        id: &ContainerId,
    ) -> Result<Option<Inspection>, EngineError> {
        let call = self.call(format!("inspect container {id}"), deadline::INSPECT);
        let inspect = self.client.inspect_container(id.as_str(), None::<InspectContainerOptions>);
        match call.run(inspect).await {
            Ok(found) => Ok(Some(inspection(found))),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn inspection(found: ContainerInspectResponse) -> Inspection {
    let state = found.state.unwrap_or_default();
    let limits = found.host_config.unwrap_or_default();
    let started_at = moment(state.started_at.as_deref());
    let is_over = state.running != Some(true) && started_at.is_some();
    Inspection {
        status: state.status.map(|status| status.to_string()).unwrap_or_default(),
        exit_code: state.exit_code.filter(|_| is_over),
        oom_killed: state.oom_killed.unwrap_or(false),
        error: state.error.clone().filter(|text| !text.is_empty()),
        finished_at: moment(state.finished_at.as_deref()),
        started_at,
        health: health(&state),
        restarts: found.restart_count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
        memory: positive(limits.memory).map(Bytes),
        cpus: cpus(&limits),
        pids: positive(limits.pids_limit),
    }
}

/// A moment in the engine's writing; it calls the year 1 what never happened.
fn moment(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty() && !text.starts_with("0001-")).map(str::to_owned)
}

fn health(state: &ContainerState) -> Option<String> {
    let Health { status, failing_streak, .. } = state.health.clone()?;
    let word = status.map(|status| status.to_string()).filter(|word| !word.is_empty())?;
    match failing_streak {
        Some(count @ 1..) => Some(format!("{word} ({count} failed checks in a row)")),
        Some(_) | None => Some(word),
    }
}

/// A limit; the engine writes 0 or -1 for none.
fn positive(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
}

fn cpus(limits: &HostConfig) -> Option<MilliCpu> {
    const NANOS: u64 = 1_000_000;
    let thousandths = positive(limits.nano_cpus)? / NANOS;
    u32::try_from(thousandths).ok().map(MilliCpu)
}

#[cfg(test)]
mod tests {
    use bollard::models::{ContainerConfig, ContainerStateStatusEnum, HealthStatusEnum};

    use super::*;

    #[test]
    fn state_and_limits_are_taken_over_and_nothing_of_the_environment() {
        let found = ContainerInspectResponse {
            config: Some(ContainerConfig {
                env: Some(vec!["TOKEN=hunter2".to_owned()]),
                ..ContainerConfig::default()
            }),
            restart_count: Some(2),
            state: Some(ContainerState {
                status: Some(ContainerStateStatusEnum::EXITED),
                running: Some(false),
                exit_code: Some(137),
                oom_killed: Some(true),
                started_at: Some("2026-02-08T12:00:00.1Z".to_owned()),
                finished_at: Some("2026-02-08T12:00:09Z".to_owned()),
                health: Some(Health {
                    status: Some(HealthStatusEnum::UNHEALTHY),
                    failing_streak: Some(3),
                    log: None,
                }),
                ..ContainerState::default()
            }),
            host_config: Some(HostConfig {
                memory: Some(512 << 20),
                nano_cpus: Some(1_500_000_000),
                pids_limit: Some(-1),
                ..HostConfig::default()
            }),
            ..ContainerInspectResponse::default()
        };
        let seen = inspection(found);
        assert_eq!((seen.exit_code, seen.oom_killed, seen.restarts), (Some(137), true, 2));
        assert_eq!(seen.health.as_deref(), Some("unhealthy (3 failed checks in a row)"));
        assert_eq!((seen.memory, seen.pids), (Some(Bytes::mib(512)), None));
        assert_eq!(seen.cpus, Some(MilliCpu(1500)));
        assert!(!format!("{seen:?}").contains("hunter2"));
    }

    #[test]
    fn a_container_that_never_started_has_no_exit_code_and_no_times() {
        let found = ContainerInspectResponse {
            state: Some(ContainerState {
                status: Some(ContainerStateStatusEnum::CREATED),
                exit_code: Some(0),
                error: Some("no such file".to_owned()),
                started_at: Some("0001-01-01T00:00:00Z".to_owned()),
                finished_at: Some("0001-01-01T00:00:00Z".to_owned()),
                ..ContainerState::default()
            }),
            ..ContainerInspectResponse::default()
        };
        let seen = inspection(found);
        assert_eq!((seen.exit_code, seen.started_at, seen.finished_at), (None, None, None));
        assert_eq!(seen.error.as_deref(), Some("no such file"));
        assert_eq!(seen.status, "created");
    }
}
