//! What a GitHub App proves itself with: a short-lived token, signed with its private key.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;

use crate::forge::secret::Secret;
use crate::units::Time;

/// So that a clock that goes before GitHub's by less does no harm.
const BACK: Duration = Duration::from_secs(60);
/// GitHub allows ten minutes; `BACK` and this stay within.
const LIFE: Duration = Duration::from_secs(9 * 60);

/// A token that says that `app` is asking now. `key` is the private key as GitHub gave it (PEM,
/// PKCS#1), or in PKCS#8.
///
/// # Errors
/// When the key is none; the words hold nothing of it.
pub(super) fn sign(app: &str, key: &Secret, now: Time) -> Result<Secret, String> {
    let pair = pair(key)?;
    let seconds = |time: Time| time.0 / 1000;
    let claims = json!({"iat": seconds(now.before(BACK)), "exp": seconds(now + LIFE), "iss": app});
    let head = URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","typ":"JWT"}"#);
    let text = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .map_err(|_| "signing with the App's private key failed".to_owned())?;
    Ok(Secret::new(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))))
}

fn pair(key: &Secret) -> Result<RsaKeyPair, String> {
    let pem = PrivateKeyDer::from_pem_slice(key.expose().trim().as_bytes()).map_err(|_| {
        "the App's private key is no PEM file (`-----BEGIN RSA PRIVATE KEY-----`)".to_owned()
    })?;
    let pair = match &pem {
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err("the App's private key is not an RSA key".to_owned()),
    };
    pair.map_err(|error| format!("the App's private key cannot be used: {error}"))
}

#[cfg(test)]
mod tests {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
    use serde_json::Value;

    use super::*;
    use crate::forge::github::testing::{APP_KEY_PKCS1, APP_KEY_PKCS8};

    const NOW: Time = Time(1_700_000_000_999);

    #[test]
    fn both_forms_of_a_key_sign_what_its_public_half_verifies() {
        for pem in [APP_KEY_PKCS1, APP_KEY_PKCS8] {
            let token = sign("Iv1.abc", &Secret::new(pem.to_owned()), NOW).unwrap();
            let parts: Vec<&str> = token.expose().split('.').collect();
            let [head, claims, signature] = parts.as_slice() else { panic!("{parts:?}") };
            let text = format!("{head}.{claims}");
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let public = pair(&Secret::new(APP_KEY_PKCS1.to_owned())).unwrap();
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public.public().as_ref())
                .verify(text.as_bytes(), &signature)
                .unwrap();
            let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
            let claims: Value = serde_json::from_slice(&claims).unwrap();
            let expected = json!({"iat": 1_699_999_940, "exp": 1_700_000_540, "iss": "Iv1.abc"});
            assert_eq!(claims, expected);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_its_words() {
        let broken = APP_KEY_PKCS1.replace('A', "B");
        for text in ["hunter2-hunter2", "", broken.as_str()] {
            let error = sign("1", &Secret::new(text.to_owned()), NOW).unwrap_err();
            assert!(error.contains("private key") && !error.contains("hunter2"), "{error}");
        }
    }
}
