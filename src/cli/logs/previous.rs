//! `logs --previous`: what the containers before the present ones left.

use super::{SEARCHED, write};
use crate::api::record::RecordKind;
use crate::cli::context::note;
use crate::cli::failure::Failure;
use crate::cli::ps;
use crate::cli::render::one_line;
use crate::client::Client;
use crate::exit::Exit;
use crate::fleet::view::{FleetView, JobView, RunnerView};
use crate::ids::{AttemptNo, IncarnationId, JobId};
use crate::post_mortems::PostMortem;
use crate::units::Time;

/// Post-mortems of a slot that are looked through: the first may be that of the present container.
const POST_MORTEMS: usize = 2;

/// What is known of a slot's container before the present one.
#[derive(Debug, PartialEq)]
struct Previous {
    incarnation: IncarnationId,
    /// The job that it had, and which attempt of it.
    job: Option<(JobId, AttemptNo)>,
    /// Why it went, if it failed.
    post_mortem: Option<PostMortem>,
}

/// Shows what each runner's container before the present one left.
pub(super) async fn show(
    client: &mut Client,
    names: &[String],
    since: Time,
) -> Result<Exit, Failure> {
    let fleet: FleetView = client.get("/api/v1/fleet").await?;
    let runners = ps::find_all(&fleet, names)?;
    let jobs: Vec<JobView> = client.get(&format!("/api/v1/jobs?limit={SEARCHED}")).await?;
    for runner in runners {
        let path = format!("/api/v1/runners/{}/post-mortems?limit={POST_MORTEMS}", runner.id);
        let left: Vec<PostMortem> = client.get(&path).await?;
        let found = find(runner, &jobs, left).ok_or_else(|| nothing(&runner.name))?;
        tell(client, &runner.name, found, since).await?;
    }
    Ok(Exit::Done)
}

/// The newest container before the present one that left something.
fn find(runner: &RunnerView, jobs: &[JobView], left: Vec<PostMortem>) -> Option<Previous> {
    let is_before = |it: IncarnationId| runner.incarnation.is_none_or(|present| it < present);
    let attempts = jobs.iter().flat_map(|job| job.attempts.iter().map(move |it| (job.id, it)));
    let here = attempts.filter(|(_, it)| it.slot == runner.id && is_before(it.incarnation));
    let newest = here.max_by_key(|(_, it)| (it.incarnation, it.given_at));
    let post_mortem = left.into_iter().filter(|it| is_before(it.incarnation));
    let post_mortem = post_mortem.max_by_key(|it| it.incarnation);
    let by_job = newest.as_ref().map(|(_, it)| it.incarnation);
    let by_death = post_mortem.as_ref().map(|it| it.incarnation);
    let incarnation = by_job.max(by_death)?;
    let newest = newest.filter(|(_, it)| it.incarnation == incarnation);
    Some(Previous {
        incarnation,
        job: newest.map(|(job, it)| (job, it.number)),
        post_mortem: post_mortem.filter(|it| it.incarnation == incarnation),
    })
}

fn nothing(runner: &str) -> Failure {
    let what = format!("nothing is left of a container of {runner} before the present one");
    Failure::new(Exit::NotFound, what)
        .help(format!("`slate-fleet events` tells what became of {runner}"))
}

async fn tell(
    client: &mut Client,
    runner: &str,
    found: Previous,
    since: Time,
) -> Result<(), Failure> {
    match found.job {
        Some((job, attempt)) => {
            note(&format!("{runner} before ({}): {job}, attempt {attempt}", found.incarnation));
            output(client, job, attempt, since).await?;
        }
        None => note(&format!("{runner} before ({}): it had no job", found.incarnation)),
    }
    let Some(it) = found.post_mortem else { return Ok(()) };
    note(&format!("it went: {}", one_line(&it.summary)));
    if !it.log.is_empty() {
        note("the last lines of the runner itself:");
        it.log.iter().for_each(|line| note(&format!("  {}", one_line(line))));
    }
    Ok(())
}

/// Prints what one attempt wrote.
async fn output(
    client: &mut Client,
    job: JobId,
    wanted: AttemptNo,
    since: Time,
) -> Result<(), Failure> {
    let mut records = client.records(&format!("/api/v1/jobs/{job}/logs")).await?;
    let mut attempt = AttemptNo(1);
    while let Some(record) = records.next().await? {
        match record.kind {
            RecordKind::Attempt => {
                let number = <[u8; 4]>::try_from(record.bytes.as_slice());
                attempt = number.map_or(attempt, |it| AttemptNo(u32::from_le_bytes(it)));
            }
            RecordKind::Stdout | RecordKind::Stderr if attempt == wanted && record.at >= since => {
                write(record.kind, &record.bytes)?;
            }
            RecordKind::Stdout | RecordKind::Stderr | RecordKind::Job | RecordKind::End => {}
        }
    }
    Ok(())
}
