//! The work on what is owed: bring it there, or come back later.

use crate::poller::engine::{Settlement, Work};
use crate::poller::lanes::Verdict;
use crate::poller::machine;
use crate::record::{Durable, Kind, Owed};
use async_trait::async_trait;
use lamplight_env::{Clock, Timestamp, faults};
use lamplight_rpc::{Content, Delivery, DeliveryError, Destinations};
use lamplight_store::{Message, Step};
use std::sync::Arc;

/// When a delivery is due that waits for somebody.
const FAR: Timestamp = Timestamp::from_millis(i64::MAX / 4);
/// Characters of a refusal that are kept.
const REFUSAL: usize = 1024;

pub struct Delivering {
    pub destinations: Arc<dyn Destinations>,
    pub clock: Arc<dyn Clock>,
}

#[async_trait]
impl Work for Delivering {
    async fn work(&self, message: &Message) -> Settlement {
        let receipt = message.receipt;
        let Some(mut owed) = Owed::read(&message.state) else {
            tracing::error!(name = message.name, "a delivery cannot be read and is set aside");
            return settled(Step::Retry { receipt, due: FAR, state: None });
        };
        let sent = match faults::point("delivery.send") {
            Ok(()) => self.destinations.deliver(delivery(message, &owed)).await,
            Err(fault) => Err(DeliveryError::Refused(fault.to_string())),
        };
        let sent = sent.and_then(|()| {
            faults::point("delivery.sent")
                .map_err(|fault| DeliveryError::Refused(fault.to_string()))
        });
        let refused = match sent {
            Ok(()) => return settled(Step::Done(receipt)),
            Err(refused) => refused,
        };
        let due = match &refused {
            DeliveryError::Refused(_) => self.clock.now().plus(machine::back_off(owed.attempts)),
            DeliveryError::Impossible(_) => FAR,
        };
        owed.parked = due == FAR;
        owed.attempts = owed.attempts.saturating_add(1);
        let reason: String = refused.to_string().chars().take(REFUSAL).collect();
        tracing::warn!(
            destination = owed.destination,
            request = message.name,
            parked = owed.parked,
            reason,
            "an outcome could not be delivered"
        );
        owed.refusal = Some(reason);
        settled(Step::Retry { receipt, due, state: Some(owed.to_bytes()) })
    }
}

fn settled(step: Step) -> Settlement {
    Settlement { steps: vec![step], verdict: Verdict::Fine, left: false }
}

fn delivery(message: &Message, owed: &Owed) -> Delivery {
    let content = match owed.kind {
        Kind::DeadLetter => Content::DeadLetter {
            event: message.body.clone(),
            error_code: owed.error_code,
            error_message: owed.error_message.clone(),
        },
        Kind::OnSuccess | Kind::OnFailure => {
            Content::Record { record: message.body.clone(), success: owed.kind == Kind::OnSuccess }
        }
    };
    Delivery {
        destination: owed.destination.clone(),
        id: format!("{}-{:?}", message.name, owed.kind),
        function: owed.function.clone(),
        request_id: message.name.clone(),
        trace_id: owed.trace_id.clone(),
        content,
    }
}
