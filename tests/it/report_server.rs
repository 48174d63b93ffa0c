//! Reports in a browser's place: what a hostile one is allowed, and what the lists say.

use serde_json::Value;

use crate::fleet::{Fleet, NO_SPARE};
use crate::http::over_port;
use crate::process::{self, wait_until};

const SERVED: &str = "reports: {listen: '127.0.0.1:0', keep: 30d}\n";

/// Writes a page that would act on the API, results, and a link out of the store.
const LEAVE: &str = r#"cd $SLATE_REPORTS && mkdir -p html/data
printf '<!doctype html><script src=data/a.js></script>' >html/index.html
printf 'fetch("http://127.0.0.1:7373/api/v1/down", {method: "POST"})' >html/data/a.js
printf '<testsuite><testcase name="a">' >broken.xml
printf '<testsuite><testcase name="a"/><testcase name="b"><failure message="no"/>' >junit.xml
printf '</testcase></testsuite>' >>junit.xml
printf '{"runs": [{"results": [{"level": "error", "message": {"text": "bad"}}]}]}' >lint.sarif
ln -s /etc/passwd passwd; ln -s / root"#;

fn leave(fleet: &Fleet) {
    let head = ["run", "--no-workspace", "--workflow", "nightly", "--run-id", "42", "--"];
    fleet.cli(&[&head[..], &["sh", "-c", LEAVE]].concat()).ok();
}

/// The address and port that the run's URL names, and its path.
fn address(fleet: &Fleet) -> (String, String) {
    let url = || fleet.cli(&["reports", "nightly", "42", "-q"]).ok().word();
    wait_until("the report server listens", || url().starts_with("http://localhost:"));
    let url = url();
    let (place, path) = url["http://".len()..].split_once('/').expect("a path");
    (place.to_owned(), format!("/{path}"))
}

#[test]
fn a_run_is_listed_with_its_results_and_served_to_browsers() {
    let fleet = Fleet::up(&format!("{NO_SPARE}{SERVED}"));
    leave(&fleet);
    let (place, path) = address(&fleet);
    assert_eq!(path, "/reports/nightly/42/");
    let port = format!("127.0.0.1:{}", place.rsplit(':').next().expect("a port"));
    let get = |path: &str| over_port(&port, &place, path).expect("an answer");

    let table = fleet.cli(&["reports"]).ok();
    for words in ["nightly", "1 failed, 1 passed", "1 error", &place] {
        assert!(table.out().contains(words), "no `{words}` in {table}");
    }
    let told = fleet.cli(&["reports", "nightly", "42"]).ok();
    for words in ["b: no", "bad", "not read: broken.xml"] {
        assert!(told.out().contains(words), "no `{words}` in {told}");
    }
    fleet.cli(&["reports", "nightyl"]).expect_code(6);
    fleet.cli(&["reports", "nightly", "43"]).expect_code(6);

    let run = get(&path);
    assert_eq!(run.status, 200);
    for words in ["1 failed", "Open html", "junit.xml"] {
        assert!(run.body.contains(words), "no `{words}` in {}", run.body);
    }
    assert!(!run.body.contains("passwd") && !run.body.contains("root"), "{}", run.body);
    for out in ["passwd", "root/etc/passwd", "../../../etc/passwd", "%2e%2e/%2e%2e/x"] {
        let answer = get(&format!("{path}{out}"));
        assert!(answer.status >= 300 && !answer.body.contains("root:"), "{out}: {answer:?}");
    }
    let list: Value = get("/reports/?format=json").json();
    assert_eq!(list["runs"][0]["tests"]["failed"], 1, "{list:#}");
}

#[test]
fn a_hostile_page_has_an_origin_of_its_own_and_the_api_refuses_it() {
    let fleet = Fleet::new(&format!("{NO_SPARE}{SERVED}"));
    let api = crate::http::free_address();
    let mut up = fleet.command(&["up", "-d"]);
    up.env("SLATE_LISTEN", &api);
    process::run(up).ok();
    leave(&fleet);
    let (place, path) = address(&fleet);
    let port = format!("127.0.0.1:{}", place.rsplit(':').next().expect("a port"));
    let page = over_port(&port, &place, &format!("{path}html/")).expect("an answer");
    assert_eq!(page.status, 302, "a page by the lists' own name: {page:?}");
    let list = over_port(&port, &place, &path).expect("an answer").body;
    let at = list.find("//r-").expect("the run's own name");
    let origin = list[at + 2..].split('/').next().expect("a host").to_owned();
    let shown = over_port(&port, &origin, &format!("{path}html/")).expect("an answer");
    assert!(shown.status == 200 && shown.body.contains("data/a.js"), "{shown:?}");
    let script = over_port(&port, &origin, &format!("{path}html/data/a.js")).expect("an answer");
    assert_eq!(script.status, 200);
    // As the page would ask, if its own policy let it.
    for (host, path) in [(api.as_str(), "/api/v1/down"), (&origin, "/api/v1/down")] {
        let asked = crate::http::post_from(&api, host, path, &format!("http://{origin}"));
        assert!((400..500).contains(&asked.status), "{host}: {asked:?}");
    }
    assert_eq!(fleet.cli(&["ps", "-q"]).ok().lines().len(), 1, "the fleet is still up");
}
