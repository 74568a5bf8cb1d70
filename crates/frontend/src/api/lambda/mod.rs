//! The Lambda API, operation by operation.

mod aliases;
mod capacity_providers;
mod code_signing;
mod concurrency;
mod configuration;
mod documents;
mod durable;
mod echoed;
mod event_invoke;
mod event_sources;
mod function_urls;
mod functions;
mod layer_policies;
mod layers;
mod package;
mod pages;
mod policies;
mod provisioned;
mod scaling;
mod settings;
mod statement;
mod tags;
mod upkeep;
mod versions;

pub use documents::{FunctionDocuments, labels};
pub use durable::durable_error;
pub use policies::key as policy_of;
pub use settings::invalid;

use super::{Answer, Request};
use crate::invoke;
use lamplight_model::{FunctionRef, NameError};
use lamplight_rpc::CatalogError;
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value};

/// What is served; everything else of the model answers that it is not.
pub const OPERATIONS: &[&str] = &[
    "AddLayerVersionPermission",
    "AddPermission",
    "CheckpointDurableExecution",
    "CreateAlias",
    "CreateCapacityProvider",
    "CreateCodeSigningConfig",
    "CreateEventSourceMapping",
    "CreateFunction",
    "CreateFunctionUrlConfig",
    "DeleteAlias",
    "DeleteCapacityProvider",
    "DeleteCodeSigningConfig",
    "DeleteDurableExecution",
    "DeleteEventSourceMapping",
    "DeleteFunction",
    "DeleteFunctionCodeSigningConfig",
    "DeleteFunctionConcurrency",
    "DeleteFunctionEventInvokeConfig",
    "DeleteFunctionUrlConfig",
    "DeleteLayerVersion",
    "DeleteProvisionedConcurrencyConfig",
    "DeleteResourcePolicy",
    "GetAccountSettings",
    "GetAlias",
    "GetCapacityProvider",
    "GetCodeSigningConfig",
    "GetDurableExecution",
    "GetDurableExecutionHistory",
    "GetDurableExecutionState",
    "GetEventSourceMapping",
    "GetFunction",
    "GetFunctionCodeSigningConfig",
    "GetFunctionConcurrency",
    "GetFunctionConfiguration",
    "GetFunctionEventInvokeConfig",
    "GetFunctionRecursionConfig",
    "GetFunctionScalingConfig",
    "GetFunctionUrlConfig",
    "GetLayerVersion",
    "GetLayerVersionByArn",
    "GetLayerVersionPolicy",
    "GetPolicy",
    "GetProvisionedConcurrencyConfig",
    "GetResourcePolicy",
    "GetRuntimeManagementConfig",
    "Invoke",
    "InvokeAsync",
    "InvokeWithResponseStream",
    "ListAliases",
    "ListCapacityProviders",
    "ListCodeSigningConfigs",
    "ListDurableExecutionsByFunction",
    "ListEventSourceMappings",
    "ListFunctionEventInvokeConfigs",
    "ListFunctionUrlConfigs",
    "ListFunctionVersionsByCapacityProvider",
    "ListFunctions",
    "ListFunctionsByCodeSigningConfig",
    "ListLayerVersions",
    "ListLayers",
    "ListProvisionedConcurrencyConfigs",
    "ListTags",
    "ListVersionsByFunction",
    "PauseDurableExecution",
    "PublishLayerVersion",
    "PublishVersion",
    "PutFunctionCodeSigningConfig",
    "PutFunctionConcurrency",
    "PutFunctionEventInvokeConfig",
    "PutFunctionRecursionConfig",
    "PutFunctionScalingConfig",
    "PutProvisionedConcurrencyConfig",
    "PutResourcePolicy",
    "PutRuntimeManagementConfig",
    "RemoveLayerVersionPermission",
    "RemovePermission",
    "ResumeDurableExecution",
    "SendDurableExecutionCallbackFailure",
    "SendDurableExecutionCallbackHeartbeat",
    "SendDurableExecutionCallbackSuccess",
    "StopDurableExecution",
    "TagResource",
    "UntagResource",
    "UpdateAlias",
    "UpdateCapacityProvider",
    "UpdateCodeSigningConfig",
    "UpdateEventSourceMapping",
    "UpdateFunctionCode",
    "UpdateFunctionConfiguration",
    "UpdateFunctionEventInvokeConfig",
    "UpdateFunctionUrlConfig",
];

pub async fn call(operation: &str, request: &Request<'_>) -> Result<Answer, ApiError> {
    match operation {
        "InvokeWithResponseStream" => invoke::invoke_with_response_stream(request).await,
        _ => answer(operation, request).await.map(Answer::from),
    }
}

