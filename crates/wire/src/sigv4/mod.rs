//! AWS Signature Version 4: verifying requests, and signing our own.
//!
//! Both forms, `Authorization` header and presigned query. The signature covers method, path, query
//! and every header it names, which always includes the host; it covers the body unless the signer
//! says `UNSIGNED-PAYLOAD`. Comparisons of secrets take constant time. SigV4A and chunk-signed
//! bodies are not supported and are refused.

mod canonical;
mod claim;
mod key;
mod sign;
mod time;

pub use claim::{claimed_scope, claimed_token};
pub use lamplight_env::hex;
pub use sign::{Credentials, Scope, SignError, presign, sign};

use crate::ApiError;
use canonical::Canonical;
use claim::{Claim, Form};
use http::request::Parts;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What the server knows of an access key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    pub secret_key: String,
    /// The token that has to come with requests under a temporary key, and with no other.
    pub session_token: Option<String>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Who signed a request, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub access_key: String,
    pub region: String,
    /// The signing name in the scope. Whether it is the service routed to is for the router, which
    /// goes by the same scope.
    pub service: String,
    /// `YYYYMMDD`, UTC.
    pub date: String,
}

/// Everything about a request's signature that can be said before there is a body, except whether it
/// is right. Its refusals are those of [`verify`].
///
/// # Errors
/// See [`verify`].
pub fn precheck(
    parts: &Parts,
    lookup: &dyn Fn(&str) -> Option<Secret>,
    now_ms: i64,
) -> Result<(), ApiError> {
    claimed(parts, lookup, now_ms).map(drop)
}

fn claimed<'p>(
    parts: &'p Parts,
    lookup: &dyn Fn(&str) -> Option<Secret>,
    now_ms: i64,
) -> Result<(Claim<'p>, Secret), ApiError> {
    let claim = Claim::read(parts)?;
    claim.check_scope()?;
    claim.check_time(now_ms)?;
    let secret = lookup(claim.access_key).ok_or_else(unrecognised)?;
    check_token(&secret, claim.token.as_deref())?;
    Ok((claim, secret))
}

/// Verifies a request's signature. `body_sha256` is asked for at most once and only when everything
/// that needs no body is in order; `now_ms` is milliseconds since 1970.
///
/// # Errors
/// All 403, in AWS's words: `MissingAuthenticationTokenException`, `IncompleteSignatureException`,
/// `UnrecognizedClientException`, `InvalidSignatureException` (which also says that a signature has
/// expired or is not yet current).
pub fn verify(
    parts: &Parts,
    body_sha256: impl FnOnce() -> [u8; 32],
    lookup: &dyn Fn(&str) -> Option<Secret>,
    now_ms: i64,
) -> Result<Verified, ApiError> {
    let (claim, secret) = claimed(parts, lookup, now_ms)?;
    let payload_hash = match payload_label(parts, &claim) {
        Some(label) => label.to_owned(),
        None => hex(&body_sha256()),
    };
    let canonical = Canonical {
        parts,
        signed_headers: claim.signed_headers,
        payload_hash: &payload_hash,
        presigned: claim.form == Form::Query,
        plain_path: claim.service == "s3",
    };
    let Some(request_hash) = canonical.hash() else { return Err(mismatch()) };
    let matches =
        key::signature(&secret.secret_key, &claim.scope(), claim.timestamp, &request_hash)
            .is_some_and(|expected| {
                bool::from(hex(&expected).as_bytes().ct_eq(claim.signature.as_bytes()))
            });
    if !matches {
        return Err(mismatch());
    }
    Ok(Verified {
        access_key: claim.access_key.to_owned(),
        region: claim.region.to_owned(),
        service: claim.service.to_owned(),
        date: claim.date.to_owned(),
    })
}

/// What stands for the body's hash when it is not one. It is part of what is signed, so nobody but
/// the signer can choose it.
fn payload_label(parts: &Parts, claim: &Claim<'_>) -> Option<&'static str> {
    const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
    const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";
    match parts.headers.get("x-amz-content-sha256").map(|value| value.as_bytes()) {
        Some(value) if value == UNSIGNED.as_bytes() => Some(UNSIGNED),
        Some(value) if value == UNSIGNED_TRAILER.as_bytes() => Some(UNSIGNED_TRAILER),
        // AWS: a presigned S3 request does not say what its body will be.
        None if claim.form == Form::Query && claim.service == "s3" => Some(UNSIGNED),
        _ => None,
    }
}

fn check_token(secret: &Secret, given: Option<&str>) -> Result<(), ApiError> {
    let matches = match (&secret.session_token, given) {
        (None, None) => true,
        (Some(expected), Some(given)) => bool::from(expected.as_bytes().ct_eq(given.as_bytes())),
        _ => false,
    };
    if matches { Ok(()) } else { Err(unrecognised()) }
}

fn unrecognised() -> ApiError {
    refused("UnrecognizedClientException", "The security token included in the request is invalid.")
}

fn mismatch() -> ApiError {
    invalid(
        "The request signature we calculated does not match the signature you provided. Check your \
         AWS Secret Access Key and signing method. Consult the service documentation for details.",
    )
}

fn invalid(message: impl Into<String>) -> ApiError {
    refused("InvalidSignatureException", message)
}

fn refused(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(code, message).with_status(403)
}

/// The hash of a body as [`verify`] and [`sign`] want it.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests;
