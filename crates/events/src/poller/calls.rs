//! The work on an event: call its function, and settle what came of it.

use super::engine::{Settlement, Work};
use super::known::Known;
use super::lanes::Verdict;
use super::machine::{self, Attempt, End, Next, Policy};
use crate::destinations::{Ending, deliveries};
use crate::event_queue::Stock;
use crate::options::Options;
use crate::record::{self, Durable, ENDED, Ended, EventState};
use async_trait::async_trait;
use lamplight_env::{Clock, Stop, faults};
use lamplight_model::FunctionRef;
use lamplight_rpc::{Call, CatalogError, InvokeError, Invoked, Invoker, StartError};
use lamplight_store::{Key, Message, Moved, Step};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Characters of an error that its record keeps.
const ERROR: usize = 1024;

pub struct Calls {
    pub invoker: Arc<dyn Invoker>,
    pub known: Arc<dyn Known>,
    pub clock: Arc<dyn Clock>,
    pub options: Options,
    pub stock: Arc<Stock>,
    pub stop: Stop,
}

#[async_trait]
impl Work for Calls {
    async fn work(&self, message: &Message) -> Settlement {
        let state = EventState::read(&message.state);
        let Some((mut state, function)) =
            state.and_then(|state| Some((record::function(&state.function)?, state))).map(flip)
        else {
            tracing::error!(name = message.name, "an event cannot be read and is dropped");
            return self.unreadable(message);
        };
        let config = self.known.config(&function);
        let policy = self.policy(config.as_deref());
        if machine::expired(&state, &policy, self.clock.now()) {
            return self.end(
                message,
                &state,
                (&function, config.as_deref()),
                Ending::unheard(End::EventAgeExceeded),
            );
        }
        let call = Call {
            trace_id: Some(state.trace_id.clone()),
            tenant: state.tenant.clone(),
            detached: true,
            ..Call::new(function.clone(), message.name.clone(), message.body.clone())
        };
        let _ = faults::point("event.call");
        let called = self.invoker.invoke(call).await;
        let _ = faults::point("event.called");
        if cut_off(&called, &self.stop) {
            let steps =
                vec![Step::Retry { receipt: message.receipt, due: self.clock.now(), state: None }];
            return Settlement { steps, verdict: Verdict::Fine, left: false };
        }
        let (attempt, verdict) = self.judge(&function, &called);
        match machine::after(&mut state, attempt, &policy, self.clock.now()) {
            Next::Again(due) => Settlement {
                steps: vec![Step::Retry {
                    receipt: message.receipt,
                    due,
                    state: Some(state.to_bytes()),
                }],
                verdict,
                left: false,
            },
            Next::End(end) => {
                let ending = Ending::new(end, called);
                self.end(message, &state, (&function, config.as_deref()), ending)
            }
        }
    }

    fn shortened(&self, steps: &[Step], why: &str) -> Option<Vec<Step>> {
        without_deliveries(steps, why)
    }

    fn left(&self, lane: &Key, bytes: usize) {
        self.stock.leave(lane, bytes as u64);
    }
}

/// Whatever the end of the server did to a call, the next start makes good: it is not the
/// function's own failure.
fn cut_off(called: &Result<Invoked, InvokeError>, stop: &Stop) -> bool {
    let failed = called.as_ref().is_ok_and(|invoked| invoked.outcome.function_error.is_some());
    failed && stop.is_stopped()
}

fn flip<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

impl Calls {
    fn policy(&self, config: Option<&Value>) -> Policy {
        let number = |name: &str| config.and_then(|config| config.get(name)?.as_u64());
        let retries = number("MaximumRetryAttempts").and_then(|n| u32::try_from(n).ok());
        Policy {
            retries: retries.unwrap_or(machine::RETRIES),
            age: number("MaximumEventAgeInSeconds").map_or(machine::AGE, Duration::from_secs),
            delays: self.options.retries,
        }
    }

    fn judge(
        &self,
        function: &FunctionRef,
        called: &Result<Invoked, InvokeError>,
    ) -> (Attempt, Verdict) {
        let attempt = match called {
            Ok(invoked) if invoked.outcome.function_error.is_none() => Attempt::Succeeded,
            Ok(_) => Attempt::Failed,
            Err(InvokeError::Refused(CatalogError::NotFound(_) | CatalogError::Missing(_))) => {
                Attempt::Never(End::FunctionGone)
            }
            Err(InvokeError::Recursive(_)) => Attempt::Never(End::Recursive),
            // AWS: no retries where a function is switched off.
            Err(InvokeError::Throttled(_)) if self.known.is_off(function) => {
                Attempt::Never(End::NoConcurrency)
            }
            Err(InvokeError::Throttled(_)) => return (Attempt::NotCalled, Verdict::Refused),
            Err(InvokeError::Start {
                error: StartError::Sandbox(_) | StartError::Memory(_),
                ..
            }) => {
                return (Attempt::NotCalled, Verdict::Refused);
            }
            Err(_) => Attempt::NotCalled,
        };
        (attempt, Verdict::Fine)
    }

