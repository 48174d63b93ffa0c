//! Faults by script: what goes wrong, at which requests, how often.

use serde::{Deserialize, Serialize};

use crate::world::World;

/// A fault that waits for its request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// `POST`; any if none.
    #[serde(default)]
    pub method: Option<String>,
    /// A part of the path; any if none.
    #[serde(default)]
    pub path: Option<String>,
    /// Requests that pass before it begins.
    #[serde(default)]
    pub after: u32,
    /// How often.
    #[serde(default = "once")]
    pub times: u32,
    pub action: Action,
    /// How often it was met.
    #[serde(default)]
    pub met: u32,
}

fn once() -> u32 {
    1
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It takes effect; the connection is cut instead of an answer.
    Lost,
    /// It takes effect; a 502 page comes back.
    LostWith502,
    /// It takes effect; the answer comes after so many milliseconds.
    Late(u64),
    /// It takes effect; half of the answer comes.
    Truncated,
    /// It takes effect; 200 without a body comes.
    Empty,
    /// No effect; the connection is cut.
    Cut,
    /// No effect; no answer for so many milliseconds, then the connection is cut.
    Hang(u64),
    /// No effect; this status with a JSON error.
    Error(u16),
    /// No effect; this status with a page.
    Page(u16),
    /// No effect; this status with this message.
    Message(u16, String),
    /// The secondary limit, with silence for so many seconds.
    Secondary(u64),
    /// The hour's requests are used up; the hour ends after so many seconds.
    Primary(u64),
}

impl World {
    /// The fault that this request meets.
    pub fn fault(&mut self, method: &str, path: &str) -> Option<Action> {
        let fits = |fault: &&mut Fault| {
            fault.times > 0
                && fault.method.as_deref().is_none_or(|one| one == method)
                && fault.path.as_deref().is_none_or(|part| path.contains(part))
        };
        let fault = self.faults.iter_mut().find(fits)?;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times -= 1;
        fault.met += 1;
        Some(fault.action.clone())
    }
}
