//! Which service and operation a request is for, from its head alone: the body is not read yet, so
//! a request for nothing costs nothing.
//!
//! Services are told apart as the SDKs address them: by the credential scope of the signature
//! (header or presigned), then by `X-Amz-Target`, then by a REST path, then by being a form, whose action and version
//! say which service it is for.

use crate::model::{Operation, Protocol, Service, operations, services};
use crate::{ApiError, percent, sigv4};
use http::header::CONTENT_TYPE;
use http::request::Parts;

/// Where a request goes.
#[derive(Debug, Clone)]
pub struct Route {
    pub service: &'static Service,
    pub operation: OperationRef,
    /// Wire names and decoded values of the labels in the path.
    pub labels: Vec<(&'static str, String)>,
}

/// An operation, or the knowledge that only the body names it.
#[derive(Debug, Clone, Copy)]
pub enum OperationRef {
    Known(&'static Operation),
    /// Query protocol: the form's `Action`.
    ByAction,
}

/// # Errors
/// `UnknownOperationException` when no service served here has such an operation, `InvalidAction`
/// in the query protocol, `SerializationException` when a label does not decode to UTF-8.
pub fn route(parts: &Parts) -> Result<Route, ApiError> {
    let target = header(parts, "x-amz-target");
    match sigv4::claimed_scope(parts).map(|scope| scope.service) {
        Some(name) => {
            let mut known = false;
            for service in services().iter().filter(|service| service.signing_name == name) {
                known = true;
                if let Some(route) = within(service, parts, target)? {
                    return Ok(route);
                }
            }
            Err(if known { unknown_operation(parts, target) } else { unknown_service(name) })
        }
        None => {
            if target.is_none() && is_query(parts) {
                return query_without_scope(parts);
            }
            for service in services() {
                if addressed_without_scope(service, target)
                    && let Some(route) = within(service, parts, target)?
                {
                    return Ok(route);
                }
            }
            Err(unknown_operation(parts, target))
        }
    }
}

/// The operation that a query request's `Action` names.
pub(crate) fn by_action(
    service: &'static Service,
    action: Option<&str>,
    version: Option<&str>,
) -> Result<&'static Operation, ApiError> {
    let Some(action) = action.filter(|action| !action.is_empty()) else {
        return Err(ApiError::new("MissingAction", "Missing Action").with_status(400));
    };
    let version = version.unwrap_or(&service.api_version);
    service.operation(action).filter(|_| version == service.api_version).ok_or_else(|| {
        let message = format!("Could not find operation {action} for version {version}");
        ApiError::new("InvalidAction", message).with_status(400)
    })
}

/// A query request that says by nothing but its action and version which service it is for. Those
/// may be in the body, so the route is to the first of the services until the body is read.
fn query_without_scope(parts: &Parts) -> Result<Route, ApiError> {
    let query = parts.uri.query();
    if let Some(action) = percent::query_value(query, "Action") {
        let version = percent::query_value(query, "Version");
        let (service, operation) = by_action_alone(Some(&action), version.as_deref())?;
        let operation = OperationRef::Known(operation);
        return Ok(Route { service, operation, labels: Vec::new() });
    }
    let service = query_services().next().ok_or_else(|| unknown_operation(parts, None))?;
    Ok(Route { service, operation: OperationRef::ByAction, labels: Vec::new() })
}

/// The same of any service that speaks the query protocol.
pub(crate) fn by_action_alone(
    action: Option<&str>,
    version: Option<&str>,
) -> Result<(&'static Service, &'static Operation), ApiError> {
    let mut refused = None;
    for service in query_services() {
        match by_action(service, action, version) {
            Ok(operation) => return Ok((service, operation)),
            // The version, where there is one, says whose refusal it is.
            Err(error) if version == Some(&service.api_version) => return Err(error),
            Err(error) => drop(refused.get_or_insert(error)),
        }
    }
    Err(refused.unwrap_or_else(|| ApiError::new("InvalidAction", "Unknown action")))
}

fn query_services() -> impl Iterator<Item = &'static Service> {
    services().iter().filter(|service| service.protocol == Protocol::Query)
}

