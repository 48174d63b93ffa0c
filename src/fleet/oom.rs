//! Out of GPU memory: what an attempt's end, its output and the readings of its card say together.
//!
//! `docs/gpus/out-of-memory.md` has the table; `docs/adr/0016-gpu-out-of-memory.md` says why.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attempt::Fault;
use super::event::JobEnd;
use super::job::Verdict;
use super::view::{JobStatus, JobView};
use crate::ids::{GpuUuid, ProfileName};
use crate::spec::Secrets;
use crate::units::GpuMib;

/// A runner that held this share of what it reserved, in percent, used it up.
const USED_UP_PERCENT: u64 = 90;
/// A card with less left than this is full: a CUDA context alone takes up to 600 MiB.
const FULL_BELOW: GpuMib = GpuMib(512);

/// What to look for in the end of a job's output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// Words beside those that are built in.
    pub patterns: Vec<String>,
    /// What must not be in the line that is found.
    pub secrets: Secrets,
}

/// What was found in the end of a job's output.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Nobody looked.
    #[default]
    NotAsked,
    /// No line that says "out of GPU memory".
    Nothing,
    /// The last such line.
    Line(String),
    /// The output could not be read; why.
    Unreadable(String),
}

/// What is known of a card's memory while an attempt ran on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuUse {
    /// The card.
    pub card: GpuUuid,
    /// All of its memory that runners may use.
    pub usable: GpuMib,
    /// The profile that the runner was made to.
    pub profile: ProfileName,
    /// What the runner reserved.
    pub reserved: GpuMib,
    /// The most that the attempt's processes held, where that was measured.
    pub peak: Option<GpuMib>,
    /// The least that was left of the card at the attempt's end, where that was measured.
    pub least_free: Option<GpuMib>,
    /// What all others held then.
    pub others: Option<GpuMib>,
}

/// An attempt that ran out of GPU memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuOom {
    /// Whose use it was.
    pub blame: Blame,
    /// How sure that is.
    pub certainty: Certainty,
    /// The line of its output that says so.
    pub line: String,
    /// What was measured.
    pub measured: GpuUse,
}

/// Whose use of a card was too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The job asked for more than its runner reserved.
    Own,
    /// Others used what was reserved for the runner.
    Neighbours,
}

/// With what the reason of such an end begins.
const WORDS: &str = "out of GPU memory: ";

/// Whether a job ended because a card had no memory for it.
#[must_use]
pub fn is_gpu(job: &JobView) -> bool {
    let reason = job.reason.as_ref().filter(|_| job.status == JobStatus::Oom);
    reason.is_some_and(|why| why.starts_with(WORDS))
}

/// How sure it is that an attempt ran out of GPU memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Certainty {
    /// Its output says so, and readings agree.
    Certain,
    /// Its output says so. A single allocation that is too large never shows in a reading.
    Likely,
}

/// What became of an attempt on a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Opinion {
    /// GPU memory has nothing to do with it.
    Unrelated,
    /// Something that people should read beside its end.
    Note(String),
    /// It ran out of GPU memory.
    Oom(Box<GpuOom>),
}

/// Whether an end may have come from a lack of GPU memory: the job gave up by itself, even if it
/// was to stop then. What the kernel or the fleet ended has another cause, and a job that
/// succeeded has handled it.
pub(super) fn is_suspect(end: &JobEnd) -> bool {
    match end {
        JobEnd::Exited(code) => *code != 0,
        JobEnd::Signalled(_) => true,
        JobEnd::TimedOut
        | JobEnd::Cancelled
        | JobEnd::OutOfMemory
        | JobEnd::MemoryLimit { .. }
        | JobEnd::HostMemory { .. }
        | JobEnd::Completed(_)
        | JobEnd::NoSuchProgram(_)
        | JobEnd::NotExecutable(_)
        | JobEnd::NotStarted(_) => false,
    }
}

/// What a suspect end means.
pub(super) fn judge(measured: GpuUse, finding: Finding) -> Opinion {
    let line = match finding {
        Finding::Line(line) => line,
        Finding::Unreadable(why) => {
            return Opinion::Note(format!("its output could not be searched: {why}"));
        }
        Finding::NotAsked | Finding::Nothing => {
            return match measured.is_used_up() {
                true => Opinion::Note(format!(
                    "its GPU memory was used up ({measured}), and its output does not speak of that"
                )),
                false => Opinion::Unrelated,
            };
        }
    };
    let blame = if measured.is_taken_by_others() { Blame::Neighbours } else { Blame::Own };
    let certainty = if measured.is_used_up() { Certainty::Certain } else { Certainty::Likely };
    Opinion::Oom(Box::new(GpuOom { blame, certainty, line, measured }))
}

impl GpuUse {
    /// The reservation was nearly reached, or nothing was left of the card.
    fn is_used_up(&self) -> bool {
        let reserved = u64::from(self.reserved.0);
        let is_reached = |peak: GpuMib| u64::from(peak.0) * 100 >= reserved * USED_UP_PERCENT;
        self.peak.is_some_and(is_reached) || self.is_full()
    }

    fn is_full(&self) -> bool {
        self.least_free.is_some_and(|free| free < FULL_BELOW)
    }

    /// The runner kept within its reservation, and others left less of the card than that.
    fn is_taken_by_others(&self) -> bool {
        let promised = self.usable.0.saturating_sub(self.reserved.0);
        self.is_full()
            && self.peak.is_some_and(|peak| peak <= self.reserved)
            && self.others.is_some_and(|others| others.0 > promised)
    }
}

