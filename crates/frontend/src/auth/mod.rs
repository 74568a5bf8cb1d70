//! Who is asking: SigV4 against the keys of this server, or nobody where that was chosen.

mod local;

pub use lamplight_services::iam::Caller;

use crate::server::Peer;
use bytes::Bytes;
use http::request::Parts as Head;
use lamplight_env::Timestamp;
use lamplight_model::Scope;
use lamplight_services::iam::Iam;
use lamplight_services::sts::{Session, Sessions};
use lamplight_wire::{ApiError, OperationRef, percent, sigv4};
use std::sync::Arc;

/// How requests prove who they are from: by a signature with one of the keys.
pub struct Auth {
    pub keys: Keys,
    /// Where nothing has to be proved: who everybody is that can connect. Functions are not
    /// everybody; they sign in any case.
    pub open: Option<Caller>,
}

/// The keys of the owner, of users, and of sessions.
pub struct Keys {
    /// The key of the data directory, and its owner.
    pub owner: (String, sigv4::Secret, Caller),
    pub iam: Arc<Iam>,
    pub sessions: Arc<Sessions>,
}

impl Auth {
    /// Who opens a link that was sent to them, for what links do: nobody is asked who they are.
    /// The link itself holds what only its receiver knows.
    pub fn by_link(&self, head: &Head, operation: OperationRef) -> Option<(Caller, Scope)> {
        let query = head.uri.query();
        // AWS: these of SNS, and no others.
        let named = match operation {
            OperationRef::Known(operation) => match operation.name.as_str() {
                "ConfirmSubscription" => "TopicArn",
                "Unsubscribe" => "SubscriptionArn",
                _ => return None,
            },
            OperationRef::ByAction => return None,
        };
        let signed = head.headers.contains_key(http::header::AUTHORIZATION)
            || query.is_some_and(|query| query.contains("X-Amz-"));
        let arn = percent::query_value(query, named).filter(|_| !signed)?;
        let caller = Caller { by_link: true, ..self.keys.owner.2.clone() };
        let region = arn.split(':').nth(3).unwrap_or_default().into();
        Some((caller.clone(), Scope { account: caller.account, region }))
    }

    /// Refuses whoever is refused whatever the body is, before there is one.
    pub fn precheck(&self, head: &Head, arrived: Timestamp) -> Result<(), ApiError> {
        if self.everybody(head).is_some() {
            return local::check(head);
        }
        let session = self.keys.session(head);
        let lookup = |id: &str| Some(self.keys.known(session.as_ref(), id)?.0);
        sigv4::precheck(head, &lookup, arrived.millis())
    }

    /// Who may prove nothing at all.
    fn everybody(&self, head: &Head) -> Option<&Caller> {
        let is_guest = matches!(head.extensions.get(), Some(Peer::Guest));
        self.open.as_ref().filter(|_| !is_guest)
    }

    /// The caller and the scope of a request that passed [`Auth::precheck`]; refusals are AWS's.
    /// Its signature is as old as it was when its head arrived, however long its body took.
    pub fn check(
        &self,
        head: &Head,
        body: &Bytes,
        arrived: Timestamp,
        region: &str,
    ) -> Result<(Caller, Scope), ApiError> {
        if let Some(caller) = self.everybody(head) {
            // Unsigned requests name no region; signed ones keep theirs, unverified.
            let region = claimed_region(head).unwrap_or_else(|| region.to_owned());
            let scope = Scope { account: caller.account.clone(), region: Arc::from(region) };
            return Ok((caller.clone(), scope));
        }
        let (caller, region) = self.keys.verify(head, body, arrived)?;
        let scope = Scope { account: caller.account.clone(), region: region.into() };
        Ok((caller, scope))
    }
}

impl Keys {
    fn session(&self, head: &Head) -> Option<Session> {
        self.sessions.open(&sigv4::claimed_token(head)?)
    }

    /// Whose access key it is.
    fn known(&self, session: Option<&Session>, id: &str) -> Option<(sigv4::Secret, Caller)> {
        let (owner, secret, caller) = &self.owner;
        match session {
            Some(session) if session.access_key == id => {
                Some((session.secret.clone(), session.caller.clone()))
            }
            _ if owner == id => Some((secret.clone(), caller.clone())),
            _ => self.iam.access_key(id),
        }
    }

