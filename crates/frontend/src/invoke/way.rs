//! The way of a call, top to bottom: resolve, count, assign, call, settle.
//!
//! Everything that calls a function goes it: HTTP here, and the rest of the server through
//! [`Invoker`]. Nothing here waits for the store.

use super::executions;
use super::lineage;
use super::outlive::Outlive;
use async_trait::async_trait;
use bytes::Bytes;
use lamplight_env::{Env, Tasks, faults};
use lamplight_model::{DurableSettings, FunctionArn, FunctionRef, Target};
use lamplight_rpc::{
    After, Call, Catalog, CatalogError, Counting, DocumentKey, Documents, DurableError,
    DurableExecutions, Invocation, InvokeError, Invoked, Invoker, Manager, NewExecution, RECURSION,
    Slot, StartError,
};
use std::sync::Arc;

/// How many environments that turn out to be gone a call tries before it gives up.
const TRIES: usize = 16;

/// Calls functions of this server.
pub struct Functions {
    /// Calls that nobody waits for any more are among its tasks.
    pub env: Env,
    pub catalog: Arc<dyn Catalog>,
    pub counting: Arc<dyn Counting>,
    pub manager: Arc<dyn Manager>,
    pub durable: Arc<dyn DurableExecutions>,
    pub documents: Arc<dyn Documents>,
}

/// A call that has found its function and its unit of concurrency.
pub struct Admitted {
    pub target: Arc<Target>,
    pub call: Invocation,
    slot: Slot,
}

impl Functions {
    /// What a call on behalf of `tenant` would run.
    pub fn resolve(
        &self,
        function: &FunctionRef,
        tenant: Option<&str>,
    ) -> Result<Arc<Target>, CatalogError> {
        let target = self.catalog.resolve(function)?;
        let refused = match (target.tenant_isolation, tenant) {
            (true, Some(_)) | (false, None) => return Ok(target),
            (true, None) => {
                "The invoked function is enabled with tenancy configuration. Add a valid tenant ID \
                 in your request and try again."
            }
            (false, Some(_)) => {
                "The invoked function is not enabled with tenancy configuration. Remove the tenant \
                 ID from your request and try again."
            }
        };
        Err(CatalogError::Invalid(refused.to_owned()))
    }

    pub fn new_trace(&self) -> String {
        lamplight_rpc::new_trace(self.env.clock.now().seconds(), &*self.env.random)
    }

    /// The trace id of a call that the function `caller` makes while it is called with `own`.
    pub fn onward(&self, given: Option<&str>, own: Option<&str>, caller: &FunctionArn) -> String {
        let own = own.map_or_else(|| self.new_trace(), str::to_owned);
        lineage::inherit(given, &own, &caller.to_string())
    }

    /// Whether somebody has said that this function loops on purpose.
    fn may_loop(&self, function: &FunctionRef) -> bool {
        let FunctionArn { scope, name } = &function.function;
        let config = self.documents.get(&DocumentKey::only(RECURSION, scope, name));
        config.is_some_and(|config| config.body["RecursiveLoop"] == "Allow")
    }

    /// `target` is what the call was resolved to.
    pub fn admit(&self, target: Arc<Target>, call: Call) -> Result<Admitted, InvokeError> {
        let trace_id = call.trace_id.unwrap_or_else(|| self.new_trace());
        let (trace_id, hops) = lineage::extend(&trace_id, &call.function.function.to_string());
        if hops > lineage::HOPS && !self.may_loop(&call.function) {
            return Err(InvokeError::Recursive(call.function));
        }
        let slot =
            self.counting.admit(&target.function, !call.detached && !call.within_execution)?;
        let call = Invocation {
            request_id: call.request_id,
            // AWS: a call without a payload is an empty event.
            payload: match call.payload {
                payload if payload.is_empty() => Bytes::from_static(b"{}"),
                payload => payload,
            },
            invoked_arn: call.function.arn(),
            client_context: call.client_context,
            trace_id: Some(trace_id),
            tenant: call.tenant,
            tail: call.tail,
            stream: call.stream,
        };
        Ok(Admitted { target, call, slot })
    }

