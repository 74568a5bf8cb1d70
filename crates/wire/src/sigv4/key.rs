//! Signing keys and signatures. Keys derived for requests are remembered, since a client signs a
//! day's requests with the same one; the memory is small and holds the newest.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use subtle::ConstantTimeEq as _;

/// Keys remembered. Callers under more names pay four hashes more for each request.
const REMEMBERED: usize = 64;

static KEYS: Mutex<VecDeque<Derived>> = Mutex::new(VecDeque::new());

struct Derived {
    /// Part of the entry's name: a key whose secret was changed is another key.
    secret: String,
    scope: [String; 3],
    key: [u8; 32],
}

/// The signature over a canonical request's hash. `scope` is date, region and service. `None`
/// cannot happen, as HMAC takes keys of any length.
pub(super) fn signature(
    secret: &str,
    scope: &[&str; 3],
    timestamp: &str,
    request_hash: &str,
) -> Option<[u8; 32]> {
    let [date, region, service] = scope;
    let text = format!(
        "AWS4-HMAC-SHA256\n{timestamp}\n{date}/{region}/{service}/aws4_request\n{request_hash}"
    );
    mac(&signing_key(secret, scope)?, &text)
}

fn signing_key(secret: &str, scope: &[&str; 3]) -> Option<[u8; 32]> {
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = keys.iter().find(|entry| {
        entry.scope.iter().zip(scope).all(|(known, asked)| known == asked)
            && bool::from(entry.secret.as_bytes().ct_eq(secret.as_bytes()))
    });
    if let Some(known) = known {
        return Some(known.key);
    }
    let mut key = mac(format!("AWS4{secret}").as_bytes(), scope.first()?)?;
    for part in scope.iter().skip(1).chain([&"aws4_request"]) {
        key = mac(&key, part)?;
    }
    if keys.len() >= REMEMBERED {
        keys.pop_back();
    }
    let scope = scope.map(str::to_owned);
    keys.push_front(Derived { secret: secret.to_owned(), scope, key });
    Some(key)
}

fn mac(key: &[u8], text: &str) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::super::hex;
    use super::*;

    /// AWS: the example in the documentation of SigV4.
    #[test]
    fn the_documented_signing_key() {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let scope = ["20150830", "us-east-1", "iam"];
        let expected = "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9";
        for _ in 0..2 {
            assert_eq!(hex(&signing_key(secret, &scope).unwrap()), expected);
        }
    }

    #[test]
    fn another_secret_is_another_key_and_the_memory_is_bounded() {
        let scope = ["20150830", "us-east-1", "lambda"];
        let first = signing_key("one", &scope);
        assert_ne!(first, signing_key("two", &scope));
        for region in 0..(2 * REMEMBERED) {
            signing_key("one", &["20150830", &region.to_string(), "lambda"]);
        }
        assert!(KEYS.lock().unwrap().len() <= REMEMBERED);
        assert_eq!(first, signing_key("one", &scope));
    }
}
