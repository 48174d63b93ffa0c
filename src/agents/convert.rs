//! Between the protocol's types and the core's. Here a change of either side shows.

use crate::fleet::effect::JobOrder;
use crate::fleet::event::{Held, JobEnd};
use crate::wire::message::{End, JobOrder as WireOrder, JobRef, MemoryKill, Short};

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
