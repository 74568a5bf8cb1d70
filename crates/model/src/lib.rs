//! The vocabulary of Lamplight: ids, ARNs, function settings, limits, states.
//!
//! Plain data and pure rules. No I/O, no clock, no async.

mod alias;
mod arn;
mod bundle;
pub mod event_pattern;
mod function;
mod layer;
pub mod limits;
mod runtime;
mod target;

pub use alias::AliasRecord;
pub use arn::{AccountId, FunctionArn, FunctionRef, NameError, Qualifier, Scope};
pub use bundle::{BundleHead, BundleLayer, HEAD_BYTES, ImageConfig, ImageOverrides, MAGIC};
pub use function::{
    CodeRef, FunctionRecord, FunctionSettings, LastUpdate, Origin, PackageType, Pending,
    Provisioned, Published, S3Object, State,
};
pub use layer::{LayerArn, LayerRef, LayerVersion, LayerVersionArn};
pub use runtime::{Language, Runtime};
pub use target::{DurableSettings, Target};
