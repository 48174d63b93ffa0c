//! Sentences about how a runner ended, and what to do about it.

use super::PostMortem;
use crate::engine::Inspection;
use crate::fleet::death::Death;
use crate::fleet::event::ContainerExit;
use crate::fleet::runner::Cause;

/// A process that signal `n` ended has the exit code 128 + n.
const SIGNALLED: i64 = 128;
const SIGKILL: i64 = 9;
/// The largest signal number there is on Linux.
const SIGNAL_MAX: i64 = 64;

/// What the engine said when it was asked for the container.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sight<'a> {
    /// It is there.
    There(&'a Inspection),
    /// There is no such container.
    Gone,
    /// Nothing is known.
    Unknown,
}

/// The cause with what the engine said: whoever removes a container kills it first, and the core
/// may have heard of that alone. Nobody but the fleet itself removes one after evidence was taken.
pub(super) fn cause(death: &Death, sight: Sight<'_>) -> Cause {
    let is_going = match sight {
        Sight::There(seen) => matches!(seen.status.as_str(), "removing" | "dead"),
        Sight::Gone => true,
        Sight::Unknown => false,
    };
    match &death.cause {
        Cause::Died(_) if is_going => Cause::Vanished,
        cause => cause.clone(),
    }
}

/// What happened, in one sentence.
pub(super) fn summary(death: &Death, sight: Sight<'_>) -> String {
    let seen = match sight {
        Sight::There(seen) => Some(seen),
        Sight::Gone | Sight::Unknown => None,
    };
    let what = match &cause(death, sight) {
        Cause::Died(exit) => died(*exit, seen),
        Cause::Vanished => "its container was removed by somebody else while it was in service, \
                            for example by `docker rm` or `docker system prune`"
            .to_owned(),
        Cause::Failed(message) => format!("its container could not be made or started: {message}"),
        Cause::NeverSpoke => match seen {
            Some(it) if it.status == "running" => {
                "its container runs, but the agent in it never connected".to_owned()
            }
            Some(_) | None => "the agent in its container never connected".to_owned(),
        },
        Cause::Stale => match death.heard {
            Some(heard) => {
                format!("its agent fell silent {} s before", death.at.since(heard).as_secs())
            }
            None => "its agent was silent for too long".to_owned(),
        },
        other => other.to_string(),
    };
    match death.job {
        Some((job, attempt)) => format!("{what}; it held {job} (attempt {attempt})"),
        None => what,
    }
}

fn died(exit: ContainerExit, seen: Option<&Inspection>) -> String {
    let code = exit.code;
    if exit.oom {
        let limit = seen.and_then(|it| it.memory);
        let limit = limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
        return match code - SIGNALLED {
            SIGKILL => format!(
                "the runner itself ran out of memory: the kernel killed its agent at the \
                 container's limit{limit} (exit code {code})"
            ),
            _ => format!(
                "its agent ended with exit code {code}, after the kernel had killed something in \
                 the container at its memory limit{limit}"
            ),
        };
    }
    match code - SIGNALLED {
        SIGKILL => format!(
            "its agent was killed from outside by signal 9 (exit code {code}); the container was \
             not out of memory"
        ),
        signal @ 1..=SIGNAL_MAX => {
            format!("its agent was ended by signal {signal} (exit code {code})")
        }
        _ => format!("its agent ended by itself with exit code {code}"),
    }
}

