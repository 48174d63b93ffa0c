//! An explanation as text: facts, then what happened, then what to do.

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use super::ago::{ago, took};
use super::pools::{reason, since};
use super::{forges, jobs, one_line, ps};
use crate::api::explain::{
    Explanation, ForgeJobExplanation, ForgePoolExplanation, JobExplanation, PoolExplanation,
    PoolStanding, RunnerExplanation,
};
use crate::cli::clock::utc;
use crate::fleet::attempt::Attempt;
use crate::fleet::view::{JobView, PoolView, RunnerView, WaitReason};
use crate::ids::JobId;
use crate::post_mortems::PostMortem;
use crate::units::Time;
use crate::units::words::{about, counted as counted_of};

/// The whole text.
#[must_use]
pub fn text(explanation: &Explanation, now: Time) -> String {
    match explanation {
        Explanation::Job(it) => job(it, now),
        Explanation::Runner(it) => runner(it, now),
        Explanation::Pool(it) => pool(it, now),
        Explanation::ForgeJob(it) => forge_job(it, now),
    }
}

fn job(it: &JobExplanation, now: Time) -> String {
    let job = &it.job;
    let mut page = Page::default();
    page.fact("Job", &job.id.to_string());
    page.fact("Status", &jobs::status_text(job));
    page.fact("Reason", job.reason.as_deref().unwrap_or(""));
    page.fact("Code", &jobs::code(job.wait.as_ref()));
    page.fact("Next change", &next_change(job.wait.as_ref(), now));
    page.fact("Fault", &job.fault.map(|fault| fault.to_string()).unwrap_or_default());
    page.fact("Command", &jobs::command(job));
    page.fact("Profile", &profile(job));
    page.fact("Runner", job.runner_name.as_deref().unwrap_or(""));
    let submitted = format!("{}, {}", utc(job.queued_at), ago(now.since(job.queued_at)));
    page.fact("Submitted", &format!("{submitted}, by {}", job.spec.submitter));
    page.fact("Took", &job.started_at.map(|_| jobs::duration(job, now)).unwrap_or_default());
    page.fact("GPU time", &job.gpu_time.map(|time| time.to_string()).unwrap_or_default());
    if let Some(waiting) = &it.waiting {
        page.fact("Before it", &counted(waiting.ahead as usize, &waiting.next));
        page.fact("Running now", &names(&waiting.running));
    }
    page.list("Pools that may serve it", it.pools.iter().map(standing));
    page.list("In the way", it.troubles.iter().cloned());
    page.list("Attempts", job.attempts.iter().map(|attempt| attempt_line(job, attempt, now)));
    page.post_mortems(&it.post_mortems, now);
    page.quote("Last output", &it.last_lines);
    page.list("What to do", it.advice.iter().cloned());
    page.0
}

/// When something about what a job waits for is expected to change, where that is known.
fn next_change(wait: Option<&WaitReason>, now: Time) -> String {
    match wait.and_then(WaitReason::expected) {
        None => String::new(),
        Some(at) if at <= now => "now".to_owned(),
        Some(at) => format!("{}, in {}", utc(at), about(at.since(now))),
    }
}

/// The profile that a job needs, and what it needed first.
fn profile(job: &JobView) -> String {
    match &job.raised {
        Some(raised) => {
            let (from, after) = (&raised.from, raised.after);
            format!("{} (not {from}: attempt {after} ran out of GPU memory)", job.profile)
        }
        None => job.profile.to_string(),
    }
}

/// Where an attempt ran, how it ended, and whose fault that was.
pub(super) fn attempt_line(job: &JobView, attempt: &Attempt, now: Time) -> String {
    let mut line =
        format!("#{} on {} ({})", attempt.number, attempt.runner_name, attempt.incarnation);
    // Writing to a String cannot fail.
    let _infallible = match &attempt.end {
        None => write!(line, ": {}, {}", jobs::status_text(job), ago(now.since(attempt.given_at))),
        Some(end) => {
            let begun = attempt.started_at.unwrap_or(attempt.given_at);
            let fault = end.fault.map(|fault| format!(", fault: {fault}")).unwrap_or_default();
            let word = jobs::ended_text(end.status, end.exit_code);
            let span = took(end.at.since(begun));
            match &end.reason {
                Some(why) => write!(line, ": {word} after {span}{fault}: {why}"),
                None => write!(line, ": {word} after {span}{fault}"),
            }
        }
    };
    if let Some(late) = &attempt.late {
        let _infallible = write!(line, "; told too late: {late}");
    }
    line
}

