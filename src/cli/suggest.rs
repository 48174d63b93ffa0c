//! Did-you-mean for names that do not exist.

use super::failure::Failure;
use crate::exit::Exit;

/// Names listed in full when nothing is near.
const LISTED_MAX: usize = 8;

/// The name that was probably meant.
fn nearest<'a>(wrong: &str, names: &[&'a str]) -> Option<&'a str> {
    // A third of the letters may be wrong; beyond that a suggestion is a guess.
    let bound = (wrong.chars().count() / 3).max(1);
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), *name))
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map(|(_, name)| name)
}

/// There is no such thing: with the nearest name, or with all of them if they are few.
pub(super) fn no_such(what: &str, wrong: &str, names: &[&str]) -> Failure {
    let failure = Failure::new(Exit::NotFound, format!("there is no {what} `{wrong}`"));
    match nearest(wrong, names) {
        Some(name) => failure.help(format!("did you mean `{name}`?")),
        None if names.is_empty() => failure,
        None if names.len() <= LISTED_MAX => {
            failure.help(format!("there is: {}", names.join(", ")))
        }
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let names = ["slate-light-01", "slate-light-02"];
        assert_eq!(nearest("slate-lihgt-02", &names), Some("slate-light-02"));
        assert_eq!(nearest("homelab", &names), None);
        let text = no_such("runner", "slate-lihgt-02", &names).render();
        assert_eq!(
            text,
            "error: there is no runner `slate-lihgt-02`\n\n  help: did you mean `slate-light-02`?\n"
        );
    }
}
