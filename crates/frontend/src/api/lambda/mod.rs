//! The Lambda API, operation by operation.

mod configuration;
mod functions;
mod pages;
mod policies;
mod settings;
mod statement;
mod versions;

use super::Request;
use crate::invoke;
use lamplight_model::{FunctionRef, NameError};
use lamplight_rpc::CatalogError;
use lamplight_wire::{ApiError, Output};

/// What is served; everything else of the model answers that it is not.
pub const OPERATIONS: &[&str] = &[
    "AddPermission",
    "CreateFunction",
    "DeleteFunction",
    "DeleteResourcePolicy",
    "GetAccountSettings",
    "GetFunction",
    "GetFunctionConfiguration",
    "GetPolicy",
    "GetResourcePolicy",
    "Invoke",
    "ListFunctions",
    "ListVersionsByFunction",
    "PublishVersion",
    "PutResourcePolicy",
    "RemovePermission",
    "UpdateFunctionCode",
    "UpdateFunctionConfiguration",
];

pub async fn call(operation: &str, request: &Request<'_>) -> Result<Output, ApiError> {
    match operation {
        "AddPermission" => policies::add(request).await,
        "CreateFunction" => functions::create(request).await,
        "DeleteFunction" => functions::delete(request).await,
        "DeleteResourcePolicy" => policies::delete_whole(request).await,
        "GetAccountSettings" => functions::account_settings(request).await,
        "GetFunction" => functions::get(request).await,
        "GetFunctionConfiguration" => functions::get_configuration(request).await,
        "GetPolicy" => policies::get(request).await,
        "GetResourcePolicy" => policies::get_whole(request).await,
        "Invoke" => invoke::invoke(request).await,
        "ListFunctions" => functions::list(request).await,
        "ListVersionsByFunction" => versions::list(request).await,
        "PublishVersion" => versions::publish(request).await,
        "PutResourcePolicy" => policies::put_whole(request).await,
        "RemovePermission" => policies::remove(request).await,
        "UpdateFunctionCode" => functions::update_code(request).await,
        "UpdateFunctionConfiguration" => functions::update_configuration(request).await,
        other => Err(super::not_served(other)),
    }
}

/// The function that a request names, in any of the forms of its name.
pub fn function_ref(request: &Request<'_>) -> Result<FunctionRef, ApiError> {
    let name = settings::text(request.input, "FunctionName").unwrap_or_default();
    let qualifier = settings::text(request.input, "Qualifier");
    FunctionRef::parse(request.scope, &name, qualifier.as_deref()).map_err(|error| match error {
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
    })
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
        CatalogError::Precondition => ApiError::new("PreconditionFailedException", message),
        CatalogError::StorageExceeded => ApiError::new("CodeStorageExceededException", message),
        CatalogError::Unavailable(cause) => {
            tracing::error!(%cause, "the catalog is unavailable");
            ApiError::new(
                "ServiceException",
                "The service cannot store changes at the moment. Nothing was changed; please try again.",
            )
            .with_status(503)
        }
    }
}
