//! Makes up stories from seeds: random specs, requests and mishaps, then peace, then a look at
//! whether all is well. The same seed gives the same story.
//!
//! A story that ends badly is told again with less and less in it, as long as it ends as badly.

pub mod cut;
mod invent;
mod shrink;
mod story;

use std::time::Duration;

use super::oracle::edges::Edges;
use super::transcript::Writing;
use cut::Cut;
use story::Story;

/// Lines of the story that are shown when it went wrong.
const TAIL: usize = 300;

/// A story that went well.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// Jobs that were accepted.
    pub jobs: usize,
    /// Containers that were made.
    pub containers: u64,
    /// Lines of the fleet's own record.
    pub history: usize,
    /// Steps of the core.
    pub steps: u64,
    /// From the last fault until all was as it should be.
    pub calm_after: Duration,
    /// The ways that runners and jobs went.
    pub edges: Edges,
}

/// Tells the story of a seed.
///
/// # Errors
/// What went wrong.
pub fn tell(seed: u64) -> Result<Told, String> {
    let mut story = Story::new(seed, &Cut::default(), Writing::Off);
    story.tell(&Cut::default()).map(|()| story.told())
}

/// A story that went wrong, told with as little of it as shows it, with the command that replays
/// that.
#[must_use]
pub fn shrunk(seed: u64, what: &str) -> String {
    let size = Story::new(seed, &Cut::default(), Writing::Off).size();
    let again = |cut: &Cut| Story::new(seed, cut, Writing::Off).tell(cut);
    let cut = shrink::shrink(&again, size, what);
    replay(seed, &cut).err().unwrap_or_else(|| format!("seed {seed}: another end: {what}"))
}

/// Tells what is left of the story of a seed.
///
/// # Errors
/// What went wrong, after the story, with the command that replays it.
pub fn replay(seed: u64, cut: &Cut) -> Result<Told, String> {
    let mut story = Story::new(seed, cut, Writing::On);
    let Err(what) = story.tell(cut) else { return Ok(story.told()) };
    let lines = story.sim.world.transcript.tail(TAIL).join("\n");
    Err(format!(
        "{lines}\n\nseed {seed}: {what}\nreplay it: SLATE_SIM_SEED={seed} {cut} cargo test --lib \
         nothing_is_lost"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds that once went wrong; each stays here for ever.
    const BAD_SEEDS: &[u64] = &[
        5, // a lost acknowledgement cost a persistent runner its next job
        9,
        93,                    // surplus runners, seen while the engine was away
        299,                   // containers piled up while their removal failed
        361,                   // a heartbeat did not make a runner ready whose start was told late
        697,                   // a slot was filled with a spare whose agent was away
        2_819,                 // a late start revived a dead container
        11_182,                // the same, and the death was told late
        9_454,                 // an older list, told after a newer one, made a container vanish
        5_634,                 // a slot that was wanted again kept a card that was leased to others
        20_495,                // a spare's container had the name of another pool's slot
        200_600,               // an empty slot's card was given up for growth held up elsewhere
        7_012_780_000_670_096, // a workflow that nobody serves kept a pool from growing for another
        7_012_765_803_235_224, // a job ran out of GPU memory by itself while it was to stop
        301,                   // a frozen listener was given the same job again, for ever
        7_012_826_516_882_306, // the same, of a runner that was outdated
        100_126,               // an entry that a list hid was held to be removed
        100_221,               // a forge that answered again was not asked for what it had refused
        100_286,               // what a fleet leaves behind was told again and again
        7_012_826_516_882_706, // a kept runner that was to go came back with a job, and went
        7_012_851_462_027_886, // a runner whose agent hung was let go for its silence with a job
        7_012_913_231_434_340, // turns of jobs that came to a class by running out of GPU memory
        7_012_900_628_250_728, // a new slot took the card that one of its own pool waited for
        7_012_897_732_938_606, // what a forge answered last was told before what it answered first
        7_012_886_637_625_711, // a fleet whose only `up` was refused grew all the same
        7_012_893_190_019_516, // a runner whose session was opened anew was taken for one long silent
        7_012_826_516_881_751, // a restart by force called itself one that spares jobs
    ];

    /// Stories that are told for the first time in each run.
    const FRESH: u64 = 600;

    /// Stories that go wrong are looked for no further than this.
    const ENOUGH: usize = 8;

    /// Tells stories on every processor, and shows the first that went wrong, shrunk.
    fn run(seeds: &[u64]) {
        let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let bad: Vec<(u64, String)> = std::thread::scope(|scope| {
            let part = |worker: usize| {
                move || {
                    let own = seeds.iter().skip(worker).step_by(workers);
                    let bad = own.filter_map(|seed| Some((*seed, tell(*seed).err()?)));
                    bad.take(ENOUGH).collect::<Vec<_>>()
                }
            };
            let all: Vec<_> = (0..workers).map(|worker| scope.spawn(part(worker))).collect();
            all.into_iter().flat_map(|it| it.join().expect("a story does not panic")).collect()
        });
        let Some((first, what)) = bad.first() else { return };
        let ends: Vec<String> =
            bad.iter().map(|(seed, what)| format!("seed {seed}: {what}")).collect();
        println!(
            "{}\n\n{} stories went wrong:\n{}",
            shrunk(*first, what),
            bad.len(),
            ends.join("\n")
        );
        panic!("{} stories or more went wrong", bad.len());
    }

    fn number(name: &str) -> Option<u64> {
        std::env::var(name).ok()?.parse().ok()
    }

    #[test]
    fn nothing_is_lost_whatever_goes_wrong() {
        if let Some(seed) = number("SLATE_SIM_SEED") {
            let word = |name: &str| std::env::var(name).unwrap_or_else(|_| "all".to_owned());
            let cut = Cut::parse(&word("SLATE_SIM_ACTS"), &word("SLATE_SIM_FAULTS"))
                .expect("acts and faults as a failed test printed them");
            replay(seed, &cut).unwrap_or_else(|what| panic!("{what}"));
            return;
        }
        let count = number("SLATE_SIM_SEEDS").unwrap_or(600);
        let first = number("SLATE_SIM_FIRST").unwrap_or(0);
        run(&(first..first + count).collect::<Vec<_>>());
    }

    /// Other stories in each run: what CI tells today it never told before.
    #[test]
    fn nothing_is_lost_in_fresh_stories_either() {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let first = clock.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0) >> 8);
        let count = number("SLATE_SIM_SEEDS").unwrap_or(FRESH);
        println!("{count} fresh stories from seed {first}");
        run(&(first..first + count).collect::<Vec<_>>());
    }

    #[test]
    fn seeds_that_went_wrong_once_go_well() {
        run(BAD_SEEDS);
    }
}