    /// The terminal record, and what is owed to destinations, in one.
    fn end(
        &self,
        message: &Message,
        state: &EventState,
        (function, config): (&FunctionRef, Option<&Value>),
        ending: Ending,
    ) -> Settlement {
        let now = self.clock.now();
        let dead_letters = self.known.dead_letters(function);
        let owed = deliveries(message, state, (config, dead_letters), &ending, now);
        let destinations = owed.iter().map(|(owed, _)| owed.destination.clone()).collect();
        let ended = Ended {
            format: Ended::FORMAT,
            function: state.function.clone(),
            end: ending.end,
            attempts: state.attempts,
            accepted: state.accepted,
            ended: now.millis(),
            error: ending.error().map(|error| error.chars().take(ERROR).collect()),
            destinations,
            undelivered: None,
        };
        let mut steps = vec![self.ended(message, &ended)];
        let expires = now.plus(self.options.owed);
        steps.extend(owed.into_iter().filter_map(|(owed, body)| {
            crate::destinations::put(owed, &message.name, body, (now, expires))
        }));
        Settlement { steps, verdict: Verdict::Fine, left: true }
    }

    fn unreadable(&self, message: &Message) -> Settlement {
        let ended = Ended {
            format: Ended::FORMAT,
            function: String::new(),
            end: End::Unreadable,
            attempts: 0,
            accepted: message.sent.millis(),
            ended: self.clock.now().millis(),
            error: None,
            destinations: Vec::new(),
            undelivered: None,
        };
        let steps = vec![self.ended(message, &ended)];
        Settlement { steps, verdict: Verdict::Fine, left: true }
    }

    fn ended(&self, message: &Message, ended: &Ended) -> Step {
        end_of(message, ended, self.options.kept)
    }
}

/// The end of an event alone, with the reason in its record. `None` where that is all there was.
pub fn without_deliveries(steps: &[Step], why: &str) -> Option<Vec<Step>> {
    let kept: Vec<Step> = steps
        .iter()
        .filter(|step| !matches!(step, Step::Put(..)))
        .map(|step| match step {
            Step::Move(receipt, moved) => {
                let mut moved = moved.clone();
                if let Some(ended) = Ended::read(&moved.state) {
                    let undelivered = Some(why.to_owned());
                    let ended = Ended { destinations: Vec::new(), undelivered, ..ended };
                    moved.state = ended.to_bytes();
                }
                Step::Move(*receipt, moved)
            }
            step => step.clone(),
        })
        .collect();
    (kept.len() < steps.len()).then_some(kept)
}

/// Moves an event to its end.
pub fn end_of(message: &Message, ended: &Ended, kept: Duration) -> Step {
    let now = lamplight_env::Timestamp::from_millis(ended.ended);
    let moved = Moved {
        queue: record::root(ENDED),
        due: now,
        expires: Some(now.plus(kept)),
        state: ended.to_bytes(),
        keep_body: false,
    };
    Step::Move(message.receipt, moved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use lamplight_env::Tasks;
    use lamplight_model::Qualifier;
    use lamplight_rpc::{After, Outcome};

    #[tokio::test]
    async fn only_a_failure_during_the_stop_is_not_the_functions_own() {
        let called = |function_error| {
            let payload = Bytes::from_static(b"{}");
            let outcome = Outcome { payload, function_error, log_tail: None, after: After::Free };
            Ok(Invoked { outcome, version: Qualifier::Latest, trace_id: "".into() })
        };
        let tasks = Tasks::new();
        let stop = tasks.stop_signal();
        assert!(!cut_off(&called(Some("Unhandled")), &stop));
        assert!(tasks.shut_down(Duration::from_secs(1)).await);
        assert!(cut_off(&called(Some("Unhandled")), &stop));
        assert!(!cut_off(&called(None), &stop), "what has succeeded has ended");
        assert!(!cut_off(&Err(InvokeError::Refused(CatalogError::NotFound("f".into()))), &stop));
    }
}
