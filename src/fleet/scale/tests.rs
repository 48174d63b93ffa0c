//! The rule as a table, and what holds for every combination of numbers.

use std::time::Duration;

use super::*;

fn elastic(min: u32, max: u32, warm: u32) -> Elastic {
    Elastic {
        min,
        max,
        scale_up_threshold: 5,
        scale_up_delay: Duration::from_secs(30),
        scale_down_delay: Duration::from_secs(600),
        warm,
    }
}

/// A pool with idle, starting and busy slots; so many of the idle have rested, and so many jobs
/// wait, all for longer than the delay.
fn load((idle, starting, busy): (u32, u32, u32), rested: u32, queue: u32) -> Load {
    Load {
        size: idle + starting + busy,
        free: idle + starting,
        busy,
        rested: (1..=rested).map(SlotId).collect(),
        waiting: queue,
        overdue: queue,
        forsaken: queue,
        ignored: 0,
    }
}

fn target(elastic: &Elastic, before: Pressure, load: &Load) -> u32 {
    wanted(elastic, pressure(elastic, before, load), load)
}

// Item 23: "For every (min, capacity, queue) in a table test the target equals the documented
// formula, including zero."
#[test]
fn the_size_follows_from_bounds_queue_and_runners() {
    use Pressure::{Calm, High};
    // (min, max), (idle, starting, busy), rested, queue, pressure before -> size
    let table = [
        // Nothing to do.
        ((0, 4), (0, 0, 0), 0, 0, Calm, 0),
        ((2, 20), (2, 0, 0), 2, 0, Calm, 2),
        ((2, 20), (0, 0, 2), 0, 5, Calm, 2),
        // More than the threshold wait: so many that four are left.
        ((2, 20), (0, 0, 2), 0, 6, Calm, 4),
        ((2, 20), (0, 0, 2), 0, 12, Calm, 10),
        ((2, 20), (0, 0, 2), 0, 100, Calm, 20),
        // Runners on their way are counted.
        ((2, 20), (0, 8, 2), 0, 12, High, 10),
        ((2, 20), (1, 4, 2), 0, 12, High, 10),
        // Pressed until fewer than the threshold wait.
        ((2, 20), (0, 0, 10), 0, 5, High, 11),
        ((2, 20), (0, 0, 10), 0, 4, High, 10),
        // A pool without runners gets one.
        ((0, 4), (0, 0, 0), 0, 1, Calm, 1),
        ((0, 4), (0, 1, 0), 0, 1, Calm, 1),
        ((0, 4), (0, 0, 0), 0, 7, Calm, 3),
        ((0, 0), (0, 0, 0), 0, 7, Calm, 0),
        // Rested runners go, to the least, and never those that are wanted.
        ((0, 4), (1, 0, 0), 1, 0, Calm, 0),
        ((2, 20), (9, 0, 1), 9, 0, Calm, 2),
        ((2, 20), (9, 0, 1), 3, 0, Calm, 7),
        ((2, 20), (3, 0, 7), 3, 2, Calm, 9),
        ((2, 20), (3, 0, 7), 3, 5, High, 10),
        // Busy and starting ones never go.
        ((0, 20), (0, 4, 6), 0, 0, Calm, 10),
    ];
    for ((min, max), runners, rested, queue, before, size) in table {
        let load = load(runners, rested, queue);
        let is = target(&elastic(min, max, 0), before, &load);
        assert_eq!(is, size, "{min}..{max} {runners:?} rested {rested} queue {queue} {before:?}");
    }
}

#[test]
fn warm_runners_are_kept_beyond_the_busy_ones() {
    // (idle, starting, busy), rested -> size
    let table = [
        ((2, 0, 0), 2, 2),
        ((1, 0, 1), 0, 3),
        ((0, 0, 2), 0, 4),
        ((0, 2, 2), 0, 4),
        ((2, 0, 4), 2, 6),
        ((4, 0, 2), 4, 4),
        ((0, 0, 7), 0, 8),
        ((0, 0, 8), 0, 8),
    ];
    for (runners, rested, size) in table {
        let is = target(&elastic(1, 8, 2), Pressure::Calm, &load(runners, rested, 0));
        assert_eq!(is, size, "{runners:?} rested {rested}");
    }
}

#[test]
fn a_threshold_of_none_leaves_no_job_waiting() {
    let eager = Elastic { scale_up_threshold: 0, ..elastic(1, 8, 0) };
    assert_eq!(target(&eager, Pressure::Calm, &load((0, 0, 1), 0, 1)), 2);
    assert_eq!(target(&eager, Pressure::High, &load((0, 1, 1), 0, 1)), 2);
    assert_eq!(pressure(&eager, Pressure::High, &load((0, 0, 2), 0, 0)), Pressure::Calm);
}

/// Every combination of small numbers: the bounds hold, nothing that works goes, and what was
/// reached is kept when it is asked again.
#[test]
fn whatever_the_numbers_the_bounds_hold_and_the_answer_stays() {
    let mut seen = 0_u32;
    let small = |number: u32| [number % 4, number / 4 % 4, number / 16 % 4, number / 64 % 8];
    for bounds in 0..4_u32 {
        let (min, max) = [(0, 3), (0, 12), (2, 6), (3, 12)][bounds as usize];
        for number in 0..512_u32 {
            let [idle, starting, busy, queue] = small(number);
            let runners = (idle, starting, busy);
            if !(min..=max).contains(&(idle + starting + busy)) {
                continue;
            }
            for (rested, warm) in [(0, 0), (idle, 0), (idle, 1), (idle / 2, 2)] {
                for before in [Pressure::Calm, Pressure::High] {
                    let (elastic, load) = (elastic(min, max, warm), load(runners, rested, queue));
                    let size = target(&elastic, before, &load);
                    assert!((min..=max).contains(&size), "{runners:?} {queue}: {size}");
                    assert!(size >= (busy + starting).min(max), "{runners:?} {queue}: {size}");
                    settles(&elastic, before, load, size);
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 2_000, "{seen}");
}

/// What came is starting, and what went had rested: then the same question has the same answer.
fn settles(elastic: &Elastic, before: Pressure, load: Load, size: u32) {
    let pressure = pressure(elastic, before, &load);
    let mut next = load.clone();
    let fewer = load.size.saturating_sub(size);
    next.rested.truncate(load.rested.len() - fewer as usize);
    next.free = load.free + size - load.size.min(size) - fewer;
    next.size = size;
    assert_eq!(target(elastic, pressure, &next), size, "{elastic:?} {load:?}");
}
