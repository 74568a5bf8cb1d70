//! Interpreters of this machine.
