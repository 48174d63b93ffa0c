//! Runners that take a forge's jobs: what the core is told of them, and what it asks for.
//!
//! The forge gives out its jobs itself, to any runner that matches; the fleet only sees to it that
//! there are runners, and that none goes while it has a job. So nothing here binds a runner to a
//! job: numbers are compared, again and again, with what is. Read `fact` and `order`, the two
//! alphabets of this border, then `registration`, where a runner stands.
//!
//! `docs/adr/0021-forges.md` says why.

mod backoff;
mod cause;
mod decision;
pub(in crate::fleet) mod demand;
mod fact;
pub(in crate::fleet) mod holds;
mod jobs;
mod known;
mod labels;
pub(in crate::fleet) mod leave;
pub(in crate::fleet) mod leftovers;
pub(in crate::fleet) mod listener;
mod lists;
mod names;
mod observe;
mod order;
pub(in crate::fleet) mod plan;
mod register;
mod registration;
pub(in crate::fleet) mod revival;
#[cfg(test)]
mod testing;
mod view;
pub(in crate::fleet) mod views;

pub use cause::ForgeCause;
pub use fact::{
    ForgeContact, ForgeError, ForgeErrorClass, ForgeEvent, ForgeJobFact, ForgeJobStatus,
    ForgeOutcome, ForgeRunnerFact, ListenerEnd, ListenerStage, ListenerStatus, WorkFact,
};
pub use holds::Hold;
pub use leftovers::{Leftover, LeftoverStage};
pub use names::reports;
pub use order::{Enlistment, ForgeEntry, ListenMode, ListenOrder, RegisterOrder};
pub use registration::{Registered, Registration};
pub use view::{ForgeJobView, ForgeRunnerView, ForgeView};

pub(in crate::fleet) use decision::{ForgeDecision, commit, operation};
pub(in crate::fleet) use known::Forges;
pub(in crate::fleet) use observe::observe;

#[cfg(test)]
mod tests;
