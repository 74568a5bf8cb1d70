//! What Lambda checks by its own code, with other words and codes than its framework's.

use super::{show, summary};
use crate::ApiError;
use crate::decode::Call;
use crate::model::{Member, Service};
use lamplight_model::{Runtime, limits};

/// Members that the framework leaves to [`validate`] and [`runtime_list`].
pub(super) fn checks_itself(call: &Call, member: &Member) -> bool {
    match member.name.as_str() {
        "Runtime" => sets_runtime(call),
        "CompatibleRuntimes" => true,
        _ => false,
    }
}

pub(super) fn validate(call: &Call) -> Result<(), ApiError> {
    let text = |name: &str| call.input.get(name).and_then(|value| value.as_str());
    if let Some(name) = text("FunctionName")
        && bare_name(name).chars().count() > limits::FUNCTION_NAME
    {
        let found = format!(
            "Value '{name}' at 'functionName' failed to satisfy constraint: Member must have \
             length less than or equal to {}",
            limits::FUNCTION_NAME
        );
        return Err(refused(summary(&[found])));
    }
    if let Some(runtime) = text("Runtime").filter(|_| sets_runtime(call))
        && !is_runtime(call.service, runtime)
        && !runtime.starts_with("arn:")
    {
        return Err(refused(format!(
            "Value {} at 'runtime' failed to satisfy constraint: Member must satisfy enum value \
             set: [{}] or be a valid ARN",
            show::shortened(runtime),
            offered(call.service)
        )));
    }
    Ok(())
}

/// AWS: a layer's list of runtimes is judged as a whole, by what is on offer and not by the model.
pub(super) fn runtime_list(call: &Call) -> Option<String> {
    let member = call
        .service
        .members(call.operation.input)
        .iter()
        .find(|member| member.name == "CompatibleRuntimes")?;
    let list = call.input.get(&member.name)?;
    let known = |value: &serde_json::Value| {
        value.as_str().is_some_and(|runtime| is_runtime(call.service, runtime))
    };
    if list.as_array()?.iter().all(known) {
        return None;
    }
    let shown = show::value(call.service, member.shape, list);
    Some(format!(
        "Value{shown} at 'compatibleRuntimes' failed to satisfy constraint: Member must satisfy \
         enum value set: [{}]",
        offered(call.service)
    ))
}

fn refused(message: String) -> ApiError {
    ApiError::new("InvalidParameterValueException", message)
}

fn sets_runtime(call: &Call) -> bool {
    matches!(call.operation.name.as_str(), "CreateFunction" | "UpdateFunctionConfiguration")
}

/// The name within a name, partial ARN or ARN, with or without a qualifier.
fn bare_name(reference: &str) -> &str {
    let name = reference.rsplit_once("function:").map_or(reference, |(_, name)| name);
    name.split(':').next().unwrap_or(name)
}

fn runtimes(service: &Service) -> &[String] {
    let request = service.operation("CreateFunction").and_then(|operation| operation.input);
    let runtime = service.members(request).iter().find(|member| member.name == "Runtime");
    runtime.map_or(&[], |member| &service.shape(member.shape).constraints.choices)
}

/// Retired ones too: that they are retired is for the control plane to say, in other words.
fn is_runtime(service: &Service, name: &str) -> bool {
    runtimes(service).iter().any(|runtime| runtime == name)
}

fn offered(service: &Service) -> String {
    on_offer(service).collect::<Vec<_>>().join(", ")
}

/// Every runtime that functions can be made with.
pub fn offered_runtimes() -> Vec<&'static str> {
    crate::service("lambda").into_iter().flat_map(on_offer).collect()
}

fn on_offer(service: &Service) -> impl Iterator<Item = &str> {
    // AWS: the model still names those that the service no longer lists.
    runtimes(service).iter().map(String::as_str).filter(|runtime| !Runtime::is_blocked(runtime))
}