    /// A call of a durable function. AWS: it has to say which version it means.
    async fn execute(
        &self,
        target: &Target,
        settings: DurableSettings,
        call: Call,
    ) -> Result<Invoked, InvokeError> {
        let invalid = |why: String| InvokeError::Refused(CatalogError::Invalid(why));
        if call.function.qualifier.is_none() {
            let why = "You cannot invoke a durable function using an unqualified ARN.";
            return Err(invalid(why.to_owned()));
        }
        let new = executions::new(target, settings, &call.payload);
        let new = new.map_err(|error| invalid(error.to_string()))?;
        let trace_id = call.trace_id.unwrap_or_default();
        let trace = Some(trace_id.clone()).filter(|trace| !trace.is_empty());
        let new = NewExecution {
            // Another attempt of the same call finds what the first one has started.
            name: Some(call.request_id),
            synchronous: !call.detached,
            trace_id: trace,
            tenant: call.tenant,
            ..new
        };
        let outcome = executions::run(&*self.durable, new).await.map_err(|error| match error {
            DurableError::Unavailable(why) => InvokeError::Refused(CatalogError::Unavailable(why)),
            error => invalid(error.to_string()),
        })?;
        Ok(Invoked { outcome, version: target.version.clone(), trace_id: trace_id.into() })
    }

    /// The call itself, for whoever drives it. It must be driven to its end.
    pub fn run(
        &self,
        admitted: Admitted,
    ) -> impl Future<Output = Result<Invoked, InvokeError>> + Send + 'static {
        run(self.env.tasks.clone(), Arc::clone(&self.manager), admitted)
    }
}

async fn run(
    tasks: Tasks,
    manager: Arc<dyn Manager>,
    Admitted { target, call, slot }: Admitted,
) -> Result<Invoked, InvokeError> {
    let mut slot = Some(slot);
    let failed = |error| match error {
        StartError::Throttled(throttled) => InvokeError::Throttled(throttled),
        error => InvokeError::Start { version: target.version.clone(), error },
    };
    for _ in 0..TRIES {
        let mut assigned = manager.assign(&target, call.tenant.as_deref()).await.map_err(failed)?;
        let mut ended = assigned.worker.invoke(assigned.id, call.clone()).await;
        let after = match &mut ended {
            Ok(outcome) => std::mem::replace(&mut outcome.after, After::Free),
            Err(_) => After::Spent,
        };
        // Behind the answer its extensions may still work: until then it counts as running, as on
        // AWS.
        match after {
            After::Busy(_) => {
                manager.answered(&mut assigned);
                let (manager, slot) = (Arc::clone(&manager), slot.take());
                tasks.spawn(async move {
                    manager.settle(assigned, after.reusable().await).await;
                    drop(slot);
                });
            }
            after => manager.settle(assigned, after.reusable().await).await,
        }
        faults::point("invoke.answered")
            .map_err(|error| failed(StartError::Sandbox(error.to_string())))?;
        match ended {
            // It ended while it was idle and has not seen the call.
            Err(StartError::Gone) => {}
            Err(error) => return Err(failed(error)),
            Ok(outcome) => {
                let trace_id = call.trace_id.unwrap_or_default().into();
                return Ok(Invoked { outcome, version: target.version.clone(), trace_id });
            }
        }
    }
    Err(failed(StartError::Gone))
}

#[async_trait]
impl Invoker for Functions {
    async fn invoke(&self, call: Call) -> Result<Invoked, InvokeError> {
        let target = self.resolve(&call.function, call.tenant.as_deref())?;
        if let Some(settings) = target.durable.filter(|_| !call.within_execution) {
            return self.execute(&target, settings, call).await;
        }
        let admitted = self.admit(target, call)?;
        Outlive::new(&self.env.tasks, self.run(admitted)).await
    }
}
