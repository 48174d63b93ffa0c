//! A secret in Vault's HTTP API, key-value engine version 1 or 2.

use hyper::Method;
use hyper::header::HeaderName;
use serde_json::Value;
use tokio::time::timeout;

use super::PATIENCE;
use crate::forge::{Ask, Secret, Web};
use crate::spec::VaultSecret;

/// One field of one secret; the error is in words.
pub(super) async fn read(
    web: Result<Web, String>,
    wanted: &VaultSecret,
    token: &Secret,
) -> Result<String, String> {
    let web = web?;
    let path = wanted.path.trim_matches('/');
    let path = path.strip_prefix("v1/").unwrap_or(path);
    let url = format!("{}/v1/{path}", wanted.address.trim_end_matches('/'));
    let ask = Ask::new(Method::GET, url)
        .header(HeaderName::from_static("x-vault-token"), token.expose())
        .header(HeaderName::from_static("x-vault-request"), "true");
    let answer = timeout(PATIENCE, web.call(ask))
        .await
        .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
        .map_err(|error| error.to_string())?;
    match answer.status.as_u16() {
        200 => field(&answer.body, &wanted.field),
        400 => Err("it does not take the path (400)".to_owned()),
        403 => Err(format!("it refuses (403): may the token in {} read it?", wanted.token_env)),
        404 => Err(format!(
            "there is no `{path}` (404); with version 2 of the engine `data` follows the mount: \
             `secret/data/…`"
        )),
        503 => Err("it is sealed or in standby (503)".to_owned()),
        other => Err(format!("it answered with status {other}")),
    }
}

/// Version 2 has the secret's fields one level deeper than version 1, beside their metadata.
fn field(body: &[u8], name: &str) -> Result<String, String> {
    let none = || format!("the secret has no text field `{name}`");
    let body: Value = serde_json::from_slice(body).map_err(|_| "no JSON came".to_owned())?;
    let data = body.get("data").ok_or_else(none)?;
    let deeper = data.get("metadata").and_then(|_| data.get("data"));
    let value = deeper.filter(|it| it.is_object()).unwrap_or(data).get(name);
    value.and_then(Value::as_str).map(ToOwned::to_owned).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_the_engine_are_read_and_nothing_of_a_secret_is_told() {
        let one = br#"{"data": {"pat": "ghp_one", "data": "x", "n": 7}}"#;
        let two = br#"{"data": {"data": {"pat": "ghp_two"}, "metadata": {"version": 3}}}"#;
        assert_eq!(field(one, "pat"), Ok("ghp_one".to_owned()));
        assert_eq!(field(one, "data"), Ok("x".to_owned()), "a field of that name");
        assert_eq!(field(two, "pat"), Ok("ghp_two".to_owned()));
        for (body, name) in [(&one[..], "n"), (one, "none"), (two, "version"), (b"ghp_", "pat")] {
            let why = field(body, name).unwrap_err();
            assert!(!why.contains("ghp_"), "{why}");
        }
    }
}