    /// Who signed the request, and for which region.
    fn verify(
        &self,
        head: &Head,
        body: &Bytes,
        arrived: Timestamp,
    ) -> Result<(Caller, String), ApiError> {
        let session = self.session(head);
        // A key may go away in between: whoever is found is whose signature is verified.
        let found = std::cell::OnceCell::new();
        let lookup = |id: &str| {
            let (secret, caller) = self.known(session.as_ref(), id)?;
            found.set(caller).ok()?;
            Some(secret)
        };
        let verified = sigv4::verify(head, || sigv4::sha256(body), &lookup, arrived.millis())?;
        let expired = session
            .as_ref()
            .is_some_and(|session| session.expired && session.access_key == verified.access_key);
        if expired {
            let message = "The security token included in the request is expired";
            return Err(ApiError::new("ExpiredTokenException", message).with_status(403));
        }
        let caller = found
            .into_inner()
            .ok_or_else(|| ApiError::internal("a verified request has no caller"))?;
        Ok((caller, verified.region))
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
    use lamplight_env::{Clock as _, Env, ManualClock, SystemClock};
    use lamplight_model::AccountId;
    use lamplight_rpc::{Document, DocumentError, DocumentKey, Documents, Expected};
    use lamplight_services::sts::SealingKey;

    fn head(authorization: &str) -> Head {
        let request = http::Request::get("/").header("authorization", authorization);
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn an_open_server_takes_the_region_that_the_client_signed_for() {
        let account = AccountId::new("000000000000").unwrap();
        let auth = Auth { keys: keys(), open: Some(Caller::root(&account)) };
        let region = |authorization: &str| {
            let head = head(authorization);
            let (_, scope) =
                auth.check(&head, &Bytes::new(), SystemClock.now(), "us-east-1").unwrap();
            scope.region.to_string()
        };
        let signed = "AWS4-HMAC-SHA256 Credential=AKIA/20261122/eu-west-1/lambda/aws4_request, SignedHeaders=host, Signature=0";
        assert_eq!(region(signed), "eu-west-1");
        assert_eq!(region("Bearer x"), "us-east-1");
        assert_eq!(region("AWS4-HMAC-SHA256 Credential=a/b/../c/d"), "us-east-1");
        let mut guest = head(signed);
        guest.extensions.insert(Peer::Guest);
        let refused =
            auth.check(&guest, &Bytes::new(), SystemClock.now(), "us-east-1").unwrap_err();
        assert_eq!(refused.status, Some(403), "{refused}");
        // What only everybody has to pass: the head names no host.
        let strange = auth.precheck(&head(signed), SystemClock.now()).unwrap_err();
        assert_eq!(strange.code, "AccessDeniedException");
        assert_ne!(auth.precheck(&guest, SystemClock.now()).unwrap_err().code, strange.code);
    }

    fn keys() -> Keys {
        keys_at(Env::system())
    }

    fn keys_at(env: Env) -> Keys {
        let account = AccountId::new("000000000000").unwrap();
        let sessions = Sessions::new(env.clone(), SealingKey::from_secret("s"));
        let iam = Iam::new(Arc::new(Nothing), env, account.clone());
        let secret = sigv4::Secret { secret_key: "s".to_owned(), session_token: None };
        Keys {
            owner: ("AKIA".to_owned(), secret, Caller::root(&account)),
            iam: Arc::new(iam),
            sessions: Arc::new(sessions),
        }
    }

    struct Nothing;

    #[async_trait::async_trait]
    impl Documents for Nothing {
        fn get(&self, _: &DocumentKey) -> Option<Document> {
            None
        }
        fn list(
            &self,
            _: (&'static str, &Scope),
            _: Option<&str>,
            _: Option<(&str, &str)>,
            _: usize,
        ) -> Vec<Document> {
            Vec::new()
        }
        fn labelled(
            &self,
            _: (&'static str, &Scope),
            _: &str,
            _: Option<(&str, &str)>,
            _: usize,
        ) -> Vec<Document> {
            Vec::new()
        }
        async fn put(
            &self,
            _: DocumentKey,
            _: Expected,
            _: serde_json::Value,
        ) -> Result<Document, DocumentError> {
            Err(DocumentError::Conflict)
        }
        async fn delete(&self, _: &DocumentKey, _: Expected) -> Result<bool, DocumentError> {
            Ok(false)
        }
        async fn delete_owned(
            &self,
            _: &[&'static str],
            _: &Scope,
            _: &str,
        ) -> Result<(), DocumentError> {
            Ok(())
        }
    }

    #[test]
    fn a_signature_does_not_grow_old_while_its_body_arrives() {
        let signed = Timestamp::from_millis(1_795_000_000_000);
        let auth = Auth { keys: keys(), open: None };
        let secret = sigv4::Secret { secret_key: "s".to_owned(), session_token: None };
        let credentials = sigv4::Credentials { access_key: "AKIA".to_owned(), secret };
        let scope = sigv4::Scope { region: "r", service: "lambda" };
        let uri = "http://host/2015-03-31/functions".parse().unwrap();
        let uri = sigv4::presign(&uri, &credentials, scope, 60, signed.millis()).unwrap();
        let request = http::Request::get(uri).header("host", "host").body(()).unwrap();
        let head = request.into_parts().0;
        // Whatever the clock of this machine says when the body is there.
        assert!(auth.precheck(&head, signed).is_ok());
        assert!(auth.check(&head, &Bytes::new(), signed, "r").is_ok());
        let late = Timestamp::from_millis(signed.millis() + 61_000);
        let expired = auth.check(&head, &Bytes::new(), late, "r").unwrap_err();
        assert!(expired.message.starts_with("Signature expired"), "{expired}");
    }

    #[test]
    fn a_session_ends() {
        let account = AccountId::new("000000000000").unwrap();
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_795_000_000_000)));
        let env = Env { clock: Arc::clone(&clock) as _, ..Env::system() };
        let keys = keys_at(env);
        let made = keys.sessions.begin(&Caller::root(&account), std::time::Duration::from_secs(60));
        let auth = Auth { keys, open: None };
        let ask = || {
            let secret = sigv4::Secret {
                secret_key: made.secret.clone(),
                session_token: Some(made.token.clone()),
            };
            let credentials = sigv4::Credentials { access_key: made.access_key.clone(), secret };
            let scope = sigv4::Scope { region: "r", service: "lambda" };
            let uri = "http://host/2015-03-31/functions".parse().unwrap();
            let uri = sigv4::presign(&uri, &credentials, scope, 600, clock.now().millis()).unwrap();
            let request = http::Request::get(uri).header("host", "host").body(()).unwrap();
            let head = request.into_parts().0;
            auth.check(&head, &Bytes::new(), clock.now(), "r").map(|(caller, _)| caller)
        };
        assert!(ask().unwrap().temporary);
        clock.advance(std::time::Duration::from_secs(61));
        assert_eq!(ask().unwrap_err().code, "ExpiredTokenException");
    }
}
