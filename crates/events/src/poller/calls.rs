//! The work on an event: call its function, and settle what came of it.

use super::engine::{Settlement, Work};
use super::known::Known;
use super::lanes::Verdict;
use super::machine::{self, Attempt, End, Next, Policy};
use crate::clock::Steady;
use crate::destinations::{Ending, deliveries};
use crate::event_queue::Stock;
use crate::options::Options;
use crate::record::{self, Durable, ENDED, Ended, EventState};
use async_trait::async_trait;
use lamplight_env::faults;
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
    pub clock: Steady,
    pub options: Options,
    pub stock: Arc<Stock>,
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
            ..Call::new(function.clone(), message.name.clone(), message.body.clone())
        };
        let _ = faults::point("event.call");
        let called = self.invoker.invoke(call).await;
        let _ = faults::point("event.called");
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

    fn left(&self, lane: &Key, bytes: usize) {
        self.stock.leave(lane, bytes as u64);
    }
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
            Err(InvokeError::Start { error: StartError::Sandbox(_), .. }) => {
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
        };
        let steps = vec![self.ended(message, &ended)];
        Settlement { steps, verdict: Verdict::Fine, left: true }
    }

    fn ended(&self, message: &Message, ended: &Ended) -> Step {
        end_of(message, ended, self.options.kept)
    }
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
