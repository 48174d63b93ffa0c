//! Containers: list, create, start, stop, remove, and what they use and print.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::models::{
    ContainerStateStatusEnum, ContainerStatsResponse, ContainerSummary, ContainerSummaryStateEnum,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    LogsOptionsBuilder, RemoveContainerOptionsBuilder, RemoveVolumeOptionsBuilder,
    StartContainerOptions, StatsOptionsBuilder, StopContainerOptionsBuilder,
    WaitContainerOptionsBuilder,
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use super::DockerEngine;
use super::card_errors::explain;
use super::errors::{deadline, is_conflict, is_gone};
use super::limits::Asked;
use crate::engine::translate::{
    self, LABEL_FLEET, LABEL_INCARNATION, LABEL_PROJECT, NARROWED, Narrowing,
};
use crate::engine::{
    ContainerStats, EngineError, Follow, HostPaths, LogRange, OutputChunk, OutputSource, Project,
};
use crate::fleet::effect::ContainerPlan;
use crate::fleet::event::{ContainerExit, ContainerFact, ContainerState, OpErrorClass};
use crate::ids::{ContainerId, ImageId, IncarnationId};
use crate::units::Bytes;

/// Inspections at a time; the engine answers them from memory.
const INSPECTED_AT_ONCE: usize = 8;

/// Whose a volume is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    Us,
    Stranger,
}

/// The engine's filter for what carries both of a project's labels.
pub(super) fn own_filter(project: &Project) -> HashMap<String, Vec<String>> {
    let labels = [(LABEL_PROJECT, project.name.as_str()), (LABEL_FLEET, project.fleet.as_str())];
    let labels = labels.map(|(key, value)| format!("{key}={value}")).to_vec();
    HashMap::from([("label".to_owned(), labels)])
}

impl DockerEngine {
    pub(super) async fn list_containers(&self) -> Result<Vec<ContainerFact>, EngineError> {
        let mut facts = self.facts(own_filter(&self.project)).await?;
        let listed: BTreeSet<ContainerId> = facts.iter().map(|fact| fact.id.clone()).collect();
        // Absence from one list is no proof: each that should be there is asked for by its id.
        for (id, incarnation) in self.seen.missing_from(&listed) {
            match self.look_up(&id).await? {
                Some(state) => {
                    tracing::warn!(%id, "the engine's list lacks a container that it has");
                    facts.push(ContainerFact { id, incarnation, state });
                }
                None => self.seen.forget(&id),
            }
        }
        facts.iter().for_each(|fact| self.seen.add(&fact.id, fact.incarnation));
        Ok(facts)
    }

    /// The state of a container by its id: the truth, where a list can be behind. None if the
    /// engine says that there is none.
    async fn look_up(&self, id: &ContainerId) -> Result<Option<ContainerState>, EngineError> {
        let call = self.call(format!("inspect container {id}"), deadline::INSPECT);
        let inspect = self.client.inspect_container(id.as_str(), None::<InspectContainerOptions>);
        let state = match call.run(inspect).await {
            Ok(found) => found.state.unwrap_or_default(),
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(match state.status {
            Some(ContainerStateStatusEnum::CREATED) => ContainerState::Created,
            Some(ContainerStateStatusEnum::REMOVING | ContainerStateStatusEnum::DEAD) => {
                ContainerState::Removing
            }
            _ if state.running == Some(true) || state.restarting == Some(true) => {
                ContainerState::Running
            }
            _ => ContainerState::Exited(ContainerExit {
                code: state.exit_code.unwrap_or(0),
                oom: state.oom_killed.unwrap_or(false),
            }),
        }))
    }

    pub(super) async fn find_container(
        &self,
        incarnation: IncarnationId,
    ) -> Result<Option<ContainerFact>, EngineError> {
        let mut filter = own_filter(&self.project);
        let labels = filter.entry("label".to_owned()).or_default();
        labels.push(format!("{LABEL_INCARNATION}={incarnation}"));
        Ok(self.facts(filter).await?.into_iter().next())
    }

    /// The containers that a filter finds and that are truly ours.
    async fn facts(
        &self,
        filter: HashMap<String, Vec<String>>,
    ) -> Result<Vec<ContainerFact>, EngineError> {
        let summaries = self.own_summaries(filter).await?;
        let facts = stream::iter(summaries).map(|summary| self.fact(summary));
        let facts: Vec<Option<ContainerFact>> =
            facts.buffered(INSPECTED_AT_ONCE).try_collect().await?;
        Ok(facts.into_iter().flatten().collect())
    }

