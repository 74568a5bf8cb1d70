//! What should be: the function catalog, counting, the manager of environments, placement.
