//! An answer before it is sent.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

/// An answer before it is sent.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub fn json(status: u16, body: Value) -> Self {
        let reply = Self { status, headers: Vec::new(), body: body.to_string().into_bytes() };
        reply.header("content-type", "application/json; charset=utf-8")
    }

    /// A page of a list.
    pub fn list(body: Value, links: Option<String>) -> Self {
        let reply = Self::json(200, body);
        match links {
            Some(links) => reply.header("link", &links),
            None => reply,
        }
    }

    /// GitHub's form of an error.
    pub fn error(status: u16, message: &str) -> Self {
        let docs = "https://docs.github.com/rest";
        let body =
            json!({"message": message, "documentation_url": docs, "status": status.to_string()});
        Self::json(status, body)
    }

    pub fn html(status: u16) -> Self {
        let body = "<!DOCTYPE html><html><body><h1>Unicorn!</h1></body></html>";
        let reply = Self { status, headers: Vec::new(), body: body.into() };
        reply.header("content-type", "text/html")
    }

    pub fn not_found() -> Self {
        Self::error(404, "Not Found")
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn send(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status");
        for (name, value) in self.headers {
            let name: HeaderName = name.parse().expect("a header's name");
            response.headers_mut().append(name, HeaderValue::from_str(&value).expect("a value"));
        }
        response
    }
}
