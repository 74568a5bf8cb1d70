//! What the platform itself says in a function's log, before it has a shape.

use crate::telemetry::Dialect;
use lamplight_env::Timestamp;
use std::time::Duration;

/// How a call or an initialisation ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Status {
    #[default]
    Success,
    /// With the error's type, e.g. `Runtime.ExitError`.
    Error(String),
    Timeout,
}

/// What an environment runs, as its first line tells.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The log stream. AWS: that is what names an environment.
    pub instance: String,
    pub memory_mb: u32,
    /// Like `python:3.11.v7`.
    pub runtime_version: String,
    /// Names this server's build of the runtime.
    pub runtime_version_arn: String,
    pub function: String,
    /// `$LATEST` or a version's number.
    pub version: String,
}

/// Which initialisation.
#[derive(Debug, Clone, Copy)]
pub struct Init<'a> {
    /// `on-demand` or `provisioned-concurrency`.
    pub kind: &'a str,
    /// `init`, or `invoke` where it is done again within a call.
    pub phase: &'static str,
}

/// A part of a call's time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub name: &'static str,
    pub start: Timestamp,
    pub duration: Duration,
}

/// What is said of a call at its end.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub duration: Duration,
    /// Present on the first call of an environment.
    pub init: Option<Duration>,
    pub memory_mb: u32,
    /// Not every machine can measure it, and a made-up figure would be worse than none.
    pub max_memory_used_bytes: Option<u64>,
    pub status: Status,
    pub spans: Vec<Span>,
    /// The trace header of the call.
    pub trace: Option<String>,
    /// Of a function that isolates tenants.
    pub tenant: Option<String>,
    /// It was one of several calls at once: what is measured of the environment is not its own.
    pub beside: bool,
}

impl Report {
    /// Milliseconds. AWS: initialisation is billed for all functions since 2025-08-01.
    pub fn billed_ms(&self) -> u64 {
        millis(self.duration + self.init.unwrap_or_default()).ceil() as u64
    }

    /// The most memory that the environment ever had, in full MiB.
    pub fn max_memory_used_mb(&self) -> Option<u64> {
        self.max_memory_used_bytes.map(|bytes| bytes.div_ceil(1024 * 1024))
    }
}

/// One thing that the platform says.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    InitStart {
        init: Init<'a>,
        identity: &'a Identity,
    },
    InitRuntimeDone {
        init: Init<'a>,
        status: &'a Status,
    },
    /// How far an extension came in initialisation.
    Extension {
        name: &'a str,
        state: &'a str,
        events: &'a [&'static str],
        error_type: Option<&'a str>,
    },
    InitReport {
        init: Init<'a>,
        duration: Duration,
        status: &'a Status,
    },
    Start {
        request_id: &'a str,
        version: &'a str,
        /// The trace header of the call.
        trace: Option<&'a str>,
        tenant: Option<&'a str>,
    },
    TimedOut {
        request_id: &'a str,
        timeout: Duration,
    },
    RuntimeDone {
        request_id: &'a str,
        /// Bytes.
        produced: u64,
        report: &'a Report,
    },
    End {
        request_id: &'a str,
    },
    Report {
        request_id: &'a str,
        report: &'a Report,
    },
    LogsDropped {
        bytes: usize,
    },
    /// An extension is told of what happens.
    Subscribed {
        dialect: Dialect,
        name: &'a str,
        types: &'a [&'static str],
    },
    /// It is too slow for that. For itself alone.
    SubscriberDropped {
        records: usize,
        bytes: usize,
    },
}

impl Event<'_> {
    /// The trace header of the call that it is about.
    pub fn trace(&self) -> Option<&str> {
        match self {
            Self::Start { trace, .. } => *trace,
            Self::RuntimeDone { report, .. } | Self::Report { report, .. } => {
                report.trace.as_deref()
            }
            _ => None,
        }
    }
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
