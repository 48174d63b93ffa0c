//! Rules over the whole command tree.

use std::collections::BTreeSet;

use clap::{Arg, Command};

use super::*;

mod examples;

/// Every command with its path of names, verbs first.
fn verbs() -> Vec<(String, Command)> {
    fn collect(prefix: &str, command: &Command, into: &mut Vec<(String, Command)>) {
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            let name = format!("{prefix}{}", verb.get_name());
            collect(&format!("{name} "), verb, into);
            into.push((name, verb.clone()));
        }
    }
    let mut all = Vec::new();
    let mut root = command();
    root.build();
    collect("", &root, &mut all);
    all
}

#[test]
fn the_command_tree_is_consistent() {
    command().debug_assert();
}

#[test]
fn every_verb_says_what_it_does_and_shows_an_example() {
    for (name, verb) in verbs() {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.len() > 10, "`{name}` has no about text");
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.starts_with("Examples:\n"), "`{name}` has no examples");
        let example = format!("slate-fleet {name}");
        let shown = help.contains(&example) || help.contains(verb.get_name());
        assert!(shown, "the examples of `{name}` do not use it");
    }
}

#[test]
fn every_option_has_a_help_text_and_no_short_flag_is_used_twice() {
    for (name, verb) in verbs() {
        let mut shorts = BTreeSet::new();
        for arg in verb.get_arguments() {
            assert!(arg.get_help().is_some(), "`{}` of `{name}` has no help", arg.get_id());
            if let Some(short) = arg.get_short() {
                assert!(shorts.insert(short), "`-{short}` of `{name}` is used twice");
            }
        }
    }
}

#[test]
fn every_option_with_a_value_names_the_value() {
    for (name, verb) in verbs() {
        let valued = |arg: &&Arg| arg.get_action().takes_values();
        for arg in verb.get_arguments().filter(valued) {
            assert!(arg.get_value_names().is_some(), "`{}` of `{name}`", arg.get_id());
        }
    }
}

#[test]
fn every_verb_and_exit_code_is_in_the_reference() {
    let reference = include_str!("../../docs/reference/cli.md");
    for (name, verb) in verbs() {
        if verb.is_hide_set() {
            continue;
        }
        assert!(reference.contains(&format!("## `{name}`")), "`{name}` is not in cli.md");
        for long in verb.get_arguments().filter_map(Arg::get_long).filter(|long| *long != "help") {
            let global = ["state-dir", "progress"].contains(&long);
            let option = format!("`--{long}");
            assert!(global || reference.contains(&option), "`--{long}` of `{name}` is missing");
        }
    }
    for (exit, _) in crate::exit::CATALOGUE {
        let row = format!("| {} |", exit.code());
        assert!(reference.contains(&row), "exit code {} is not in cli.md", exit.code());
    }
}

#[test]
fn a_command_line_of_each_verb_is_understood() {
    for line in [
        "init --minimal --force --inventory box.json",
        "benchmark --json --profile gpu_light --inventory box.json",
        "-f a.yaml -f b.yaml plan --inventory box.json",
        "-p other up -d --timeout 2m",
        "down -v --drain",
        "scale standard=2 light=6",
        "ps -q",
        "status --json",
        "logs -f --since 10m slate-light-01 job-42",
        "exec slate-light-01 -- ls -la",
        "exec slate-light-01 ls -la",
        "reports nightly 42 -q -n 5",
        "logs --previous slate-light-01",
        "debug bundle -o -",
        "wait --for idle",
        "wait job-41 42",
        "events -f",
        "run --profile light --env A=1 -e B=2 --timeout 5m -- ruff check .",
        "run ruff check --fix .",
        "submit --type lint --priority -5 -- make",
        "jobs --status queued,running -n 5",
        "jobs show job-42",
        "cancel job-1 job-2",
        "hold job-1 2",
        "release job-1 2",
        "submit --hold -- make deploy",
        "token create --role operator --name ci --expires 30d",
        "token revoke 3f2a91bc",
        "explain job-42 --format yaml",
        "dashboard --print --role viewer --expires 1h",
        "cordon runner-001",
        "drain runner-001",
        "pause",
        "pause light standard",
        "resume",
        "resume runner-001 light --pool standard",
        "resume --gpu 1",
        "restart runner-001",
        "config schema",
        "config --images",
        "completion bash",
        "version",
        "supervise",
        "healthz --ready",
        "health",
    ] {
        let args = std::iter::once("slate-fleet").chain(line.split(' '));
        if let Err(error) = Cli::try_parse_from(args) {
            panic!("`{line}`: {error}");
        }
    }
}

#[test]
fn wrong_command_lines_are_refused_with_a_suggestion() {
    let wrong = Cli::try_parse_from(["slate-fleet", "pss"]).expect_err("no such verb");
    assert!(wrong.to_string().contains("similar"), "{wrong}");
    for line in ["jobs --status done", "wait --for idle job-1", "run", "up --timeout soon"] {
        let args = std::iter::once("slate-fleet").chain(line.split(' '));
        assert!(Cli::try_parse_from(args).is_err(), "{line}");
    }
}
