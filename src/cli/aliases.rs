//! The flags of specification 1, rewritten to verbs before clap sees them.

use std::ffi::OsString;

/// Rewrites `--init`, `--status`, `--json`, `--scale N`, `--assign TASK` and `--complete RUNNER` to
/// verbs; leaves all else as it is.
#[must_use]
pub fn rewrite(args: Vec<OsString>) -> Vec<OsString> {
    let Some(flag) = args.get(1).and_then(|flag| flag.to_str()) else { return args };
    let (flag, value) = match flag.split_once('=') {
        Some((flag, value)) => (flag.to_owned(), Some(OsString::from(value))),
        None => (flag.to_owned(), None),
    };
    let verb: &[&str] = match flag.as_str() {
        "--init" => &["init"],
        "--status" => &["status"],
        "--json" => &["status", "--json"],
        "--scale" => &["scale"],
        "--assign" => &["assign"],
        "--complete" => &["complete"],
        _ => return args,
    };
    let mut args = args.into_iter();
    let program = args.next();
    args.next();
    let verb = verb.iter().map(OsString::from);
    program.into_iter().chain(verb).chain(value).chain(args).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(line: &str) -> String {
        let args = line.split(' ').map(OsString::from).collect();
        rewrite(args).iter().map(|arg| arg.to_string_lossy()).collect::<Vec<_>>().join(" ")
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
        assert_eq!(rewritten("slate-fleet --assign t-1"), "slate-fleet assign t-1");
        let old = "slate-fleet --complete runner-001";
        assert_eq!(rewritten(old), "slate-fleet complete runner-001");
        assert_eq!(rewritten("slate-fleet run -- --scale"), "slate-fleet run -- --scale");
    }
}
