//! Records that are kept as documents: how one is read, and how it is changed when others change it
//! at the same moment.
//!
//! What a record is, which key it has and what its callers are told is each neighbour's own affair.

use lamplight_rpc::{Document, DocumentError, DocumentKey, Documents, Expected};
use lamplight_wire::ApiError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How often a write that met another one is tried again.
const TRIES: usize = 8;

/// Why a record was not changed.
pub(crate) enum Unchanged {
    /// Somebody had something against it.
    Refused(ApiError),
    /// [`DocumentError::Conflict`] when others were faster again and again.
    Store(DocumentError),
}

impl From<ApiError> for Unchanged {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl Unchanged {
    /// What the caller is told: the refusal, or what `unavailable` makes of the store's failure.
    pub(crate) fn told(self, unavailable: impl FnOnce(&DocumentError) -> ApiError) -> ApiError {
        match self {
            Self::Refused(error) => error,
            Self::Store(error) => unavailable(&error),
        }
    }
}

/// What becomes of a record.
pub(crate) enum Fate<R> {
    Stays,
    Becomes(R),
    Ends,
}

/// The record of a document. One that cannot be read is logged and is none.
pub(crate) fn read<R: DeserializeOwned>(document: &Document) -> Option<R> {
    R::deserialize(&*document.body)
        .inspect_err(|error| {
            let key = &document.key;
            tracing::error!(kind = key.kind, owner = %key.owner, id = %key.id, %error, "cannot be read");
        })
        .ok()
}

/// The document of a new record. [`DocumentError::Conflict`] where there is one already.
pub(crate) async fn create<R: Serialize>(
    documents: &dyn Documents,
    key: DocumentKey,
    record: &R,
) -> Result<(), Unchanged> {
    let body = serde_json::to_value(record).map_err(ApiError::internal)?;
    documents.put(key, Expected::Nothing, body).await.map_err(Unchanged::Store)?;
    Ok(())
}

/// Gives the record of `key` the fate that `decide` chooses, which is asked again with what is there
/// then when somebody else was faster.
pub(crate) async fn change<R: Serialize + DeserializeOwned, T>(
    documents: &dyn Documents,
    key: &DocumentKey,
    decide: impl Fn(Option<R>) -> Result<(Fate<R>, T), ApiError>,
) -> Result<T, Unchanged> {
    for _ in 0..TRIES {
        let found = documents.get(key).and_then(|found| Some((read(&found)?, found.rev)));
        let (record, expected) = match found {
            Some((record, rev)) => (Some(record), Expected::Rev(rev)),
            None => (None, Expected::Nothing),
        };
        let (fate, answer) = decide(record)?;
        let written = match fate {
            Fate::Stays => Ok(()),
            Fate::Becomes(record) => {
                let body = serde_json::to_value(&record).map_err(ApiError::internal)?;
                documents.put(key.clone(), expected, body).await.map(drop)
            }
            Fate::Ends => documents.delete(key, expected).await.map(drop),
        };
        match written {
            Ok(()) => return Ok(answer),
            Err(DocumentError::Conflict) => {}
            Err(error) => return Err(Unchanged::Store(error)),
        }
    }
    Err(Unchanged::Store(DocumentError::Conflict))
}
