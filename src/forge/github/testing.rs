//! What the tests of this folder share.

/// A key that was made for these tests, as GitHub gives keys.
pub(super) const APP_KEY_PKCS1: &str = include_str!("../../../tests/data/app-key-pkcs1.pem");
/// The same key in PKCS#8.
pub(super) const APP_KEY_PKCS8: &str = include_str!("../../../tests/data/app-key-pkcs8.pem");
