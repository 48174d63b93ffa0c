//! Where secrets are: names and places, never the secrets.

use super::super::forge::{SecretSource, VaultSecret};
use super::super::raw::{RawSecret, RawVault};
use super::super::secret;
use super::{Context, Spot};

/// Most words of a command.
const WORDS_MAX: usize = 64;

/// The variable with Vault's own token where none is named.
const VAULT_TOKEN: &str = "VAULT_TOKEN";

/// A place of a secret.
pub(super) fn source(
    spot: Spot<'_>,
    raw: &RawSecret,
    cx: &mut Context<'_>,
) -> Option<SecretSource> {
    const PLACES: [&str; 4] = ["env", "file", "command", "vault"];
    let written: Vec<&str> = PLACES.into_iter().filter(|key| spot.key(key).is_written()).collect();
    match written.as_slice() {
        [_] => {}
        [] => {
            cx.findings.error(spot.span, "nothing says where the secret is").help(
                "write `{env: NAME}`, `{file: ./x.pem}`, `{command: [pass, show, x]}` or \
                 `{vault: …}`",
            );
            return None;
        }
        [first, second, ..] => {
            cx.findings
                .error(
                    spot.key(second).key,
                    format!("`{first}` and `{second}` are two places of one secret"),
                )
                .help("keep one of `env`, `file`, `command` and `vault`");
            return None;
        }
    }
    if let Some(name) = raw.env.as_deref() {
        return named(spot.key("env"), name, "GITHUB_PAT", cx);
    }
    if let Some(path) = raw.file.as_deref() {
        return file(spot.key("file"), path, cx);
    }
    if let Some(words) = raw.command.as_deref() {
        return command(spot.key("command"), words, cx);
    }
    raw.vault.as_ref().and_then(|raw| vault(spot.key("vault"), raw, cx))
}

/// A variable that holds a secret.
pub(super) fn named(
    spot: Spot<'_>,
    name: &str,
    example: &str,
    cx: &mut Context<'_>,
) -> Option<SecretSource> {
    variable(spot, name, example, cx)?;
    Some(SecretSource::Variable(name.to_owned()))
}

/// Checks that a text is the name of a variable, and not what one would hold.
pub(super) fn variable(
    spot: Spot<'_>,
    name: &str,
    example: &str,
    cx: &mut Context<'_>,
) -> Option<()> {
    let first = |c: char| c == '_' || c.is_ascii_alphabetic();
    let fine = name.starts_with(first)
        && name.chars().all(|c| first(c) || c.is_ascii_digit())
        && name.len() <= 256;
    if fine && !secret::is_registration_token(name) {
        return Some(());
    }
    // Whoever puts a secret here must not find it in a log, so nothing of it is shown.
    cx.findings.hide(spot.span);
    let finding = match fine {
        true => cx.findings.error(spot.span, "this looks like a secret"),
        false => cx.findings.error(spot.span, "this is no name of a variable"),
    };
    finding.help(format!(
        "secrets never enter the file: put it into `.env` and write the variable's name, \
         `{example}`"
    ));
    None
}

fn file(spot: Spot<'_>, path: &str, cx: &mut Context<'_>) -> Option<SecretSource> {
    if path.is_empty() || path.contains(['\0', '\n']) || path.ends_with('/') {
        cx.findings.hide(spot.span);
        cx.findings.error(spot.span, "this is no path of a file").help("write `./github-app.pem`");
        return None;
    }
    Some(SecretSource::File(cx.path(path)))
}

fn command(spot: Spot<'_>, words: &[String], cx: &mut Context<'_>) -> Option<SecretSource> {
    let program = words.first().filter(|program| !program.is_empty());
    let Some(program) = program.filter(|_| words.len() <= WORDS_MAX) else {
        cx.findings
            .error(spot.span, "this is no program with its arguments")
            .help("write a list: `[pass, show, github/pat]`; there is no shell");
        return None;
    };
    // As in a shell: a name is looked for, a path is a path.
    let program = match program.contains('/') {
        true => cx.path(program).display().to_string(),
        false => program.clone(),
    };
    let rest = words.iter().skip(1).cloned();
    Some(SecretSource::Command([program].into_iter().chain(rest).collect()))
}

fn vault(spot: Spot<'_>, raw: &RawVault, cx: &mut Context<'_>) -> Option<SecretSource> {
    let address = raw.address.as_deref();
    let address =
        address.and_then(|address| super::forge::address(spot.key("address"), address, cx));
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let path = raw.path.as_deref().map(|path| path.trim_matches('/')).filter(|path| {
        let is_step = |part: &str| matches!(part, "" | "." | "..");
        let fine = path.contains('/') && path.chars().all(is_part) && !path.split('/').any(is_step);
        if !fine {
            cx.findings.error(spot.key("path").span, "this is no path of a secret in Vault").help(
                "write it with its mount: `secret/data/github`, or `kv/github` for version 1",
            );
        }
        fine
    });
    let field = raw.field.as_deref().filter(|field| {
        let fine = !field.is_empty() && field.len() <= 128 && !field.contains(char::is_control);
        if !fine {
            cx.findings.error(spot.key("field").span, "this is no name of a field");
        }
        fine
    });
    let token_env = raw.token_env.as_deref().unwrap_or(VAULT_TOKEN);
    variable(spot.key("token_env"), token_env, VAULT_TOKEN, cx)?;
    let address = address?;
    let below: String = address.path.iter().map(|part| format!("/{part}")).collect();
    Some(SecretSource::Vault(VaultSecret {
        address: format!("{}{below}", address.origin),
        path: path?.to_owned(),
        field: field?.to_owned(),
        token_env: token_env.to_owned(),
    }))
}
