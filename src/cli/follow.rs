//! Follows the fleet on its way to a goal, with progress on stderr and a bound on the wait.

use std::time::Duration;

use tokio::time::{Instant, interval, sleep_until};

use super::clock;
use super::context::{Context, note};
use super::failure::Failure;
use super::progress::{Tracker, renderer};
use crate::client::{Client, ClientError, Lines};
use crate::exit::Exit;
use crate::fleet::event::EVIDENCE;
use crate::fleet::view::{FleetPhase, FleetView, RunnerView};
use crate::spec::show_duration;
use crate::units::words::{agree, part};

/// Between two views the seconds on the screen move on.
const TICK: Duration = Duration::from_millis(200);
/// Reasons that are printed when the time is up; a fleet of hundreds fails for few of them.
const REASONS_MAX: usize = 10;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Every runner as the file says.
    Ready,
    /// No job waits or runs.
    Idle,
    /// The supervisor has removed everything and ended.
    Gone,
}

/// How following ended.
enum End {
    Reached,
    /// All that goes on by itself is there; the others wait for an operator.
    Held(Box<FleetView>),
    TimeUp(Option<Box<FleetView>>),
    SupervisorGone,
}

/// Follows the fleet until the goal or the timeout; exit code 3 with reasons when it is late, 5
/// when some runners cannot go on without an operator.
pub(super) async fn follow_until(
    context: &Context,
    goal: Goal,
    timeout: Duration,
) -> Result<Exit, Failure> {
    let mut tracker = Tracker::new(renderer(context.progress()));
    let until = clock::start() + timeout;
    let end = match views(context).await {
        Ok(views) => watch(views, goal, until, &mut tracker).await,
        // It may be gone before the first look, even between connecting and asking.
        Err(failure) if goal == Goal::Gone && failure.exit() == Exit::Unreachable => {
            Ok(End::SupervisorGone)
        }
        Err(failure) => Err(failure),
    };
    if matches!((&end, goal), (Ok(End::SupervisorGone), Goal::Gone)) {
        tracker.all_gone();
    }
    tracker.finish();
    match end? {
        End::Reached => Ok(Exit::Done),
        End::Held(fleet) => Err(held(&fleet)),
        End::SupervisorGone if goal == Goal::Gone => gone(context, until).await,
        End::SupervisorGone => Err(Failure::new(
            Exit::Unreachable,
            "the supervisor went away before the fleet was ready",
        )
        .help("its log is in the state folder: supervisor.log")),
        End::TimeUp(fleet) => Err(late(goal, timeout, fleet.as_deref())),
    }
}

async fn views(context: &Context) -> Result<Lines, Failure> {
    Ok(context.connect().await?.lines("/api/v1/fleet?follow=true").await?)
}

async fn watch(
    mut lines: Lines,
    goal: Goal,
    until: Instant,
    tracker: &mut Tracker,
) -> Result<End, Failure> {
    let mut ticks = interval(TICK);
    let mut last = None;
    loop {
        tokio::select! {
            fleet = lines.next::<FleetView>() => match fleet {
                Ok(Some(fleet)) => {
                    tracker.see(&fleet);
                    if reached(goal, &fleet) {
                        return Ok(End::Reached);
                    }
                    if goal == Goal::Ready && is_held(&fleet) {
                        return Ok(End::Held(Box::new(fleet)));
                    }
                    last = Some(Box::new(fleet));
                }
                Ok(None) | Err(ClientError::Broken(_)) => return Ok(End::SupervisorGone),
                Err(error) => return Err(error.into()),
            },
            _ = ticks.tick() => tracker.tick(),
            () = sleep_until(until) => return Ok(End::TimeUp(last)),
        }
    }
}

fn reached(goal: Goal, fleet: &FleetView) -> bool {
    match goal {
        Goal::Ready => fleet.phase == FleetPhase::Ready,
        Goal::Idle => fleet.queued == 0 && fleet.running == 0,
        Goal::Gone => false,
    }
}

/// Whether nothing more will come without an operator: each runner serves, or waits for one.
fn is_held(fleet: &FleetView) -> bool {
    let mut held = 0;
    for runner in &fleet.runners {
        match hold(runner) {
            Some(_) => held += 1,
            None if runner.status.is_serving() => {}
            None => return false,
        }
    }
    held > 0 && fleet.phase == FleetPhase::Converging
}

