//! Where tokens are kept: a file with their hashes, which is the owner's alone.
//!
//! A secret has 256 random bits, so one round of SHA-256 keeps it: there is nothing to guess.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::{MadeToken, Token};
use crate::api::access::Role;
use crate::api::problem::{Problem, ProblemKind};
use crate::fleet::audit::Client;
use crate::ids::TokenId;
use crate::state_dir::StateDir;
use crate::state_dir::write::{Durability, write_atomically};
use crate::units::Time;

/// Begins every secret, so that people and scanners of repositories know it for what it is.
const PREFIX: &str = "slate_";
/// Bytes of a secret.
const SECRET: usize = 32;
/// Most tokens at a time: each is compared with what a caller brings.
const TOKENS_MAX: usize = 1000;
/// The only form of the file so far.
const VERSION: u32 = 1;

/// Tells the time.
pub(in crate::api) type Clock = Arc<dyn Fn() -> Time + Send + Sync>;

/// The tokens of a fleet.
pub(in crate::api) struct Tokens {
    path: PathBuf,
    clock: Clock,
    /// None until the file was read.
    kept: Mutex<Option<Vec<Kept>>>,
}

/// A token as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    token: Token,
    /// SHA-256 of the secret, in base64url.
    hash: String,
}

#[derive(Serialize, Deserialize)]
struct TokenFile {
    version: u32,
    tokens: Vec<Kept>,
}

impl Tokens {
    /// The tokens of a state folder.
    pub(in crate::api) fn new(state: &StateDir, clock: Clock) -> Self {
        Self { path: state.tokens(), clock, kept: Mutex::new(None) }
    }

    /// The token that a secret belongs to.
    pub(in crate::api) fn find(&self, secret: &str) -> Result<Token, Problem> {
        let hash = hash(secret);
        let now = (self.clock)();
        let kept = self.with(|kept| {
            // All are looked at, so that the time tells nothing of which it was.
            let mut found = None;
            for it in kept.iter() {
                if bool::from(it.hash.as_bytes().ct_eq(hash.as_bytes())) {
                    found = Some(it.token.clone());
                }
            }
            Ok(found)
        })?;
        let unknown = |why: &str| {
            let detail = format!(
                "{why}; make a new one with `slate-fleet token create`, on the host of the fleet"
            );
            Problem::new(ProblemKind::Unauthenticated, detail)
        };
        let token = kept.ok_or_else(|| unknown("the token is none of this fleet's"))?;
        match is_valid(&token, now) {
            true => Ok(token),
            false => Err(unknown("the token has expired")),
        }
    }

    /// The tokens that are valid, oldest first.
    pub(in crate::api) fn list(&self) -> Result<Vec<Token>, Problem> {
        let now = (self.clock)();
        self.with(|kept| {
            let valid = kept.iter().map(|it| &it.token).filter(|token| is_valid(token, now));
            Ok(valid.cloned().collect())
        })
    }

    /// Makes a token; it is on disk when this returns.
    pub(in crate::api) fn make(
        &self,
        (role, name): (Role, Option<String>),
        valid: Option<Duration>,
        made_by: Client,
    ) -> Result<MadeToken, Problem> {
        let now = (self.clock)();
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random::<SECRET>()?));
        let id = random::<4>()?.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let token = Token {
            id: TokenId::new(id),
            name,
            role,
            made_at: now,
            expires_at: valid.map(|valid| now + valid),
            made_by,
        };
        let kept = Kept { token: token.clone(), hash: hash(&secret) };
        self.change(|tokens| {
            tokens.retain(|it| is_valid(&it.token, now));
            if tokens.len() >= TOKENS_MAX {
                let detail = format!(
                    "there are {TOKENS_MAX} tokens already; revoke some: `slate-fleet token list`"
                );
                return Err(Problem::new(ProblemKind::NoCapacity, detail));
            }
            tokens.push(kept);
            Ok(())
        })?;
        Ok(MadeToken { secret, token })
    }

    /// Revokes a token; it is gone from the disk when this returns.
    pub(in crate::api) fn revoke(&self, id: &TokenId) -> Result<Token, Problem> {
        self.change(|tokens| {
            let at = tokens.iter().position(|it| it.token.id == *id).ok_or_else(|| {
                let detail = format!("there is no token `{id}`; `slate-fleet token list` has all");
                Problem::new(ProblemKind::NotFound, detail)
            })?;
            Ok(tokens.remove(at).token)
        })
    }

    /// Changes the tokens on the disk, and then here.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Vec<Kept>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.with(|kept| {
            let mut tokens = kept.clone();
            let done = change(&mut tokens)?;
            self.write(&tokens).map_err(|error| self.trouble("write", &error))?;
            *kept = tokens;
            Ok(done)
        })
    }

    fn with<T>(
        &self,
        look: impl FnOnce(&mut Vec<Kept>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let mut kept: MutexGuard<'_, Option<Vec<Kept>>> =
            self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = match kept.as_mut() {
            Some(tokens) => tokens,
            None => kept.insert(self.read().map_err(|error| self.trouble("read", &error))?),
        };
        look(tokens)
    }

    fn read(&self) -> io::Result<Vec<Kept>> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let file: TokenFile = serde_json::from_slice(&bytes)?;
        match file.version {
            VERSION => Ok(file.tokens),
            other => Err(io::Error::other(format!("it has the version {other}, not {VERSION}"))),
        }
    }

    fn write(&self, tokens: &[Kept]) -> io::Result<()> {
        let file = TokenFile { version: VERSION, tokens: tokens.to_vec() };
        let text = serde_json::to_vec_pretty(&file)?;
        write_atomically(&self.path, &text, 0o600, Durability::Synced)
    }

    fn trouble(&self, what: &str, error: &io::Error) -> Problem {
        let path = self.path.display();
        let detail = format!(
            "cannot {what} the tokens in {path}: {error}; without the file there are no tokens"
        );
        tracing::error!("{detail}");
        Problem::new(ProblemKind::Internal, detail)
    }
}

