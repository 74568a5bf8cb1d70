//! How the roles talk: frontend, counting, manager, placement and worker know each other only
//! through these traits, so that each can be on another machine later.

mod catalog;
mod documents;
mod durable;
mod environment;
mod events;
mod grants;
mod guests;
mod images;
mod invoker;
mod layers;
mod logs;
mod objects;
mod trace;
mod web;

pub use catalog::{
    AliasChange, Catalog, CatalogError, CodeChange, CodeLocation, CodeSource, FunctionPage,
    Listing, NewFunction, Publication, PublishTo, SettingsChange, TagsChange, Usage,
};
pub use documents::{
    Belongings, Document, DocumentError, DocumentKey, Documents, EVENT_INVOKE, Expected, Given,
    Labels, RECURSION,
};
pub use durable::{
    CallbackAnswer, DurableError, DurableExecutions, ErrorObject, ExecutionArn, ExecutionFilter,
    ExecutionPage, Finished, NewExecution, PauseRequest,
};
pub use environment::{
    After, Assignment, CHUNK, Counting, Ended, EnvironmentId, Invocation, Manager, Outcome,
    Outdated, Placement, PrepareError, Prepared, Provisioning, Slot, StartError, Throttled, Worker,
};
pub use events::{
    Content, Delivery, DeliveryError, Destinations, Event, EventDesk, EventPage, EventQueue,
    EventRefused, EventStage,
};
pub use grants::{Actor, Grants};
pub use guests::{Guests, RoleCredentials};
pub use images::{ImageError, Images, PulledImage};
pub use invoker::{Call, InvokeError, Invoked, Invoker};
pub use layers::{LayerFilter, LayerUpload, Layers, PublishedLayer};
pub use logs::{LogEvent, LogSink};
pub use objects::{FetchedObject, ObjectError, Objects};
pub use trace::new_trace;
pub use web::{Post, Web};
