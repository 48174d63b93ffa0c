//! Reports in a real browser: what a hostile one tries beside a dashboard that is signed in, and
//! that an honest one, of the kind that test runners make, works.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use slate_fleet::api::report_site::{Site, bind, serve};
use slate_fleet::reports::Store;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::Stage;
use super::fleets::workstation;

macro_rules! files {
    ($folder:literal, $($name:literal),+) => {
        [$(($name, include_str!(concat!("../../data/reports/", $folder, "/", $name)))),+]
    };
}

/// What a hostile job left.
const HOSTILE: [(&str, &str); 3] = files!("hostile", "index.html", "attack.js", "worker.js");
/// What a test runner leaves, but for its pictures and archives.
const HONEST: [(&str, &str); 5] =
    files!("honest", "index.html", "report.js", "report.css", "trace/index.html", "trace/sw.js");
/// An archive with nothing in it.
const ARCHIVE: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// A picture of one pixel.
const PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAA\
                       AABJRU5ErkJggg==";

/// A report server with a hostile and an honest run.
struct Reports {
    folder: TempDir,
    /// Where its lists are.
    lists: String,
    task: JoinHandle<()>,
}

impl Drop for Reports {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reports {
    async fn serve() -> Self {
        use base64::Engine as _;
        let folder = tempfile::tempdir().expect("a folder");
        for (run, files) in [("ci/7", &HOSTILE[..]), ("ci/8", &HONEST[..])] {
            for (name, text) in files {
                write(&folder.path().join(run).join(name), text.as_bytes());
            }
        }
        let picture = base64::engine::general_purpose::STANDARD.decode(PICTURE).expect("base64");
        write(&folder.path().join("ci/8/data/shot.png"), &picture);
        write(&folder.path().join("ci/8/data/trace.zip"), ARCHIVE);
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a port");
        let lists = format!("http://localhost:{}", listener.local_addr().expect("it").port());
        let site = Site::new(Store::new(folder.path().to_owned()), None);
        let task = tokio::spawn(serve(listener, site));
        Self { folder, lists, task }
    }

    /// The address of a run's own page, as its list names it.
    fn page_of(&self, stage: &Stage, run: &str) -> String {
        stage.browser.open(&format!("{}/reports/{run}/", self.lists));
        let link = stage.browser.eval("return document.querySelector('.open a').href");
        link.as_str().expect("a link to the report").to_owned()
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, bytes).expect("written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_report_gets_nothing_of_the_fleet_of_other_runs_or_of_its_reader() {
    let reports = Reports::serve().await;
    let stage = Stage::open(Some("operator"), workstation).await;
    let page = &stage.browser;
    let other = reports.page_of(&stage, "ci/8");
    let label = other.trim_start_matches("http://").split('.').next().expect("a name");
    let hostile = reports.page_of(&stage, "ci/7");
    let start = format!("{hostile}?api={}&other={label}", stage.address);
    // Beside its list, as somebody opens it in a tab of its own.
    page.eval(&format!("window.open({})", json!(start)));
    page.follow_to("attack.js is at work", &start);
    page.wait("all was tried", "return window.finished === true");
    let results = page.eval("return window.results");
    let results = results.as_object().expect("what came of each");
    assert!(results.len() > 35, "only {} things were tried", results.len());
    for (attack, outcome) in results {
        let outcome = outcome.as_str().unwrap_or_default();
        assert!(outcome.starts_with("refused: "), "{attack}: {outcome}");
    }
    assert_eq!(stage.asked(), [], "nothing was asked of the fleet");

    // The dashboard that it opened is its reader's own, and nobody holds the other.
    page.follow_to("the dashboard", &format!("http://{}/", stage.address));
    page.wait_for_text("#sentence", "All 45 runners are fine");
    assert_eq!(page.eval("return window.opener"), Value::Null);
    assert_eq!(page.eval("return document.cookie"), "");
    let worker = "return navigator.serviceWorker.controller";
    assert_eq!(page.eval(worker), Value::Null, "its worker serves no page but its own");

    // Its worker is there, and nobody else meets it.
    page.open(&hostile);
    page.wait_for_text("body", "taken over");
    page.open(&format!("{}/reports/", reports.lists));
    page.wait_for_text("body", "ci");
    assert_eq!(page.eval(worker), Value::Null);
    page.open(&other);
    page.wait("another run shows its own page", "return window.works !== undefined");
    assert!(reports.folder.path().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_of_a_test_runner_works_as_its_maker_wants() {
    let reports = Reports::serve().await;
    let stage = Stage::open(None, |_| ()).await;
    let page = &stage.browser;
    let address = reports.page_of(&stage, "ci/8");
    page.click(".open a");
    page.wait("it has done what it does", "return window.works !== undefined");
    let works = json!({
        "inline": true,
        "styles": ["rgb(10, 20, 30)", "rgb(40, 50, 60)"],
        "picture": 1,
        "storage": "dark",
        "results": "200 PK 22",
        "trace": "200 PK 22",
        "part": [206, [80, 75]],
        "code": 2,
        "worker": 42,
    });
    assert_eq!(page.eval("return window.works"), works);
    page.open(&format!("{address}trace/index.html?trace=../data/trace.zip"));
    page.wait("its trace is shown", "return window.snapshot === 'as it was'");
    assert_eq!(page.eval("return window.archived"), "22");
    let complaints = page.complaints();
    assert!(complaints.is_empty(), "{complaints:?}");
}
