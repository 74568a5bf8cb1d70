//! Code.Location: presigned URLs of zip files, and their downloads.
//!
//! Signed with a key of this process that opens nothing else, so that a location can be handed on
//! without handing on an account.

use crate::api::Request;
use http::request::Parts as Head;
use lamplight_env::{Clock, Random};
use lamplight_model::limits;
use lamplight_wire::{ApiError, sigv4};

const KEY_ID: &str = "LAMPLIGHTDOWNLOADS00";
const PREFIX: &str = "/_lamplight/code/";
const SERVICE: &str = "lamplight-code";

pub struct Downloads {
    secret: sigv4::Secret,
}

impl Downloads {
    pub fn new(random: &dyn Random) -> Self {
        Self { secret: sigv4::Secret { secret_key: random.hex(20), session_token: None } }
    }

    /// A URL that downloads the zip file for ten minutes, at the host that the request came to.
    pub fn location(&self, request: &Request<'_>, digest: &str) -> Result<String, ApiError> {
        let host = request
            .head
            .headers
            .get(http::header::HOST)
            .and_then(|host| host.to_str().ok())
            .ok_or_else(|| ApiError::new("InvalidParameterValueException", "No Host header"))?;
        let uri = format!("http://{host}{PREFIX}{digest}").parse().map_err(ApiError::internal)?;
        let credentials =
            sigv4::Credentials { access_key: KEY_ID.to_owned(), secret: self.secret.clone() };
        let scope = sigv4::Scope { region: &request.scope.region, service: SERVICE };
        let seconds = u32::try_from(limits::CODE_LOCATION.as_secs()).unwrap_or(u32::MAX);
        let now = request.parts.env.clock.now().millis();
        let signed = sigv4::presign(&uri, &credentials, scope, seconds, now);
        Ok(signed.map_err(ApiError::internal)?.to_string())
    }

    /// The digest of the zip file that a request may download. `None` when it is no download.
    pub fn requested(&self, head: &Head, clock: &dyn Clock) -> Option<Result<String, ApiError>> {
        let digest = head.uri.path().strip_prefix(PREFIX)?;
        let lookup = |id: &str| (id == KEY_ID).then(|| self.secret.clone());
        let verified = sigv4::verify(head, || sigv4::sha256(b""), &lookup, clock.now().millis());
        Some(verified.and_then(|_| {
            let is_digest = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
            is_digest.then(|| digest.to_owned()).ok_or_else(|| {
                ApiError::new("ResourceNotFoundException", "No such code.").with_status(404)
            })
        }))
    }
}
