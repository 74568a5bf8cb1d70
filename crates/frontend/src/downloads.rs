//! Code.Location: presigned URLs of zip files, and their downloads.
//!
//! Signed with a key of this process that opens nothing else, so that a location can be handed on
//! without handing on an account. A file is read while it is sent, a piece at a time.

use crate::api::Request;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts as Head;
use http::{HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use lamplight_env::{Clock, Random};
use lamplight_model::limits;
use lamplight_rpc::CodeSource;
use lamplight_wire::{ApiError, sigv4};
use std::convert::Infallible;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const KEY_ID: &str = "LAMPLIGHTDOWNLOADS00";
const PREFIX: &str = "/_lamplight/code/";
const SERVICE: &str = "lamplight-code";

/// Bytes of a file that are in memory at a time.
const PIECE: usize = 64 * 1024;
/// Files that are sent at the same time.
const AT_ONCE: usize = 32;

pub struct Downloads {
    secret: sigv4::Secret,
    places: Arc<Semaphore>,
}

impl Downloads {
    pub fn new(random: &dyn Random) -> Self {
        let secret = sigv4::Secret { secret_key: random.hex(20), session_token: None };
        Self { secret, places: Arc::new(Semaphore::new(AT_ONCE)) }
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
    /// The file itself.
    pub async fn send(
        &self,
        code: &dyn CodeSource,
        digest: &str,
    ) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, ApiError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            ApiError::new("ServiceException", "Too many downloads at once. Please try again.")
                .with_status(503)
                .with("retryAfterSeconds", "1")
        })?;
        let zip = match code.fetch(digest).await {
            Ok(path) => Zip::open(&path, place).await.map_err(|error| error.to_string()),
            Err(cause) => Err(cause),
        };
        let zip = zip.map_err(|cause| {
            tracing::debug!(%cause, "code to download is gone");
            ApiError::new("ResourceNotFoundException", "The code is gone.").with_status(404)
        })?;
        let mut response = Response::new(UnsyncBoxBody::new(zip));
        let zip = HeaderValue::from_static("application/zip");
        response.headers_mut().insert(CONTENT_TYPE, zip);
        Ok(response)
    }
}

/// A file on its way.
struct Zip {
    file: File,
    piece: Box<[u8]>,
    /// Bytes that are still to be sent.
    left: u64,
    _place: OwnedSemaphorePermit,
}

impl Zip {
    async fn open(path: &Path, place: OwnedSemaphorePermit) -> std::io::Result<Self> {
        let mut file = File::open(path).await?;
        file.set_max_buf_size(PIECE);
        let left = file.metadata().await?.len();
        Ok(Self { file, piece: vec![0; PIECE].into(), left, _place: place })
    }
}

impl Body for Zip {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self { file, piece, left, .. } = &mut *self;
        if *left == 0 {
            return Poll::Ready(None);
        }
        let mut read = ReadBuf::new(piece);
        let polled = ready!(Pin::new(file).poll_read(cx, &mut read));
        let data = read.filled();
        if polled.is_err() || data.is_empty() {
            // Fewer bytes than announced are how a client learns of it.
            tracing::error!(?polled, left, "code could not be read to its end");
            *left = 0;
            return Poll::Ready(None);
        }
        let wanted = data.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
        *left -= wanted as u64;
        let data = data.get(..wanted).unwrap_or_default();
        Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(data)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use lamplight_env::SeededRandom;
    use std::path::PathBuf;

    struct One(PathBuf);

    #[async_trait::async_trait]
    impl CodeSource for One {
        async fn fetch(&self, digest: &str) -> Result<PathBuf, String> {
            if digest == "there" { Ok(self.0.clone()) } else { Err("no such code".to_owned()) }
        }
    }

    #[tokio::test]
    async fn files_are_sent_in_pieces_and_not_too_many_at_once() {
        let downloads = Downloads::new(&SeededRandom::new(1));
        let path = std::env::temp_dir().join(format!("lamplight-zip-{}", std::process::id()));
        let content: Vec<u8> = (0..PIECE * 3 + 7).map(|at| at as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let code = One(path.clone());
        let mut open = Vec::new();
        for _ in 0..AT_ONCE {
            open.push(downloads.send(&code, "there").await.unwrap().into_body());
        }
        let busy = downloads.send(&code, "there").await.err().unwrap();
        assert_eq!(busy.status, Some(503));
        let mut zip = open.pop().unwrap();
        assert_eq!(zip.size_hint().exact(), Some(content.len() as u64));
        let mut sent = Vec::new();
        while let Some(frame) = zip.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= PIECE);
            sent.extend_from_slice(&data);
        }
        assert!(sent == content);
        drop(zip);
        let gone = downloads.send(&code, "gone").await.err().unwrap();
        assert_eq!(gone.status, Some(404));
        // A place that a failure took is free again, too.
        assert!(downloads.send(&code, "there").await.is_ok());
        std::fs::remove_file(&path).unwrap();
    }
}
