//! Which service a destination belongs to, and functions as destinations.

use crate::record;
use async_trait::async_trait;
use lamplight_env::Random;
use lamplight_rpc::{
    Content, Delivery, DeliveryError, Destinations, Event, EventQueue, EventRefused,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Destinations by the service in their ARN. Of a service that is not here, the outcome waits.
#[derive(Default)]
pub struct Routes(HashMap<&'static str, Arc<dyn Destinations>>);

impl Routes {
    /// Takes care of ARNs of `service`.
    #[must_use]
    pub fn with(mut self, service: &'static str, destinations: Arc<dyn Destinations>) -> Self {
        self.0.insert(service, destinations);
        self
    }

    pub fn has(&self, service: &str) -> bool {
        self.0.contains_key(service)
    }
}

#[async_trait]
impl Destinations for Routes {
    async fn deliver(&self, delivery: Delivery) -> Result<(), DeliveryError> {
        let service = delivery.destination.split(':').nth(2).unwrap_or_default();
        match self.0.get(service) {
            Some(destinations) => destinations.deliver(delivery).await,
            None => Err(DeliveryError::Impossible(absent(service))),
        }
    }
}

fn absent(service: &str) -> String {
    let name = match service {
        "events" => "EventBridge",
        "s3" => "S3",
        other => other,
    };
    format!(
        "{name} is not served here yet: the outcome is kept until it is dropped or its time is up"
    )
}

/// Functions: they get the record as an event.
pub struct Functions {
    pub events: Arc<dyn EventQueue>,
    pub random: Arc<dyn Random>,
}

#[async_trait]
impl Destinations for Functions {
    async fn deliver(&self, delivery: Delivery) -> Result<(), DeliveryError> {
        let impossible = |why: &str| DeliveryError::Impossible(why.to_owned());
        let Content::Record { record, .. } = delivery.content else {
            return Err(impossible("a function cannot be a dead-letter queue"));
        };
        let function = record::function(&delivery.destination)
            .ok_or_else(|| impossible("the destination is no function of this server"))?;
        let event = Event {
            function,
            request_id: self.random.uuid(),
            payload: record,
            trace_id: delivery.trace_id,
            tenant: None,
        };
        self.events.accept(event).await.map_err(|refused| match refused {
            EventRefused::TooLarge => DeliveryError::Impossible(refused.to_string()),
            other => DeliveryError::Refused(other.to_string()),
        })
    }
}
