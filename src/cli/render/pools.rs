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
    format!("Pool {}: {} runners ({bounds}), {why}\n", pool.name, pool.desired)
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
        SizeReason::Queue { waiting } => format!("growing, because {waiting} jobs wait"),
        SizeReason::Most { waiting } => format!("the most there may be, while {waiting} jobs wait"),
        SizeReason::Held { waiting, why } => {
            format!("cannot grow for {waiting} waiting jobs: {why}")
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
}
