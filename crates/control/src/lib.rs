//! What should be: the function catalog, counting, the manager of environments, placement.

pub mod catalog;
pub mod counting;
pub mod documents;
pub mod durable;
pub mod layers;
pub mod manager;
pub mod placement;
pub mod planner;
