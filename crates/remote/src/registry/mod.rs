//! Container images from registries that speak the protocol of OCI.
//!
//! Invariants: what is handed on has the digests that its manifest names; a token goes to the
//! registry that asked for it and to nobody else; nothing that a registry says leads anywhere but to
//! itself or, over TLS, to public addresses; nobody who pulls slowly keeps others waiting for long.
//! The password for a registry goes to that registry and to where it gets its tokens. Absences:
//! layers compressed with zstd, which AWS does not take either.

mod access;
mod manifest;
mod name;
mod token;

#[cfg(test)]
mod tests;

pub use access::{Access, Login};

use crate::http::{Client, HttpError, append, read};
use crate::reach::Reach;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use http::uri::Scheme;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;
use lamplight_env::Env;
use lamplight_model::{BundleHead, BundleLayer, limits};
use lamplight_rpc::{ImageError, Images, PulledImage};
use lamplight_wire::sigv4;
use manifest::{Descriptor, Manifest};
use name::Name;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use token::Challenge;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// A manifest, a configuration or a token, bytes.
const DOCUMENT: usize = 4 * 1024 * 1024;
const REDIRECTS: usize = 5;
/// Images that are in memory at a time.
const AT_A_TIME: usize = 2;
/// For a place among them.
const QUEUE: Duration = Duration::from_secs(30);
/// For one image, all of it.
const WHOLE: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Error)]
enum PullError {
    #[error("there is no such image")]
    Missing,
    #[error(
        "the registry does not let this server in; a login for it belongs in the configuration"
    )]
    Denied,
    #[error("the image cannot be used")]
    Unsupported,
    #[error("the image is too large")]
    TooLarge,
    #[error("the registry answers {0}")]
    Refused(StatusCode),
    #[error("{0}")]
    Http(#[from] HttpError),
    #[error("a request cannot be made: {0}")]
    Request(#[from] http::Error),
    #[error("the registry leads to {0}")]
    Astray(Uri),
    #[error("the image came too slowly")]
    Slow,
    #[error("what arrived is not what was asked for")]
    Digest,
}

pub struct Registries {
    client: Client,
    /// By the registry's name, as images have it.
    access: BTreeMap<String, Access>,
    room: Arc<Semaphore>,
}

impl Registries {
    pub fn new(env: &Env, access: BTreeMap<String, Access>) -> Self {
        let room = Arc::new(Semaphore::new(AT_A_TIME));
        Self { client: Client::new(env.tasks.clone()), access, room }
    }

    async fn bundle(&self, name: &Name, architecture: &str) -> Result<(Bytes, String), PullError> {
        let access = self.access.get(&name.registry).cloned().unwrap_or_default();
        let mut pull = Pull { client: &self.client, name, access, authorization: None };
        let (mut bytes, mut digest) = pull.manifest(&name.reference).await?;
        let mut manifest = parsed(&bytes)?;
        if manifest.is_index() {
            let picked = manifest.pick(architecture).ok_or(PullError::Unsupported)?.to_owned();
            (bytes, digest) = pull.manifest(&picked).await?;
            manifest = parsed(&bytes)?;
        }
        let config = manifest.config.as_ref().ok_or(PullError::Unsupported)?;
        let mut text = BytesMut::new();
        pull.blob(config, DOCUMENT, &mut text).await?;
        let config = manifest::config(&text).ok_or(PullError::Unsupported)?;
        let mut layers = Vec::new();
        for layer in &manifest.layers {
            let gzip = layer.gzip().ok_or(PullError::Unsupported)?;
            layers.push(BundleLayer { size: layer.size, gzip });
        }
        let all = layers.iter().fold(0u64, |sum, layer| sum.saturating_add(layer.size));
        let all = usize::try_from(all).ok().filter(|all| *all <= limits::IMAGE_PACKED);
        let all = all.ok_or(PullError::TooLarge)?;
        let head = BundleHead { format: BundleHead::FORMAT, config, layers };
        let head = head.to_bytes();
        let mut bundle = BytesMut::with_capacity(head.len().saturating_add(all));
        bundle.extend_from_slice(&head);
        for layer in &manifest.layers {
            pull.blob(layer, limits::IMAGE_PACKED, &mut bundle).await?;
        }
        Ok((bundle.freeze(), digest))
    }
}

#[async_trait]
impl Images for Registries {
    async fn pull(&self, text: &str, architecture: &str) -> Result<PulledImage, ImageError> {
        let missing = || ImageError::Missing(text.to_owned());
        let name = Name::parse(text).ok_or_else(missing)?;
        let share = timeout(QUEUE, Arc::clone(&self.room).acquire_owned()).await;
        let share = share.map_err(|_| {
            let text = "Too many container images are being pulled. Try again later.";
            ImageError::Unreachable(text.to_owned())
        })?;
        let share = share.map_err(|_| missing())?;
        let bundle = timeout(WHOLE, self.bundle(&name, architecture)).await;
        match bundle.unwrap_or(Err(PullError::Slow)) {
            Ok((bundle, digest)) => {
                let resolved = name.resolved(&digest);
                Ok(PulledImage { bundle, resolved, share: Box::new(share) })
            }
            Err(PullError::Missing) => Err(missing()),
            Err(error @ PullError::Denied) => {
                tracing::warn!(%error, image = text, "an image cannot be pulled");
                Err(missing())
            }
            Err(PullError::Unsupported) => Err(ImageError::Unsupported(text.to_owned())),
            Err(PullError::TooLarge) => {
                Err(ImageError::TooLarge(text.to_owned(), limits::IMAGE_PACKED))
            }
            Err(error) => {
                // The caller is not told what there is to find in this network.
                tracing::warn!(%error, image = text, "an image cannot be pulled");
                Err(ImageError::Unreachable(format!("The image {text} cannot be pulled.")))
            }
        }
    }
}

/// One pull, with what it was let in by.
struct Pull<'a> {
    client: &'a Client,
    name: &'a Name,
    access: Access,
    authorization: Option<HeaderValue>,
}