    /// Lists containers, without those whose labels come from their image.
    pub(super) async fn own_summaries(
        &self,
        filter: HashMap<String, Vec<String>>,
    ) -> Result<Vec<ContainerSummary>, EngineError> {
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
        let call = self.call("list the project's containers", deadline::LIST);
        let mut own = Vec::new();
        for summary in call.run(self.client.list_containers(Some(options))).await? {
            let image = ImageId::new(summary.image_id.clone().unwrap_or_default());
            if self.image_has_own_labels(&image).await? {
                tracing::debug!(id = ?summary.id, %image, "left alone: its image has the labels");
            } else {
                own.push(summary);
            }
        }
        Ok(own)
    }

    async fn fact(&self, summary: ContainerSummary) -> Result<Option<ContainerFact>, EngineError> {
        let label = summary.labels.as_ref().and_then(|all| all.get(LABEL_INCARNATION));
        let (Some(id), Some(label)) = (summary.id, label) else { return Ok(None) };
        let Ok(incarnation) = label.parse() else {
            tracing::warn!(%id, %label, "left alone: its incarnation label is damaged");
            return Ok(None);
        };
        let id = ContainerId::new(id);
        let state = match listed_state(summary.state) {
            Some(ContainerState::Running) if self.died.contains(&id) => None,
            listed => listed,
        };
        let state = match state {
            Some(state) => state,
            None => match self.look_up(&id).await? {
                Some(state) => state,
                // Removed since it was listed.
                None => return Ok(None),
            },
        };
        Ok(Some(ContainerFact { id, incarnation, state }))
    }

    pub(super) async fn create_container(
        &self,
        plan: &ContainerPlan,
        paths: &HostPaths,
    ) -> Result<ContainerId, EngineError> {
        let engine = self.traits(plan).await?;
        self.check_volumes(plan).await?;
        let body = translate::container_body(plan, &self.project, paths, engine);
        let asked = Asked {
            host: body.host_config.clone().unwrap_or_default(),
            env: body.env.clone().unwrap_or_default(),
        };
        let options = CreateContainerOptionsBuilder::default().name(&plan.name).build();
        let call = self.call(format!("create container {}", plan.name), deadline::CREATE);
        match call.run(self.client.create_container(Some(options), body)).await {
            Ok(made) => {
                made.warnings.iter().for_each(|warning| self.warn_once(warning));
                let id = ContainerId::new(made.id);
                self.seen.add(&id, plan.incarnation);
                let unlimited = self.known_facts().await?.unlimited;
                self.check_limits(&id, &asked, unlimited).await?;
                Ok(id)
            }
            Err(error) if is_conflict(&error) => self.made_before(plan, error).await,
            Err(error) => Err(error),
        }
    }

    /// The container that has the name, if it is this very incarnation's.
    async fn made_before(
        &self,
        plan: &ContainerPlan,
        conflict: EngineError,
    ) -> Result<ContainerId, EngineError> {
        if let Some(fact) = self.find_container(plan.incarnation).await? {
            return Ok(fact.id);
        }
        Err(EngineError::Refused {
            action: format!("create container {}", plan.name),
            class: OpErrorClass::Conflict,
            message: format!(
                "{}; remove or rename that container if it is not in use",
                conflict.describe()
            ),
        })
    }

