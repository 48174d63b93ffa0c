//! `explain`: why a job waits or failed, a runner died, or a pool is too small.

use clap::Args;

use super::context::{Context, Format, print};
use super::failure::Failure;
use super::{clock, render, suggest};
use crate::api::explain::Explanation;
use crate::client::Client;
use crate::exit::Exit;
use crate::fleet::forge::ForgeJobView;
use crate::fleet::view::FleetView;

/// Tell why a job waits or failed, why a runner died, or what a pool lacks
///
/// JOB: where it stands, who is before it, its attempts and whose fault each end was, what is left
/// of runners that died under it, its last lines, and what to do. RUNNER: its state, its back-off
/// and its last post-mortem. POOL: its size, its runners and what waits for it. PAGE: a job or a
/// run at GitHub, by its address; its number does, too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet explain job-42\n  \
                        slate-fleet explain slate-light-01\n  slate-fleet explain light\n  \
                        slate-fleet explain https://github.com/acme/site/actions/runs/7/job/9\n  \
                        slate-fleet explain job-42 --format json")]
pub(super) struct ExplainArgs {
    /// What is to be explained
    #[arg(value_name = "JOB|RUNNER|POOL|PAGE")]
    name: String,
    /// How it is printed
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

impl ExplainArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        let explanation = ask(&mut client, &self.name).await?;
        let text = render::machine_one(self.format, &explanation)
            .unwrap_or_else(|| render::explain::text(&explanation, clock::now()));
        print(&text)?;
        Ok(Exit::Done)
    }
}

async fn ask(client: &mut Client, name: &str) -> Result<Explanation, Failure> {
    if name.contains("://") {
        return ask_page(client, name).await;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || !name.chars().all(plain) {
        return Err(unknown(client, name).await);
    }
    match client.get(&format!("/api/v1/explain/{name}")).await.map_err(Failure::from) {
        Err(failure) if failure.exit() == Exit::NotFound => Err(match is_job(name) {
            true => failure.help(
                "`slate-fleet jobs` lists the newest ones, `slate-fleet jobs --forge` GitHub's",
            ),
            false => unknown(client, name).await,
        }),
        answer => answer,
    }
}

/// What a page at a forge is about: a job, or a run.
async fn ask_page(client: &mut Client, page: &str) -> Result<Explanation, Failure> {
    let number = number_in(page).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("`{page}` is the page of no job and of no run"))
            .help("a job's page ends in `/actions/runs/NUMBER/job/NUMBER`")
    })?;
    let path = format!("/api/v1/explain/{number}?forge=true");
    match client.get(&path).await.map_err(Failure::from) {
        Err(failure) if failure.exit() == Exit::NotFound => {
            let jobs: Vec<ForgeJobView> = client.get("/api/v1/forge/jobs?limit=1000").await?;
            let known: Vec<String> = jobs.iter().map(|it| it.job.id.to_string()).collect();
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            Err(suggest::no_such("job or run at a forge", number, &known))
        }
        answer => answer,
    }
}

/// The job's number in the address of its page, or that of the run if it names no job.
fn number_in(page: &str) -> Option<&str> {
    let path = page.split(['?', '#']).next().unwrap_or(page);
    let parts: Vec<&str> = path.split('/').collect();
    let after = |words: &[&str]| {
        let mut pairs = parts.iter().zip(parts.iter().skip(1));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        pairs.find(|(word, next)| words.contains(word) && is_number(next)).map(|(_, next)| *next)
    };
    after(&["job", "jobs"]).or_else(|| after(&["runs"]))
}

fn is_job(name: &str) -> bool {
    name.starts_with("job-") || name.bytes().all(|byte| byte.is_ascii_digit())
}

/// There is no such thing; with what was probably meant.
async fn unknown(client: &mut Client, name: &str) -> Failure {
    let fleet: FleetView = match client.get("/api/v1/fleet").await {
        Ok(fleet) => fleet,
        Err(error) => return error.into(),
    };
    let runners = fleet.runners.iter().map(|runner| runner.name.as_str());
    let pools = fleet.pools.iter().map(|pool| pool.name.as_str());
    let names: Vec<&str> = pools.chain(runners).collect();
    suggest::no_such("job, runner or pool", name, &names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_page_has_the_number() {
        let run = "https://github.com/acme/site/actions/runs/77";
        assert_eq!(number_in(run), Some("77"));
        assert_eq!(number_in(&format!("{run}/job/99?pr=3#step:4:1")), Some("99"));
        assert_eq!(number_in("https://git.lan/acme/site/actions/runs/5/jobs/0"), Some("0"));
        assert_eq!(number_in("https://github.com/acme/site"), None);
        assert_eq!(number_in("https://github.com/acme/job/../x"), None);
    }
}
