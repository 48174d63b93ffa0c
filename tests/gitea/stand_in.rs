//! A small strict stand-in for Gitea: of its API what slate-fleet uses, and the calls by which its
//! runner registers, takes a job and tells its end. `tests/gitea/README.md` says how to use it.
//!
//! A call that Gitea does not have, a runner that is removed with a job, a name that is used twice
//! or a job that runs twice is a violation, which a test asks for at its end.
#![cfg(feature = "fleet")]
#![expect(clippy::expect_used, reason = "a stand-in in tests: a panic ends one answer")]

mod control;
mod rest;
mod runner;
mod world;

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use clap::Parser;
use http_body_util::{BodyExt as _, Collected};
use serde_json::Value;

use world::World;

/// A strict stand-in for Gitea, for tests and for trying slate-fleet by hand.
#[derive(Debug, Parser)]
struct Options {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
}

/// A request, taken apart.
struct Ask {
    method: String,
    path: String,
    query: String,
    headers: HeaderMap,
    /// `null` if there is none.
    body: Value,
}

/// A status and a document; `null` for none.
type Reply = (u16, Value);

impl Ask {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    fn word(&self, name: &str) -> Option<&str> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn what(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let listener = tokio::net::TcpListener::bind(&options.listen).await.expect("an address");
    let address = listener.local_addr().expect("its address");
    let world = World::new();
    println!("listening on http://{address}");
    println!("repository me/site, organization acme, access token {}", world.token);
    let app = Router::new().fallback(answer).with_state(Arc::new(Mutex::new(world)));
    axum::serve(listener, app).await.expect("it serves");
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let body = match bytes.is_empty() {
        true => Ok(Value::Null),
        false => serde_json::from_slice(&bytes),
    };
    let ask = Ask {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: body.unwrap_or(Value::Bool(false)),
    };
    let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, body) = world.answer(&ask);
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

impl World {
    fn answer(&mut self, ask: &Ask) -> Reply {
        if ask.body == Value::Bool(false) {
            self.violation(format!("{}: the body is no JSON", ask.what()));
            return (400, Value::Null);
        }
        let parts: Vec<&str> = ask.path.trim_matches('/').split('/').collect();
        match parts.as_slice() {
            ["_control", rest @ ..] => self.control(ask, rest),
            ["api", "actions", service, call] => self.runner_call(ask, service, call),
            ["api", "v1", rest @ ..] => {
                let reply = self.rest(ask, rest);
                self.asked.push(format!("{} {}", ask.what(), reply.0));
                reply
            }
            _ => self.unknown(ask),
        }
    }

    /// A call that Gitea does not have.
    fn unknown(&mut self, ask: &Ask) -> Reply {
        self.violation(format!("{}: there is no such call", ask.what()));
        rest::error(404, "not found")
    }
}
