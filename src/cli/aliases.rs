//! The flags of specification 1, rewritten to verbs before clap sees them.

use std::ffi::OsString;

use super::failure::Failure;
use crate::exit::Exit;

/// Rewrites `--init`, `--status`, `--json` and `--scale N` to verbs; leaves all else as it is.
///
/// # Errors
/// `--assign` and `--complete`, which this version does not have.
pub fn rewrite(args: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    let Some(flag) = args.get(1).and_then(|flag| flag.to_str()) else { return Ok(args) };
    let (flag, value) = match flag.split_once('=') {
        Some((flag, value)) => (flag.to_owned(), Some(OsString::from(value))),
        None => (flag.to_owned(), None),
    };
    let verb: &[&str] = match flag.as_str() {
        "--init" => &["init"],
        "--status" => &["status"],
        "--json" => &["status", "--json"],
        "--scale" => &["scale"],
        "--assign" | "--complete" => return Err(later(&flag)),
        _ => return Ok(args),
    };
    let mut args = args.into_iter();
    let program = args.next();
    args.next();
    let verb = verb.iter().map(OsString::from);
    Ok(program.into_iter().chain(verb).chain(value).chain(args).collect())
}

fn later(flag: &str) -> Failure {
    Failure::new(Exit::Usage, format!("`{flag}` is not in this version yet"))
        .help("jobs are given to runners by the queue: `slate-fleet submit -- COMMAND`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &str) -> String {
        let args = line.split(' ').map(OsString::from).collect();
        let args = rewrite(args).expect("an old flag of this version");
        args.iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_old_flag_means_its_verb() {
        assert_eq!(rewritten("slate-fleet --init"), "slate-fleet init");
        assert_eq!(rewritten("slate-fleet --init --minimal"), "slate-fleet init --minimal");
        assert_eq!(rewritten("slate-fleet --status"), "slate-fleet status");
        assert_eq!(rewritten("slate-fleet --status --json"), "slate-fleet status --json");
        assert_eq!(rewritten("slate-fleet --json"), "slate-fleet status --json");
        assert_eq!(rewritten("slate-fleet --scale 30"), "slate-fleet scale 30");
        assert_eq!(rewritten("slate-fleet --scale=30"), "slate-fleet scale 30");
        assert_eq!(rewritten("slate-fleet run -- --scale"), "slate-fleet run -- --scale");
    }

    #[test]
    fn flags_that_come_later_say_so() {
        let args = ["slate-fleet", "--assign", "x"].map(OsString::from).to_vec();
        assert_eq!(rewrite(args).map_err(|failure| failure.exit()), Err(Exit::Usage));
    }
}
