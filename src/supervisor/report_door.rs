//! Where browsers are let in to the reports: opened, moved and shut as the fleet file says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::api::report_site::{self, Site};
use crate::causes::with_causes;
use crate::reports::Store;
use crate::spec::{ReportServer, Reports};

/// How soon an address is tried again that could not be had.
const AGAIN: Duration = Duration::from_secs(2);

/// Where reports are, and where they are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportPlace {
    /// The store.
    pub store: Store,
    /// Where browsers see it, without a slash at its end; none while nothing listens.
    pub url: Option<String>,
    /// Why nothing listens although the file says so.
    pub trouble: Option<String>,
}

/// The door, open or not.
#[derive(Debug, Default)]
pub(super) struct ReportDoor {
    state: Arc<Mutex<State>>,
    server: Option<(Reports, Task)>,
}

/// How it goes.
#[derive(Debug, Default)]
struct State {
    /// What was really taken: the port may have been left to the system.
    address: Option<SocketAddr>,
    trouble: Option<String>,
}

/// A task that ends with this.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ReportDoor {
    /// Opens it where the file says, or shuts it.
    pub fn apply(&mut self, reports: &Reports) {
        if self.server.as_ref().is_some_and(|(known, _)| known == reports) {
            return;
        }
        self.server = None;
        self.state = Arc::default();
        if let Some(server) = &reports.server {
            let site = Site::new(Store::new(reports.path.clone()), server.host());
            let task = tokio::spawn(open(server.listen, site, Arc::clone(&self.state)));
            self.server = Some((reports.clone(), Task(task)));
        }
    }

    /// Where reports are to be found.
    pub fn place(&self, reports: &Reports) -> ReportPlace {
        let state = lock(&self.state);
        let own = |address: SocketAddr| format!("http://localhost:{}", address.port());
        let said = reports.server.as_ref().and_then(|server: &ReportServer| server.url.clone());
        ReportPlace {
            store: Store::new(reports.path.clone()),
            url: state.address.map(|address| said.unwrap_or_else(|| own(address))),
            trouble: state.trouble.clone(),
        }
    }
}

/// Takes the address as soon as it can be had: the fleet goes on without it.
async fn open(address: SocketAddr, site: Arc<Site>, state: Arc<Mutex<State>>) {
    loop {
        let why = match listen(address, &site, &state).await {
            Ok(()) => return,
            Err(error) => with_causes(&error),
        };
        tell(&state, address, why);
        sleep(AGAIN).await;
    }
}

/// The same trouble is told once.
fn tell(state: &Mutex<State>, address: SocketAddr, why: String) {
    let mut state = lock(state);
    state.address = None;
    if state.trouble.as_ref() != Some(&why) {
        tracing::warn!(%address, "cannot show reports, trying again: {why}");
        state.trouble = Some(why);
    }
}

async fn listen(
    address: SocketAddr,
    site: &Arc<Site>,
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let listener = report_site::bind(address).await?;
    let taken = listener.local_addr()?;
    tracing::info!(address = %taken, "reports are shown");
    *lock(state) = State { address: Some(taken), trouble: None };
    report_site::serve(listener, Arc::clone(site)).await;
    Ok(())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Each change leaves it whole.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
