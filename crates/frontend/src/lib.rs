//! The way in: HTTP, SigV4, the API operations, and the synchronous invoke path.
//!
//! Knows the other roles only by their traits, opens no store, and runs no function itself.

mod access;
pub mod api;
pub mod auth;
mod body;
mod crowd;
mod desk;
mod downloads;
mod guests;
mod invoke;
mod server;
mod stalling;

pub use access::ServiceGrants;
pub use api::lambda::{FunctionDocuments, labels};
pub use auth::Auth;
pub use downloads::Downloads;
pub use guests::Guests;
pub use invoke::Functions;
pub use server::serve;

use lamplight_env::Env;
use lamplight_rpc::{
    Catalog, CodeSource, Documents, DurableExecutions, EventDesk, EventQueue, Images, Layers,
    Manager, Objects,
};
use lamplight_services::iam::Iam;
use lamplight_services::logs::Logs;
use lamplight_services::sns::Sns;
use lamplight_services::sqs::Sqs;
use lamplight_services::sts::Sts;
use std::sync::Arc;

/// Plain settings of the frontend.
#[derive(Debug, Clone)]
pub struct Options {
    /// For requests that name no region.
    pub region: String,
    /// What GetAccountSettings says.
    pub concurrent_executions: u32,
    /// Whether policies are asked. Where not, everybody who has a key may do everything.
    pub enforce: bool,
    /// How fast streamed responses are sent beyond their first part, bytes in a second.
    pub stream_rate: Option<std::num::NonZeroU64>,
}

/// What the frontend works with.
pub struct Parts {
    pub env: Env,
    pub options: Options,
    pub auth: Auth,
    pub catalog: Arc<dyn Catalog>,
    pub layers: Arc<dyn Layers>,
    pub images: Arc<dyn Images>,
    pub objects: Arc<dyn Objects>,
    pub documents: Arc<dyn Documents>,
    pub code: Arc<dyn CodeSource>,
    pub manager: Arc<dyn Manager>,
    /// The way of every call; an [`lamplight_rpc::Invoker`] for the rest of the server.
    pub functions: Arc<Functions>,
    pub durable: Arc<dyn DurableExecutions>,
    pub events: Arc<dyn EventQueue>,
    pub desk: Arc<dyn EventDesk>,
    pub logs: Arc<Logs>,
    pub iam: Arc<Iam>,
    pub sns: Arc<Sns>,
    pub sqs: Arc<Sqs>,
    pub sts: Sts,
    pub downloads: Downloads,
}
