//! `up`: brings the fleet to its file, and keeps it there.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::border::Intent;
use super::clock;
use super::context::{Context, note};
use super::failure::Failure;
use super::follow::{Goal, follow_until};
use super::host::{self, Host};
use super::interrupt::{Interrupt, Interrupts};
use crate::api::dto::{Accepted, DownBody};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::fleet::event::DownMode;
use crate::spec::Spec;
use crate::state_dir::StateDir;

/// Bring the fleet up, or to what the file says now
///
/// Without `-d` it supervises until Ctrl-C: once drains (running jobs end, then the runners are
/// removed), twice removes at once, a third time leaves everything as it is. A termination signal
/// ends only the supervisor; the runners go on, and the next `up` adopts them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet up -d                       leave a supervisor \
                        in the background\n  slate-fleet up -d --timeout 2m\n  \
                        slate-fleet up -d --listen 127.0.0.1:7373\n  slate-fleet up      \
                                             supervise until Ctrl-C")]
pub(super) struct UpArgs {
    /// Leave a supervisor in the background
    #[arg(short, long)]
    detach: bool,
    /// How long to wait until every runner is ready
    #[arg(long, value_name = "DURATION", default_value = "5m",
          value_parser = clock::parse_duration)]
    timeout: Duration,
    /// Where the API and the dashboard are reached, instead of what the fleet file says
    #[arg(long, value_name = "ADDRESS", env = "SLATE_LISTEN")]
    listen: Option<SocketAddr>,
    /// Where GitHub's API is, instead of what the fleet file says; for tests
    #[arg(long, value_name = "URL", env = "SLATE_GITHUB_API_URL", value_parser = api_url)]
    github_api_url: Option<String>,
}

fn api_url(text: &str) -> Result<String, String> {
    let url = text.trim_end_matches('/');
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    match host.is_some_and(|host| !host.is_empty() && !host.contains(char::is_whitespace)) {
        true => Ok(url.to_owned()),
        false => Err("write a URL such as `https://github.example.com/api/v3`".to_owned()),
    }
}

impl UpArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut spec = context.spec()?;
        if let Some(url) = &self.github_api_url {
            spec.forge.github_api = Some(url.clone());
        }
        let state = context.state_dir()?;
        match Client::connect(&state).await {
            Ok(client) => self.apply(context, client, &spec).await,
            Err(ClientError::NotUp { .. }) if self.detach => {
                let mut host =
                    host::start_detached((&state, context.gpu_sources()?), &spec, self.listen)?;
                host.ready(&state, self.timeout).await?;
                follow_until(context, Goal::Ready, self.timeout).await
            }
            Err(ClientError::NotUp { .. }) => self.supervise(context, state, spec).await,
            Err(error) => Err(error.into()),
        }
    }

    /// A supervisor runs already: it gets the file as it is now.
    async fn apply(
        &self,
        context: &Context,
        mut client: Client,
        spec: &Spec,
    ) -> Result<Exit, Failure> {
        let listen = self.listen.map(|address| format!("?listen={address}")).unwrap_or_default();
        let _: Accepted = client.put(&format!("/api/v1/spec{listen}"), spec).await?;
        let exit = follow_until(context, Goal::Ready, self.timeout).await?;
        if !self.detach {
            note("a supervisor runs in the background already; it has the file as it is now");
        }
        Ok(exit)
    }

    async fn supervise(
        &self,
        context: &Context,
        state: StateDir,
        spec: Spec,
    ) -> Result<Exit, Failure> {
        let mut interrupts = Interrupts::new()?;
        let mut host = host::start_here(
            (&state, context.gpu_sources()?),
            Some(spec),
            Intent::Supervise,
            self.listen,
        )?;
        host.ready(&state, self.timeout).await?;
        let Host::Here(mut here) = host else { return Ok(Exit::Done) };
        let follow = follow_until(context, Goal::Ready, self.timeout);
        tokio::pin!(follow);
        let mut count = 0;
        let mut following = true;
        loop {
            tokio::select! {
                ended = here.ended() => return ended.map(|()| Exit::Done),
                followed = &mut follow, if following => {
                    following = false;
                    match followed {
                        Ok(_) => note("the fleet is up; Ctrl-C drains and removes it"),
                        // It is not ready in time, but goes on trying: the reasons have been told.
                        Err(failure) => note(failure.render().trim_end()),
                    }
                }
                what = interrupts.next() => {
                    following = false;
                    count += 1;
                    if let Some(exit) = interrupted(what, &state, count).await? {
                        return Ok(exit);
                    }
                }
            }
        }
    }
}

/// What the nth signal does; an exit code when this process is to end now.
async fn interrupted(
    what: Interrupt,
    state: &StateDir,
    count: u32,
) -> Result<Option<Exit>, Failure> {
    let mode = match (what, count) {
        (Interrupt::Manager, _) => return Ok(Some(Exit::Done)),
        (Interrupt::Person, 0 | 1) => {
            note("draining: running jobs end, then the runners go; Ctrl-C again removes them now");
            DownMode::Drain
        }
        (Interrupt::Person, 2) => {
            note("removing the runners now; Ctrl-C again leaves everything as it is");
            DownMode::Now
        }
        (Interrupt::Person, _) => return Ok(Some(Exit::Interrupted)),
    };
    let mut client = Client::connect(state).await?;
    let _: Accepted = client.post("/api/v1/down", &DownBody { mode }).await?;
    Ok(None)
}
