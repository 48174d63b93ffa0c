//! Secrets that forges are spoken to with, and how they are read.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::spec::MASK;
use crate::units::Time;

/// A secret. It does not print, and is compared only where no one measures the time.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret in.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without the secret.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        // A few letters would be found everywhere, and are no secret.
        if self.0.len() < 6 { text.to_owned() } else { text.replace(&self.0, MASK) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Reads a secret where it is kept. The error names the place, never the secret.
pub type ReadSecret =
    Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<Secret, String>> + Send>> + Send + Sync>;

/// Tells the time.
pub type ReadClock = Arc<dyn Fn() -> Time + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_and_is_taken_out_of_texts() {
        let secret = Secret::new("ghp_0123456789".to_owned());
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(secret.redact("Bearer ghp_0123456789 is bad"), "Bearer *** is bad");
        assert_eq!(Secret::new(String::new()).redact("as it is"), "as it is");
    }
}
