//! The repair loop: finishes what is unfinished and removes code that nobody uses.
//!
//! It takes no input but what is: after a crash the first pass does whatever the crash kept from
//! being done. A nudge makes it look at once; without one it looks from time to time.

use super::machine::{self, Failure};
use super::service::Core;
use super::snapshot::{Member, Snapshot};
use lamplight_model::FunctionRecord;
use lamplight_rpc::PrepareError;
use lamplight_store::{Digest, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Between two looks at everything.
const SWEEP: Duration = Duration::from_secs(600);
/// Before something that did not work is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Functions that are finished at a time.
const AT_A_TIME: usize = 16;

/// Code that lost a function: it goes when nobody can be running it any more.
#[derive(Default)]
pub(super) struct Suspects(HashMap<String, Suspect>);

#[derive(Clone, Copy)]
struct Suspect {
    due: Instant,
    /// Of the zip file, bytes.
    size: u64,
}

impl Suspects {
    /// More than these go early, so that a fast sequence of updates cannot fill the disk.
    pub const MAX: usize = 32;
    /// On top of the timeout of the function: for its initialisation and its end.
    const MARGIN: Duration = Duration::from_secs(60);

    /// `timeout` is how long a call of the function may take that has just begun.
    pub fn add(&mut self, digest: &str, size: u64, timeout: Duration, now: Instant) {
        let due = now + timeout + Self::MARGIN;
        let suspect = self.0.entry(digest.to_owned()).or_insert(Suspect { due, size });
        suspect.due = suspect.due.max(due);
    }

    pub fn size(&self, digest: &str) -> Option<u64> {
        self.0.get(digest).map(|suspect| suspect.size)
    }

    pub fn contains(&self, digest: &str) -> bool {
        self.0.contains_key(digest)
    }

    fn next_due(&self) -> Option<Instant> {
        self.0.values().map(|suspect| suspect.due).min()
    }

    /// Takes out those that are due, and the earliest of too many.
    fn take_due(&mut self, now: Instant) -> Vec<String> {
        let mut all: Vec<(Instant, String)> =
            self.0.iter().map(|(digest, s)| (s.due, digest.clone())).collect();
        all.sort();
        let surplus = all.len().saturating_sub(Self::MAX);
        let due = all.into_iter().enumerate().filter(|(n, (due, _))| *n < surplus || *due <= now);
        let due: Vec<String> = due.map(|(_, (_, digest))| digest).collect();
        for digest in &due {
            self.0.remove(digest);
        }
        due
    }
}

/// What a pass has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub finish: Vec<Member>,
    /// Code that no function uses and nobody runs.
    pub collect: Vec<String>,
    /// Code that functions use and the store does not list.
    pub missing: Vec<String>,
}

/// Decides. `stored` is a list of all zip files made before, where there is one.
pub(super) fn plan(
    snapshot: &Snapshot,
    suspects: &mut Suspects,
    stored: Option<&[Digest]>,
    now: Instant,
) -> Plan {
    let mut collect = suspects.take_due(now);
    let mut missing = Vec::new();
    if let Some(stored) = stored {
        let strays = stored.iter().map(Digest::as_str).filter(|d| !suspects.contains(d));
        collect.extend(strays.map(str::to_owned));
        let listed: std::collections::HashSet<&str> = stored.iter().map(Digest::as_str).collect();
        missing.extend(snapshot.codes().filter(|d| !listed.contains(d)).map(str::to_owned));
    }
    collect.retain(|digest| !snapshot.uses(digest));
    collect.sort();
    collect.dedup();
    Plan { finish: snapshot.unfinished().cloned().collect(), collect, missing }
}

/// Runs until the server stops.
pub(super) async fn run(core: Arc<Core>) {
    let mut stop = core.env().tasks.stop_signal();
    let mut next_sweep = core.env().clock.instant();
    while !stop.is_stopped() {
        let now = core.env().clock.instant();
        let sweep = now >= next_sweep;
        if sweep {
            next_sweep = now + SWEEP;
        }
        let all_done = pass(&core, sweep).await;
        let now = core.env().clock.instant();
        let due = core.suspects().next_due().map_or(next_sweep, |due| due.min(next_sweep));
        let idle = if all_done { due.saturating_duration_since(now) } else { RETRY };
        tokio::select! {
            () = stop.stopped() => {}
            () = core.nudged() => {}
            () = tokio::time::sleep(idle) => {}
        }
    }
}

