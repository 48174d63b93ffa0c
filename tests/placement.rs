//! Placement beside published heuristics, as the bench runs it, on few hosts.

#[path = "../benches/placement/openb.rs"]
mod openb;
#[path = "../benches/placement/rivals.rs"]
mod rivals;
#[path = "../benches/placement/runs.rs"]
mod runs;

use openb::Shape;
use rivals::Rule;
use runs::{Setting, Who};

/// The mean share of cards that nobody has, once tasks asked for 130% of them.
fn unallocated(shape: Shape, who: Who) -> f64 {
    let runs = (0..SEEDS).map(|seed| {
        let setting = Setting { shape, hosts: HOSTS, seed: seed.into() };
        setting.fill(who).expect("the mix and the hosts are sound").unallocated
    });
    runs.sum::<f64>() / f64::from(SEEDS)
}

const HOSTS: usize = 100;
const SEEDS: u32 = 3;

#[test]
fn it_leaves_at_most_2_per_cent_more_cards_unallocated_than_the_best_rival() {
    for shape in Shape::ALL {
        let ours = unallocated(shape, Who::Ours);
        let rivals = Rule::ALL.map(Who::Rival).map(|who| (unallocated(shape, who), who.name()));
        let best = rivals.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).expect("rivals");
        assert!(ours <= best.0 * 1.02, "{shape:?}: {ours}, and {best:?}");
    }
}

#[test]
fn the_index_changes_nothing_but_the_time() {
    let fill = |who| {
        let run = Setting { shape: Shape::Tight, hosts: 20, seed: 0 }.fill(who);
        let run = run.expect("the mix and the hosts are sound");
        assert!(!run.took.is_zero());
        (run.tasks, run.fragmented, run.unallocated)
    };
    assert_eq!(fill(Who::Ours), fill(Who::Scan));
}

#[test]
fn fewer_tasks_are_turned_away_than_by_first_fit_when_they_come_and_leave() {
    let failed = |who| {
        let setting = Setting { shape: Shape::Roomy, hosts: HOSTS, seed: 0 };
        setting.churn(who).expect("the mix and the hosts are sound").refused
    };
    let (ours, first) = (failed(Who::Ours), failed(Who::Rival(Rule::First)));
    assert!(ours < first, "{ours}, and first-fit {first}");
}
