//! Sizes of pools, and why they are so, a line each.

use super::ago::took;
use crate::fleet::view::{FleetView, PoolView, SizeReason};
use crate::units::Time;

/// The pools whose size is not a number of the file; nothing where all are.
#[must_use]
pub fn lines(fleet: &FleetView) -> String {
    let moving = fleet.pools.iter().filter(|pool| pool.why != SizeReason::File);
    moving.map(|pool| line(pool, fleet.at)).collect()
}

fn line(pool: &PoolView, now: Time) -> String {
    let bounds = match pool.min == pool.max {
        true => format!("{} in the file", pool.max),
        false => format!("{} to {}", pool.min, pool.max),
    };
    let why = reason(&pool.why, now);
    let runners = counted(pool.desired, "runner");
    format!("Pool {}: {runners} ({bounds}), {why}\n", pool.name)
}

/// `1 runner`, `2 runners`.
fn counted(count: u32, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

fn waits(waiting: u32) -> String {
    let wait = if waiting == 1 { "waits" } else { "wait" };
    format!("{} {wait}", counted(waiting, "job"))
}

/// Why a pool has the size that it has, in words that follow it.
pub(super) fn reason(why: &SizeReason, now: Time) -> String {
    match why {
        SizeReason::File => "as the file says".to_owned(),
        SizeReason::Set { until: None } => "set by `scale` until the next `up`".to_owned(),
        SizeReason::Set { until: Some(until) } => {
            format!("set by `scale` for another {}", took(until.since(now)))
        }
        SizeReason::Least => "nothing asks for more".to_owned(),
        SizeReason::Warm => "kept warm beside the busy ones".to_owned(),
        SizeReason::Queue { waiting } => format!("growing, because {}", waits(*waiting)),
        SizeReason::Most { waiting } => {
            format!("the most there may be, while {}", waits(*waiting))
        }
        SizeReason::Held { waiting, why } => {
            format!("cannot grow for {}: {why}", counted(*waiting, "waiting job"))
        }
        SizeReason::Idle { after } => {
            format!("which go when they were idle for {}", took(*after))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::render::fixture;

    #[test]
    fn a_line_says_the_bounds_the_size_and_why() {
        let mut fleet = fixture::fleet();
        assert_eq!(lines(&fleet), "");
        let until = Some(fleet.at + Duration::from_secs(7200));
        let why = "39 runners may use 40GiB".to_owned();
        for (reason, line) in [
            (SizeReason::Set { until }, "set by `scale` for another 2h00m"),
            (SizeReason::Set { until: None }, "set by `scale` until the next `up`"),
            (SizeReason::Least, "nothing asks for more"),
            (SizeReason::Warm, "kept warm beside the busy ones"),
            (SizeReason::Queue { waiting: 9 }, "growing, because 9 jobs wait"),
            (SizeReason::Most { waiting: 9 }, "the most there may be, while 9 jobs wait"),
            (
                SizeReason::Held { waiting: 9, why },
                "cannot grow for 9 waiting jobs: 39 runners may use 40GiB",
            ),
            (
                SizeReason::Idle { after: Duration::from_secs(600) },
                "which go when they were idle for 10m00s",
            ),
        ] {
            let pool = fleet.pools.first_mut().expect("there is one");
            (pool.min, pool.max, pool.why) = (2, 20, reason);
            assert_eq!(lines(&fleet), format!("Pool light: 8 runners (2 to 20), {line}\n"));
        }
    }
    #[test]
    fn one_is_told_as_one() {
        let mut fleet = fixture::fleet();
        let pool = fleet.pools.first_mut().expect("there is one");
        (pool.min, pool.max, pool.desired) = (0, 3, 1);
        pool.why = SizeReason::Queue { waiting: 1 };
        let told = "Pool light: 1 runner (0 to 3), growing, because 1 job waits\n";
        assert_eq!(lines(&fleet), told);
    }
}