/// One look, at everything stored where `sweep`. Returns whether nothing is left to do.
pub(super) async fn pass(core: &Arc<Core>, sweep: bool) -> bool {
    let stored = match sweep {
        true => core.parts.blobs.list().await.map(Some),
        false => Ok(None),
    };
    let listed = stored.as_ref().err().map(StoreError::to_string);
    if let Some(reason) = &listed {
        tracing::warn!(%reason, "the stored code cannot be listed");
    }
    let stored = stored.unwrap_or_default();
    let now = core.env().clock.instant();
    let plan = plan(&core.snapshot(), &mut core.suspects(), stored.as_deref(), now);
    let mut all_done = listed.is_none();
    let stop = core.env().tasks.stop_signal();
    for some in plan.finish.chunks(AT_A_TIME) {
        if stop.is_stopped() {
            return false;
        }
        let works: Vec<_> = some
            .iter()
            .map(|member| {
                let (core, member) = (Arc::clone(core), member.clone());
                core.env().tasks.clone().spawn(async move { finish(&core, &member).await })
            })
            .collect();
        for work in works {
            all_done &= work.await.unwrap_or(false);
        }
    }
    let wishes = core.snapshot().wishes();
    core.parts.manager.provision(wishes);
    for digest in plan.collect {
        // Whoever holds it is making a function of it, or takes care of it.
        if let Some(_gate) = core.codes.try_lock(&digest) {
            core.discard(&digest).await;
        }
    }
    for digest in plan.missing {
        // The list may be older than the function: look again.
        if let Err(reason) = core.zip(&digest).await {
            tracing::error!(digest, %reason, "code that a function uses is not in the store");
        }
    }
    all_done
}

/// Brings one version to its next state of rest. Returns whether it is there.
async fn finish(core: &Arc<Core>, (arn, version): &Member) -> bool {
    let _one_at_a_time = core.functions.lock(arn).await;
    let Some(function) = core.version(arn, version) else { return true };
    if function.record.pending().is_none() {
        return true;
    }
    let next = match prepare_all(core, &function.record).await {
        Ok(()) => machine::finish(&function.record, core.stamp()),
        Err(Some(failure)) => {
            tracing::warn!(function = %arn, %version, reason = failure.reason, "the function has failed");
            machine::fail(&function.record, failure, core.stamp())
        }
        Err(None) => return false,
    };
    let Some(next) = next else { return true };
    match core.commit(arn, vec![(Some(function.rev), next)]).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(function = %arn, %error, "the state of the function cannot be stored");
            false
        }
    }
}

async fn prepare_all(core: &Arc<Core>, record: &FunctionRecord) -> Result<(), Option<Failure>> {
    for package in record.packages() {
        prepare(core, &package.digest).await?;
    }
    Ok(())
}

/// Makes sure that the code is unpacked. An error without a failure may pass.
async fn prepare(core: &Arc<Core>, digest: &String) -> Result<(), Option<Failure>> {
    let _gate = core.codes.lock(digest).await;
    let zip = match core.zip(digest).await {
        Ok(zip) => zip,
        Err(error @ (StoreError::NoBlob(_) | StoreError::Damaged { .. })) => {
            return Err(Some(Failure { code: "InternalError".into(), reason: error.to_string() }));
        }
        Err(error) => {
            tracing::warn!(digest, %error, "code cannot be read");
            return Err(None);
        }
    };
    match core.parts.worker.prepare(digest, &zip).await {
        Ok(_) => Ok(()),
        Err(PrepareError::Failed(reason)) => {
            tracing::warn!(digest, reason, "code cannot be unpacked");
            Err(None)
        }
        Err(error @ (PrepareError::BadZip(_) | PrepareError::TooLarge)) => {
            Err(Some(Failure { code: "InvalidZipFileException".into(), reason: error.to_string() }))
        }
    }
}
