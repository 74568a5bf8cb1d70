//! Function URL configurations: one for the function itself and one for each alias. What is here
//! stores and shows them; nothing answers under the URLs yet.

use super::documents::{self, URL, Whose};
use super::settings::{invalid, text};
use super::{function_ref, keep_given};
use crate::api::Request;
use lamplight_wire::{ApiError, Output};
use serde_json::{Value, json};

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz234567";
const SETTINGS: [&str; 3] = ["AuthType", "Cors", "InvokeMode"];

pub async fn create(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let Ok(record) = request.parts.catalog.get(&function) else {
        return Err(not_found("Function does not exist"));
    };
    if record.isolates_tenants() {
        return Err(invalid(
            "Function URLs are not supported for functions with tenant isolation.",
        ));
    }
    let arn = function.arn();
    let id = request.parts.env.random.text(LETTERS, 32);
    let now = now(request);
    let mut body = json!({
        "FunctionUrl": format!("https://{id}.lambda-url.{}.on.aws/", request.scope.region),
        "FunctionArn": arn,
        "InvokeMode": "BUFFERED",
        "CreationTime": now,
        "LastModifiedTime": now,
    });
    set(&mut body, request);
    let key = documents::of_qualifier(URL, &function);
    let created = documents::change(request, &key, |found| match found {
        None => Ok(body.clone()),
        Some(_) => Err(ApiError::new(
            "ResourceConflictException",
            format!(
                "Failed to create function url config for [functionArn = {arn}]. Error message:  FunctionUrlConfig exists for this Lambda function"
            ),
        )),
    })
    .await?;
    let mut output = Output::of(&*created.body)?;
    output.members.remove("LastModifiedTime");
    only_given_mode(request, &mut output);
    Ok(output)
}

pub fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    let key = documents::of_qualifier(URL, &function_ref(request)?);
    Output::of(&*documents::get(request, &key).ok_or_else(missing)?.body)
}

pub async fn update(request: &Request<'_>) -> Result<Output, ApiError> {
    let key = documents::of_qualifier(URL, &function_ref(request)?);
    let updated = documents::change(request, &key, |found| {
        let mut body = found.ok_or_else(missing)?.clone();
        set(&mut body, request);
        body["LastModifiedTime"] = json!(now(request));
        Ok(body)
    });
    let mut output = Output::of(&*updated.await?.body)?;
    only_given_mode(request, &mut output);
    Ok(output)
}

/// AWS: without a qualifier the URLs of aliases stay.
pub async fn delete(request: &Request<'_>) -> Result<Output, ApiError> {
    let key = documents::of_qualifier(URL, &function_ref(request)?);
    if documents::delete(request, &key).await? { Ok(Output::empty()) } else { Err(missing()) }
}

pub fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    let mut function = function_ref(request)?;
    function.qualifier = None;
    if request.parts.catalog.get(&function).is_err() {
        return Err(not_found("Function does not exist"));
    }
    let owner = (URL, Whose::Owner(&function.function.name));
    documents::page(request, owner, "FunctionUrlConfigs", |url| Some((*url.body).clone()))
}

fn set(body: &mut Value, request: &Request<'_>) {
    keep_given(body, request.input, &SETTINGS);
}

/// AWS: the replies to a change show the mode only when the request named one.
fn only_given_mode(request: &Request<'_>, output: &mut Output) {
    if text(request.input, "InvokeMode").is_none() {
        output.members.remove("InvokeMode");
    }
}

/// `2026-11-22T01:33:09.125000Z`
fn now(request: &Request<'_>) -> String {
    let now = request.parts.env.clock.now().millis();
    let now = jiff::Timestamp::from_millisecond(now).unwrap_or_default();
    now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

fn missing() -> ApiError {
    not_found("The resource you requested does not exist.")
}

fn not_found(message: &str) -> ApiError {
    ApiError::new("ResourceNotFoundException", message)
}
