//! May they? The one place where a verified request is held against the policies that have a say,
//! between its verification and its operation.
//!
//! All it reads is in memory. The owner of the server may do everything; so may everybody where the
//! setting says so.

pub mod destination;
mod subject;

use crate::Parts;
use crate::api::lambda::policy_of;
use crate::auth::Caller;
use crate::server::Peer;
use http::request::Parts as Head;
use lamplight_model::{FunctionRef, Scope};
use lamplight_rpc::{Actor, Documents, Grants};
use lamplight_services::iam::document::{Document, Kind};
use lamplight_services::iam::evaluate::{
    self, Answer, Context, Principal, Question, Source, Verdict,
};
use lamplight_services::iam::{LAMBDA, Trust, Who};
use lamplight_wire::{ApiError, Call};
use serde_json::Value;
use std::sync::Arc;
use subject::{Asked, Subject};

/// Refuses what `caller` may not do, in AWS's words.
pub fn check(
    parts: &Parts,
    head: &Head,
    (caller, scope): (&Caller, &Scope),
    call: &Call,
) -> Result<(), ApiError> {
    let (service, operation) = (call.service.name.as_str(), call.operation.name.as_str());
    let role = match (service, operation) {
        ("lambda", "CreateFunction" | "UpdateFunctionConfiguration") => {
            call.input.get("Role").and_then(Value::as_str)
        }
        _ => None,
    };
    if parts.options.enforce && caller.who != Who::Root {
        let named = |kind: &str, name: &str| parts.iam.arn_of(kind, name);
        let waiting = |id: &str| Some(parts.durable.callback_arn(id)?.to_string());
        let (named, waiting, caller_arn) = (&named, &waiting, &*caller.arn);
        let asked = Asked { service, operation, caller: caller_arn, scope, named, waiting };
        if let Some(subject) = subject::of(&asked, &call.input) {
            let mut context = context(parts, head, (caller, scope));
            subject.describe(&mut context);
            let policy = match (&subject.function, &subject.queue, &subject.topic) {
                (Some(function), _, _) => policy(&*parts.documents, function),
                (_, Some(url), _) => readable(url, parts.sqs.policy(scope, url)),
                (_, _, Some(arn)) => readable(arn, parts.sns.policy(scope, arn)),
                (None, None, None) => None,
            };
            ask(parts, caller, policy, (&subject, &context))?;
        }
        let besides = subject::besides(operation, scope, &call.input);
        if !besides.is_empty() {
            let context = context(parts, head, (caller, scope));
            for subject in besides {
                let function = subject.function.as_ref();
                let policy = function.and_then(|function| policy(&*parts.documents, function));
                ask(parts, caller, policy, (&subject, &context))?;
            }
        }
        if let Some(role) = role {
            let mut context = context(parts, head, (caller, scope));
            context.set("iam:PassedToService", LAMBDA);
            let subject = Subject::new("iam:PassRole", role);
            ask(parts, caller, None, (&subject, &context))?;
        }
    }
    // AWS: tools try again on this text, since a new role takes a while to be known everywhere.
    match role.map(|role| parts.iam.trusts_service(role, LAMBDA)) {
        Some(Trust::Refused) => Err(ApiError::new(
            "InvalidParameterValueException",
            "The role defined for the function cannot be assumed by Lambda.",
        )),
        _ => Ok(()),
    }
}

