//! Sizes of pools, and why they are so, a line each.

use super::ago::took;
use crate::fleet::pause::Pause;
use crate::fleet::view::{FleetView, PoolView, SizeReason, day_and_clock};
use crate::units::Time;
use crate::units::words::{agree, counted};

/// The pools whose size is not a number of the file, and those that are paused; nothing where
/// there are none.
#[must_use]
pub fn lines(fleet: &FleetView) -> String {
    let is_plain = |pool: &&PoolView| pool.why == SizeReason::File && pool.paused.is_none();
    fleet.pools.iter().filter(|pool| !is_plain(pool)).map(|pool| line(pool, fleet.at)).collect()
}

fn line(pool: &PoolView, now: Time) -> String {
    let bounds = match pool.min == pool.max {
        true => format!("{} in the file", pool.max),
        false => format!("{} to {}", pool.min, pool.max),
    };
    let why = reason(&pool.why, now);
    let runners = counted(pool.desired, "runner");
    let paused = pool.paused.as_ref().map(|pause| format!("; paused {}", since(pause)));
    format!("Pool {}: {runners} ({bounds}), {why}{}\n", pool.name, paused.unwrap_or_default())
}

/// `since 2026-02-08 12:00 UTC by ana`.
pub(super) fn since(pause: &Pause) -> String {
    format!("since {} by {}", day_and_clock(pause.since), pause.by)
}

fn waits(waiting: u32) -> String {
    format!("{} {}", counted(waiting, "job"), agree(&waiting, "waits", "wait"))
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
        SizeReason::Paused => "neither growing nor shrinking".to_owned(),
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
    use crate::fleet::audit::Client;

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
    fn a_paused_pool_says_since_when_and_by_whom() {
        let mut fleet = fixture::fleet();
        let (since, by) = (fleet.at, Client::new("ana"));
        let pool = fleet.pools.first_mut().expect("there is one");
        pool.paused = Some(Pause { since, by });
        let paused = "paused since 2026-02-08 12:00 UTC by ana\n";
        let told = format!("Pool light: 8 runners (8 in the file), as the file says; {paused}");
        assert_eq!(lines(&fleet), told);
        let pool = fleet.pools.first_mut().expect("there is one");
        (pool.min, pool.max, pool.why) = (2, 20, SizeReason::Paused);
        let kept = "Pool light: 8 runners (2 to 20), neither growing nor shrinking";
        assert_eq!(lines(&fleet), format!("{kept}; {paused}"));
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
