//! Placement on thousands of hosts beside published heuristics, as Markdown tables.
//!
//! `cargo bench --bench placement` takes minutes; `-- --test` a second. Every contender gets the
//! same tasks in the same order. What it says is checked against a book of the bench's own.
//! The time is that of the decisions alone, on one core.
#![cfg(feature = "fleet")]

mod openb;
mod rivals;
mod runs;

use std::error::Error;

use clap::Parser;

use crate::openb::Shape;
use crate::rivals::Rule;
use crate::runs::{Outcome, Setting, Who};

#[derive(Parser)]
struct Options {
    /// Hosts of 8 cards.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 5000])]
    hosts: Vec<usize>,
    /// Runs of which the mean is printed.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// A few hosts, once: to see that it works.
    #[arg(long)]
    test: bool,
    /// Only the contenders whose names contain this.
    #[arg(long)]
    only: Option<String>,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut options = Options::parse();
    if options.test {
        (options.hosts, options.seeds) = (vec![40], 1);
    }
    for hosts in &options.hosts {
        for shape in Shape::ALL {
            println!("\n### {hosts} hosts, {}: filled to 130%\n", title(shape));
            println!(
                "| heuristic | unallocated | turned away | fragmented at 50% | 80% | 100% | 130% \
                 | decisions/s |\n|---|---:|---:|---:|---:|---:|---:|---:|"
            );
            table(&options, *hosts, shape, Setting::fill)?;
        }
        println!("\n### {hosts} hosts, {}: tasks come and leave\n", title(Shape::Roomy));
        println!("| heuristic | unallocated | turned away | decisions/s |\n|---|---:|---:|---:|");
        table(&options, *hosts, Shape::Roomy, Setting::churn)?;
    }
    Ok(())
}

fn title(shape: Shape) -> &'static str {
    match shape {
        Shape::Roomy => "128 CPUs for 8 cards",
        Shape::Tight => "96 CPUs for 8 cards",
        Shape::Parts => "three times the parts of cards",
        Shape::Several => "twenty times the several cards",
    }
}

type Run = fn(Setting, Who) -> Result<Outcome, slate_fleet::fleet::cluster::Unfit>;

fn table(options: &Options, hosts: usize, shape: Shape, run: Run) -> Result<(), Box<dyn Error>> {
    let all = [Who::Ours, Who::Scan].into_iter().chain(Rule::ALL.map(Who::Rival));
    let chosen = |who: &Who| options.only.as_ref().is_none_or(|part| who.name().contains(part));
    for who in all.filter(chosen) {
        let mut outcomes = Vec::new();
        for seed in 0..options.seeds {
            outcomes.push(run(Setting { shape, hosts, seed }, who)?);
        }
        row(who, &outcomes);
    }
    Ok(())
}

fn row(who: Who, outcomes: &[Outcome]) {
    let count = u32::try_from(outcomes.len()).unwrap_or(u32::MAX);
    let mean =
        |of: &dyn Fn(&Outcome) -> f64| outcomes.iter().map(of).sum::<f64>() / f64::from(count);
    let tasks: u64 = outcomes.iter().map(|it| it.tasks).sum();
    let nanos: u128 = outcomes.iter().map(|it| it.took.as_nanos()).sum();
    let speed = u128::from(tasks) * 1_000_000_000 / nanos.max(1);
    print!("| {} ", who.name());
    print!("| {:.2}% ", 100.0 * mean(&|it| it.unallocated));
    print!("| {:.2}% ", 100.0 * mean(&|it| it.refused));
    let waves = outcomes.first().map_or(0, |it| it.fragmented.len());
    for wave in 0..waves {
        let at = |it: &Outcome| it.fragmented.get(wave).copied().unwrap_or(0.0);
        print!("| {:.2}% ", 100.0 * mean(&at));
    }
    println!("| {speed} |");
}