impl GpuOom {
    /// Whose fault it was.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self.blame {
            Blame::Own => Fault::Job,
            Blame::Neighbours => Fault::Infrastructure,
        }
    }

    /// The cause in one word, for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.blame {
            Blame::Own => "oom_gpu",
            Blame::Neighbours => "oom_gpu_neighbour",
        }
    }

    /// How the attempt ended for its submitter, with the exit code that it had.
    pub(super) fn verdict(&self, exit_code: Option<i32>) -> Verdict {
        let (reason, fault) = (Some(self.to_string()), Some(self.fault()));
        Verdict { status: JobStatus::Oom, exit_code, reason, fault }
    }
}

impl fmt::Display for GpuOom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, measured, .. } = self;
        write!(f, "{WORDS}{line}")?;
        match (self.blame, self.certainty) {
            (Blame::Neighbours, _) => {
                write!(f, " (others used what was reserved for it: {measured})")
            }
            (Blame::Own, Certainty::Certain) => write!(f, " ({measured})"),
            (Blame::Own, Certainty::Likely) => write!(f, " (likely: {measured})"),
        }
    }
}

impl fmt::Display for GpuUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reserved = self.reserved.0;
        match self.peak {
            Some(peak) => write!(f, "it held {} of {reserved} MiB reserved at most", peak.0)?,
            None => write!(f, "{reserved} MiB were reserved, and its use was not measured")?,
        }
        if let Some(free) = self.least_free {
            write!(f, ", {} of the card's {} MiB were left", free.0, self.usable.0)?;
        }
        match self.others {
            Some(others) => write!(f, ", others held {} MiB", others.0),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A runner that reserved 8,000 MiB of a card with 16,000.
    fn measured(peak: Option<u32>, left: Option<(u32, u32)>) -> GpuUse {
        GpuUse {
            card: GpuUuid::new("GPU-0"),
            usable: GpuMib(16_000),
            profile: ProfileName::new("gpu_heavy"),
            reserved: GpuMib(8000),
            peak: peak.map(GpuMib),
            least_free: left.map(|(free, _)| GpuMib(free)),
            others: left.map(|(_, others)| GpuMib(others)),
        }
    }

    fn line() -> Finding {
        Finding::Line("CUDA out of memory".to_owned())
    }

    fn word(opinion: &Opinion) -> &'static str {
        match opinion {
            Opinion::Unrelated => "nothing",
            Opinion::Note(_) => "note",
            Opinion::Oom(oom) => match (oom.blame, oom.certainty) {
                (Blame::Own, Certainty::Certain) => "certain",
                (Blame::Own, Certainty::Likely) => "likely",
                (Blame::Neighbours, _) => "neighbours",
            },
        }
    }

    // The table of verdicts: a line of output, what was measured, and what it comes to.
    #[test]
    fn output_and_readings_together_say_what_it_was() {
        let far = Some((6000, 3000));
        let table = [
            (line(), measured(Some(7200), far), "certain"),
            (line(), measured(Some(7199), far), "likely"),
            (line(), measured(Some(100), Some((511, 8000))), "certain"),
            (line(), measured(Some(100), Some((512, 8000))), "likely"),
            (line(), measured(None, None), "likely"),
            (Finding::Nothing, measured(Some(7200), far), "note"),
            (Finding::NotAsked, measured(Some(7200), far), "note"),
            (Finding::Nothing, measured(Some(100), Some((0, 8000))), "note"),
            (Finding::Nothing, measured(Some(7199), far), "nothing"),
            (Finding::Nothing, measured(None, None), "nothing"),
            (Finding::Unreadable("gone".to_owned()), measured(None, None), "note"),
            // Within its reservation on a full card: whoever left less than that is to blame.
            (line(), measured(Some(5000), Some((100, 8001))), "neighbours"),
            (line(), measured(Some(8000), Some((100, 8001))), "neighbours"),
            (line(), measured(Some(8001), Some((100, 8001))), "certain"),
            (line(), measured(Some(7700), Some((300, 8000))), "certain"),
            (line(), measured(Some(5000), Some((600, 9000))), "likely"),
            (line(), measured(None, Some((100, 12_000))), "certain"),
        ];
        for (finding, measured, wanted) in table {
            let shown = format!("{finding:?} {measured:?}");
            assert_eq!(word(&judge(measured, finding)), wanted, "{shown}");
        }
    }

    #[test]
    fn host_memory_is_another_matter_and_so_is_whatever_the_fleet_ended() {
        assert!(is_suspect(&JobEnd::Exited(1)));
        assert!(is_suspect(&JobEnd::Signalled(6)));
        assert!(!is_suspect(&JobEnd::Exited(0)), "the job handled it");
        assert!(!is_suspect(&JobEnd::Cancelled));
        assert!(!is_suspect(&JobEnd::OutOfMemory));
        assert!(!is_suspect(&JobEnd::HostMemory { peak: None }));
        assert!(!is_suspect(&JobEnd::TimedOut));
    }

    #[test]
    fn the_words_name_the_line_and_the_figures() {
        let told = |measured| match judge(measured, line()) {
            Opinion::Oom(oom) => oom.to_string(),
            other => format!("{other:?}"),
        };
        assert_eq!(
            told(measured(Some(7900), Some((100, 8000)))),
            "out of GPU memory: CUDA out of memory (it held 7900 of 8000 MiB reserved at most, 100 \
             of the card's 16000 MiB were left, others held 8000 MiB)"
        );
        assert_eq!(
            told(measured(None, None)),
            "out of GPU memory: CUDA out of memory (likely: 8000 MiB were reserved, and its use \
             was not measured)"
        );
        let Opinion::Oom(oom) = judge(measured(Some(5000), Some((100, 10_900))), line()) else {
            panic!("it ran out of GPU memory");
        };
        let verdict = oom.verdict(Some(1));
        assert_eq!((verdict.status, verdict.fault), (JobStatus::Oom, Some(Fault::Infrastructure)));
    }
}
