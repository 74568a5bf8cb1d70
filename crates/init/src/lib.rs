//! PID 1 inside a sandbox: starts the runtime, reaps, reports.
