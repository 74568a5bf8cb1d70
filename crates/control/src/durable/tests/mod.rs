//! Executions in memory, and over the in-memory store.
