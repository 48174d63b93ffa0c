//! The dashboard in a real browser, before a fleet that is played: what is hard to make for real.

#[path = "../support/browser.rs"]
pub mod browser;
mod fleets;
mod looks;
mod people;
mod reports;
mod steering;
mod trouble;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use slate_fleet::api::listen;
use slate_fleet::api::port::Port;
use slate_fleet::client::Client;
use slate_fleet::fleet::event::Request;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, interval};

use super::fake::{Fake, World};
use browser::Browser;

/// Longest wait for an address.
const PATIENCE: Duration = Duration::from_secs(20);

/// A played supervisor with a port, and a browser.
struct Stage {
    fake: Arc<Fake>,
    browser: Browser,
    /// `127.0.0.1:PORT`.
    address: String,
    server: Server,
    _folder: TempDir,
}

/// The server of the port, on threads of its own: with them end its connections, as with a process.
struct Server(Option<Runtime>);

impl Server {
    /// Serves on this address; port 0 is a free one. Tells the address that it has.
    async fn start(fake: &Fake, address: &str) -> (Self, String) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("threads");
        let (api, address) = (Arc::clone(&fake.api), address.to_owned());
        let (tell, told) = oneshot::channel();
        runtime.spawn(async move {
            let port = bind(&address).await;
            tell.send(port.address().to_string()).expect("somebody waits");
            let (_stop, stopped) = watch::channel(false);
            listen::serve_port(api, (port, 64), stopped).await;
        });
        (Self(Some(runtime)), told.await.expect("it listens"))
    }
}

/// Takes an address; one that a server before had is free only when that is gone.
async fn bind(address: &str) -> Port {
    let bound = Instant::now() + PATIENCE;
    let mut looks = interval(Duration::from_millis(5));
    loop {
        match Port::bind(address, None).await {
            Ok(port) => return port,
            Err(error) => assert!(Instant::now() < bound, "{error}"),
        }
        looks.tick().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Stage {
    /// Opens the page of this fleet, by a token of this role; without one as anybody.
    async fn open(role: Option<&str>, set: impl FnOnce(&mut World)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let fake = Fake::start(&folder.path().join("state"));
        fake.change(set);
        let (server, address) = Server::start(&fake, "127.0.0.1:0").await;
        let stage = Self { browser: Browser::start(), fake, address, server, _folder: folder };
        match role {
            Some(role) => {
                let token = stage.token(role).await;
                stage.browser.open(&format!("http://{}/#token={token}", stage.address));
            }
            None => stage.browser.open(&format!("http://{}/", stage.address)),
        }
        stage.browser.wait_for_text("#contact", "live");
        stage
    }

    /// Makes a token over the socket, as `slate-fleet dashboard` does.
    async fn token(&self, role: &str) -> String {
        let mut client = Client::connect(&self.fake.state).await.expect("the socket");
        let body = json!({"role": role, "name": "browser"});
        let made: Value = client.post("/api/v1/tokens", &body).await.expect("a token");
        made["secret"].as_str().expect("a token").to_owned()
    }

    /// Something of the fleet as it is played.
    fn of_world<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.fake.world.lock().expect("no player panicked"))
    }

    /// What was asked of the fleet, beside the token of the page itself.
    fn asked(&self) -> Vec<Request> {
        let mut asked = self.fake.requests();
        asked.retain(|it| !matches!(it, Request::Token { .. }));
        asked
    }

    fn sentence(&self) -> String {
        self.browser.text("#sentence")
    }
}

/// Where pictures go that people look at.
fn picture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dashboard").join(format!("{name}.png"))
}
