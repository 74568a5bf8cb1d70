//! One log group: its settings, its streams, and everything that changes them.
//!
//! All changes go through one lock, which readers hold only to learn what there is to read.

use super::checkpoint;
use super::contents::{Batch, Contents};
use super::durable::{MadeStream, Meta, sync_dir};
use super::error::{LogsError, at};
use super::index::Seen;
use super::read::{self, Page, Query};
use super::segment::{DAY, Segment};
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub struct Group {
    dir: PathBuf,
    state: Mutex<State>,
    /// Held while a segment is rewritten, which happens outside of the state's lock.
    purging: Mutex<()>,
}

struct State {
    meta: Meta,
    /// The group was deleted; whoever still holds it must not write.
    gone: bool,
    /// Read at first use, so that a start costs nothing for logs that nobody asks for.
    contents: Option<Contents>,
    /// Calls of [`Group::rest`] since the contents were used.
    unused: u32,
}

/// Which streams of a group are meant.
pub enum Which<'a> {
    All,
    Named(&'a [String]),
    Prefix(&'a str),
}

/// A stream as it is described.
#[derive(Debug, Clone)]
pub struct StreamInfo {
    pub name: Arc<str>,
    /// Unix ms.
    pub created: i64,
    /// `None` while it has no events.
    pub seen: Option<Seen>,
}

impl Group {
    pub(super) fn new(dir: PathBuf, meta: Meta) -> Self {
        let state = Mutex::new(State { meta, gone: false, contents: None, unused: 0 });
        Self { dir, state, purging: Mutex::new(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings as they are now.
    pub fn meta(&self) -> Meta {
        self.state().meta.clone()
    }

    /// Changes settings; on disk when this returns, unchanged where that fails.
    pub fn change(&self, change: impl FnOnce(&mut Meta)) -> Result<(), LogsError> {
        let mut state = self.state();
        state.present()?;
        let mut meta = state.meta.clone();
        change(&mut meta);
        state.keep(&self.dir, meta)
    }

    /// Bytes on disk.
    pub fn stored_bytes(&self) -> u64 {
        if let Some(contents) = &self.state().contents {
            return contents.stored_bytes();
        }
        let files = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let segments = files.filter(|file| Segment::name(&file.path()).is_some());
        segments.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
    }

    /// Appends `batches` that arrived at `now` (Unix ms), making streams where they are not there.
    pub fn append(&self, batches: &[Batch], now: i64) -> Result<(), LogsError> {
        let mut state = self.state();
        state.contents(&self.dir)?.append(&self.dir, batches, now)
    }

    /// Makes a stream by name; on disk when this returns.
    pub fn create_stream(&self, name: &str, now: i64) -> Result<(), LogsError> {
        let mut state = self.state();
        let contents = state.contents(&self.dir)?;
        if contents.ids.contains_key(name) {
            return Err(LogsError::StreamExists(name.to_owned()));
        }
        let id = contents.add_stream(name, now, true);
        let next_stream = contents.next_stream;
        let mut meta = state.meta.clone();
        meta.next_stream = next_stream;
        meta.streams.push(MadeStream { id, name: name.to_owned(), created: now });
        state.keep(&self.dir, meta).inspect_err(|_| {
            if let Some(contents) = &mut state.contents {
                contents.remove_stream(name);
            }
        })
    }

    /// The stream is gone when this returns, also after a crash. [`Self::purge`] frees its space.
    pub fn delete_stream(&self, name: &str) -> Result<(), LogsError> {
        let mut state = self.state();
        let contents = state.contents(&self.dir)?;
        let Some(id) = contents.ids.get(name).copied() else {
            return Err(LogsError::NoStream(name.to_owned()));
        };
        let next_stream = contents.next_stream;
        let mut meta = state.meta.clone();
        meta.next_stream = next_stream;
        meta.streams.retain(|stream| stream.id != id);
        meta.deleted.push(id);
        state.keep(&self.dir, meta)?;
        state.contents(&self.dir)?.remove_stream(name);
        Ok(())
    }

    /// Fails with [`LogsError::NoStream`] where there is no such stream.
    pub fn require_stream(&self, name: &str) -> Result<(), LogsError> {
        match self.state().contents(&self.dir)?.ids.contains_key(name) {
            true => Ok(()),
            false => Err(LogsError::NoStream(name.to_owned())),
        }
    }

    /// All streams whose name begins with `prefix`, in no order.
    pub fn streams(&self, prefix: &str) -> Result<Vec<StreamInfo>, LogsError> {
        let mut state = self.state();
        let contents = state.contents(&self.dir)?;
        let seen = contents.seen();
        let named = contents.streams.iter().filter(|(_, stream)| stream.name.starts_with(prefix));
        let infos = named.map(|(id, stream)| StreamInfo {
            name: stream.name.clone(),
            created: stream.created,
            seen: seen.get(id).copied(),
        });
        Ok(infos.collect())
    }

    /// A page of events. `query.streams` is set from `which`; events older than the group keeps
    /// them at `now` (Unix ms) are left out.
    pub fn read(&self, which: &Which, mut query: Query, now: i64) -> Result<Page, LogsError> {
        // Files are replaced only when a stream is deleted, so trying again is rare and ends.
        for _ in 0..16 {
            let (segments, streams) = {
                let mut state = self.state();
                if let Some(cutoff) = state.cutoff(now) {
                    query.range.0 = query.range.0.max(cutoff);
                }
                let contents = state.contents(&self.dir)?;
                query.streams = choose(contents, which)?;
                (contents.segments.clone(), contents.streams.clone())
            };
            if let Some(page) = read::page(&segments, &streams, &query)? {
                return Ok(page);
            }
        }
        Err(LogsError::Restless)
    }

    /// Brings what was written so far to disk.
    pub fn sync(&self) -> Result<(), LogsError> {
        let dirty = match &mut self.state().contents {
            Some(contents) => contents.take_dirty(),
            None => return Ok(()),
        };
        if dirty.is_empty() {
            return Ok(());
        }
        for (segment, file) in dirty {
            let index = segment.index().clone();
            if let Err(error) = file.sync_data() {
                // The kernel may have dropped the pages: syncing again would lie. A new file it is.
                segment.seal();
                tracing::error!(path = %segment.path.display(), %error, "log events may be lost: a segment could not be synced");
            } else if let Err(error) = segment.checkpoint(&file, &index) {
                tracing::warn!(%error, "the next start will take longer");
            }
        }
        match sync_dir(&self.dir) {
            // Deleted meanwhile: there is nothing left to keep.
            Err(_) if self.state().gone => Ok(()),
            done => done,
        }
    }

    /// Removes what is older than the group keeps it.
    pub fn expire(&self, now: i64) -> Result<(), LogsError> {
        let mut state = self.state();
        let Some(cutoff) = state.cutoff(now).filter(|_| !state.gone) else { return Ok(()) };
        if let Some(contents) = &mut state.contents {
            return contents.expire(cutoff);
        }
        // Nobody has asked for the group yet: file names tell enough.
        for file in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let path = file.path();
            if Segment::name(&path).is_some_and(|(day, _)| Segment::is_over(day, cutoff)) {
                checkpoint::remove(&path);
                fs::remove_file(&path).map_err(at("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Frees the space of deleted streams, one segment at a time so that appends get in between.
    pub fn purge(&self) -> Result<(), LogsError> {
        let _one = self.purging.lock().unwrap_or_else(PoisonError::into_inner);
        let deleted = self.state().meta.deleted.clone();
        if deleted.is_empty() {
            return Ok(());
        }
        loop {
            let mut state = self.state();
            let Some(old) = state.contents(&self.dir)?.next_to_purge(&deleted) else {
                let mut meta = state.meta.clone();
                meta.deleted.retain(|id| !deleted.contains(id));
                return state.keep(&self.dir, meta);
            };
            drop(state);
            let copy = old.without(&deleted)?;
            self.state().contents(&self.dir)?.replace(&old, copy)?;
        }
    }

    /// Forgets what is in the group once nobody used it for `patience` calls; it is read again
    /// when somebody does.
    pub fn rest(&self, patience: u32) {
        let mut state = self.state();
        state.unused = state.unused.saturating_add(1);
        if state.unused > patience && state.contents.as_ref().is_some_and(Contents::is_idle) {
            state.contents = None;
        }
    }

    /// Nobody reads or writes the group from here on.
    pub(super) fn close(&self) {
        let _no_rewrite = self.purging.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        state.gone = true;
        if let Some(contents) = state.contents.take() {
            contents.segments.iter().for_each(|segment| segment.retire());
        }
    }

    /// Whether files are open for writing.
    #[cfg(test)]
    pub fn is_written(&self) -> bool {
        self.state().contents.as_ref().is_some_and(|contents| !contents.is_idle())
    }

    #[cfg(test)]
    pub(super) fn is_loaded(&self) -> bool {
        self.state().contents.is_some()
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl State {
    fn present(&self) -> Result<(), LogsError> {
        if self.gone { Err(LogsError::NoGroup(self.meta.name.clone())) } else { Ok(()) }
    }

    fn contents(&mut self, dir: &Path) -> Result<&mut Contents, LogsError> {
        self.present()?;
        self.unused = 0;
        if self.contents.is_none() {
            self.contents = Some(Contents::load(dir, &self.meta)?);
        }
        self.contents.as_mut().ok_or_else(|| LogsError::NoGroup(self.meta.name.clone()))
    }

    fn keep(&mut self, dir: &Path, meta: Meta) -> Result<(), LogsError> {
        self.present()?;
        meta.write(dir)?;
        self.meta = meta;
        Ok(())
    }

    fn cutoff(&self, now: i64) -> Option<i64> {
        Some(now.saturating_sub(i64::from(self.meta.retention_days?) * DAY))
    }
}

fn choose(contents: &Contents, which: &Which) -> Result<Option<HashSet<u32>>, LogsError> {
    match which {
        Which::All => Ok(None),
        Which::Prefix(prefix) => {
            let named = contents.ids.iter().filter(|(name, _)| name.starts_with(prefix));
            Ok(Some(named.map(|(_, id)| *id).collect()))
        }
        Which::Named(names) => {
            let id = |name: &String| {
                let id = contents.ids.get(name.as_str()).copied();
                id.ok_or_else(|| LogsError::NoStream(name.clone()))
            };
            names.iter().map(id).collect::<Result<_, _>>().map(Some)
        }
    }
}