/// The operations whose answers are there at once.
async fn answer(operation: &str, request: &Request<'_>) -> Result<Output, ApiError> {
    match operation {
        "AddLayerVersionPermission" => layer_policies::add(request).await,
        "AddPermission" => policies::add(request).await,
        "CreateAlias" => aliases::create(request).await,
        "CreateCodeSigningConfig" => code_signing::create(request).await,
        "CreateEventSourceMapping" => event_sources::create(request).await,
        "CreateFunction" => functions::create(request).await,
        "CreateFunctionUrlConfig" => function_urls::create(request).await,
        "DeleteAlias" => aliases::delete(request).await,
        "DeleteCodeSigningConfig" => code_signing::delete(request).await,
        "DeleteEventSourceMapping" => event_sources::delete(request).await,
        "DeleteFunction" => functions::delete(request).await,
        "DeleteFunctionCodeSigningConfig" => code_signing::delete_of_function(request).await,
        "DeleteFunctionEventInvokeConfig" => event_invoke::delete(request).await,
        "DeleteFunctionUrlConfig" => function_urls::delete(request).await,
        "DeleteLayerVersion" => layers::delete(request).await,
        "DeleteResourcePolicy" => policies::delete_whole(request).await,
        "GetAccountSettings" => functions::account_settings(request).await,
        "GetAlias" => aliases::get(request).await,
        "GetCodeSigningConfig" => code_signing::get(request),
        "GetEventSourceMapping" => event_sources::get(request),
        "GetFunction" => functions::get(request).await,
        "GetFunctionCodeSigningConfig" => code_signing::get_of_function(request),
        "GetFunctionConfiguration" => functions::get_configuration(request).await,
        "GetFunctionEventInvokeConfig" => event_invoke::get(request),
        "GetFunctionRecursionConfig" => upkeep::get_recursion(request),
        "GetFunctionUrlConfig" => function_urls::get(request),
        "GetLayerVersion" => layers::get(request),
        "GetLayerVersionByArn" => layers::get_by_arn(request),
        "GetLayerVersionPolicy" => layer_policies::get(request),
        "GetPolicy" => policies::get(request).await,
        "GetResourcePolicy" => policies::get_whole(request).await,
        "GetRuntimeManagementConfig" => upkeep::get_runtime_management(request),
        "Invoke" => invoke::invoke(request).await,
        "InvokeAsync" => invoke::invoke_async(request).await,
        "ListAliases" => aliases::list(request).await,
        "ListCodeSigningConfigs" => code_signing::list(request),
        "ListEventSourceMappings" => event_sources::list(request),
        "ListFunctionEventInvokeConfigs" => event_invoke::list(request),
        "ListFunctionUrlConfigs" => function_urls::list(request),
        "ListFunctions" => functions::list(request).await,
        "ListFunctionsByCodeSigningConfig" => code_signing::list_functions(request),
        "ListLayerVersions" => layers::list_versions(request),
        "ListLayers" => layers::list(request),
        "ListTags" => tags::list(request),
        "ListVersionsByFunction" => versions::list(request).await,
        "PublishLayerVersion" => layers::publish(request).await,
        "PublishVersion" => versions::publish(request).await,
        "PutFunctionCodeSigningConfig" => code_signing::put_of_function(request).await,
        "PutFunctionEventInvokeConfig" => event_invoke::put(request).await,
        "PutFunctionRecursionConfig" => upkeep::put_recursion(request).await,
        "PutResourcePolicy" => policies::put_whole(request).await,
        "PutRuntimeManagementConfig" => upkeep::put_runtime_management(request).await,
        "RemoveLayerVersionPermission" => layer_policies::remove(request).await,
        "RemovePermission" => policies::remove(request).await,
        "TagResource" => tags::tag(request).await,
        "UntagResource" => tags::untag(request).await,
        "UpdateAlias" => aliases::update(request).await,
        "UpdateCodeSigningConfig" => code_signing::update(request).await,
        "UpdateEventSourceMapping" => event_sources::update(request).await,
        "UpdateFunctionCode" => functions::update_code(request).await,
        "UpdateFunctionConfiguration" => functions::update_configuration(request).await,
        "UpdateFunctionEventInvokeConfig" => event_invoke::update(request).await,
        "UpdateFunctionUrlConfig" => function_urls::update(request).await,
        "PutFunctionConcurrency" => concurrency::put(request).await,
        "GetFunctionConcurrency" => concurrency::get(request).await,
        "DeleteFunctionConcurrency" => concurrency::delete(request).await,
        "CreateCapacityProvider" => capacity_providers::create(request).await,
        "DeleteCapacityProvider" => capacity_providers::delete(request).await,
        "GetCapacityProvider" => capacity_providers::get(request),
        "ListCapacityProviders" => capacity_providers::list(request),
        "ListDurableExecutionsByFunction" => durable::list(request).await,
        "ListFunctionVersionsByCapacityProvider" => {
            capacity_providers::list_function_versions(request)
        }
        "UpdateCapacityProvider" => capacity_providers::update(request).await,
        "CheckpointDurableExecution" => durable::checkpoint(request).await,
        "DeleteDurableExecution" => durable::delete(request).await,
        "GetDurableExecution" => durable::get(request).await,
        "GetDurableExecutionHistory" => durable::history(request).await,
        "GetDurableExecutionState" => durable::state(request).await,
        "PauseDurableExecution" => durable::pause(request).await,
        "ResumeDurableExecution" => durable::resume(request).await,
        "SendDurableExecutionCallbackFailure" => durable::callback_failure(request).await,
        "SendDurableExecutionCallbackHeartbeat" => durable::callback_heartbeat(request).await,
        "SendDurableExecutionCallbackSuccess" => durable::callback_success(request).await,
        "StopDurableExecution" => durable::stop(request).await,
        "PutProvisionedConcurrencyConfig" => provisioned::put(request).await,
        "GetProvisionedConcurrencyConfig" => provisioned::get(request).await,
        "DeleteProvisionedConcurrencyConfig" => provisioned::delete(request).await,
        "ListProvisionedConcurrencyConfigs" => provisioned::list(request).await,
        "PutFunctionScalingConfig" => scaling::put(request).await,
        "GetFunctionScalingConfig" => scaling::get(request).await,
        other => Err(super::not_served(other)),
    }
}

