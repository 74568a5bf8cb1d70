//! Signing: for our own command line, for code locations, and for tests.

use super::canonical::Canonical;
use super::{hex, key, time};
use crate::percent;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use std::fmt::Write as _;

/// Whose signature to make.
#[derive(Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret: super::Secret,
}

/// Where a signature is good.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub region: &'a str,
    pub service: &'a str,
}

#[derive(Debug, thiserror::Error)]
pub enum SignError {
    #[error("the request has no host, neither as a header nor in its address")]
    NoHost,
    #[error("{0} cannot be written in a header or an address")]
    NotWritable(&'static str),
}

/// Adds `Host` (if the address has it), `X-Amz-Date`, `X-Amz-Security-Token` (if there is one) and
/// `Authorization`; signs those and all headers already there.
///
/// # Errors
/// When there is no host to sign, or a credential holds what no header can.
pub fn sign(
    parts: &mut Parts,
    body_sha256: [u8; 32],
    credentials: &Credentials,
    scope: Scope<'_>,
    now_ms: i64,
) -> Result<(), SignError> {
    let timestamp = time::format(now_ms.div_euclid(1000));
    if !parts.headers.contains_key(HOST) {
        let host = parts.uri.authority().ok_or(SignError::NoHost)?.as_str();
        let host = writable(host, "the host")?;
        parts.headers.insert(HOST, host);
    }
    parts.headers.remove(AUTHORIZATION);
    parts.headers.insert("x-amz-date", writable(&timestamp, "the date")?);
    if let Some(token) = &credentials.secret.session_token {
        parts.headers.insert("x-amz-security-token", writable(token, "the session token")?);
    }
    let mut names: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let signed_headers = names.join(";");
    let payload_hash = match parts.headers.get("x-amz-content-sha256") {
        Some(label) => String::from_utf8_lossy(label.as_bytes()).into_owned(),
        None => hex(&body_sha256),
    };
    let canonical = Canonical {
        parts,
        signed_headers: &signed_headers,
        payload_hash: &payload_hash,
        presigned: false,
        plain_path: scope.service == "s3",
    };
    let signature = signature(&canonical, credentials, scope, &timestamp)?;
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={signed_headers}, Signature={signature}",
        credentials.access_key,
        scope_text(scope, &timestamp),
    );
    parts.headers.insert(AUTHORIZATION, writable(&authorization, "the access key")?);
    Ok(())
}

/// An address that anybody may GET for `expires_s` seconds (AWS allows a week). `uri` is absolute.
///
/// # Errors
/// When the address has no host, or a credential holds what no address can.
pub fn presign(
    uri: &Uri,
    credentials: &Credentials,
    scope: Scope<'_>,
    expires_s: u32,
    now_ms: i64,
) -> Result<Uri, SignError> {
    let timestamp = time::format(now_ms.div_euclid(1000));
    let host = uri.authority().ok_or(SignError::NoHost)?.as_str();
    let credential = format!("{}/{}", credentials.access_key, scope_text(scope, &timestamp));
    let mut address = uri.to_string();
    address.push(if uri.query().is_some() { '&' } else { '?' });
    let _ = write!(
        address,
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={}&X-Amz-Date={timestamp}\
         &X-Amz-Expires={expires_s}&X-Amz-SignedHeaders=host",
        percent::encode(&credential)
    );
    if let Some(token) = &credentials.secret.session_token {
        let _ = write!(address, "&X-Amz-Security-Token={}", percent::encode(token));
    }
    let (parts, ()) = Request::builder()
        .method(Method::GET)
        .uri(&address)
        .header(HOST, host)
        .body(())
        .map_err(|_| SignError::NotWritable("the presigned request"))?
        .into_parts();
    let payload_hash = if scope.service == "s3" {
        "UNSIGNED-PAYLOAD".to_owned()
    } else {
        hex(&super::sha256(b""))
    };
    let canonical = Canonical {
        parts: &parts,
        signed_headers: "host",
        payload_hash: &payload_hash,
        presigned: true,
        plain_path: scope.service == "s3",
    };
    let signature = signature(&canonical, credentials, scope, &timestamp)?;
    let _ = write!(address, "&X-Amz-Signature={signature}");
    address.parse().map_err(|_| SignError::NotWritable("the signed address"))
}

fn signature(
    canonical: &Canonical<'_>,
    credentials: &Credentials,
    scope: Scope<'_>,
    timestamp: &str,
) -> Result<String, SignError> {
    let hash = canonical.hash().ok_or(SignError::NoHost)?;
    let scope = [date(timestamp), scope.region, scope.service];
    key::signature(&credentials.secret.secret_key, &scope, timestamp, &hash)
        .map(|signature| hex(&signature))
        .ok_or(SignError::NotWritable("the secret"))
}

fn scope_text(scope: Scope<'_>, timestamp: &str) -> String {
    format!("{}/{}/{}/aws4_request", date(timestamp), scope.region, scope.service)
}

fn date(timestamp: &str) -> &str {
    timestamp.get(..8).unwrap_or(timestamp)
}

fn writable(text: &str, what: &'static str) -> Result<HeaderValue, SignError> {
    HeaderValue::from_str(text).map_err(|_| SignError::NotWritable(what))
}