impl Pull<'_> {
    /// A manifest and its digest.
    async fn manifest(&mut self, reference: &str) -> Result<(Bytes, String), PullError> {
        let response = self.get(&format!("manifests/{reference}")).await?;
        let bytes = read(response.into_body(), DOCUMENT).await?;
        let digest = digest(&bytes);
        match reference.starts_with("sha256:") && reference != digest {
            true => Err(PullError::Digest),
            false => Ok((bytes, digest)),
        }
    }

    /// Puts a blob behind what is in `into`.
    async fn blob(
        &mut self,
        blob: &Descriptor,
        limit: usize,
        into: &mut BytesMut,
    ) -> Result<(), PullError> {
        let size = usize::try_from(blob.size).ok().filter(|size| *size <= limit);
        let size = size.ok_or(PullError::TooLarge)?;
        let response = self.get(&format!("blobs/{}", blob.digest)).await?;
        let start = into.len();
        append(response.into_body(), size, into).await?;
        let bytes = into.get(start..).unwrap_or_default();
        match bytes.len() == size && digest(bytes) == blob.digest {
            true => Ok(()),
            false => Err(PullError::Digest),
        }
    }

    async fn get(&mut self, path: &str) -> Result<Response<Incoming>, PullError> {
        let address: Uri = self.name.address(path).parse().map_err(http::Error::from)?;
        let mut response = self.follow(&address).await?;
        // Also in the middle of a pull: tokens do not last.
        if response.status() == StatusCode::UNAUTHORIZED {
            self.authorization = Some(self.authorize(&address, response.headers()).await?);
            response = self.follow(&address).await?;
        }
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::NOT_FOUND => Err(PullError::Missing),
            // Registries do not tell strangers what is not there from what is not theirs.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(PullError::Denied),
            status => Err(PullError::Refused(status)),
        }
    }

    /// What the registry at `own` wants to see with requests.
    async fn authorize(&self, own: &Uri, asked: &HeaderMap) -> Result<HeaderValue, PullError> {
        let login = self.access.login.as_ref();
        let realm = match token::challenge(asked).ok_or(PullError::Denied)? {
            Challenge::Basic => return Ok(login.ok_or(PullError::Denied)?.header()?),
            Challenge::Bearer(realm) => realm.parse::<Uri>().map_err(http::Error::from)?,
        };
        let trusted = self.access.token_server.as_ref();
        let reach = match trusted.is_some_and(|server| is_same_server(server, &realm)) {
            true => Reach::Anywhere,
            false => reach(own, &realm)?,
        };
        let mut request = Request::get(realm);
        if let Some(login) = login {
            request = request.header(AUTHORIZATION, login.header()?);
        }
        let answer = self.client.send(request.body(Empty::new())?, reach).await?;
        if answer.status() != StatusCode::OK {
            return Err(PullError::Denied);
        }
        let answer = read(answer.into_body(), DOCUMENT).await?;
        let token = token::read(&answer).ok_or(PullError::Denied)?;
        Ok(access::secret(format!("Bearer {token}"))?)
    }

    /// Blobs are often elsewhere, where the token is none of anybody's business.
    async fn follow(&self, address: &Uri) -> Result<Response<Incoming>, PullError> {
        let mut uri = address.clone();
        for _ in 0..REDIRECTS {
            let mut request = Request::get(uri.clone()).header(ACCEPT, manifest::ACCEPT);
            if is_same_server(address, &uri) {
                request = self.authorization.iter().fold(request, |request, authorization| {
                    request.header(AUTHORIZATION, authorization.clone())
                });
            }
            let reach = reach(address, &uri)?;
            let response = self.client.send(request.body(Empty::new())?, reach).await?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let to = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next: Uri = to.unwrap_or_default().parse().map_err(http::Error::from)?;
            let mut parts = next.into_parts();
            parts.scheme = parts.scheme.or_else(|| uri.scheme().cloned());
            parts.authority = parts.authority.or_else(|| uri.authority().cloned());
            uri = Uri::from_parts(parts).map_err(http::Error::from)?;
        }
        Err(PullError::Refused(StatusCode::LOOP_DETECTED))
    }
}

fn is_same_server(one: &Uri, other: &Uri) -> bool {
    one.scheme() == other.scheme() && one.authority() == other.authority()
}

/// How far an address may lead that the registry at `own` says: to itself, which the caller named,
/// or over TLS to public machines.
fn reach(own: &Uri, to: &Uri) -> Result<Reach, PullError> {
    match is_same_server(own, to) {
        true => Ok(Reach::Anywhere),
        false if to.scheme() == Some(&Scheme::HTTPS) => Ok(Reach::Public),
        false => Err(PullError::Astray(to.clone())),
    }
}

fn parsed(bytes: &[u8]) -> Result<Manifest, PullError> {
    serde_json::from_slice(bytes).map_err(|_| PullError::Unsupported)
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sigv4::hex(&sigv4::sha256(bytes)))
}