fn is_valid(token: &Token, now: Time) -> bool {
    token.expires_at.is_none_or(|end| now < end)
}

fn hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, secret.as_bytes()))
}

fn random<const N: usize>() -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_unspecified| {
        Problem::new(ProblemKind::Internal, "the system gives no random numbers")
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct Played {
        _folder: tempfile::TempDir,
        state: StateDir,
        now: Arc<AtomicU64>,
    }

    impl Played {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let state = StateDir::new(folder.path().to_owned());
            Self { _folder: folder, state, now: Arc::new(AtomicU64::new(1000)) }
        }

        fn tokens(&self) -> Tokens {
            let now = Arc::clone(&self.now);
            Tokens::new(&self.state, Arc::new(move || Time(now.load(Ordering::Relaxed))))
        }
    }

    fn make(tokens: &Tokens, role: Role, valid: Option<Duration>) -> MadeToken {
        tokens.make((role, Some("ci".to_owned())), valid, Client::new("ana")).expect("made")
    }

    #[test]
    fn a_token_is_found_by_its_secret_also_by_the_next_supervisor_and_only_its_hash_is_kept() {
        let played = Played::new();
        let made = make(&played.tokens(), Role::Operator, None);
        assert!(made.secret.starts_with(PREFIX) && made.secret.len() == PREFIX.len() + 43);
        let next = played.tokens();
        assert_eq!(next.find(&made.secret), Ok(made.token.clone()));
        assert_eq!(next.list(), Ok(vec![made.token]));
        let kept = fs::read_to_string(played.state.tokens()).expect("a file");
        assert!(!kept.contains(&made.secret), "{kept}");
        let mode = fs::metadata(played.state.tokens()).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn an_unknown_a_revoked_and_an_expired_token_are_none() {
        let played = Played::new();
        let tokens = played.tokens();
        let kind = |secret: &str| tokens.find(secret).map(drop).map_err(|it| it.kind);
        let refused = Err(ProblemKind::Unauthenticated);
        assert_eq!(kind("slate_x"), refused);
        let short = make(&tokens, Role::Viewer, Some(Duration::from_millis(5)));
        let long = make(&tokens, Role::Viewer, None);
        assert_eq!((kind(&short.secret), kind(&long.secret)), (Ok(()), Ok(())));
        played.now.store(1005, Ordering::Relaxed);
        assert_eq!((kind(&short.secret), kind(&long.secret)), (refused, Ok(())));
        assert_eq!(tokens.list().expect("read").len(), 1);
        tokens.revoke(&long.token.id).expect("revoked");
        assert_eq!(kind(&long.secret), refused);
        let again = tokens.revoke(&long.token.id).map_err(|it| it.kind);
        assert_eq!(again, Err(ProblemKind::NotFound));
    }

    #[test]
    fn a_damaged_file_lets_nobody_in_and_is_not_overwritten() {
        let played = Played::new();
        fs::write(played.state.tokens(), "{").expect("written");
        let tokens = played.tokens();
        let found = tokens.find("slate_x").map_err(|it| it.kind);
        assert_eq!(found, Err(ProblemKind::Internal));
        let made = tokens.make((Role::Admin, None), None, Client::new("ana"));
        assert!(made.is_err());
        assert_eq!(fs::read_to_string(played.state.tokens()).expect("a file"), "{");
    }

    #[test]
    fn the_number_of_tokens_is_bounded() {
        let played = Played::new();
        let tokens = played.tokens();
        let token = Kept { token: Token::for_tests(Role::Viewer), hash: "x".to_owned() };
        tokens.write(&vec![token; TOKENS_MAX]).expect("written");
        let made = tokens.make((Role::Admin, None), None, Client::new("ana"));
        assert_eq!(made.map_err(|it| it.kind).map(drop), Err(ProblemKind::NoCapacity));
    }
}
