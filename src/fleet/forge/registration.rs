//! Where a runner stands with its forge.

use serde::{Deserialize, Serialize};

use super::fact::WorkFact;
use crate::ids::ForgeRunnerId;
use crate::units::Time;

/// What is on record of a runner's registration; none before the forge was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The name at the forge.
    pub name: String,
    /// How far it is.
    pub stage: Registered,
    /// The job that it has, or had last.
    pub work: Option<WorkFact>,
    /// When that began.
    pub worked: Option<Time>,
    /// Whether it is over.
    #[serde(default)]
    pub is_over: bool,
    /// The jobs that came to an end in this container.
    #[serde(default)]
    pub done: u32,
}

/// How far a registration is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registered {
    /// The forge was asked; whether it has done so is not known.
    Asked,
    /// It is in the forge's list.
    Yes(Option<ForgeRunnerId>),
    /// It was removed from the list: it gets no new job.
    Removed,
}

impl Registration {
    /// A registration that the forge is asked for now.
    #[must_use]
    pub fn asked(name: String) -> Self {
        let stage = Registered::Asked;
        Self { name, stage, work: None, worked: None, is_over: false, done: 0 }
    }

    /// Its number at the forge, if it is known.
    #[must_use]
    pub fn id(&self) -> Option<ForgeRunnerId> {
        match self.stage {
            Registered::Yes(id) => id,
            Registered::Asked | Registered::Removed => None,
        }
    }
}
