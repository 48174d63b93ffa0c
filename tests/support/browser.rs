//! A real Chromium, driven over WebDriver: what a user sees, clicks and types.
//!
//! WebDriver is JSON over HTTP, and a test waits for each answer anyway: a socket is all it takes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest wait for an answer or a condition: slow and shared machines run these tests.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(25);

/// Ends the driver and its browser when its standard input closes: when the test ends, or dies.
const GUARD: &str = "chromedriver --port=0 & cat >/dev/null; kill -TERM 0";

/// What Chromium says of requests while the machine's network changes: with each container that
/// starts or ends.
const NETWORK: &str = "ERR_NETWORK_CHANGED";

/// The key that goes to the next control.
pub const TAB: &str = "\u{e004}";
/// The key that presses a control.
pub const ENTER: &str = "\u{e007}";
/// The key that closes a dialog.
pub const ESCAPE: &str = "\u{e00c}";

/// What a page is shown in.
#[derive(Debug, Clone, Copy)]
pub enum Scheme {
    Light,
    Dark,
}

/// A browser with one page.
pub struct Browser {
    port: u16,
    session: String,
    guard: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts a browser of its own, without a window.
    pub fn start() -> Self {
        let profile = TempDir::with_prefix("slate-browser-").expect("a folder");
        let mut guard = Command::new("sh")
            .args(["-c", GUARD])
            .env("TMPDIR", profile.path())
            .env("HOME", profile.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell");
        let port = port_of(guard.stdout.take().expect("piped"));
        let mut browser = Self { port, session: String::new(), guard, _profile: profile };
        let arguments = [
            "--headless=new",
            // Chromium's own sandbox does not start as root, which containers of CI are.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--force-prefers-reduced-motion",
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments},
        }}});
        let session = browser.ask("POST", "/session", &wanted);
        session["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        browser.resize(1400, 1000);
        browser
    }

    /// Opens an address.
    pub fn open(&self, url: &str) {
        let path = format!("/session/{}/url", self.session);
        let until = now() + PATIENCE;
        while let Err(why) = request(self.port, "POST", &path, &json!({ "url": url })) {
            assert!(why.contains(NETWORK) && now() < until, "{url}: {why}");
        }
    }

    /// Goes to the window with this address, once there is one. The window of a form that was
    /// refused has the address that it was refused, and never answers.
    #[track_caller]
    pub fn follow_to(&self, what: &str, address: &str) {
        let until = now() + PATIENCE;
        loop {
            // Windows are not asked themselves: one that still loads would not answer.
            let windows = self.devtools("Target.getTargets", &json!({}));
            let is_it = |it: &&Value| it["type"] == "page" && it["url"].as_str() == Some(address);
            let found = windows["targetInfos"].as_array().and_then(|all| all.iter().find(is_it));
            if let Some(window) = found {
                self.call("POST", "/window", &json!({ "handle": window["targetId"] }));
                return;
            }
            assert!(now() < until, "no window shows {what}: {address}: {windows:#}");
            thread::park_timeout(LOOK);
        }
    }

    /// The page's size, in its own pixels.
    pub fn resize(&self, width: u32, height: u32) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.devtools("Emulation.setDeviceMetricsOverride", &size);
    }

    /// What the user's system prefers.
    pub fn prefer(&self, scheme: Scheme) {
        let value = match scheme {
            Scheme::Light => "light",
            Scheme::Dark => "dark",
        };
        let features = json!([{"name": "prefers-color-scheme", "value": value}]);
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": features }));
    }

    /// Runs a script in the page: its `return`, once a promise is kept.
    pub fn eval(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }

    /// The text of the first element that fits, as it is shown.
    pub fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({})?.innerText ?? ''", json!(selector));
        self.eval(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Clicks as a user does: the element must be there, shown, and covered by nothing.
    pub fn click(&self, selector: &str) {
        self.wait(
            &format!("{selector} is there"),
            &format!("return Boolean(document.querySelector({}))", json!(selector)),
        );
        let element = self.call("POST", "/element", &css(selector));
        let id = element.as_object().and_then(|it| it.values().next()).and_then(Value::as_str);
        let path = format!("/element/{}/click", id.expect("an element"));
        self.call("POST", &path, &json!({}));
    }

    /// Types into whatever has the focus.
    pub fn keys(&self, text: &str) {
        let presses: Vec<Value> = text
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|it| json!({"type": it, "value": key})))
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": presses}]});
        self.call("POST", "/actions", &actions);
    }

    /// Waits until a script returns something true.
    #[track_caller]
    pub fn wait(&self, what: &str, script: &str) {
        let until = now() + PATIENCE;
        while self.eval(script) != json!(true) {
            if now() > until {
                let page = self.eval("return document.body.innerText");
                panic!("waited in vain until {what}: {script}\n{}", page.as_str().unwrap_or(""));
            }
            thread::park_timeout(LOOK);
        }
    }

    /// Waits until an element's text, as it is shown, has this in it.
    #[track_caller]
    pub fn wait_for_text(&self, selector: &str, text: &str) {
        let script = format!(
            "return (document.querySelector({})?.innerText ?? '').includes({})",
            json!(selector),
            json!(text)
        );
        self.wait(&format!("{selector} says `{text}`"), &script);
    }

    /// What the page and the browser complained of since the last look.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.call("POST", "/se/log", &json!({"type": "browser"}));
        let told = log.as_array().into_iter().flatten();
        told.map(|entry| format!("{}: {}", entry["level"], entry["message"]))
            .filter(|entry| !entry.contains(NETWORK))
            .collect()
    }

    /// Takes a picture of the whole of what is shown.
    pub fn picture(&self, path: &Path) {
        use base64::Engine as _;
        let picture = self.call("GET", "/screenshot", &Value::Null);
        let engine = base64::engine::general_purpose::STANDARD;
        let bytes = engine.decode(picture.as_str().expect("a picture")).expect("base64");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, bytes).expect("written");
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.call("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.ask(method, &format!("/session/{}{path}", self.session), body)
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        request(self.port, method, path, body)
            .unwrap_or_else(|why| panic!("{method} {path} {body}: {why}"))
    }
}