fn runner(it: &RunnerExplanation, now: Time) -> String {
    let runner = &it.runner;
    let mut page = Page::default();
    page.fact("Runner", &format!("{} ({})", runner.name, runner.id));
    page.fact("Status", &ps::status_text(runner, now));
    page.fact("Reason", runner.reason.as_deref().unwrap_or(""));
    page.fact("Pool", &format!("{} (profile {})", runner.pool, runner.profile));
    page.fact("Container", runner.container_name.as_deref().unwrap_or(""));
    page.fact("Agent", &heard(runner, now));
    if let Some(job) = &it.job {
        let line = format!("{}, {}: {}", job.id, jobs::status_text(job), jobs::command(job));
        page.fact("Job", &line);
    }
    at_forge(&mut page, runner);
    page.fact("Jobs done", &runner.tasks_completed.to_string());
    if let Some(failure) = &runner.last_failure {
        let when = ago(now.since(failure.at));
        let job = failure.job.map(|job| format!(", under {job}")).unwrap_or_default();
        page.fact("Last failure", &format!("{when}{job}: {}", failure.cause));
        let next = match failure.next_try {
            Some(next) => format!(", next try in {}", took(next.since(now))),
            None => String::new(),
        };
        page.fact("In a row", &format!("{}{next}", counted_of(failure.in_a_row, "failure")));
    }
    page.post_mortems(&it.post_mortems, now);
    page.list("What to do", it.advice.iter().cloned());
    page.0
}

/// Where a runner is registered, and what its forge says of it.
fn at_forge(page: &mut Page, runner: &RunnerView) {
    let Some(forge) = &runner.forge else { return };
    let seen = match (forge.online, forge.busy) {
        (None, _) => "has not listed it yet",
        (Some(true), Some(true)) => "sees it online and busy",
        (Some(true), _) => "sees it online",
        (Some(false), Some(true)) => "sees it offline and busy",
        (Some(false), _) => "sees it offline",
    };
    page.fact("Forge", &forge.scope.to_string());
    page.fact("Registered", &forges::registration(runner));
    page.fact("Forge's word", &format!("{} {seen}", forges::host(&forge.scope)));
    page.fact("Forge's job", &forge.work.as_ref().map(forges::work).unwrap_or_default());
    page.fact("Version", forge.version.as_deref().unwrap_or(""));
    page.fact("Waits for you", forge.hold.as_deref().unwrap_or(""));
}

fn forge_job(it: &ForgeJobExplanation, now: Time) -> String {
    let job = &it.job.job;
    let mut page = Page::default();
    page.fact("Forge's job", &format!("{} ({}: {})", job.id, job.repository, job.name));
    page.fact("Status", &forges::status_text(&job.status));
    page.fact("Reason", it.job.reason.as_deref().unwrap_or(""));
    page.fact("Code", &jobs::code(it.job.wait.as_ref()));
    page.fact("Next change", &next_change(it.job.wait.as_ref(), now));
    let workflow = job.workflow.as_deref().map(|name| format!("{name}, ")).unwrap_or_default();
    page.fact("Workflow", &format!("{workflow}run {}, attempt {}", job.run, job.attempt));
    page.fact("Labels", &job.labels.join(", "));
    let fork = job.fork.map(|fork| if fork { "another repository" } else { "its own repository" });
    page.fact("Code from", fork.unwrap_or(""));
    page.fact("Created", &format!("{}, {}", utc(job.created), ago(now.since(job.created))));
    let runner = it.runner.as_ref().map(|it| format!("{} ({})", it.name, it.id));
    page.fact("Runner", &runner.or_else(|| job.runner.clone()).unwrap_or_default());
    page.fact("Page", job.url.as_deref().unwrap_or(""));
    page.list("Pool that may serve it", it.pool.iter().map(standing));
    page.list("In the way", it.troubles.iter().cloned());
    page.list("What to do", it.advice.iter().cloned());
    page.0
}

/// The jobs at its forge that wait for a pool.
fn forge_jobs(it: &ForgePoolExplanation) -> String {
    let named = it.next.iter().map(|it| format!("{}: {}", it.job.repository, it.job.name));
    let named = named.collect::<Vec<_>>().join(", ");
    match it.waiting {
        0 => "none wait".to_owned(),
        count if count == it.next.len() => format!("{count} wait: {named}"),
        count => format!("{count} wait: {named}, …"),
    }
}

fn heard(runner: &RunnerView, now: Time) -> String {
    match runner.heard {
        Some(heard) => format!("last sign of life {}", ago(now.since(heard))),
        None if runner.incarnation.is_some() => "has not spoken yet".to_owned(),
        None => String::new(),
    }
}

