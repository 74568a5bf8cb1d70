//! PutProvisionedConcurrencyConfig, GetProvisionedConcurrencyConfig,
//! DeleteProvisionedConcurrencyConfig, ListProvisionedConcurrencyConfigs.

use super::configuration::last_modified;
use super::pages::{marker, next_marker, page_size};
use super::settings::invalid;
use super::{Request, catalog_error, function_ref};
use lamplight_model::{FunctionRef, Provisioned, Qualifier};
use lamplight_rpc::Provisioning;
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};

pub async fn put(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    if function.qualifier_or_latest() == Qualifier::Latest {
        return Err(invalid(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
        ));
    }
    if let Ok(version) = request.parts.catalog.get(&function) {
        if version.isolates_tenants() {
            return Err(invalid(
                "Provisioned Concurrency is not supported for functions with tenant isolation.",
            ));
        }
        // AWS: these have scaling configurations instead.
        if version.is_managed() {
            return Err(invalid(
                "Provisioned Concurrency is not supported for functions with a capacity provider.",
            ));
        }
    }
    let asked = request.input.get("ProvisionedConcurrentExecutions").and_then(Value::as_u64);
    // The model says that it is there and at least 1; what is too large is more than any limit.
    let requested = u32::try_from(asked.unwrap_or(1)).unwrap_or(u32::MAX);
    let put = request.parts.catalog.provision(&function, Some(requested)).await;
    let put = put.map_err(catalog_error)?.ok_or_else(not_found)?;
    // AWS: always in progress, however fast.
    let mut members = members(put, &Provisioning::default());
    members.insert("Status".to_owned(), json!("IN_PROGRESS"));
    Ok(Output { members, ..Output::default() })
}

pub async fn get(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    let found = request.parts.catalog.provisioned(&function).map_err(catalog_error)?;
    let provisioned = found.ok_or_else(not_found)?;
    let members = members(provisioned, &state(request, &function));
    Ok(Output { members, ..Output::default() })
}

pub async fn delete(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?;
    request.parts.catalog.provision(&function, None).await.map_err(catalog_error)?;
    Ok(Output::empty())
}

pub async fn list(request: &Request<'_>) -> Result<Output, ApiError> {
    let function = function_ref(request)?.function;
    let all = request.parts.catalog.all_provisioned(&function).map_err(catalog_error)?;
    let start = marker(request)?.map_or(0, |(_, start)| usize::try_from(start).unwrap_or(0));
    let end = start.saturating_add(page_size(request));
    let page = all.iter().skip(start).take(end - start).map(|(qualifier, provisioned)| {
        let one = FunctionRef { function: function.clone(), qualifier: Some(qualifier.clone()) };
        let mut members = members(*provisioned, &state(request, &one));
        members.insert("FunctionArn".to_owned(), json!(one.arn()));
        Value::Object(members)
    });
    let mut output = Map::new();
    output.insert("ProvisionedConcurrencyConfigs".to_owned(), page.collect());
    if end < all.len() {
        let next = next_marker(&(String::new(), end as u64));
        output.insert("NextMarker".to_owned(), json!(next));
    }
    Ok(Output { members: output, ..Output::default() })
}

fn not_found() -> ApiError {
    ApiError::new(
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
    )
}

/// How far the versions are that a version or an alias stands for.
fn state(request: &Request<'_>, function: &FunctionRef) -> Provisioning {
    let versions = match &function.qualifier {
        Some(Qualifier::Alias(name)) => request
            .parts
            .catalog
            .alias(&function.function, name)
            .map(|alias| alias.shares().into_iter().map(|(version, _)| version).collect())
            .unwrap_or_default(),
        Some(Qualifier::Version(number)) => vec![*number],
        _ => Vec::new(),
    };
    let mut all = Provisioning::default();
    for version in versions {
        let version = Qualifier::of_number(version);
        let one = request.parts.manager.provisioned(&function.function, &version);
        all.ready += one.ready;
        all.failed = all.failed.or(one.failed);
    }
    all
}

fn members(provisioned: Provisioned, state: &Provisioning) -> Map<String, Value> {
    let Provisioned { requested, last_modified: at } = provisioned;
    let ready = state.ready.min(requested);
    let mut members = Map::new();
    let mut set = |name: &str, value: Value| members.insert(name.to_owned(), value);
    set("RequestedProvisionedConcurrentExecutions", json!(requested));
    set("AvailableProvisionedConcurrentExecutions", json!(ready));
    set("AllocatedProvisionedConcurrentExecutions", json!(ready));
    set("LastModified", json!(last_modified(at)));
    let status = match &state.failed {
        _ if ready == requested => "READY",
        Some(why) => {
            set("StatusReason", json!(why));
            "FAILED"
        }
        None => "IN_PROGRESS",
    };
    set("Status", json!(status));
    members
}