    pub(super) async fn start_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        let call = self.call("start the container".to_owned(), deadline::START);
        let start = self.client.start_container(id.as_str(), None::<StartContainerOptions>);
        let Err(error) = call.run(start).await else { return Ok(()) };
        let text = match &error {
            EngineError::Refused { message, .. } => message.clone(),
            other => other.to_string(),
        };
        if is_gone(&error) && text.contains("network") {
            self.make_network().await?;
            let why = "the project's network was gone and has been made again";
            return Err(call.refused(OpErrorClass::Retry, why));
        }
        if self.narrowing() == Narrowing::On && names_a_narrowed_file(&text) {
            self.refuses_narrowing.store(true, Ordering::Relaxed);
            tracing::warn!(
                "this engine does not permit narrowed /proc files; programs in runners will see \
                 the host's CPUs and memory: {text}"
            );
            let why = format!("{text}; it will be made again without narrowed /proc files");
            return Err(call.refused(OpErrorClass::Retry, why));
        }
        match explain(&text) {
            Some((class, words)) => Err(call.refused(class, words)),
            None => Err(error),
        }
    }

    pub(super) async fn stop_container(
        &self,
        id: &ContainerId,
        grace: Duration,
    ) -> Result<(), EngineError> {
        // Rounded up: the engine counts whole seconds, and 0 would mean to kill at once.
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let options = StopContainerOptionsBuilder::default()
            .t(i32::try_from(seconds).unwrap_or(i32::MAX))
            .build();
        let call = self.call(format!("stop container {id}"), deadline::STOP + grace);
        call.run(self.client.stop_container(id.as_str(), Some(options))).await
    }

    pub(super) async fn remove_runner(
        &self,
        container: Option<&ContainerId>,
        incarnation: IncarnationId,
    ) -> Result<(), EngineError> {
        let id = match container {
            Some(id) => Some(id.clone()),
            None => self.find_container(incarnation).await?.map(|fact| fact.id),
        };
        if let Some(id) = id {
            self.remove_container(&id).await?;
            self.seen.forget(&id);
        }
        self.remove_volume(&translate::work_volume(&self.project, incarnation)).await
    }

    /// Kills and removes one container with its unnamed volumes; gone is done.
    pub(super) async fn remove_container(&self, id: &ContainerId) -> Result<(), EngineError> {
        let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
        let call = self.call(format!("remove container {id}"), deadline::REMOVE);
        match call.run(self.client.remove_container(id.as_str(), Some(options))).await {
            Err(error) if is_gone(&error) => Ok(()),
            // Somebody else is removing it at this moment: wait for them.
            Err(error) if is_conflict(&error) => self.wait_until_removed(id).await,
            done => done,
        }
    }

    async fn wait_until_removed(&self, id: &ContainerId) -> Result<(), EngineError> {
        let options = WaitContainerOptionsBuilder::default().condition("removed").build();
        let call = self.call(format!("remove container {id}"), deadline::REMOVE);
        let mut waiting = self.client.wait_container(id.as_str(), Some(options)).boxed();
        let ended = async {
            match waiting.next().await {
                // The exit code of the container is an error to the library, and none to us.
                Some(Err(bollard::errors::Error::DockerContainerWaitError { .. })) | None => Ok(()),
                Some(answer) => answer.map(drop),
            }
        };
        match call.run(ended).await {
            Err(error) if is_gone(&error) => Ok(()),
            done => done,
        }
    }

    /// Refuses to give a runner a volume of somebody else: the engine would use it in silence.
    async fn check_volumes(&self, plan: &ContainerPlan) -> Result<(), EngineError> {
        for name in translate::volumes(plan, &self.project) {
            match self.volume_owner(&name).await? {
                Owner::Nobody | Owner::Us => {}
                Owner::Stranger => {
                    let action = format!("create container {}", plan.name);
                    let call = self.call(action, deadline::CREATE);
                    let why = format!(
                        "a volume named {name} is there and is not this fleet's; remove it if it \
                         is not in use (`docker volume rm {name}`)"
                    );
                    return Err(call.refused(OpErrorClass::Conflict, why));
                }
            }
        }
        Ok(())
    }

    async fn volume_owner(&self, name: &str) -> Result<Owner, EngineError> {
        let call = self.call(format!("inspect volume {name}"), deadline::INSPECT);
        match call.run(self.client.inspect_volume(name)).await {
            Ok(volume) => {
                let own = translate::project_labels(&self.project);
                let has = |(key, value)| volume.labels.get(key) == Some(value);
                Ok(if own.iter().all(has) { Owner::Us } else { Owner::Stranger })
            }
            Err(error) if is_gone(&error) => Ok(Owner::Nobody),
            Err(error) => Err(error),
        }
    }

    /// Removes a volume of ours; gone is done, and a stranger's is left alone.
    pub(super) async fn remove_volume(&self, name: &str) -> Result<(), EngineError> {
        match self.volume_owner(name).await? {
            Owner::Nobody => return Ok(()),
            Owner::Us => {}
            Owner::Stranger => {
                tracing::warn!("volume {name} is left alone: it is not this fleet's");
                return Ok(());
            }
        }
        let options = RemoveVolumeOptionsBuilder::default().force(true).build();
        let call = self.call(format!("remove volume {name}"), deadline::REMOVE);
        match call.run(self.client.remove_volume(name, Some(options))).await {
            Err(error) if is_gone(&error) => Ok(()),
            done => done,
        }
    }

    pub(super) async fn read_stats(&self, id: &ContainerId) -> Result<ContainerStats, EngineError> {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let call = self.call(format!("read the use of container {id}"), deadline::INSPECT);
        let mut readings = self.client.stats(id.as_str(), Some(options)).boxed();
        let first = async { readings.next().await.transpose() };
        match call.run(first).await? {
            Some(reading) => Ok(stats(&reading)),
            None => Err(call.refused(OpErrorClass::Gone, "it does not run")),
        }
    }

    pub(super) fn read_logs(
        &self,
        id: &ContainerId,
        range: LogRange,
    ) -> impl Stream<Item = Result<OutputChunk, EngineError>> + Send + Unpin + 'static {
        let tail = range.tail.map_or_else(|| "all".to_owned(), |lines| lines.to_string());
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .follow(range.follow == Follow::Yes)
            .tail(&tail)
            .build();
        let call = self.call(format!("read the log of container {id}"), deadline::INSPECT);
        let client = self.client.clone();
        let id = id.clone();
        stream::once(async move { client.logs(id.as_str(), Some(options)).boxed() })
            .flatten()
            .map(move |item| item.map(chunk).map_err(|error| call.sort(error)))
            .boxed()
    }
}

