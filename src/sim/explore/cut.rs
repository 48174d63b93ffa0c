//! What is left out of a story: the shrinker's knife, and the words that replay its result.

use std::collections::BTreeSet;
use std::fmt;

use crate::sim::fault::{Fault, Faults};

/// How much of an act is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The time before it, and the act.
    Whole,
    /// Only the time before it.
    Pause,
    /// Nothing.
    Nothing,
}

/// What is left of a story. The default leaves all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut {
    /// The acts, and how much of each; all of every act if none.
    pub acts: Option<Vec<Part>>,
    /// The faults that may still strike; all if none.
    pub faults: Option<BTreeSet<Fault>>,
}

impl Cut {
    /// What is left of an act.
    #[must_use]
    pub fn part(&self, act: usize) -> Part {
        match &self.acts {
            None => Part::Whole,
            Some(parts) => parts.get(act).copied().unwrap_or(Part::Nothing),
        }
    }

    /// The faults that are left.
    #[must_use]
    pub fn faults(&self, mut of: Faults) -> Faults {
        for (fault, _, _) in Fault::ALL {
            if self.faults.as_ref().is_some_and(|left| !left.contains(&fault)) {
                of.set(fault, 0);
            }
        }
        of
    }

    /// Reads what [`Cut`] prints: acts as `3,5-` (a dash for the pause alone) and faults as
    /// `op_unknown,crash`; `all` leaves all.
    ///
    /// # Errors
    /// The word that is not understood.
    pub fn parse(acts: &str, faults: &str) -> Result<Self, String> {
        let words = |text: &str| -> Vec<String> {
            text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect()
        };
        let mut cut = Self::default();
        if acts != "all" {
            let mut parts = Vec::new();
            for word in words(acts) {
                let (number, part) = match word.strip_suffix('-') {
                    Some(number) => (number.to_owned(), Part::Pause),
                    None => (word.clone(), Part::Whole),
                };
                let index: usize = number.parse().map_err(|_| format!("`{word}` is no act"))?;
                if parts.len() <= index {
                    parts.resize(index + 1, Part::Nothing);
                }
                if let Some(place) = parts.get_mut(index) {
                    *place = part;
                }
            }
            cut.acts = Some(parts);
        }
        if faults != "all" {
            let named = |word: String| Fault::named(&word).ok_or(format!("`{word}` is no fault"));
            cut.faults = Some(words(faults).into_iter().map(named).collect::<Result<_, _>>()?);
        }
        Ok(cut)
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let acts = self.acts.as_ref().map_or("all".to_owned(), |parts| {
            let word = |(index, part): (usize, &Part)| match part {
                Part::Whole => Some(index.to_string()),
                Part::Pause => Some(format!("{index}-")),
                Part::Nothing => None,
            };
            parts.iter().enumerate().filter_map(word).collect::<Vec<_>>().join(",")
        });
        let faults = self.faults.as_ref().map_or("all".to_owned(), |faults| {
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        });
        write!(f, "SLATE_SIM_ACTS={acts} SLATE_SIM_FAULTS={faults}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_again() {
        let cut = Cut {
            acts: Some(vec![Part::Nothing, Part::Pause, Part::Whole]),
            faults: Some(BTreeSet::from([Fault::OpLies, Fault::Crash])),
        };
        assert_eq!(cut.to_string(), "SLATE_SIM_ACTS=1-,2 SLATE_SIM_FAULTS=op_lies,crash");
        assert_eq!(Cut::parse("1-,2", "op_lies,crash"), Ok(cut));
        let nothing = Cut { acts: Some(Vec::new()), faults: Some(BTreeSet::new()) };
        assert_eq!(Cut::parse("", ""), Ok(nothing));
        assert_eq!(Cut::parse("all", "all"), Ok(Cut::default()));
        assert!(Cut::parse("x", "all").is_err() && Cut::parse("1", "x").is_err());
    }
}
