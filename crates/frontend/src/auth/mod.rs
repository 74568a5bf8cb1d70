//! Who is asking: SigV4 against the keys of this server, or nobody where that was chosen.

use bytes::Bytes;
use http::request::Parts as Head;
use lamplight_env::Clock;
use lamplight_model::{AccountId, Scope};
use lamplight_services::sts::Caller as Identity;
use lamplight_wire::{ApiError, sigv4};
use std::collections::HashMap;
use std::sync::Arc;

/// An access key of this server.
#[derive(Clone)]
pub struct Key {
    pub secret: sigv4::Secret,
    pub caller: Caller,
}

/// Whoever a request is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub account: AccountId,
    pub arn: String,
    pub user_id: String,
}

impl Caller {
    /// AWS: the user who owns the account.
    pub fn root(account: &AccountId) -> Self {
        Self {
            account: account.clone(),
            arn: format!("arn:aws:iam::{account}:root"),
            user_id: account.to_string(),
        }
    }

    pub fn identity(&self) -> Identity {
        Identity {
            account: self.account.to_string(),
            arn: self.arn.clone(),
            user_id: self.user_id.clone(),
        }
    }
}

/// How requests prove who they are from.
pub enum Auth {
    /// By a signature with one of these keys.
    Keys(HashMap<String, Key>),
    /// Not at all: everybody who can connect is this caller.
    Open(Caller),
}

impl Auth {
    /// The caller and the scope of a request; refusals are AWS's.
    pub fn check(
        &self,
        head: &Head,
        body: &Bytes,
        clock: &dyn Clock,
        region: &str,
    ) -> Result<(Caller, Scope), ApiError> {
        match self {
            Self::Keys(keys) => {
                let lookup = |id: &str| keys.get(id).map(|key| key.secret.clone());
                let verified =
                    sigv4::verify(head, || sigv4::sha256(body), &lookup, clock.now().millis())?;
                // `verify` found the key a moment ago, and keys do not change.
                let key = keys
                    .get(&verified.access_key)
                    .ok_or_else(|| ApiError::internal("a verified request has no key"))?;
                let caller = key.caller.clone();
                let scope =
                    Scope { account: caller.account.clone(), region: verified.region.into() };
                Ok((caller, scope))
            }
            Self::Open(caller) => {
                // Unsigned requests name no region; signed ones keep theirs, unverified.
                let region = claimed_region(head).unwrap_or_else(|| region.to_owned());
                let scope = Scope { account: caller.account.clone(), region: Arc::from(region) };
                Ok((caller.clone(), scope))
            }
        }
    }
}

/// The region in the credential scope of a signature that nobody checks.
fn claimed_region(head: &Head) -> Option<String> {
    let header = head.headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let credential = header.split_once("Credential=")?.1.split(',').next()?;
    let region = credential.rsplit('/').nth(2)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (!region.is_empty() && region.len() <= 32 && region.chars().all(plain))
        .then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::SystemClock;

    fn head(authorization: &str) -> Head {
        let request = http::Request::get("/").header("authorization", authorization);
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn an_open_server_takes_the_region_that_the_client_signed_for() {
        let account = AccountId::new("000000000000").unwrap();
        let auth = Auth::Open(Caller::root(&account));
        let region = |authorization: &str| {
            let head = head(authorization);
            let (_, scope) = auth.check(&head, &Bytes::new(), &SystemClock, "us-east-1").unwrap();
            scope.region.to_string()
        };
        let signed = "AWS4-HMAC-SHA256 Credential=AKIA/20261122/eu-west-1/lambda/aws4_request, SignedHeaders=host, Signature=0";
        assert_eq!(region(signed), "eu-west-1");
        assert_eq!(region("Bearer x"), "us-east-1");
        assert_eq!(region("AWS4-HMAC-SHA256 Credential=a/b/../c/d"), "us-east-1");
    }
}