/// What an operator can do, where there is something to do.
#[must_use]
pub fn advice(post_mortem: &PostMortem) -> Option<String> {
    let text = match post_mortem.cause.as_str() {
        "died" if post_mortem.engine.as_ref().is_some_and(|it| it.oom_killed) => {
            return Some(format!(
                "give the profile `{}` more memory, or the job less to do",
                post_mortem.profile
            ));
        }
        "died" if post_mortem.exit_code == Some(SIGNALLED + SIGKILL) => {
            "look for who killed it: `docker kill`, a stopped engine, or the host's own lack of \
             memory (`dmesg | grep -i 'out of memory'`)"
        }
        "died" => "the agent's last lines may say why",
        "vanished" => {
            "look for what removes containers on this host: a `docker system prune` in a timer, \
             or a person"
        }
        "failed" => "the engine's words say what it lacks; `docker events` has more",
        "never_spoke" => {
            "see that the image is for this machine's processor, and that the host is not overloaded"
        }
        "stale" | "lost_job" | "no_progress" => {
            "see whether the host was overloaded or asleep at that time"
        }
        "oom_gpu" => {
            "its slot is lighter for a while (`gpu.downgrade_for`); `slate-fleet resume RUNNER` \
             ends that"
        }
        "oom_gpu_neighbour" => {
            "look for what else uses the card: `slate-fleet gpus` names processes and containers"
        }
        "unfit" => "the job's working folder or the runner's disk may be the reason",
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AttemptNo, ImageRef, IncarnationId, JobId, PoolName, ProfileName};
    use crate::spec::Secrets;
    use crate::units::{Bytes, Time};

    fn death(cause: Cause) -> Death {
        Death {
            incarnation: IncarnationId(7),
            container_name: "slate-light-i7".to_owned(),
            slot: None,
            runner: None,
            pool: PoolName::new("light"),
            profile: ProfileName::new("light"),
            image: ImageRef::new("slate-runner:latest"),
            cause,
            at: Time(600_000),
            job: None,
            heard: Some(Time(299_000)),
            secrets: Secrets::default(),
        }
    }

    fn exit(code: i64, oom: bool) -> Cause {
        Cause::Died(ContainerExit { code, oom })
    }

    #[test]
    fn the_sentence_tells_a_kill_from_outside_from_a_lack_of_memory() {
        let seen = Inspection { memory: Some(Bytes::mib(512)), ..Inspection::default() };
        let table = [
            (
                exit(137, false),
                "its agent was killed from outside by signal 9 (exit code 137); the container \
                 was not out of memory",
            ),
            (
                exit(137, true),
                "the runner itself ran out of memory: the kernel killed its agent at the \
                 container's limit of 512MiB (exit code 137)",
            ),
            (
                exit(1, true),
                "its agent ended with exit code 1, after the kernel had killed something in the \
                 container at its memory limit of 512MiB",
            ),
            (exit(139, false), "its agent was ended by signal 11 (exit code 139)"),
            (exit(3, false), "its agent ended by itself with exit code 3"),
            (exit(255, false), "its agent ended by itself with exit code 255"),
            (Cause::Stale, "its agent fell silent 301 s before"),
            (Cause::NeverSpoke, "the agent in its container never connected"),
            (
                Cause::Failed("no space left".to_owned()),
                "its container could not be made or started: no space left",
            ),
        ];
        for (cause, sentence) in table {
            assert_eq!(summary(&death(cause), Sight::There(&seen)), sentence);
        }
    }

    #[test]
    fn a_container_that_somebody_removes_dies_first_and_was_removed_all_the_same() {
        let leaving = Inspection { status: "removing".to_owned(), ..Inspection::default() };
        for sight in [Sight::Gone, Sight::There(&leaving)] {
            let death = death(exit(137, false));
            assert_eq!(cause(&death, sight), Cause::Vanished);
            let text = summary(&death, sight);
            assert!(text.starts_with("its container was removed by somebody else"), "{text}");
        }
        assert_eq!(cause(&death(Cause::Stale), Sight::Gone), Cause::Stale);
        assert_eq!(cause(&death(exit(1, false)), Sight::Unknown), exit(1, false));
    }

    #[test]
    fn the_job_that_was_held_is_named() {
        let held = Some((JobId(3), AttemptNo(2)));
        let text = summary(&Death { job: held, ..death(exit(137, false)) }, Sight::Unknown);
        assert!(text.ends_with("; it held job-3 (attempt 2)"), "{text}");
    }
}
