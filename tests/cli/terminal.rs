//! `top` on a real terminal of 80 by 24: what is seen, what keys do, and what is left behind.

use rustix::process::{Pid, Signal, kill_process};
use slate_fleet::fleet::view::RunnerStatus;
use slate_fleet::supervisor::usage::{RunnerUsage, UsageReport};
use slate_fleet::units::{Bytes, MilliCpu};
use tokio::time::timeout;

use super::fake::NOW;
use super::program::Project;
use super::screen::{PATIENCE, Terminal};

/// Runs a line of shell; after the line it says how it ended and how the terminal is.
fn run(project: &Project, line: &str) -> Terminal {
    let program = env!("CARGO_BIN_EXE_slate-fleet");
    let line = line.replace("slate-fleet", program);
    Terminal::open(project.path(), &format!("{line}; echo EXIT=$?; stty -a; echo END"), &[])
}

/// Waits for the end; the terminal must be as a shell wants it.
async fn expect_given_back(mut it: Terminal, exit: &str) {
    it.until("the end", |it| it.raw.contains("\nEND")).await;
    assert!(it.raw.contains(exit), "{}", it.raw);
    let screen = it.screen.screen();
    assert!(!screen.alternate_screen(), "it is on the other screen still");
    assert!(!screen.hide_cursor(), "its cursor is hidden still");
    let modes = it.raw.rsplit("EXIT=").next().unwrap_or_default();
    let modes: Vec<&str> = modes.split([' ', ';', '\r', '\n']).collect();
    for mode in ["icanon", "echo", "isig", "opost"] {
        assert!(modes.contains(&mode), "{mode} is not on again: {modes:?}");
    }
    drop(it.keys);
    timeout(PATIENCE, it.child.wait()).await.expect("it ends").expect("a status");
}

fn busy(project: &Project) {
    project.fake.change(|world| {
        world.fleet.runners[1].status = RunnerStatus::Running;
        world.usage = UsageReport {
            at: NOW,
            runners: vec![RunnerUsage {
                id: world.fleet.runners[1].id,
                name: world.fleet.runners[1].name.clone(),
                cpus: Some(MilliCpu(730)),
                memory: Bytes::mib(211),
                memory_limit: Bytes::mib(512),
                pids: 7,
            }],
        };
    });
}

#[tokio::test]
async fn top_shows_the_fleet_takes_keys_and_gives_the_terminal_back() {
    let project = Project::new();
    let mut terminal = run(&project, "slate-fleet top --interval 1s");
    terminal.until_shown("slate-light-01").await;
    assert!(terminal.screen.screen().alternate_screen());
    terminal.until_shown("STATUS*").await;
    terminal.type_keys("n").await;
    terminal.until_shown("NAME*").await;
    terminal.type_keys("r").await;
    terminal.until_shown("NAME^").await;
    busy(&project);
    terminal.until_shown("211M/512M").await;
    assert!(terminal.shows("1 running, 1 idle"), "{}", terminal.contents());
    assert!(terminal.shows("0.7"), "{}", terminal.contents());
    terminal.type_keys("q").await;
    expect_given_back(terminal, "EXIT=0").await;
}

#[tokio::test]
async fn ctrl_c_ends_top_and_gives_the_terminal_back() {
    let project = Project::new();
    let mut terminal = run(&project, "slate-fleet top");
    terminal.until_shown("slate-light-01").await;
    terminal.type_keys("\u{3}").await;
    expect_given_back(terminal, "EXIT=0").await;
}

#[tokio::test]
async fn a_termination_signal_ends_top_and_gives_the_terminal_back() {
    let project = Project::new();
    let mut terminal = run(&project, "sh -c 'echo PID=$$.; exec slate-fleet top'");
    terminal.until_shown("slate-light-01").await;
    let pid = terminal.raw.split("PID=").nth(1).and_then(|rest| rest.split('.').next());
    let pid: i32 = pid.and_then(|pid| pid.parse().ok()).expect("its process id");
    let pid = Pid::from_raw(pid).expect("not 0");
    kill_process(pid, Signal::TERM).expect("it runs");
    expect_given_back(terminal, "EXIT=0").await;
}

#[tokio::test]
async fn a_supervisor_that_is_lost_is_told_of_and_the_view_stays() {
    let project = Project::new();
    let mut terminal = run(&project, "slate-fleet top --interval 1s");
    terminal.until_shown("slate-light-01").await;
    project.fake.change(|world| world.mute = true);
    terminal.until_shown("no contact for").await;
    assert!(terminal.shows("slate-light-01"), "{}", terminal.contents());
    terminal.type_keys("q").await;
    expect_given_back(terminal, "EXIT=0").await;
}

#[tokio::test]
async fn without_a_terminal_top_prints_one_plain_frame() {
    let project = Project::new();
    busy(&project);
    let ran = project.run("top").await;
    assert_eq!(ran.code(), 0, "{}", ran.stderr);
    assert!(!ran.out().contains('\u{1b}') && ran.out().contains("slate-light-02"), "{}", ran.out());
    assert!(ran.out().lines().all(|line| line.chars().count() <= 80), "{}", ran.out());
    let ran = project.run("top --interval 10ms").await;
    assert_eq!(ran.code(), 2, "{}", ran.stderr);
}