/// What every request says about itself.
pub fn context(parts: &Parts, head: &Head, (caller, scope): (&Caller, &Scope)) -> Context {
    let mut context = Context::default();
    let now = parts.env.clock.now();
    if let Ok(at) = jiff::Timestamp::from_second(now.seconds()) {
        context.set("aws:CurrentTime", at.to_string());
    }
    context.set("aws:EpochTime", now.seconds().to_string());
    context.set("aws:SecureTransport", "false");
    context.set("aws:RequestedRegion", &*scope.region);
    context.set("aws:PrincipalAccount", caller.account.to_string());
    context.set("aws:userid", &*caller.user_id);
    if let Some(Peer::Address(address)) = head.extensions.get() {
        context.set("aws:SourceIp", address.to_string());
    }
    let (kind, arn) = match &caller.who {
        Who::Root => ("Account", caller.arn.clone()),
        Who::User { name, .. } => {
            context.set("aws:username", name.rsplit('/').next().unwrap_or(name));
            ("User", caller.arn.clone())
        }
        Who::Role { name, id, function, .. } => {
            if let Some(function) = function {
                context.set("lambda:SourceFunctionArn", &**function);
            }
            // AWS: the role, whatever its session.
            let arn = match id {
                Some(_) => format!("arn:aws:iam::{}:role{name}", caller.account),
                None => caller.user_id.clone(),
            };
            ("AssumedRole", arn)
        }
    };
    context.set("aws:PrincipalType", kind);
    context.set("aws:PrincipalArn", arn);
    context
}

fn ask(
    parts: &Parts,
    caller: &Caller,
    policy: Option<Document>,
    (subject, context): (&Subject, &Context),
) -> Result<(), ApiError> {
    let principal = caller.principal();
    let (action, resource) = (subject.action.as_str(), subject.resource.as_str());
    let question = Question { principal: &principal, action, resource, context };
    let because = match parts.iam.verdict(caller, policy, &question) {
        Verdict::Allowed => return Ok(()),
        Verdict::Denied(source) => format!("with an explicit deny in {}", with_article(source)),
        Verdict::NotAllowed(source) => {
            format!("because no {} allows the {action} action", source.name())
        }
    };
    let message = format!(
        "User: {} is not authorized to perform: {action} on resource: {resource} {because}",
        caller.arn
    );
    Err(ApiError::new("AccessDeniedException", message).with_status(403))
}

fn with_article(source: Source) -> String {
    let article = if source == Source::Identity { "an" } else { "a" };
    format!("{article} {}", source.name())
}

/// The policy of a queue or a topic. One that cannot be read lets nobody in.
fn readable(whose: &str, text: Option<String>) -> Option<Document> {
    let read = Document::parse(&text?, Kind::Resource);
    read.inspect_err(|error| tracing::warn!(whose, %error, "a policy cannot be read")).ok()
}

/// The resource policy of a function. One that cannot be read lets nobody in.
fn policy(documents: &dyn Documents, function: &FunctionRef) -> Option<Document> {
    let stored = documents.get(&policy_of(function))?;
    let read = Document::read(stored.body.get("Policy")?, Kind::Resource);
    read.inspect_err(|error| tracing::error!(%function.function, %error, "a policy cannot be read"))
        .ok()
}

/// What services of this server may do.
pub struct ServiceGrants {
    pub documents: Arc<dyn Documents>,
    pub enforce: bool,
}

impl ServiceGrants {
    fn allows(&self, (service, source): Actor<'_>, on: (&str, &str), policy: &Document) -> bool {
        let principal = Principal::Service(service.to_owned());
        let mut context = Context::default();
        context.set("aws:SourceArn", source);
        if let Some(account) = source.split(':').nth(4) {
            context.set("aws:SourceAccount", account);
        }
        let (action, resource) = on;
        let question = Question { principal: &principal, action, resource, context: &context };
        evaluate::ask(policy, &question) == Answer::Allows
    }
}

impl Grants for ServiceGrants {
    fn service_may(&self, actor: Actor<'_>, on: (&str, &str), text: Option<&str>) -> bool {
        let policy = || readable(on.1, text.map(str::to_owned));
        !self.enforce || policy().is_some_and(|policy| self.allows(actor, on, &policy))
    }

    fn service_may_invoke(&self, actor: Actor<'_>, function: &FunctionRef) -> bool {
        let policy = || policy(&*self.documents, function);
        let on = ("lambda:InvokeFunction", function.arn());
        let on = (on.0, on.1.as_str());
        !self.enforce || policy().is_some_and(|policy| self.allows(actor, on, &policy))
    }
}