fn addressed_without_scope(service: &Service, target: Option<&str>) -> bool {
    match service.protocol {
        Protocol::Json10 | Protocol::Json11 => target
            .and_then(|target| target.split_once('.'))
            .is_some_and(|(prefix, _)| service.target_prefix.as_deref() == Some(prefix)),
        Protocol::RestJson => target.is_none(),
        Protocol::Query => false,
    }
}

fn is_query(parts: &Parts) -> bool {
    let form = parts
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    parts.uri.path() == "/" && (form || percent::query_value(parts.uri.query(), "Action").is_some())
}

/// `None`: this service has no such operation.
fn within(
    service: &'static Service,
    parts: &Parts,
    target: Option<&str>,
) -> Result<Option<Route>, ApiError> {
    let known = |operation| Route {
        service,
        operation: OperationRef::Known(operation),
        labels: Vec::new(),
    };
    match service.protocol {
        Protocol::RestJson => by_path(service, parts),
        Protocol::Json10 | Protocol::Json11 => Ok(target
            .and_then(|target| target.split_once('.'))
            .filter(|(prefix, _)| service.target_prefix.as_deref() == Some(*prefix))
            .and_then(|(_, name)| service.operation(name))
            .map(known)),
        Protocol::Query => {
            let query = parts.uri.query();
            Ok(Some(match percent::query_value(query, "Action") {
                Some(action) => {
                    let version = percent::query_value(query, "Version");
                    known(by_action(service, Some(&action), version.as_deref())?)
                }
                None => Route { service, operation: OperationRef::ByAction, labels: Vec::new() },
            }))
        }
    }
}

fn by_path(service: &'static Service, parts: &Parts) -> Result<Option<Route>, ApiError> {
    let path = parts.uri.path();
    let query = parts.uri.query();
    let has = |(name, value): &(String, String)| {
        percent::query_value(query, name).is_some_and(|found| found == *value)
    };
    let found = operations(service)
        .filter(|operation| operation.method == parts.method)
        .filter_map(|operation| Some((operation, operation.uri.capture(path)?)))
        .filter(|(operation, _)| operation.uri.query.iter().all(has))
        // The one that says most about the request: more literal parameters, then fewer labels.
        .max_by_key(|(operation, labels)| (operation.uri.query.len(), usize::MAX - labels.len()));
    let Some((operation, labels)) = found else { return Ok(None) };
    let labels = labels
        .into_iter()
        .map(|(name, text)| match percent::decode(text) {
            Some(value) => Ok((name, value.into_owned())),
            None => Err(ApiError::new(
                "SerializationException",
                format!("The value of {name} in the path is not valid UTF-8."),
            )
            .with_status(400)),
        })
        .collect::<Result<_, _>>()?;
    Ok(Some(Route { service, operation: OperationRef::Known(operation), labels }))
}

fn header<'p>(parts: &'p Parts, name: &str) -> Option<&'p str> {
    parts.headers.get(name)?.to_str().ok()
}

fn unknown_operation(parts: &Parts, target: Option<&str>) -> ApiError {
    const CODE: &str = "UnknownOperationException";
    match target {
        Some(target) => {
            ApiError::new(CODE, format!("Unknown operation: {target}")).with_status(400)
        }
        // AWS: a path that no operation has is a 404 with the exception's name and no words.
        None => {
            ApiError::new(CODE, format!("Unknown operation: {} {}", parts.method, parts.uri.path()))
                .with_status(404)
        }
    }
}

fn unknown_service(name: &str) -> ApiError {
    let mut served: Vec<_> = services().iter().map(|service| service.name.as_str()).collect();
    served.dedup();
    let served = served.join(", ");
    let message = format!("The service '{name}' is not served here; there is: {served}.");
    ApiError::new("UnknownOperationException", message).with_status(404)
}
