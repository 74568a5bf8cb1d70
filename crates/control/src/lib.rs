//! What should be: the function catalog, counting, the manager of environments, placement.

pub mod counting;
pub mod manager;
pub mod placement;