/// What a list says of a container's state; none where only an inspection tells how it ended.
fn listed_state(state: Option<ContainerSummaryStateEnum>) -> Option<ContainerState> {
    match state {
        Some(ContainerSummaryStateEnum::CREATED) => Some(ContainerState::Created),
        Some(ContainerSummaryStateEnum::REMOVING | ContainerSummaryStateEnum::DEAD) => {
            Some(ContainerState::Removing)
        }
        Some(ContainerSummaryStateEnum::EXITED) => None,
        Some(
            ContainerSummaryStateEnum::RUNNING
            | ContainerSummaryStateEnum::PAUSED
            | ContainerSummaryStateEnum::RESTARTING
            | ContainerSummaryStateEnum::STOPPING
            | ContainerSummaryStateEnum::EMPTY,
        )
        | None => Some(ContainerState::Running),
    }
}

fn names_a_narrowed_file(text: &str) -> bool {
    NARROWED.iter().any(|(_, target)| text.contains(target))
}

/// One piece of output in our words.
pub(super) fn chunk(output: LogOutput) -> OutputChunk {
    match output {
        LogOutput::StdErr { message } => {
            OutputChunk { source: OutputSource::Stderr, bytes: message }
        }
        LogOutput::StdOut { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message } => {
            OutputChunk { source: OutputSource::Stdout, bytes: message }
        }
    }
}

/// Sorts out a reading; control groups v1 and v2 name the droppable page cache differently.
fn stats(reading: &ContainerStatsResponse) -> ContainerStats {
    let cpu = reading.cpu_stats.as_ref().and_then(|all| all.cpu_usage.as_ref());
    let memory = reading.memory_stats.as_ref();
    let usage = memory.and_then(|all| all.usage).unwrap_or(0);
    let named = |name: &str| {
        memory.and_then(|all| all.stats.as_ref()).and_then(|all| all.get(name)).copied()
    };
    let cache = named("total_inactive_file").or_else(|| named("inactive_file")).unwrap_or(0);
    ContainerStats {
        cpu: Duration::from_nanos(cpu.and_then(|all| all.total_usage).unwrap_or(0)),
        memory: Bytes(usage.saturating_sub(cache)),
        memory_limit: Bytes(memory.and_then(|all| all.limit).unwrap_or(0)),
        pids: reading.pids_stats.as_ref().and_then(|all| all.current).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_that_refuses_narrowed_files_is_told_from_other_failures() {
        let refused = "error mounting \"/s/machine/stat\" to rootfs at \"/proc/stat\": \
                       \"/proc/stat\" cannot be mounted because it is inside /proc";
        assert!(names_a_narrowed_file(refused));
        assert!(!names_a_narrowed_file("exec /.slate/slate-runner: exec format error"));
    }
}
