//! `dashboard`: opens the supervisor's page, with a token of its own.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;

use super::clock;
use super::context::{Context, note, print};
use super::failure::Failure;
use crate::api::access::Role;
use crate::api::tokens::{MadeToken, NewToken, WhoAmI};
use crate::exit::Exit;
use crate::state_dir::write::{Durability, write_atomically};

/// Open the dashboard in a browser
///
/// Makes a token for it. The supervisor must listen on a port: `slate-fleet up -d --listen
/// 127.0.0.1:7373`, or `api.listen` in the fleet file.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet dashboard\n  slate-fleet dashboard --print\n  \
                        slate-fleet dashboard --role viewer --expires 1h --print")]
pub(super) struct DashboardArgs {
    /// Print the address instead of opening it; whoever has it has the token
    #[arg(long)]
    print: bool,
    /// What the page may do: viewer, operator or admin
    #[arg(long, value_name = "ROLE", default_value = "operator")]
    role: Role,
    /// How long the token is good
    #[arg(long, value_name = "DURATION", default_value = "12h",
          value_parser = clock::parse_duration)]
    expires: Duration,
}

impl DashboardArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut client = context.connect().await?;
        let whoami: WhoAmI = client.get("/api/v1/whoami").await?;
        let Some(origin) = whoami.listen.first() else { return Err(no_port()) };
        let body = NewToken {
            role: self.role,
            name: Some("dashboard".to_owned()),
            expires_seconds: Some(self.expires.as_secs()),
        };
        let token: MadeToken = client.post("/api/v1/tokens", &body).await?;
        let origin = origin.trim_end_matches('/');
        let url = format!("{origin}/#token={}", token.secret);
        if self.print {
            print(&format!("{url}\n"))?;
            return Ok(Exit::Done);
        }
        let page = context.state_dir()?.dashboard();
        write_atomically(&page, leading_to(&url).as_bytes(), 0o600, Durability::Cached)
            .map_err(|error| Failure::system(format!("cannot write {}", page.display()), &error))?;
        match open(&page) {
            Ok(()) => note(&format!("{origin} opens in your browser")),
            Err(_) => {
                note("no browser could be started; open this address:");
                print(&format!("{url}\n"))?;
            }
        }
        Ok(Exit::Done)
    }
}

fn no_port() -> Failure {
    Failure::new(Exit::Usage, "the supervisor listens on no port, so no browser can reach it").help(
        "`slate-fleet up -d --listen 127.0.0.1:7373`; or write `api: {listen: 127.0.0.1:7373}` in \
         the fleet file, then `slate-fleet up -d`",
    )
}

/// A page that leads to the address: an argument of the browser would show the token to every user
/// of the host.
fn leading_to(url: &str) -> String {
    format!(
        "<!doctype html><meta charset=\"utf-8\"><title>slate-fleet</title>\
         <meta http-equiv=\"refresh\" content=\"0; url={url}\"><a href=\"{url}\">dashboard</a>\n"
    )
}

/// Starts the user's browser and does not wait for it.
fn open(page: &Path) -> io::Result<()> {
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|it| std::env::var_os(it).is_some());
    if !has_screen {
        return Err(io::Error::other("there is no screen"));
    }
    let mut browser = Command::new("xdg-open");
    browser.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    browser.spawn().map(drop)
}
