//! The code of requests: zip files sent inline or fetched from S3, and images.

use super::Request;
use super::settings::{invalid, text};
use crate::body::{Share, hold};
use base64::Engine as _;
use bytes::Bytes;
use lamplight_model::{FunctionSettings, Origin, PackageType, S3Object, limits};
use lamplight_rpc::{ImageError, ObjectError};
use lamplight_wire::ApiError;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A zip file. Its bytes hold their share of the memory, wherever they go.
pub struct Package {
    pub zip: Bytes,
    /// Where it came from, where the request asked to have that kept.
    pub origin: Option<Origin>,
}

/// The zip file of a `Code` object or of UpdateFunctionCode's own members.
pub async fn of_function(
    request: &Request<'_>,
    code: &Map<String, Value>,
    settings: &FunctionSettings,
) -> Result<Package, ApiError> {
    match settings.package_type {
        PackageType::Zip if given(code, "ImageUri") => {
            return Err(invalid(
                "Please don't provide ImageUri when updating a function with packageType Zip.",
            ));
        }
        PackageType::Image => return image(request, code, settings).await,
        PackageType::Zip => {}
    }
    zip_file(request, code, "Please provide a source for function code.").await
}

/// The zip file of a layer's `Content`.
pub async fn of_layer(
    request: &Request<'_>,
    content: &Map<String, Value>,
) -> Result<Package, ApiError> {
    zip_file(request, content, "Please provide a source for layer content.").await
}

/// How an object that was kept is shown.
pub fn resolved(object: &S3Object) -> Value {
    let S3Object { bucket, key, version } = object;
    json!({ "S3Bucket": bucket, "S3Key": key, "S3ObjectVersion": version })
}

async fn zip_file(
    request: &Request<'_>,
    source: &Map<String, Value>,
    missing: &str,
) -> Result<Package, ApiError> {
    match (text(source, "S3Bucket"), text(source, "S3Key")) {
        (Some(bucket), Some(key)) if !given(source, "ZipFile") => {
            let object = S3Object { bucket, key, version: text(source, "S3ObjectVersion") };
            let keep = text(source, "S3ObjectStorageMode").as_deref() == Some("REFERENCE");
            return from_s3(request, object, keep).await;
        }
        (None, None) => {}
        (Some(_), Some(_)) => {
            return Err(invalid(
                "Please do not provide other FunctionCode parameters when providing a ZipFile.",
            ));
        }
        _ => return Err(invalid("Please provide both S3Bucket and S3Key.")),
    }
    let Some(zip) = source.get("ZipFile").and_then(Value::as_str) else {
        return Err(invalid(missing));
    };
    let zip = base64::engine::general_purpose::STANDARD
        .decode(zip)
        .map_err(|_| ApiError::new("SerializationException", "ZipFile is not base64"))?;
    if zip.len() > limits::ZIPPED_CODE {
        return Err(ApiError::new(
            "RequestEntityTooLargeException",
            format!("Zipped size must be smaller than {} bytes", limits::ZIPPED_CODE),
        )
        .with_status(413));
    }
    let share = request.head.extensions.get::<Arc<Share>>().cloned();
    Ok(Package { zip: hold(zip.into(), share), origin: None })
}

async fn image(
    request: &Request<'_>,
    code: &Map<String, Value>,
    settings: &FunctionSettings,
) -> Result<Package, ApiError> {
    let Some(name) = text(code, "ImageUri") else {
        return Err(invalid(
            "Please provide ImageUri when updating a function with packageType Image.",
        ));
    };
    let architecture = settings.architectures.first().map_or("x86_64", String::as_str);
    let pulled = request.parts.images.pull(&name, architecture).await;
    let pulled = pulled.map_err(|error| match error {
        ImageError::Unreachable(text) => ApiError::new("ServiceException", text).with_status(503),
        refused => invalid(refused.to_string()),
    })?;
    Ok(Package {
        zip: hold(pulled.bundle, pulled.share),
        origin: Some(Origin::Image { name, resolved: pulled.resolved }),
    })
}

/// The zip file is copied also where only a reference is asked for: code has to be there when the
/// object is not.
async fn from_s3(request: &Request<'_>, object: S3Object, keep: bool) -> Result<Package, ApiError> {
    let fetched = request.parts.objects.get(&object).await.map_err(|error| match error {
        ObjectError::Unreachable(text) => ApiError::new("ServiceException", text).with_status(503),
        refused => invalid(refused.to_string()),
    })?;
    let resolved = S3Object { version: fetched.version.or(object.version), ..object };
    Ok(Package {
        zip: hold(fetched.bytes, fetched.share),
        origin: keep.then_some(Origin::Object(resolved)),
    })
}

fn given(source: &Map<String, Value>, name: &str) -> bool {
    source.get(name).is_some_and(|value| !value.is_null())
}