fn hold(runner: &RunnerView) -> Option<&str> {
    runner.forge.as_ref()?.hold.as_deref().filter(|_| !runner.status.is_serving())
}

/// Some runners are up, the others need something; each is told with what it needs.
fn held(fleet: &FleetView) -> Failure {
    let waiting: Vec<(&RunnerView, &str)> =
        fleet.runners.iter().filter_map(|it| Some((it, hold(it)?))).collect();
    for (runner, why) in waiting.iter().take(REASONS_MAX) {
        note(&format!("  {}: {why}", runner.name));
    }
    let (count, all) = (waiting.len(), fleet.runners.len());
    let exit = if count < all { Exit::Partly } else { Exit::Failed };
    let wait = agree(&count, "waits", "wait");
    Failure::new(exit, format!("{} {wait} for you", part(count, all, "runner")))
        .help("`slate-fleet up -d` tries them again")
}

/// The stream has ended; the supervisor's last act is to let go of its socket.
async fn gone(context: &Context, until: Instant) -> Result<Exit, Failure> {
    let state = context.state_dir()?;
    let mut looks = interval(Duration::from_millis(10));
    loop {
        looks.tick().await;
        match Client::connect(&state).await {
            Err(ClientError::NotUp { .. }) => return Ok(Exit::Done),
            Ok(_) if clock::start() < until => {}
            Ok(_) => {
                return Err(Failure::new(Exit::NotReady, "the supervisor did not end in time"));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn late(goal: Goal, timeout: Duration, fleet: Option<&FleetView>) -> Failure {
    let what = match goal {
        Goal::Ready => "the fleet is not ready",
        Goal::Idle => "jobs still wait or run",
        Goal::Gone => "the fleet is not down",
    };
    for reason in fleet.map(reasons).unwrap_or_default() {
        note(&format!("  {reason}"));
    }
    let timeout = show_duration(timeout);
    Failure::new(Exit::NotReady, format!("{what} after {timeout}"))
        .help("`slate-fleet ps` shows how it goes on; `--timeout` waits longer")
}

fn reasons(fleet: &FleetView) -> Vec<String> {
    // What many runners fail for is told once, whether they wait or are being tried again.
    let mut causes: Vec<&str> = Vec::new();
    let mut news: Vec<&RunnerView> = Vec::new();
    for runner in &fleet.runners {
        let cause = runner.reason.as_deref().map(cause);
        let is_told =
            |it: &str| causes.contains(&it) || fleet.troubles.iter().any(|t| t.contains(it));
        if !cause.is_some_and(is_told) {
            causes.extend(cause);
            news.push(runner);
        }
    }
    let runners = news.into_iter().filter(|runner| !runner.status.is_serving()).map(|runner| {
        let status = crate::api::words::runner_status(runner.status);
        let reason = runner.reason.as_deref().unwrap_or("no reason is known");
        format!("{} is {status}: {reason}", runner.name)
    });
    fleet.troubles.iter().cloned().chain(runners).take(REASONS_MAX).collect()
}

/// A reason without what differs from runner to runner: the engine's words, the count of failures.
fn cause(reason: &str) -> &str {
    let ours = reason.split(EVIDENCE).next().unwrap_or(reason);
    ours.split("; failed ").next().unwrap_or(ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::render::fixture;
    use crate::fleet::view::RunnerStatus;

    #[test]
    fn a_fleet_is_held_when_all_but_those_that_wait_for_an_operator_serve() {
        let mut fleet = fixture::forge_fleet();
        fleet.phase = FleetPhase::Converging;
        fleet.runners[2].status = RunnerStatus::Error;
        fleet.runners[2].forge.as_mut().expect("it has one").hold =
            Some("RUNNER_TOKEN_3 is not set".to_owned());
        assert!(is_held(&fleet));
        assert_eq!(held(&fleet).exit(), Exit::Partly);
        assert!(held(&fleet).render().contains("1 of 3 runners waits for you"));
        fleet.runners[0].status = RunnerStatus::Registering;
        assert!(!is_held(&fleet), "one is on its way");
        fleet.runners.drain(..2);
        assert!(is_held(&fleet));
        assert_eq!(held(&fleet).exit(), Exit::Failed, "none is up");
        fleet.runners[0].forge = None;
        assert!(!is_held(&fleet), "what fails is tried again by itself");
    }
}
