//! Health: of the supervisor over socket and port, of runners by CLI, API and `docker inspect`.

use crate::docker::{docker, inspect};
use crate::fleet::{Fleet, NO_SPARE};
use crate::http::{free_address, over_port, over_socket};
use crate::process::{self, wait_until};

#[test]
fn the_supervisor_says_over_its_socket_that_it_is_well_and_ready() {
    let fleet = Fleet::up(NO_SPARE);
    let socket = fleet.path(".slate/api.sock");
    let answer = over_socket(&socket, "/healthz");
    assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("ok")));
    let answer = over_socket(&socket, "/readyz");
    assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("ready")));
    assert_eq!(fleet.cli(&["healthz"]).ok().word(), "ok");
    assert_eq!(fleet.cli(&["healthz", "--ready"]).ok().word(), "ready");
}

#[test]
fn a_fleet_that_is_not_ready_says_what_is_missing() {
    let fleet = Fleet::new("image: no-such-image:1\npools: [{name: light, profile: light}]\n");
    fleet.cli(&["up", "-d", "--timeout", "1s"]).expect_code(3);
    assert_eq!(over_socket(&fleet.path(".slate/api.sock"), "/healthz").status, 200);
    let answer = over_socket(&fleet.path(".slate/api.sock"), "/readyz");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("no-such-image:1"), "{answer:?}");
    fleet.cli(&["healthz"]).ok();
    fleet.cli(&["healthz", "--ready"]).expect_code(8);
}

#[test]
fn the_port_of_slate_listen_shows_health_and_nothing_of_jobs() {
    let fleet = Fleet::new(NO_SPARE);
    let address = free_address();
    let mut up = fleet.command(&["up", "-d"]);
    up.env("SLATE_LISTEN", &address);
    process::run(up).ok();
    let get = |path: &str| over_port(&address, "localhost", path).expect("an answer");
    assert_eq!(get("/healthz").status, 200);
    assert_eq!(get("/readyz").status, 200);
    assert_eq!(get("/api/runners").json()["total_runners"], 1);
    assert_eq!(get("/api/v1/jobs").status, 401, "jobs take a token");
    let rebound = over_port(&address, "evil.example", "/healthz").expect("an answer");
    assert_eq!(rebound.status, 403);
}

#[test]
fn an_address_that_others_can_reach_is_refused() {
    let fleet = Fleet::new(NO_SPARE);
    let mut up = fleet.command(&["up", "-d"]);
    up.env("SLATE_LISTEN", "0.0.0.0:8099");
    let refused = process::run(up);
    assert_ne!(refused.code, 0);
    assert!(refused.err().contains("0.0.0.0:8099, which others can reach"), "{refused}");
}

#[test]
fn a_runners_health_can_be_asked_by_cli_and_api() {
    let fleet = Fleet::up(NO_SPARE);
    assert_eq!(fleet.runners()[0]["health"], "healthy");
    let wide = fleet.cli(&["ps", "--format", "wide"]).ok().out();
    assert!(wide.contains("healthy"), "{wide}");
    let name = format!("{}-light-01", fleet.project);
    let ask = |name: &str| {
        over_socket(&fleet.path(".slate/api.sock"), &format!("/api/v1/runners/{name}/health"))
    };
    assert_eq!(ask(&name).json()["health"], "healthy");
    assert_eq!(ask("runner-001").json()["health"], "healthy");
    assert_eq!(ask("runner-099").status, 404);
    let inside = docker(&["exec", &fleet.containers()[0], "/.slate/slate-runner", "health"]);
    assert!(inside.ok().word().starts_with("healthy"), "the agent's own word");
}

#[test]
fn docker_shows_the_health_of_runners_whose_pool_asks_for_it() {
    let fleet = Fleet::up("pools: [{name: light, profile: light, spares: 0, healthcheck: 1s}]\n");
    let container = fleet.containers()[0].clone();
    wait_until("docker calls it healthy", || {
        inspect(&container)["State"]["Health"]["Status"] == "healthy"
    });
    let without = Fleet::beside(NO_SPARE);
    without.cli(&["up", "-d"]).ok();
    assert!(inspect(&without.containers()[0])["State"]["Health"].is_null(), "it costs an exec");
}