fn css(selector: &str) -> Value {
    json!({"using": "css selector", "value": selector})
}

/// Chromium's driver says once where it listens.
fn port_of(out: impl Read) -> u16 {
    let mut lines = BufReader::new(out).lines().map_while(Result::ok);
    let line =
        lines.find(|line| line.contains("started successfully on port")).unwrap_or_else(|| {
            panic!("chromedriver does not start; `scripts/browser` installs what these tests need")
        });
    let digits = line.rsplit("on port ").next().unwrap_or_default();
    digits.trim_end_matches('.').trim().parse().expect("a port")
}

/// One request of WebDriver: its value, or what the driver says is wrong.
fn request(port: u16, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(|it| it.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|it| it.to_string())?;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream
        .write_all([head.as_bytes(), body.as_bytes()].concat().as_slice())
        .map_err(|it| it.to_string())?;
    let body = body_of(BufReader::new(stream)).map_err(|it| it.to_string())?;
    let mut json: Value = serde_json::from_slice(&body).map_err(|it| it.to_string())?;
    let value = json["value"].take();
    match value.get("error") {
        Some(error) => Err(format!("{error}: {}", value["message"])),
        None => Ok(value),
    }
}

/// The driver keeps the connection, whatever it is asked: its head says how long the body is.
fn body_of(mut answer: impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut length = 0;
    let mut line = String::new();
    while answer.read_line(&mut line)? > 2 {
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body)?;
    Ok(body)
}

#[expect(clippy::disallowed_methods, reason = "tests measure their own bounds")]
fn now() -> Instant {
    Instant::now()
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The guard ends what does not end by itself.
        let _ended =
            request(self.port, "DELETE", &format!("/session/{}", self.session), &Value::Null);
        drop(self.guard.stdin.take());
        let _buried = self.guard.wait();
    }
}
