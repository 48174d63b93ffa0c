//! `pause`, and the pools of `resume`: where nothing begins.

use clap::Args;

use super::context::{Context, note};
use super::failure::Failure;
use super::suggest;
use crate::api::dto::{Accepted, PauseBody};
use crate::client::Client;
use crate::exit::Exit;
use crate::fleet::event::Cordon;
use crate::fleet::view::FleetView;
use crate::ids::PoolName;

/// Let nothing begin in pools; what runs there goes on
///
/// No job starts there, and the pool neither grows nor shrinks, until `resume` opens it again.
/// Idle runners stay; those of a forge leave its list first, since it would give them jobs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet pause standard\n  \
                        slate-fleet pause            the whole fleet\n  \
                        slate-fleet resume           opens all of it again")]
pub(super) struct PauseArgs {
    /// Pools by name; every pool if none is named
    #[arg(value_name = "POOL")]
    pools: Vec<String>,
}

impl PauseArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        let fleet: FleetView = client.get("/api/v1/fleet").await?;
        let named: Vec<PoolName> = match self.pools.is_empty() {
            true => fleet.pools.iter().map(|pool| pool.name.clone()).collect(),
            false => self.pools.iter().map(|name| find(&fleet, name)).collect::<Result<_, _>>()?,
        };
        turn(&mut client, &named, Cordon::Closed).await?;
        Ok(Exit::Done)
    }
}

/// The pool of this name.
pub(super) fn find(fleet: &FleetView, name: &str) -> Result<PoolName, Failure> {
    let names: Vec<&str> = fleet.pools.iter().map(|pool| pool.name.as_str()).collect();
    let found = fleet.pools.iter().find(|pool| pool.name.as_str() == name);
    found.map(|pool| pool.name.clone()).ok_or_else(|| suggest::no_such("pool", name, &names))
}

/// Pauses pools or opens them, and says so.
pub(super) async fn turn(
    client: &mut Client,
    pools: &[PoolName],
    to: Cordon,
) -> Result<(), Failure> {
    let body = PauseBody { pools: pools.iter().map(ToString::to_string).collect(), to };
    let Accepted::Accepted = client.post("/api/v1/pause", &body).await?;
    let what = match to {
        Cordon::Closed => "paused; what runs there goes on",
        Cordon::Open => "open for jobs",
    };
    let names: Vec<&str> = pools.iter().map(PoolName::as_str).collect();
    note(&format!("{}: {what}", names.join(", ")));
    Ok(())
}
