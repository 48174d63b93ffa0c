//! `token`: tokens of the API, for those who do not hold the socket.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::clock;
use super::context::{Context, Format, note, print};
use super::failure::Failure;
use super::render;
use crate::api::access::Role;
use crate::api::dto::Accepted;
use crate::api::tokens::{MadeToken, NewToken, Token};
use crate::exit::Exit;
use crate::ids::TokenId;

/// Make, list and revoke tokens of the API
///
/// Whoever may open the fleet's socket needs none. On a port, a token says who asks and what they
/// may do: `viewer` reads everything, `operator` also hands in jobs and steers runners, `admin`
/// also changes the fleet file in force, takes the fleet down and makes tokens.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet token create --role operator --name ci\n  \
                        slate-fleet token list\n  slate-fleet token revoke 3f2a91bc")]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    verb: TokenVerb,
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make a token and print it; it is shown this once
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet token create --role viewer\n  \
                        slate-fleet token create --role operator --name ci --expires 30d")]
struct CreateArgs {
    /// What it may be used for: `viewer`, `operator` or `admin`
    #[arg(long, value_name = "ROLE")]
    role: Role,
    /// What to call it, for lists and the audit log
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// For how long it is valid, or `never` for one without an end
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = parse_end)]
    expires: End,
}

/// List the tokens that are valid
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet token list\n  \
                        slate-fleet token list --format json")]
struct ListArgs {
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
}

/// Revoke tokens; they work no more when this ends
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  slate-fleet token revoke 3f2a91bc")]
struct RevokeArgs {
    /// The tokens, as `token list` names them
    #[arg(required = true, value_name = "ID", value_parser = parse_id)]
    ids: Vec<TokenId>,
}

/// When a token ends.
#[derive(Debug, Clone, Copy)]
enum End {
    After(Duration),
    Never,
}

fn parse_end(text: &str) -> Result<End, String> {
    match text {
        "never" => Ok(End::Never),
        _ => clock::parse_duration(text).map(End::After),
    }
}

fn parse_id(text: &str) -> Result<TokenId, String> {
    let is_id = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_id {
        true => Ok(TokenId::new(text.to_ascii_lowercase())),
        false => Err("a token's id has eight hexadecimal digits; `token list` has all".to_owned()),
    }
}

impl TokenArgs {
    pub(super) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.verb {
            TokenVerb::Create(args) => create(args, context).await,
            TokenVerb::List(args) => list(&args, context).await,
            TokenVerb::Revoke(args) => revoke(&args, context).await,
        }
    }
}

/// The secret alone goes to standard output, for `$(…)`.
async fn create(args: CreateArgs, context: &Context) -> Result<Exit, Failure> {
    let expires_seconds = match args.expires {
        End::After(span) => Some(span.as_secs()),
        End::Never => None,
    };
    let body = NewToken { role: args.role, name: args.name, expires_seconds };
    let made: MadeToken = context.connect().await?.post("/api/v1/tokens", &body).await?;
    note(&format!(
        "token {} with the role {}; it is not shown again",
        made.token.id, made.token.role
    ));
    print(&format!("{}\n", made.secret))?;
    Ok(Exit::Done)
}

async fn list(args: &ListArgs, context: &Context) -> Result<Exit, Failure> {
    let tokens: Vec<Token> = context.get("/api/v1/tokens").await?;
    let text = render::machine(args.format, &tokens)
        .unwrap_or_else(|| render::tokens::table(&tokens, clock::now(), context.paint()));
    print(&text)?;
    Ok(Exit::Done)
}

async fn revoke(args: &RevokeArgs, context: &Context) -> Result<Exit, Failure> {
    let mut client = context.connect().await?;
    let mut failures = Vec::new();
    for id in &args.ids {
        let answer: Result<Accepted, _> = client.delete(&format!("/api/v1/tokens/{id}")).await;
        match answer {
            Ok(Accepted::Accepted) => note(&format!("token {id} revoked")),
            Err(error) => failures.push(Failure::from(error)),
        }
    }
    super::cancel::partly(failures, args.ids.len())
}
