//! Where tests kill the supervisor: at each border between deciding, recording and acting.
//!
//! Builds without debug assertions have none of it. A point is named by what is about to be done,
//! so a new effect or a new call to the engine has its points without anybody's thought.

/// The variable that names a file to which each point is written when it is reached.
#[cfg(debug_assertions)]
const TRACE: &str = "SLATE_POINTS";
/// The variable that says where to die: `NAME:N`, at the Nth time.
#[cfg(debug_assertions)]
const DIE: &str = "SLATE_DIE_AT";

/// Comes back, unless a test has chosen this point: then the process is killed as `kill -9` does.
#[cfg(debug_assertions)]
pub fn reach(name: impl FnOnce() -> String) {
    armed::reach(name);
}

/// Nothing: this build cannot be told to die.
#[cfg(not(debug_assertions))]
pub fn reach(_name: impl FnOnce() -> String) {}

/// The first word of a value's debug form: the name of its variant. Only a point needs it.
#[cfg(debug_assertions)]
#[must_use]
pub fn variant(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// Nothing: this build has no points to name.
#[cfg(not(debug_assertions))]
#[must_use]
pub fn variant(_value: &impl std::fmt::Debug) -> String {
    String::new()
}

#[cfg(debug_assertions)]
mod armed {
    use std::collections::BTreeMap;
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use rustix::process::{Signal, getpid, kill_process};

    struct Orders {
        trace: Option<File>,
        die: Option<(String, u64)>,
        counts: BTreeMap<String, u64>,
    }

    static ORDERS: OnceLock<Option<Mutex<Orders>>> = OnceLock::new();

    fn orders() -> Option<Mutex<Orders>> {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let open = |path| OpenOptions::new().create(true).append(true).open(path).ok();
        let trace = text(super::TRACE).and_then(open);
        let die = text(super::DIE).and_then(|it| {
            let (name, count) = it.rsplit_once(':')?;
            Some((name.to_owned(), count.parse().ok()?))
        });
        let wanted = trace.is_some() || die.is_some();
        wanted.then(|| Mutex::new(Orders { trace, die, counts: BTreeMap::new() }))
    }

    pub(super) fn reach(name: impl FnOnce() -> String) {
        let Some(orders) = ORDERS.get_or_init(orders) else { return };
        let name = name();
        let mut orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
        let count = orders.counts.entry(name.clone()).or_default();
        *count += 1;
        let dies = (name.clone(), *count);
        let is_last = orders.die.as_ref() == Some(&dies);
        if let Some(trace) = &mut orders.trace {
            let mark = if is_last { "died " } else { "" };
            // Who reads it finds a point missing.
            let _unwritten = writeln!(trace, "{mark}{name}");
        }
        if is_last {
            let _dead = kill_process(getpid(), Signal::KILL);
        }
    }
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;
    use crate::fleet::effect::Effect;

    #[test]
    fn a_variant_is_named_without_what_it_holds() {
        assert_eq!(variant(&Effect::Relist), "Relist");
        assert_eq!(variant(&Effect::CloseLog(crate::ids::JobId(7))), "CloseLog");
    }
}
