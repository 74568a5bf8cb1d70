//! From a decoded call to the room that serves it.

pub mod lambda;

use crate::Parts;
use crate::access;
use crate::auth::Caller;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use lamplight_model::Scope;
use lamplight_services::{iam, logs, sns, sqs, sts};
use lamplight_wire::{ApiError, Call, Output};
use serde_json::{Map, Value};
use std::convert::Infallible;
use std::sync::Arc;

/// One request, as operations see it.
pub struct Request<'a> {
    pub parts: &'a Arc<Parts>,
    pub head: &'a http::request::Parts,
    pub operation: &'a str,
    pub caller: &'a Caller,
    pub scope: &'a Scope,
    pub input: &'a Map<String, Value>,
    /// The raw payload, where the operation has one.
    pub payload: Option<Bytes>,
    pub request_id: &'a str,
}

/// What a call is answered with.
pub struct Answer {
    pub output: Output,
    /// The body, where the operation writes it while it goes on.
    pub stream: Option<UnsyncBoxBody<Bytes, Infallible>>,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self { output, stream: None }
    }
}

/// The operations that are served, by the model's name of their service.
pub fn served(service: &str) -> &'static [&'static str] {
    match service {
        "iam" => iam::OPERATIONS,
        "lambda" => lambda::OPERATIONS,
        "logs" => logs::OPERATIONS,
        "sns" => sns::OPERATIONS,
        "sqs" => sqs::OPERATIONS,
        "sts" => sts::OPERATIONS,
        _ => &[],
    }
}

pub async fn call(
    parts: &Arc<Parts>,
    head: &http::request::Parts,
    (caller, scope): (&Caller, &Scope),
    call: Call,
    request_id: &str,
) -> Result<Answer, ApiError> {
    let operation = call.operation.name.as_str();
    let service = call.service.name.as_str();
    if !served(service).contains(&operation) {
        return Err(not_served(operation));
    }
    access::check(parts, head, (caller, scope), &call)?;
    let payload = call.payload;
    match service {
        "iam" => parts.iam.call(operation, caller, &call.input).await.map(Answer::from),
        "logs" => parts.logs.call(operation, scope, call.input).await.map(Answer::from),
        "sns" => parts.sns.call(operation, (caller, scope), &call.input).await.map(Answer::from),
        "sqs" => {
            let asked = sqs::Asked { caller, scope, base: &base(head) };
            parts.sqs.call(operation, asked, &call.input).await.map(Answer::from)
        }
        "sts" => {
            let context = access::context(parts, head, (caller, scope));
            parts.sts.call(operation, caller, &call.input, &context).map(Answer::from)
        }
        _ => {
            let input = &call.input;
            let request =
                Request { parts, head, operation, caller, scope, input, payload, request_id };
            lambda::call(operation, &request).await
        }
    }
}

/// The address by which the client reached the server, for URLs it is to come back by.
fn base(head: &http::request::Parts) -> String {
    let host = head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
    format!("http://{}", host.unwrap_or("localhost"))
}

/// A modelled operation that this server does not have yet.
pub fn not_served(operation: &str) -> ApiError {
    ApiError::new(
        "UnknownOperationException",
        format!("The operation {operation} is not supported by this server yet."),
    )
    .with_status(501)
}
