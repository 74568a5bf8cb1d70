//! Zip files of requests: sent inline.

use super::settings::invalid;
use base64::Engine as _;
use bytes::Bytes;
use lamplight_model::{PackageType, limits};
use lamplight_wire::ApiError;
use serde_json::{Map, Value};

/// The zip file of a `Code` object or of UpdateFunctionCode's own members.
pub fn of_function(
    code: &Map<String, Value>,
    package_type: PackageType,
) -> Result<Bytes, ApiError> {
    match package_type {
        PackageType::Zip if given(code, "ImageUri") => {
            return Err(invalid(
                "Please don't provide ImageUri when updating a function with packageType Zip.",
            ));
        }
        PackageType::Image => {
            return Err(invalid("Container images are not supported by this server yet."));
        }
        PackageType::Zip => {}
    }
    zip_file(code, "Please provide a source for function code.")
}

/// The zip file of a layer's `Content`.
pub fn of_layer(content: &Map<String, Value>) -> Result<Bytes, ApiError> {
    zip_file(content, "Please provide a source for layer content.")
}

fn zip_file(source: &Map<String, Value>, missing: &str) -> Result<Bytes, ApiError> {
    if given(source, "S3Bucket") || given(source, "S3Key") {
        return Err(invalid(
            "Code from S3 is not supported by this server yet. Send the zip file itself.",
        ));
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
    Ok(zip.into())
}

fn given(source: &Map<String, Value>, name: &str) -> bool {
    source.get(name).is_some_and(|value| !value.is_null())
}
