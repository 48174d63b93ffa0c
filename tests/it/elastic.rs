//! A pool that follows its queue, on the real engine.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::fleet::Fleet;
use crate::process::wait_until;

const ELASTIC: &str = "pools:
  - name: light
    profile: light
    spares: 0
    min_runners: 1
    max_runners: 4
    scale_up_threshold: 2
    scale_up_delay: 1s
    scale_down_delay: 3s
";

fn pool(fleet: &Fleet) -> Value {
    fleet.view()["pools"][0].clone()
}

#[test]
fn a_burst_makes_a_pool_grow_and_afterwards_it_shrinks_and_no_job_is_lost() {
    let fleet = Fleet::up(ELASTIC);
    assert_eq!(pool(&fleet)["desired"], 1);
    let jobs: Vec<String> = (1..=8).map(|n| fleet.submit(&format!("sleep 2; echo {n}"))).collect();
    wait_until("the pool has all that it may have", || pool(&fleet)["desired"] == 4);
    let mut most = 0;
    wait_until("every job is over", || {
        most = most.max(fleet.containers().len());
        jobs.iter().all(|job| fleet.show(job)["ended_at"].is_u64())
    });
    for (job, n) in jobs.iter().zip(1..) {
        let shown = fleet.show(job);
        assert_eq!((&shown["status"], &shown["attempt"]), (&"succeeded".into(), &1.into()));
        assert_eq!(fleet.cli(&["logs", job]).ok().word(), n.to_string());
    }
    let served: BTreeSet<String> =
        jobs.iter().map(|job| fleet.show(job)["runner_name"].to_string()).collect();
    assert!(served.len() > 1, "{served:?}");
    wait_until("the pool is as small as it may be", || pool(&fleet)["desired"] == 1);
    fleet.settle(1);
    let told = fleet.events();
    for what in ["pool light grown", "pool light shrunk"] {
        assert!(told.iter().any(|event| event.contains(what)), "{what}: {told:?}");
    }
    let shown = fleet.cli(&["ps"]).ok().out();
    assert!(shown.contains("Pool light: 1 runner (1 to 4), nothing asks for more"), "{shown}");
}

#[test]
fn a_number_of_scale_ends_by_itself() {
    let fleet = Fleet::up(ELASTIC);
    fleet.cli(&["scale", "light=3", "--for", "4s"]).ok();
    assert_eq!(pool(&fleet)["desired"], 3);
    assert_eq!(pool(&fleet)["why"]["kind"], "set");
    wait_until("the pool follows its queue again", || pool(&fleet)["desired"] == 1);
    let refused = fleet.cli(&["scale", "light=5"]).expect_code(4).err();
    assert!(refused.contains("`max_runners` of the pool light (4)"), "{refused}");
}
