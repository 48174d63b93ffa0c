//! Leaves out of a story what its bad end does not need: first acts, then times, then faults.
//!
//! Every act has chances of its own, so that what is left goes on much as before.

use super::cut::{Cut, Part};
use crate::sim::fault::{Fault, Faults};

/// Stories that may be told to shrink one; a short story is worth some seconds, not more.
const TRIES_MAX: usize = 600;

/// How a story that was cut ends.
pub(super) type Tell<'a> = &'a dyn Fn(&Cut) -> Result<(), String>;

struct Shrinker<'a> {
    tell: Tell<'a>,
    /// The breach without its numbers: another breach is another story.
    kind: String,
    tries: usize,
    best: Cut,
}

/// The smallest story found that ends as badly as the whole one did, which is `what`.
pub(super) fn shrink(tell: Tell<'_>, (acts, faults): (usize, Faults), what: &str) -> Cut {
    let best = Cut { acts: Some(vec![Part::Whole; acts]), faults: Some(faults.active().collect()) };
    let mut shrinker = Shrinker { tell, kind: kind(what), tries: 0, best };
    loop {
        let before = shrinker.best.clone();
        shrinker.lower(Part::Pause);
        shrinker.lower(Part::Nothing);
        shrinker.fewer_faults();
        if shrinker.best == before || shrinker.tries >= TRIES_MAX {
            return shrinker.best;
        }
    }
}

impl Shrinker<'_> {
    /// Plays less of acts: of halves of the story, then of quarters, down to single acts.
    fn lower(&mut self, to: Part) {
        let mut size = self.len();
        while size > 0 {
            for from in (0..self.len()).step_by(size) {
                let mut cut = self.best.clone();
                let Some(acts) = &mut cut.acts else { return };
                let higher = |part: &&mut Part| match to {
                    Part::Pause => **part == Part::Whole,
                    Part::Nothing => **part == Part::Pause,
                    Part::Whole => false,
                };
                let mut changed = false;
                for part in acts.iter_mut().skip(from).take(size).filter(higher) {
                    *part = to;
                    changed = true;
                }
                if changed {
                    self.attempt(cut);
                }
            }
            size /= 2;
        }
    }

    fn fewer_faults(&mut self) {
        let all: Vec<Fault> = self.best.faults.iter().flatten().copied().collect();
        for fault in all {
            let mut cut = self.best.clone();
            if let Some(faults) = &mut cut.faults {
                faults.remove(&fault);
            }
            self.attempt(cut);
        }
    }

    fn attempt(&mut self, cut: Cut) {
        if self.tries >= TRIES_MAX {
            return;
        }
        self.tries += 1;
        if (self.tell)(&cut).is_err_and(|what| kind(&what) == self.kind) {
            self.best = cut;
        }
    }

    fn len(&self) -> usize {
        self.best.acts.as_ref().map_or(0, Vec::len)
    }
}

/// A breach without what differs from telling to telling.
fn kind(what: &str) -> String {
    let letters = |it: &char| !it.is_ascii_digit();
    what.split(':').next().unwrap_or_default().chars().filter(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bug that needs act 7, the time before act 12, and a fault, among 40 acts and all faults.
    fn planted(cut: &Cut) -> Result<(), String> {
        let mut faults = Faults::NONE;
        faults.set(Fault::OpLies, 100);
        let is_shown = cut.part(7) == Part::Whole
            && cut.part(12) != Part::Nothing
            && cut.faults(faults).rate(Fault::OpLies) > 0;
        if is_shown { Err("job-3 is lost".to_owned()) } else { Ok(()) }
    }

    #[test]
    fn a_planted_bug_is_shrunk_to_what_it_needs() {
        let mut all = Faults::NONE;
        for (fault, _, [rare, _]) in Fault::ALL {
            all.set(fault, rare);
        }
        let cut = shrink(&planted, (40, all), "job-12 is lost");
        assert_eq!(cut.to_string(), "SLATE_SIM_ACTS=7,12- SLATE_SIM_FAULTS=op_lies");
    }

    #[test]
    fn another_breach_is_another_story() {
        let tell = |cut: &Cut| match cut.part(3) {
            Part::Whole => Err("job-1 is lost".to_owned()),
            Part::Pause | Part::Nothing => Err("job-1 lives twice".to_owned()),
        };
        let cut = shrink(&tell, (5, Faults::NONE), "job-9 is lost");
        assert_eq!(cut.to_string(), "SLATE_SIM_ACTS=3 SLATE_SIM_FAULTS=");
    }
}