fn pool(it: &PoolExplanation, now: Time) -> String {
    let pool = &it.pool;
    let mut page = Page::default();
    page.fact("Pool", &format!("{} (profile {})", pool.name, pool.profile));
    page.fact("Size", &size(pool, now));
    page.fact("Paused", &pool.paused.as_ref().map(since).unwrap_or_default());
    page.fact("Runners", &counts(&it.standing));
    page.fact("Spares", &pool.spares.to_string());
    if let Some(forge) = &it.forge {
        page.fact("Forge", &format!("{}, by {}", forge.scope, forge.right));
        page.fact("Labels", &forge.labels.join(", "));
        page.fact("Forge's jobs", &forge_jobs(forge));
    }
    if it.forge.is_none() {
        page.fact("Waiting", &counted(it.waiting.count as usize, &it.waiting.next));
    }
    page.list("In the way", it.troubles.iter().cloned());
    page.post_mortems(&it.post_mortems, now);
    page.list("What to do", it.advice.iter().cloned());
    page.0
}

/// A pool's size, its bounds, and why it is so.
fn size(pool: &PoolView, now: Time) -> String {
    let range = match pool.min == pool.max {
        true => String::new(),
        false => format!(" ({} to {})", pool.min, pool.max),
    };
    format!("{}{range}, {}", pool.desired, reason(&pool.why, now))
}

fn standing(it: &PoolStanding) -> String {
    format!("{}: {}", it.pool, counts(it))
}

fn counts(it: &PoolStanding) -> String {
    let parts = [
        (it.idle, "idle"),
        (it.busy, "busy"),
        (it.coming, "on the way"),
        (it.failed, "failed"),
        (it.closed, "closed to new jobs"),
    ];
    let told = parts.iter().filter(|(count, _)| *count > 0);
    let told: Vec<String> = told.map(|(count, what)| format!("{count} {what}")).collect();
    match it.all {
        0 => "none".to_owned(),
        all => format!("{all} in all: {}", told.join(", ")),
    }
}

fn counted(count: usize, first: &[JobId]) -> String {
    match count {
        0 => "none".to_owned(),
        _ if count == first.len() => names(first),
        _ => format!("{count}: {}, …", names(first)),
    }
}

fn names(jobs: &[JobId]) -> String {
    jobs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Text in the making. Empty facts and lists are left out.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, line: &str) {
        // What programs and engines said must not steer the terminal.
        self.0.push_str(&one_line(line));
        self.0.push('\n');
    }

    fn fact(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.line(&format!("{:<13} {value}", format!("{name}:")));
        }
    }

    fn list(&mut self, title: &str, items: impl Iterator<Item = String>) {
        for (index, item) in items.enumerate() {
            if index == 0 {
                self.title(title);
            }
            self.line(&format!("  - {item}"));
        }
    }

    fn quote(&mut self, title: &str, lines: &[String]) {
        if !lines.is_empty() {
            self.title(title);
            lines.iter().for_each(|line| self.line(&format!("  | {line}")));
        }
    }

    fn title(&mut self, title: &str) {
        self.0.push('\n');
        self.line(&format!("{title}:"));
    }

    /// The newest one in full, the others in a line each.
    fn post_mortems(&mut self, all: &[PostMortem], now: Time) {
        let Some((newest, older)) = all.split_first() else { return };
        let name = newest.runner.as_deref().unwrap_or(&newest.container_name);
        let when = ago(now.since(newest.at));
        self.title(&format!("Post-mortem of {name} ({}), {when}", newest.incarnation));
        self.line(&format!("  {}", newest.summary));
        evidence(newest).iter().for_each(|line| self.line(&format!("  {line}")));
        newest.log.iter().for_each(|line| self.line(&format!("  | {line}")));
        self.list(
            "Before that",
            older.iter().map(|it| format!("{} ({}): {}", utc(it.at), it.incarnation, it.summary)),
        );
    }
}

/// The facts of a post-mortem, a line each.
fn evidence(it: &PostMortem) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(seen) = &it.engine {
        let mut line = format!("container {}: {}", it.container_name, seen.status);
        let mut add = |text: String| {
            line.push_str(", ");
            line.push_str(&text);
        };
        if let Some(code) = seen.exit_code {
            add(format!("exit code {code}"));
        }
        add((if seen.oom_killed { "killed for memory" } else { "not killed for memory" })
            .to_owned());
        seen.memory.iter().for_each(|memory| add(format!("limit {memory}")));
        seen.health.iter().for_each(|health| add(health.clone()));
        lines.push(line);
        let times = [("started", &seen.started_at), ("ended", &seen.finished_at)];
        let times = times.iter().filter_map(|(what, at)| Some(format!("{what} {}", at.as_ref()?)));
        let times = times.collect::<Vec<_>>().join(", ");
        lines.extend(Some(times).filter(|text| !text.is_empty()));
        lines.extend(seen.error.iter().map(|error| format!("the engine said: {error}")));
    }
    if let Some(heard) = it.heard {
        lines.push(format!("agent last heard {} before", took(it.at.since(heard))));
    }
    lines.extend(it.missing.iter().map(|why| format!("not known: {why}")));
    lines
}
