//! Between the protocol's types and the core's. Here a change of either side shows.

use crate::fleet::effect::JobOrder;
use crate::fleet::event::{Held, JobEnd};
use crate::fleet::forge;
use crate::spec::{ForgeKind, ForkJobs};
use crate::wire::listen;
use crate::wire::message::{End, JobOrder as WireOrder, JobRef, MemoryKill, Short};

/// Where runners work; their work volume is there.
const WORK: &str = "/work";

/// The attempt that an order is about.
pub(super) fn order_ref(order: &JobOrder) -> JobRef {
    JobRef { job: order.job, attempt: order.attempt }
}

/// What is held, as the protocol says it.
pub(super) fn job_ref(held: &Held) -> JobRef {
    JobRef { job: held.job, attempt: held.attempt }
}

/// What is held, as the core says it.
pub(super) fn held(job: JobRef) -> Held {
    Held { job: job.job, attempt: job.attempt }
}

/// A job for the agent.
pub(super) fn order(order: JobOrder) -> WireOrder {
    WireOrder {
        job: order_ref(&order),
        command: order.command,
        env: order.env,
        uid: order.user.uid,
        gid: order.user.gid,
        workspace: order.workspace,
        reports: order.reports,
        timeout: order.timeout,
        stop_grace: order.stop_grace,
    }
}

/// How a job ended, for the core.
pub(super) fn end(end: End, memory: Option<MemoryKill>) -> JobEnd {
    match end {
        End::Exited(code) => JobEnd::Exited(code),
        End::Signalled(signal) => JobEnd::Signalled(signal),
        End::TimedOut => JobEnd::TimedOut,
        End::Cancelled => JobEnd::Cancelled,
        End::OutOfMemory => match memory {
            Some(MemoryKill { short: Short::Host, peak, .. }) => JobEnd::HostMemory { peak },
            Some(MemoryKill { short: Short::Container, peak, limit: Some(limit) }) => {
                JobEnd::MemoryLimit { peak, limit }
            }
            Some(MemoryKill { limit: None, .. }) | None => JobEnd::OutOfMemory,
        },
        End::NoSuchProgram(why) => JobEnd::NoSuchProgram(why),
        End::NotExecutable(why) => JobEnd::NotExecutable(why),
        End::NotStarted(why) => JobEnd::NotStarted(why),
    }
}

/// What an agent needs to take a forge's jobs.
pub(super) fn listen(
    order: forge::ListenOrder,
    credential: listen::Credential,
    work: Option<String>,
) -> listen::ListenOrder {
    let forge::Enlistment { kind, scope, labels, group, mode: _, fork_jobs } = order.enlistment;
    listen::ListenOrder {
        forge: match kind {
            ForgeKind::Github => listen::ForgeKind::Github,
            ForgeKind::Gitea => listen::ForgeKind::Gitea,
        },
        url: scope.as_str().to_owned(),
        name: order.name,
        labels,
        group,
        credential,
        uid: order.user.uid,
        gid: order.user.gid,
        env: order.env,
        refuse_forks: match fork_jobs {
            ForkJobs::Deny => true,
            ForkJobs::Allow => false,
        },
        work: work.unwrap_or_else(|| WORK.to_owned()),
    }
}

/// A listener that could not even be asked to start.
pub(super) fn not_started(why: String) -> forge::ListenerStatus {
    let stage = forge::ListenerStage::Over(forge::ListenerEnd::NotStarted(why));
    forge::ListenerStatus { stage, runner: None, jobs: 0, stuck: None }
}

/// Where a listener stands, for the core.
pub(super) fn listener(status: listen::ListenerStatus) -> forge::ListenerStatus {
    forge::ListenerStatus {
        stage: match status.stage {
            listen::ListenerStage::Registering => forge::ListenerStage::Registering,
            listen::ListenerStage::Starting => forge::ListenerStage::Starting,
            listen::ListenerStage::Listening => forge::ListenerStage::Listening,
            listen::ListenerStage::Working(work) => forge::ListenerStage::Working(self::work(work)),
            listen::ListenerStage::Over(end) => forge::ListenerStage::Over(listener_end(end)),
        },
        runner: status.runner,
        jobs: status.jobs,
        stuck: status.stuck,
    }
}

fn work(work: listen::WorkFact) -> forge::WorkFact {
    let listen::WorkFact { name, repository, workflow, run } = work;
    forge::WorkFact { name, repository, workflow, run }
}

fn listener_end(end: listen::ListenerEnd) -> forge::ListenerEnd {
    match end {
        listen::ListenerEnd::Exited { code, said } => forge::ListenerEnd::Exited { code, said },
        listen::ListenerEnd::NeedsToken => forge::ListenerEnd::NeedsToken,
        listen::ListenerEnd::TokenRefused(why) => forge::ListenerEnd::TokenRefused(why),
        listen::ListenerEnd::NameTaken(why) => forge::ListenerEnd::NameTaken(why),
        listen::ListenerEnd::NotRegistered(why) => forge::ListenerEnd::NotRegistered(why),
        listen::ListenerEnd::NotStarted(why) => forge::ListenerEnd::NotStarted(why),
    }
}
