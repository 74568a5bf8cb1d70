//! How much an archive may cost: a budget that is drawn on while inflating, whatever its headers
//! promise.

use super::error::UnzipError;
use lamplight_model::limits::{IMAGE, UNZIPPED_CODE, ZIP_ENTRIES};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// A whole path inside the archive, bytes. Leaves room under PATH_MAX for the cache's own part.
pub(super) const PATH_BYTES: usize = 1024;
/// One component, bytes: NAME_MAX of the usual file systems.
pub(super) const NAME_BYTES: usize = 255;
/// Components of a path.
pub(super) const PATH_DEPTH: usize = 128;
/// The target of a symbolic link, bytes.
pub(super) const LINK_BYTES: u64 = 1024;
/// The central directory, bytes: bounds the memory that reading it takes.
pub(super) const CENTRAL_BYTES: u64 = 32 * 1024 * 1024;

#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Entries, and separately the files, links and directories that they make.
    pub entries: usize,
    /// Inflated bytes in all.
    pub bytes: u64,
    /// Processor time of the unpacking thread.
    pub cpu: Duration,
}

impl Limits {
    pub(super) const AWS: Self =
        Self { entries: ZIP_ENTRIES, bytes: UNZIPPED_CODE, cpu: Duration::from_secs(30) };
    pub(super) const IMAGE: Self =
        Self { entries: 1_000_000, bytes: IMAGE, cpu: Duration::from_secs(300) };
}

/// What is left of [`Limits`]. Made on the thread that unpacks and used on no other.
pub(super) struct Budget {
    bytes: u64,
    cpu_end: Duration,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { bytes: limits.bytes, cpu_end: thread_cpu().saturating_add(limits.cpu) }
    }

    /// Takes `bytes` from the budget.
    pub(super) fn draw(&mut self, bytes: u64) -> Result<(), UnzipError> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(UnzipError::TooLarge)?;
        Ok(())
    }

    pub(super) fn bytes_left(&self) -> u64 {
        self.bytes
    }

    pub(super) fn check_cpu(&self) -> Result<(), UnzipError> {
        if thread_cpu() > self.cpu_end { Err(UnzipError::TooSlow) } else { Ok(()) }
    }
}

/// Processor time and not wall time: a busy machine must not refuse a good archive.
fn thread_cpu() -> Duration {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(spent.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_nanos(u64::try_from(spent.tv_nsec).unwrap_or(0))
}
