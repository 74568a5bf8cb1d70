//! What becomes of messages that were received: deleted, or held for longer or shorter.

use super::batch::{Results, entries};
use super::queues::Found;
use super::receiving::Handle;
use super::{Call, invalid_value, missing, store_failed};
use lamplight_store::{Receipt, Step, StoreError};
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value};
use std::time::Duration;

/// AWS: the longest that a message can be kept from others.
const LONGEST: i64 = 43_200;

pub(super) async fn delete(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    delete_one(call, &found, call.input).await?;
    freed(call, &found)?;
    Ok(Output::empty())
}

/// Tells those who wait that the next of a group may be given out, or something was given back.
fn freed(call: &Call<'_>, found: &Found) -> Result<(), ApiError> {
    // Nobody waiting is no error.
    let _ = call.sqs.freed.send(found.key(call.scope())?);
    Ok(())
}

pub(super) async fn delete_batch(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    let entries = entries(call, "DeleteMessageBatchRequestEntry")?;
    let mut results = Results::default();
    let receipts: Result<Vec<Receipt>, ApiError> =
        entries.iter().map(|(_, input)| receipt(&found, input)).collect();
    // Most of the time nothing is wrong, and one write is enough.
    let together = match receipts {
        Ok(receipts) => {
            let steps = receipts.into_iter().map(Step::Done).collect();
            call.sqs.messages.apply(steps, call.sqs.now()).await.is_ok()
        }
        Err(_) => false,
    };
    for (id, input) in entries {
        let result = if together { Ok(()) } else { delete_one(call, &found, input).await };
        results.add(id, result.map(|()| Map::new()));
    }
    freed(call, &found)?;
    results.output()
}

async fn delete_one(
    call: &Call<'_>,
    found: &Found,
    input: &Map<String, Value>,
) -> Result<(), ApiError> {
    let receipt = receipt(found, input)?;
    match call.sqs.messages.apply(vec![Step::Done(receipt)], call.sqs.now()).await {
        Ok(_) => Ok(()),
        // AWS: it was deleted before, or somebody else has it now and may delete it.
        Err(StoreError::LeaseLost(_)) => Ok(()),
        Err(error) => Err(store_failed(error)),
    }
}

pub(super) async fn change_visibility(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    change_one(call, &found, call.input).await?;
    freed(call, &found)?;
    Ok(Output::empty())
}

pub(super) async fn change_visibility_batch(call: &Call<'_>) -> Result<Output, ApiError> {
    let found = call.queue()?;
    let mut results = Results::default();
    for (id, input) in entries(call, "ChangeMessageVisibilityBatchRequestEntry")? {
        let result = change_one(call, &found, input).await;
        results.add(id, result.map(|()| Map::new()));
    }
    freed(call, &found)?;
    results.output()
}

async fn change_one(
    call: &Call<'_>,
    found: &Found,
    input: &Map<String, Value>,
) -> Result<(), ApiError> {
    let handle = input.get("ReceiptHandle").and_then(Value::as_str).unwrap_or_default();
    let receipt = receipt(found, input)?;
    let timeout = input.get("VisibilityTimeout").and_then(Value::as_i64);
    let timeout = timeout.ok_or_else(|| missing("VisibilityTimeout"))?;
    if !(0..=LONGEST).contains(&timeout) {
        return Err(invalid_value(format!(
            "Value {timeout} for parameter VisibilityTimeout is invalid. Reason: Must be between 0 \
             and {LONGEST}, if provided."
        )));
    }
    let now = call.sqs.now();
    let step = match u64::try_from(timeout) {
        Ok(1..) => {
            Step::Extend { receipt, until: now.plus(Duration::from_secs(timeout.unsigned_abs())) }
        }
        _ => Step::Retry { receipt, due: now, state: None },
    };
    match call.sqs.messages.apply(vec![step], now).await {
        Ok(_) => Ok(()),
        Err(StoreError::LeaseLost(_)) => Err(invalid_value(format!(
            "Value {handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist \
             or is not available for visibility timeout change."
        ))),
        Err(error) => Err(store_failed(error)),
    }
}

/// What the caller's handle stands for. One of another queue stands for nothing here.
fn receipt(found: &Found, input: &Map<String, Value>) -> Result<Receipt, ApiError> {
    let text = input.get("ReceiptHandle").and_then(Value::as_str).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| missing("ReceiptHandle"))?;
    match Handle::read(text) {
        Some(handle) if handle.generation == found.record.generation => Ok(handle.receipt),
        _ => Err(ApiError::new(
            "ReceiptHandleIsInvalid",
            format!("The input receipt handle \"{text}\" is not a valid receipt handle."),
        )),
    }
}
