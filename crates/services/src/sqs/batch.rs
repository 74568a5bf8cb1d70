//! Batches: up to ten entries with ids of their own, each of which may fail alone.

use super::Call;
use lamplight_wire::{ApiError, Output};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// AWS: entries of one batch.
const MOST: usize = 10;

/// An entry's id, and its members.
pub(super) type Entry<'c> = (&'c str, &'c Map<String, Value>);

/// What became of the entries of a batch, in their order.
#[derive(Default)]
pub(super) struct Results {
    successful: Vec<Value>,
    failed: Vec<Value>,
}

impl Results {
    pub(super) fn add(&mut self, id: &str, result: Result<Map<String, Value>, ApiError>) {
        match result {
            Ok(mut members) => {
                members.insert("Id".to_owned(), Value::from(id));
                self.successful.push(Value::Object(members));
            }
            Err(error) => self.failed.push(json!({
                "Id": id,
                "SenderFault": error.status.is_none_or(|status| status < 500),
                "Code": error.code,
                "Message": error.message,
            })),
        }
    }

    pub(super) fn output(self) -> Result<Output, ApiError> {
        Output::of(json!({ "Successful": self.successful, "Failed": self.failed }))
    }
}

/// The entries with their ids. `entry` is what AWS calls one.
pub(super) fn entries<'c>(call: &'c Call<'_>, entry: &str) -> Result<Vec<Entry<'c>>, ApiError> {
    let given = call.input.get("Entries").and_then(Value::as_array);
    let given: Vec<_> = given.into_iter().flatten().filter_map(Value::as_object).collect();
    if given.is_empty() {
        return Err(ApiError::new(
            "EmptyBatchRequest",
            format!("There should be at least one {entry} in the request."),
        ));
    }
    if given.len() > MOST {
        return Err(ApiError::new(
            "TooManyEntriesInBatchRequest",
            format!(
                "Maximum number of entries per request are {MOST}. You have sent {}.",
                given.len()
            ),
        ));
    }
    let mut seen = BTreeSet::new();
    let mut entries = Vec::with_capacity(given.len());
    for members in given {
        let id = members.get("Id").and_then(Value::as_str).unwrap_or_default();
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=80).contains(&id.len()) || !id.bytes().all(word) {
            return Err(ApiError::new(
                "InvalidBatchEntryId",
                "A batch entry id can only contain alphanumeric characters, hyphens and \
                 underscores. It can be at most 80 letters long.",
            ));
        }
        if !seen.insert(id) {
            return Err(ApiError::new("BatchEntryIdsNotDistinct", format!("Id {id} repeated.")));
        }
        entries.push((id, members));
    }
    Ok(entries)
}
