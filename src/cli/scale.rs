//! `scale`: another number of runners, until the next `up` or for a time.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use super::context::Context;
use super::failure::Failure;
use super::follow::{Goal, follow_until};
use super::{clock, suggest};
use crate::api::dto::{Accepted, ScaleBody};
use crate::exit::Exit;
use crate::fleet::event::ScaleTarget;
use crate::fleet::view::FleetView;

/// Set the number of runners until the next `up`, or for a time
///
/// A busy runner ends its job before it goes. A pool that follows its queue does so again when the
/// time is over; what it has then goes as it falls idle.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet scale 30                  30 runners in all, in \
                        the file's proportions\n  slate-fleet scale standard=20 light=6   \
                        these pools, or the pools of these profiles\n  \
                        slate-fleet scale light=0 --no-wait\n  slate-fleet scale \
                        default=8 --for 2h    then the pool follows its queue again")]
pub(super) struct ScaleArgs {
    /// A number for the whole fleet, or POOL=NUMBER for single pools
    #[arg(required = true, value_name = "N | POOL=N")]
    targets: Vec<String>,
    /// How long the number holds; until the next `up` if it is not given
    #[arg(long = "for", value_name = "DURATION", value_parser = clock::parse_duration)]
    lasting: Option<Duration>,
    /// Do not wait until the runners are there
    #[arg(long)]
    no_wait: bool,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "5m",
          value_parser = clock::parse_duration)]
    timeout: Duration,
}

impl ScaleArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let target = parse_target(&self.targets)?;
        let mut client = context.connect().await?;
        check_names(&target, &client.get("/api/v1/fleet").await?)?;
        let _: Accepted = client.post("/api/v1/scale", &body(target, self.lasting)).await?;
        match self.no_wait {
            true => Ok(Exit::Done),
            false => follow_until(context, Goal::Ready, self.timeout).await,
        }
    }
}

/// Parts of a second are rounded up: a time that is given never is none.
fn body(target: ScaleTarget, lasting: Option<Duration>) -> ScaleBody {
    let for_seconds =
        lasting.map(|span| span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0)));
    match target {
        ScaleTarget::Total(total) => {
            ScaleBody { total: Some(total), for_seconds, ..ScaleBody::default() }
        }
        ScaleTarget::Pools(pools) => {
            ScaleBody { pools: Some(pools), for_seconds, ..ScaleBody::default() }
        }
    }
}

fn parse_target(targets: &[String]) -> Result<ScaleTarget, Failure> {
    let wrong = |text: &str| {
        Failure::new(Exit::Usage, format!("`{text}` is neither a number nor POOL=NUMBER"))
            .help("`slate-fleet scale 30`, or `slate-fleet scale standard=20 light=6`")
    };
    if let [total] = targets
        && !total.contains('=')
    {
        return total.parse().map(ScaleTarget::Total).map_err(|_| wrong(total));
    }
    let mut pools = BTreeMap::new();
    for text in targets {
        let (pool, number) = text.split_once('=').ok_or_else(|| wrong(text))?;
        let number = number.parse().map_err(|_| wrong(text))?;
        if pools.insert(pool.to_owned(), number).is_some() {
            return Err(Failure::new(Exit::Usage, format!("`{pool}` is named twice")));
        }
    }
    Ok(ScaleTarget::Pools(pools))
}

fn check_names(target: &ScaleTarget, fleet: &FleetView) -> Result<(), Failure> {
    let ScaleTarget::Pools(pools) = target else { return Ok(()) };
    let names: Vec<&str> =
        fleet.pools.iter().flat_map(|pool| [pool.name.as_str(), pool.profile.as_str()]).collect();
    match pools.keys().find(|pool| !names.contains(&pool.as_str())) {
        Some(wrong) => Err(suggest::no_such("pool", wrong, &names)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(texts: &[&str]) -> Result<ScaleTarget, Exit> {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        parse_target(&texts).map_err(|failure| failure.exit())
    }

    #[test]
    fn a_number_is_the_whole_fleet_and_pairs_are_pools() {
        assert_eq!(parsed(&["30"]), Ok(ScaleTarget::Total(30)));
        let pools = BTreeMap::from([("light".to_owned(), 6), ("standard".to_owned(), 20)]);
        assert_eq!(parsed(&["standard=20", "light=6"]), Ok(ScaleTarget::Pools(pools)));
        for wrong in [&["x"][..], &["30", "40"], &["a=1", "a=2"], &["a="], &["-1"]] {
            assert_eq!(parsed(wrong), Err(Exit::Usage), "{wrong:?}");
        }
    }
}
