//! Temporary credentials that nobody has to keep.
//!
//! A session token says who its bearer is and until when, sealed with a key of this server; the
//! secret follows from the token and that key. So sessions outlive a restart, are known to every
//! machine that has the key, and cost no room. They cannot be taken back before they expire, except
//! by what their user or role may do.

use crate::iam::{Caller, Who};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac as _};
use lamplight_env::{Env, Timestamp};
use lamplight_model::AccountId;
use lamplight_wire::sigv4::Secret;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::time::Duration;

const FORMAT: u32 = 1;

/// The key that session tokens are sealed with.
#[derive(Clone)]
pub struct SealingKey([u8; 32]);

impl SealingKey {
    /// A key that follows from a secret of this server, and tells nothing of it.
    pub fn from_secret(secret: &str) -> Self {
        Self(mac(secret.as_bytes(), &["lamplight session tokens"]))
    }
}

pub struct Sessions {
    env: Env,
    key: SealingKey,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Claims {
    format: u32,
    access_key: String,
    account: AccountId,
    who: Who,
    /// Milliseconds since the epoch.
    expires: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

/// A token of ours, opened.
pub struct Session {
    pub access_key: String,
    pub secret: Secret,
    pub caller: Caller,
    pub expired: bool,
}

pub struct Temporary {
    pub access_key: String,
    pub secret: String,
    pub token: String,
    pub expires: Timestamp,
}

impl Sessions {
    pub fn new(env: Env, key: SealingKey) -> Self {
        Self { env, key }
    }

    /// New credentials of `caller`, with its session policy.
    pub fn begin(&self, caller: &Caller, life: Duration) -> Temporary {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let expires = self.env.clock.now().plus(life);
        let claims = Claims {
            format: FORMAT,
            access_key: format!("ASIA{}", self.env.random.text(letters, 16)),
            account: caller.account.clone(),
            who: caller.who.clone(),
            expires: expires.millis(),
            policy: caller.session_policy.clone(),
        };
        // Plain data with text keys, which serialises.
        let text = serde_json::to_vec(&claims).unwrap_or_default();
        let text = URL_SAFE_NO_PAD.encode(text);
        let token =
            format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac(&self.key.0, &["token", &text])));
        Temporary { access_key: claims.access_key, secret: self.secret(&token), token, expires }
    }

    /// Whose token it is; `None` for what this server has not sealed.
    pub fn open(&self, token: &str) -> Option<Session> {
        let (text, seal) = token.split_once('.')?;
        let seal = URL_SAFE_NO_PAD.decode(seal).ok()?;
        let mut expected = Hmac::<Sha256>::new_from_slice(&self.key.0).ok()?;
        feed(&mut expected, &["token", text]);
        expected.verify_slice(&seal).ok()?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        if claims.format != FORMAT {
            return None;
        }
        let mut caller = Caller::new(&claims.account, claims.who);
        caller.session_policy = claims.policy;
        caller.temporary = true;
        Some(Session {
            access_key: claims.access_key,
            secret: Secret {
                secret_key: self.secret(token),
                session_token: Some(token.to_owned()),
            },
            caller,
            expired: claims.expires <= self.env.clock.now().millis(),
        })
    }

    fn secret(&self, token: &str) -> String {
        let secret = STANDARD.encode(mac(&self.key.0, &["secret", token]));
        // AWS: 40 letters.
        secret.chars().take(40).collect()
    }
}

fn mac(key: &[u8], parts: &[&str]) -> [u8; 32] {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            feed(&mut mac, parts);
            mac.finalize().into_bytes().into()
        }
        Err(_) => unreachable!("HMAC takes keys of any length"),
    }
}

/// Length first, so that no two lists of parts are the same bytes.
fn feed(mac: &mut Hmac<Sha256>, parts: &[&str]) {
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::{ManualClock, SeededRandom, Tasks};
    use std::sync::Arc;

    fn sessions(secret: &str, now: i64) -> Sessions {
        let env = Env {
            clock: Arc::new(ManualClock::at(Timestamp::from_millis(now))),
            random: Arc::new(SeededRandom::new(1)),
            tasks: Tasks::new(),
        };
        Sessions::new(env, SealingKey::from_secret(secret))
    }

    fn caller() -> Caller {
        let account = AccountId::new("000000000000").unwrap();
        let who = Who::User { name: "/alice".into(), id: "AIDA1".into() };
        Caller { session_policy: Some("{}".into()), ..Caller::new(&account, who) }
    }

    #[test]
    fn a_token_is_opened_by_the_server_that_sealed_it_and_no_other() {
        let made = sessions("s", 0).begin(&caller(), Duration::from_secs(900));
        let session = sessions("s", 1).open(&made.token).unwrap();
        assert_eq!(session.caller, Caller { temporary: true, ..caller() });
        assert_eq!(
            (session.access_key, session.secret.secret_key),
            (made.access_key, made.secret.clone())
        );
        assert_eq!(made.secret.len(), 40);
        assert!(!session.expired);
        assert!(sessions("s", 900_000).open(&made.token).unwrap().expired);
        assert!(sessions("other", 1).open(&made.token).is_none());
    }

    #[test]
    fn a_token_that_was_changed_is_none() {
        let sessions = sessions("s", 0);
        let made = sessions.begin(&caller(), Duration::from_secs(900));
        for at in 0..made.token.len() {
            let mut changed = made.token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(sessions.open(&changed).is_none(), "{at}");
        }
        for bad in ["", ".", "a.b", "é"] {
            assert!(sessions.open(bad).is_none());
        }
    }

    /// A token that a released version sealed. Never edit it: add new ones.
    #[test]
    fn an_old_token_is_opened() {
        let claims = r#"{"format":1,"access_key":"ASIA1","account":"000000000000","who":{"Role":{"name":"/r","id":null,"session":"f","function":"arn:f"}},"expires":5}"#;
        let text = URL_SAFE_NO_PAD.encode(claims);
        let key = SealingKey::from_secret("s");
        let seal = URL_SAFE_NO_PAD.encode(mac(&key.0, &["token", &text]));
        let session = sessions("s", 1).open(&format!("{text}.{seal}")).unwrap();
        assert_eq!(session.caller.arn, "arn:aws:sts::000000000000:assumed-role/r/f");
        assert!(!session.expired);
    }
}