/// The function that a request names, in any of the forms of its name.
pub fn function_ref(request: &Request<'_>) -> Result<FunctionRef, ApiError> {
    let name = settings::text(request.input, "FunctionName").unwrap_or_default();
    let qualifier = settings::text(request.input, "Qualifier");
    FunctionRef::parse(request.scope, &name, qualifier.as_deref())
        .map_err(|error| name_error(request, &name, error))
}

/// What AWS answers to a name that names no function here.
fn name_error(request: &Request<'_>, name: &str, error: NameError) -> ApiError {
    match error {
        NameError::OtherRegion { .. } => {
            ApiError::new("ResourceNotFoundException", error.to_string())
        }
        // AWS: no more is said of other accounts' functions.
        NameError::OtherAccount => ApiError::new(
            "AccessDeniedException",
            format!(
                "User: {} is not authorized to perform: lambda:{} on resource: {name} because no resource-based policy allows the lambda:{} action",
                request.caller.arn, request.operation, request.operation
            ),
        )
        .with_status(403),
        // AWS: this one length is checked by the service and not by its framework.
        NameError::TooLong(name) => settings::invalid(format!(
            "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to 64"
        )),
        NameError::Malformed => ApiError::new(
            "InvalidParameterValueException",
            format!("'{name}' names no function: give a name, a partial ARN or an ARN."),
        ),
        NameError::Mismatch => settings::invalid(error.to_string()),
    }
}

/// Takes over the members of `names` that a request gives, and lets go those it gives empty.
fn keep_given(body: &mut Value, input: &Map<String, Value>, names: &[&str]) {
    let Value::Object(body) = body else { return };
    for name in names {
        match input.get(*name) {
            None | Some(Value::Null) => {}
            Some(value) if settings::is_empty(value) => drop(body.remove(*name)),
            Some(value) => drop(body.insert((*name).to_owned(), value.clone())),
        }
    }
}

/// The one table from the catalog's refusals to AWS's.
pub fn catalog_error(error: CatalogError) -> ApiError {
    let message = error.to_string();
    match error {
        CatalogError::NotFound(_) | CatalogError::Missing(_) => {
            ApiError::new("ResourceNotFoundException", message)
        }
        CatalogError::Exists(_) | CatalogError::Conflict(_) => {
            ApiError::new("ResourceConflictException", message)
        }
        CatalogError::Invalid(_) => settings::invalid(message),
        CatalogError::Untyped(_) => settings::invalid(message).with("Type", Value::Null),
        CatalogError::Precondition => ApiError::new("PreconditionFailedException", message),
        CatalogError::StorageExceeded => ApiError::new("CodeStorageExceededException", message),
        CatalogError::Unavailable(cause) => unavailable(&cause),
    }
}

pub fn unavailable(cause: &str) -> ApiError {
    tracing::error!(cause, "changes cannot be stored");
    ApiError::new(
        "ServiceException",
        "The service cannot store changes at the moment. Nothing was changed; please try again.",
    )
    .with_status(503)
}
