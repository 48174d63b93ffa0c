//! An engine whose calls are counted: how many, what came of them, how long they took.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;

use super::clock::Stopwatch;
use crate::engine::{
    ContainerStats, Engine, EngineError, EngineInfo, ExecId, ExecRequest, ExecSession, HostPaths,
    ImageEnd, Inspection, Leftover, LogRange, OtherFleet, OutputChunk, Swept, TerminalSize,
};
use crate::fleet::effect::ContainerPlan;
use crate::fleet::event::{ContainerFact, EngineEvent, OpErrorClass};
use crate::ids::{ContainerId, ImageId, ImageRef, IncarnationId};
use crate::metrics::Meters;
use crate::units::Time;

/// An engine, and what counts its calls. Streams are passed on uncounted: they end when their
/// reader does.
pub(super) struct Metered<E> {
    engine: E,
    meters: Arc<Meters>,
}

impl<E> Metered<E> {
    pub fn new(engine: E, meters: Arc<Meters>) -> Self {
        Self { engine, meters }
    }

    async fn count<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let begun = Stopwatch::start();
        let answer = call.await;
        self.meters.engine_call(name, result(&answer), begun.elapsed());
        answer
    }
}

/// What came of a call, in one word.
fn result<T>(answer: &Result<T, EngineError>) -> &'static str {
    match answer.as_ref().map_err(EngineError::class) {
        Ok(_) => "ok",
        Err(None) => "unknown",
        Err(Some(OpErrorClass::Gone)) => "gone",
        Err(Some(OpErrorClass::Conflict)) => "conflict",
        Err(Some(OpErrorClass::Retry)) => "retry",
        Err(Some(OpErrorClass::Fatal)) => "fatal",
    }
}

impl<E: Engine> Engine for Metered<E> {
    async fn info(&self) -> Result<EngineInfo, EngineError> {
        self.count("info", self.engine.info()).await
    }

    async fn prepare(&self) -> Result<(), EngineError> {
        self.count("prepare", self.engine.prepare()).await
    }

    async fn list(&self) -> Result<Vec<ContainerFact>, EngineError> {
        self.count("list", self.engine.list()).await
    }

    fn watch(
        &self,
        since: Time,
    ) -> impl Stream<Item = Result<EngineEvent, EngineError>> + Send + Unpin + 'static {
        self.engine.watch(since)
    }

    async fn resolve_image(&self, image: &ImageRef) -> Result<ImageId, EngineError> {
        self.count("resolve_image", self.engine.resolve_image(image)).await
    }

    async fn create(
        &self,
        plan: &ContainerPlan,
        paths: &HostPaths,
    ) -> Result<ContainerId, EngineError> {
        self.count("create", self.engine.create(plan, paths)).await
    }

    async fn start(&self, container: &ContainerId) -> Result<(), EngineError> {
        self.count("start", self.engine.start(container)).await
    }

    async fn stop(&self, container: &ContainerId, grace: Duration) -> Result<(), EngineError> {
        self.count("stop", self.engine.stop(container, grace)).await
    }

    async fn remove(
        &self,
        container: Option<&ContainerId>,
        incarnation: IncarnationId,
    ) -> Result<(), EngineError> {
        self.count("remove", self.engine.remove(container, incarnation)).await
    }

    async fn find(&self, incarnation: IncarnationId) -> Result<Option<ContainerFact>, EngineError> {
        self.count("find", self.engine.find(incarnation)).await
    }

    async fn inspect(&self, container: &ContainerId) -> Result<Option<Inspection>, EngineError> {
        self.count("inspect", self.engine.inspect(container)).await
    }

    async fn stats(&self, container: &ContainerId) -> Result<ContainerStats, EngineError> {
        self.count("stats", self.engine.stats(container)).await
    }

    fn container_logs(
        &self,
        container: &ContainerId,
        range: LogRange,
    ) -> impl Stream<Item = Result<OutputChunk, EngineError>> + Send + Unpin + 'static {
        self.engine.container_logs(container, range)
    }

    async fn exec(
        &self,
        container: &ContainerId,
        request: &ExecRequest,
    ) -> Result<ExecSession, EngineError> {
        self.count("exec", self.engine.exec(container, request)).await
    }

    async fn resize_exec(&self, exec: &ExecId, size: TerminalSize) -> Result<(), EngineError> {
        self.count("resize_exec", self.engine.resize_exec(exec, size)).await
    }

    async fn exec_exit(&self, exec: &ExecId) -> Result<Option<i64>, EngineError> {
        self.count("exec_exit", self.engine.exec_exit(exec)).await
    }

    async fn sweep(&self) -> Result<Swept, EngineError> {
        self.count("sweep", self.engine.sweep()).await
    }

    async fn leftovers(&self) -> Result<Vec<Leftover>, EngineError> {
        self.count("leftovers", self.engine.leftovers()).await
    }

    async fn remove_leftover(&self, left: &Leftover) -> Result<(), EngineError> {
        self.count("remove_leftover", self.engine.remove_leftover(left)).await
    }

    async fn image_id(&self, image: &ImageRef) -> Result<Option<ImageId>, EngineError> {
        self.count("image_id", self.engine.image_id(image)).await
    }

    async fn remove_image(&self, image: &ImageRef, id: &ImageId) -> Result<ImageEnd, EngineError> {
        self.count("remove_image", self.engine.remove_image(image, id)).await
    }

    async fn remove_caches(&self) -> Result<usize, EngineError> {
        self.count("remove_caches", self.engine.remove_caches()).await
    }

    async fn others(&self) -> Result<Vec<OtherFleet>, EngineError> {
        self.count("others", self.engine.others()).await
    }
}
