//! Who asks: personal tokens, Apps by their signed tokens, installations; and what each may do.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::Value;

use crate::reply::Reply;
use crate::world::{Scope, World};

/// Who asks.
#[derive(Debug, Clone, PartialEq)]
pub enum Who {
    Nobody,
    /// An App, by its own key.
    App(u64),
    /// A token's holder.
    Token(String),
}

/// What a call needs.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    pub what: &'static str,
    pub write: bool,
}

/// Reading needs no more than that the repository may be seen.
pub const SEE: Need = Need { what: "metadata", write: false };
pub const ACTIONS: Need = Need { what: "actions", write: false };
pub const ACTIONS_WRITE: Need = Need { what: "actions", write: true };
pub const HOOKS: Need = Need { what: "webhooks", write: false };
pub const HOOKS_WRITE: Need = Need { what: "webhooks", write: true };

impl World {
    /// Who the `Authorization` header says it is.
    pub fn who(&mut self, authorization: Option<&str>) -> Result<Who, Reply> {
        let Some(header) = authorization else { return Ok(Who::Nobody) };
        let Some(token) = header.strip_prefix("Bearer ").or_else(|| header.strip_prefix("token "))
        else {
            return Err(Reply::error(401, "Bad credentials"));
        };
        let now = self.now();
        if let Some(known) = self.tokens.get(token) {
            let over = known.revoked || known.expires.is_some_and(|expires| now >= expires);
            let installation = known.installation.and_then(|id| self.installations.get(&id));
            return match installation {
                _ if over => Err(Reply::error(401, "Bad credentials")),
                Some(one) if one.removed => Err(Reply::error(401, "Bad credentials")),
                Some(one) if one.suspended => {
                    Err(Reply::error(403, "This installation has been suspended"))
                }
                _ => Ok(Who::Token(token.to_owned())),
            };
        }
        if token.split('.').count() == 3 {
            return self.app_of(token).map(Who::App).map_err(|why| Reply::error(401, &why));
        }
        Err(Reply::error(401, "Bad credentials"))
    }

    fn app_of(&self, jwt: &str) -> Result<u64, String> {
        const BAD: &str = "A JSON web token could not be decoded";
        let parts: Vec<&str> = jwt.split('.').collect();
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| BAD.to_owned());
        let json = |part: &str| -> Result<Value, String> {
            serde_json::from_slice(&decode(part)?).map_err(|_| BAD.to_owned())
        };
        let (header, claims) = (json(parts[0])?, json(parts[1])?);
        if header["alg"] != "RS256" {
            return Err(BAD.to_owned());
        }
        let issuer = match &claims["iss"] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err("Missing 'issuer' claim ('iss') in assertion".to_owned()),
        };
        let mine =
            |app: &&crate::world::App| app.client_id == issuer || app.id.to_string() == issuer;
        let app = self.apps.iter().find(mine).ok_or("Integration not found")?;
        let now = self.now().div_euclid(1000);
        let at = |name: &str| claims[name].as_i64();
        let issued = at("iat").ok_or("Missing 'issued at' claim ('iat') in assertion")?;
        let expires = at("exp").ok_or("Missing 'expiration time' claim ('exp') in assertion")?;
        if issued > now {
            return Err("'Issued at' claim ('iat') must be an Integer representing the time that \
                        the assertion was issued, and it is in the future"
                .to_owned());
        }
        if expires > now + 600 {
            return Err("'Expiration time' claim ('exp') is too far in the future".to_owned());
        }
        if expires <= now {
            return Err(
                "'Expiration time' claim ('exp') must be a numeric value representing the \
                        future time at which the assertion expires"
                    .to_owned(),
            );
        }
        let signed = format!("{}.{}", parts[0], parts[1]);
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &app.key)
            .verify(signed.as_bytes(), &decode(parts[2])?)
            .map_err(|_| BAD.to_owned())?;
        Ok(app.id)
    }

    /// Under whose limit a call counts.
    pub fn bucket(&self, who: &Who) -> String {
        match who {
            Who::Nobody => "nobody".to_owned(),
            Who::App(id) => format!("app {id}"),
            Who::Token(token) => {
                self.tokens.get(token).map(|one| one.bucket.clone()).unwrap_or_default()
            }
        }
    }

    /// What registering runners in a scope is called among the permissions.
    pub fn runners_need(scope: &Scope, write: bool) -> Need {
        let what = match scope {
            Scope::Repository(_) => "administration",
            Scope::Organization(_) => "organization_self_hosted_runners",
            Scope::Enterprise(_) => "enterprise_self_hosted_runners",
        };
        Need { what, write }
    }

    /// Whether a call may be made; if not, the answer.
    pub fn may(&mut self, who: &Who, scope: &Scope, need: Need) -> Result<(), Reply> {
        let Who::Token(token) = who else {
            return Err(match who {
                Who::Nobody => Reply::error(401, "Requires authentication"),
                _ => Reply::error(401, "A JSON web token could not be decoded"),
            });
        };
        let Some(token) = self.tokens.get(token) else { return Err(Reply::not_found()) };
        let owned = token.owner.as_deref().is_none_or(|owner| owner == scope.owner());
        let named = match scope {
            Scope::Repository(name) => {
                token.repositories.as_ref().is_none_or(|names| names.contains(name))
            }
            _ => true,
        };
        if !owned || !named || !self.has(scope) {
            return Err(Reply::not_found());
        }
        let has = token.permissions.get(need.what).map(String::as_str);
        let enough = match need.write {
            true => has == Some("write"),
            false => has.is_some() || need.what == "metadata",
        };
        if enough {
            return Ok(());
        }
        let by = if token.installation.is_some() { "integration" } else { "personal access token" };
        Err(Reply::error(403, &format!("Resource not accessible by {by}")))
    }
}
