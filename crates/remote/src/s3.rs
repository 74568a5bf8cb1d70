//! GetObject at the S3 endpoint of the configuration.

use crate::http::{Client, HttpError, read};
use crate::reach::Reach;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::{Body, Incoming};
use lamplight_env::Env;
use lamplight_model::{S3Object, limits};
use lamplight_rpc::{FetchedObject, ObjectError, Objects};
use lamplight_wire::{percent, sigv4};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// KiB that all objects in flight may hold together.
const BUDGET: u32 = 512 * 1024;
/// The XML of a refusal, bytes.
const REFUSAL: usize = 64 * 1024;
const VERSION: &str = "x-amz-version-id";

/// Where objects are.
#[derive(Clone)]
pub struct S3 {
    /// Such as `https://s3.eu-central-1.amazonaws.com`: scheme, host and port.
    pub endpoint: Uri,
    pub region: String,
    /// Requests are not signed where absent.
    pub credentials: Option<sigv4::Credentials>,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "S3({}, {})", self.endpoint, self.region)
    }
}

pub struct ObjectStore {
    env: Env,
    client: Client,
    s3: Option<S3>,
    room: Arc<Semaphore>,
}

impl ObjectStore {
    pub fn new(env: Env, s3: Option<S3>) -> Self {
        let client = Client::new(env.tasks.clone());
        Self { env, client, s3, room: Arc::new(Semaphore::new(BUDGET as usize)) }
    }

    fn request(&self, s3: &S3, object: &S3Object) -> Result<Request<Empty<Bytes>>, String> {
        let mut address = s3.endpoint.to_string().trim_end_matches('/').to_owned();
        address.push('/');
        address.push_str(&percent::encode(&object.bucket));
        address.push('/');
        address.push_str(&percent::encode_path(&object.key));
        if let Some(version) = &object.version {
            address.push_str("?versionId=");
            address.push_str(&percent::encode(version));
        }
        let request = Request::get(address).body(Empty::new()).map_err(|e| e.to_string())?;
        let (mut parts, body) = request.into_parts();
        if let Some(credentials) = &s3.credentials {
            let scope = sigv4::Scope { region: &s3.region, service: "s3" };
            let nothing = sigv4::sha256(b"");
            let label = sigv4::hex(&nothing).parse().map_err(|_| "a header".to_owned())?;
            parts.headers.insert("x-amz-content-sha256", label);
            let now = self.env.clock.now().millis();
            sigv4::sign(&mut parts, nothing, credentials, scope, now).map_err(|e| e.to_string())?;
        }
        Ok(Request::from_parts(parts, body))
    }
}

#[async_trait]
impl Objects for ObjectStore {
    async fn get(&self, object: &S3Object) -> Result<FetchedObject, ObjectError> {
        let s3 = self.s3.as_ref().ok_or(ObjectError::NotConfigured)?;
        let unreachable = |error: &dyn std::fmt::Display| {
            tracing::warn!(%error, endpoint = %s3.endpoint, "an object of S3 cannot be fetched");
            ObjectError::Unreachable(format!(
                "The S3 endpoint {} cannot be used: {error}",
                s3.endpoint
            ))
        };
        let request = self.request(s3, object).map_err(|error| unreachable(&error))?;
        let response = self
            .client
            .send(request, Reach::Anywhere)
            .await
            .map_err(|error| unreachable(&error))?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        let version = response.headers().get(VERSION).and_then(|version| version.to_str().ok());
        // S3 says this of buckets without versions.
        let version = version.filter(|version| *version != "null").map(str::to_owned);
        let limit = usize::try_from(limits::UNZIPPED_CODE).unwrap_or(usize::MAX);
        let length = response.body().size_hint().exact().unwrap_or(limit as u64);
        let kib = u32::try_from(length / 1024 + 1).unwrap_or(BUDGET).min(BUDGET);
        let share = Arc::clone(&self.room).acquire_many_owned(kib).await;
        let share = share.map_err(|error| unreachable(&error))?;
        match read(response.into_body(), limit).await {
            Ok(bytes) => Ok(FetchedObject { bytes, version, share: Box::new(share) }),
            Err(HttpError::TooLong(_)) => Err(ObjectError::TooLarge),
            Err(error) => Err(unreachable(&error)),
        }
    }
}

async fn refusal(response: http::Response<Incoming>) -> ObjectError {
    let status = response.status();
    let body = read(response.into_body(), REFUSAL).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&body);
    let code = element(&text, "Code").unwrap_or_else(|| status.as_str().to_owned());
    let reason = || status.canonical_reason().unwrap_or_default().to_owned();
    let message = element(&text, "Message").unwrap_or_else(reason);
    ObjectError::Refused { code, message }
}

/// The text of the first element called `name`. Refusals of S3 are flat.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    Some(text.replace("&apos;", "'").replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read() {
        let xml = "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>a &lt;b&gt; &amp;lt;</Message></Error>";
        assert_eq!(element(xml, "Code").as_deref(), Some("NoSuchKey"));
        assert_eq!(element(xml, "Message").as_deref(), Some("a <b> &lt;"));
        assert_eq!(element(xml, "Key"), None);
        assert_eq!(element("<Code>cut off", "Code"), None);
    }

    #[test]
    fn keys_are_part_of_the_path_whatever_is_in_them() {
        let s3 = S3 {
            endpoint: "http://127.0.0.1:9000".parse().unwrap(),
            region: "r".into(),
            credentials: None,
        };
        let store = ObjectStore::new(Env::system(), None);
        let object = S3Object {
            bucket: "code".into(),
            key: "a b/../c?d#ü".into(),
            version: Some("v&1".into()),
        };
        let request = store.request(&s3, &object).unwrap();
        assert_eq!(
            request.uri().to_string(),
            "http://127.0.0.1:9000/code/a%20b/../c%3Fd%23%C3%BC?versionId=v%261"
        );
    }
}
