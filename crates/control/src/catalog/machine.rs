//! The states of a function, and what may be done in which. Pure.
//!
//! ```text
//! create ─► Pending ─finish─► Active, update Successful ─update─► InProgress ─finish─► Successful
//!                  └─fail──► Failed ──────────────update─────────┘          └─fail──► Failed
//! ```
//!
//! Every state change makes a new revision id; a change of code or settings also makes a new
//! generation and moves LastModified.

use lamplight_env::Timestamp;
use lamplight_model::{
    CodeRef, FunctionArn, FunctionRecord, FunctionSettings, LastUpdate, Pending, Published,
    Qualifier, State,
};
use lamplight_rpc::CatalogError;
use std::collections::BTreeMap;

/// What is new about every state.
#[derive(Clone)]
pub(super) struct Stamp {
    pub revision_id: String,
    pub now: Timestamp,
}

/// What a function begins with.
pub(super) struct Birth {
    pub name: String,
    pub settings: FunctionSettings,
    pub code: CodeRef,
    pub tags: BTreeMap<String, String>,
    /// Above all that a function of this name ever had in this server's life.
    pub generation: u64,
}

/// Why a function cannot be made to work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// AWS: StateReasonCode or LastUpdateStatusReasonCode.
    pub code: String,
    pub reason: String,
}

pub(super) fn create(birth: Birth, stamp: Stamp) -> FunctionRecord {
    FunctionRecord {
        format: FunctionRecord::FORMAT,
        name: birth.name,
        settings: birth.settings,
        code: birth.code,
        state: State::Pending,
        last_update: LastUpdate::Never,
        revision_id: stamp.revision_id,
        last_modified: stamp.now.millis(),
        generation: birth.generation,
        tags: birth.tags,
        published: None,
        last_version: 0,
        reserved: None,
    }
}

/// What publishing makes.
pub(super) struct Publishing {
    pub latest: FunctionRecord,
    pub version: FunctionRecord,
}

/// Freezes `latest` as its next version, which is Pending until its code is known to be there.
/// Each of the two gets a revision id of its own.
pub(super) fn publish(
    latest: &FunctionRecord,
    description: Option<String>,
    (stamp, version_stamp): (Stamp, Stamp),
) -> Publishing {
    let number = latest.last_version + 1;
    let latest_description = latest.settings.description.clone();
    let mut version = FunctionRecord {
        state: State::Pending,
        last_update: LastUpdate::Never,
        revision_id: version_stamp.revision_id,
        tags: BTreeMap::new(),
        published: Some(Published { number, latest_description, provisioned: None }),
        last_version: 0,
        reserved: None,
        ..latest.clone()
    };
    if let Some(description) = description {
        version.settings.description = description;
    }
    let latest =
        FunctionRecord { last_version: number, revision_id: stamp.revision_id, ..latest.clone() };
    Publishing { latest, version }
}

/// Freezes `latest` as `$LATEST.PUBLISHED`, in place of `before`, which serves calls until then.
pub(super) fn publish_latest(
    latest: &FunctionRecord,
    before: Option<&FunctionRecord>,
    description: Option<String>,
    stamp: Stamp,
) -> FunctionRecord {
    let Publishing { version, .. } = publish(latest, description, (stamp.clone(), stamp));
    let published = version
        .published
        .map(|of_number| Published { number: Qualifier::LATEST_PUBLISHED, ..of_number });
    match before.filter(|before| before.state == State::Active) {
        Some(_) => FunctionRecord {
            published,
            state: State::Active,
            last_update: LastUpdate::InProgress,
            ..version
        },
        None => FunctionRecord { published, ..version },
    }
}

/// Whether the function may be changed now, by somebody who last saw `revision_id`.
pub(super) fn guard_update(
    arn: &FunctionArn,
    record: &FunctionRecord,
    revision_id: Option<&str>,
) -> Result<(), CatalogError> {
    match record.pending() {
        Some(Pending::Creation) => return Err(wrong_state(record)),
        Some(Pending::Update) => {
            return Err(CatalogError::Conflict(format!(
                "The operation cannot be performed at this time. An update is in progress for \
                 resource: {arn}"
            )));
        }
        None => {}
    }
    match revision_id {
        Some(seen) if seen != record.revision_id => Err(CatalogError::Precondition),
        _ => Ok(()),
    }
}

/// Whether the function may be invoked. AWS: while an update is in progress it may.
pub(super) fn guard_invoke(record: &FunctionRecord) -> Result<(), CatalogError> {
    match record.state {
        State::Active => Ok(()),
        State::Pending | State::Failed { .. } => Err(wrong_state(record)),
    }
}

fn wrong_state(record: &FunctionRecord) -> CatalogError {
    let state = match record.state {
        State::Pending => "Pending",
        State::Active => "Active",
        State::Failed { .. } => "Failed",
    };
    CatalogError::Conflict(format!(
        "The operation cannot be performed at this time. The function is currently in the \
         following state: {state}"
    ))
}

pub(super) fn update_code(
    record: &FunctionRecord,
    code: CodeRef,
    architectures: Option<Vec<String>>,
    stamp: Stamp,
) -> FunctionRecord {
    let mut next = update(record, stamp);
    next.code = code;
    if let Some(architectures) = architectures {
        next.settings.architectures = architectures;
    }
    next
}

pub(super) fn update_settings(
    record: &FunctionRecord,
    settings: FunctionSettings,
    stamp: Stamp,
) -> FunctionRecord {
    FunctionRecord { settings, ..update(record, stamp) }
}

/// AWS: a new revision id, but neither a later LastModified nor new environments.
pub(super) fn update_tags(
    record: &FunctionRecord,
    tags: BTreeMap<String, String>,
    stamp: Stamp,
) -> FunctionRecord {
    FunctionRecord { tags, revision_id: stamp.revision_id, ..record.clone() }
}

fn update(record: &FunctionRecord, stamp: Stamp) -> FunctionRecord {
    FunctionRecord {
        last_update: LastUpdate::InProgress,
        revision_id: stamp.revision_id,
        last_modified: stamp.now.millis(),
        generation: record.generation + 1,
        ..record.clone()
    }
}

/// What was pending worked. `None` where nothing was.
pub(super) fn finish(record: &FunctionRecord, stamp: Stamp) -> Option<FunctionRecord> {
    record.pending()?;
    Some(FunctionRecord {
        // Also of a function whose creation had failed: an update may repair it.
        state: State::Active,
        last_update: LastUpdate::Successful,
        revision_id: stamp.revision_id,
        ..record.clone()
    })
}

/// What was pending cannot work. `None` where nothing was.
pub(super) fn fail(
    record: &FunctionRecord,
    failure: Failure,
    stamp: Stamp,
) -> Option<FunctionRecord> {
    let Failure { code, reason } = failure;
    let mut next = FunctionRecord { revision_id: stamp.revision_id, ..record.clone() };
    match record.pending()? {
        Pending::Creation => next.state = State::Failed { code, reason },
        Pending::Update => next.last_update = LastUpdate::Failed { code, reason },
    }
    Some(next)
}
