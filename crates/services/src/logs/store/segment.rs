//! One file of events of one day.
//!
//! A segment only grows at its end, by one writer; readers read up to what the index covers. It is
//! `retired` before its file is removed or replaced, and a reader that finds it so starts anew.

use super::checkpoint;
use super::error::{LogsError, at};
use super::index::Index;
use super::record::{self, Frames, HEADER, Record};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Milliseconds.
pub const DAY: i64 = 86_400_000;
/// A start reads at most about this much of each segment.
const CHECKPOINT: u64 = 1024 * 1024;

pub struct Segment {
    pub path: PathBuf,
    /// Days since the epoch, UTC, by the events' own times.
    pub day: i64,
    pub number: u32,
    index: Mutex<Index>,
    retired: AtomicBool,
    sealed: AtomicBool,
    /// Bytes that the index on disk knows of.
    checkpointed: AtomicU64,
}

fn empty() -> Index {
    Index { length: HEADER as u64, ..Index::default() }
}

impl Segment {
    fn new(path: PathBuf, (day, number): (i64, u32), index: Index) -> Self {
        Self {
            path,
            day,
            number,
            index: Mutex::new(index),
            retired: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            checkpointed: AtomicU64::new(0),
        }
    }

    /// A new file in `dir`, empty but for its header.
    pub fn create(dir: &Path, day: i64, number: u32) -> Result<(Self, File), LogsError> {
        let path = dir.join(format!("{day}-{number}.seg"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(at("create", &path))?;
        if let Err(error) = file.write_all_at(&record::header(), 0) {
            // Without its header the file would be taken for damage.
            let _ = fs::remove_file(&path);
            return Err(at("write", &path)(error));
        }
        Ok((Self::new(path, (day, number), empty()), file))
    }

    /// Day and number in a file's name, `None` for other files.
    pub fn name(path: &Path) -> Option<(i64, u32)> {
        let (day, number) = path.file_name()?.to_str()?.strip_suffix(".seg")?.rsplit_once('-')?;
        Some((day.parse().ok()?, number.parse().ok()?))
    }

    /// Whether all of `day` lies before `cutoff` (Unix ms).
    pub fn is_over(day: i64, cutoff: i64) -> bool {
        day.saturating_add(1).saturating_mul(DAY) <= cutoff
    }

    /// Reads an existing file. What a crash left after the last good record is cut off; damage
    /// before that is said and passed over.
    pub fn load(path: PathBuf, name: (i64, u32)) -> Result<Self, LogsError> {
        let (file, length) = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .and_then(|file| file.metadata().map(|about| (file, about.len())))
            .map_err(at("open", &path))?;
        let bytes_from = |offset: u64, end: u64| {
            let mut bytes = vec![0; end.saturating_sub(offset) as usize];
            file.read_exact_at(&mut bytes, offset).map(|()| bytes).map_err(at("read", &path))
        };
        let head = bytes_from(0, length.min(HEADER as u64))?;
        if head.len() < HEADER && record::header().starts_with(&head) {
            // A crash came between the file's name and its first bytes.
            file.write_all_at(&record::header(), 0).map_err(at("write", &path))?;
        } else {
            record::check_header(&head)
                .map_err(|why| LogsError::Damaged { path: path.clone(), why: why.to_owned() })?;
        }
        let inode = file.metadata().map_err(at("open", &path))?.ino();
        let mut index = checkpoint::read(&path, inode, length).unwrap_or_else(empty);
        let known = index.length;
        let bytes = bytes_from(known, length)?;
        let mut frames = Frames::new(&bytes, 0);
        for frame in frames.by_ref() {
            let offset = known + frame.offset as u64;
            if frame.skipped > 0 {
                damage(&path, offset, frame.skipped);
            }
            index.add(offset, frame.length, &frame.record);
        }
        let good = known + frames.end() as u64;
        if good < length {
            let torn = length - good;
            tracing::warn!(path = %path.display(), bytes = torn, "cut a torn end off a log segment");
            file.set_len(good).map_err(at("cut the end off", &path))?;
        }
        let segment = Self::new(path, name, index);
        segment.checkpointed.store(known, Ordering::Relaxed);
        Ok(segment)
    }

    /// Keeps the index as it was when `index` was taken, if it has grown much since the last time.
    /// Only what is synced may be kept: `index` is taken before the file is.
    pub fn checkpoint(&self, file: &File, index: &Index) -> Result<(), LogsError> {
        if index.length < self.checkpointed.load(Ordering::Relaxed) + CHECKPOINT {
            return Ok(());
        }
        self.checkpointed.store(index.length, Ordering::Relaxed);
        let inode = file.metadata().map_err(at("look at", &self.path))?.ino();
        checkpoint::write(&self.path, inode, index)
    }

    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For appending.
    pub fn open(&self) -> Result<File, LogsError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).open(&self.path).map_err(at("open", &self.path))
    }

    /// For reading; `None` once the segment is retired.
    pub fn open_to_read(&self) -> Result<Option<File>, LogsError> {
        let opened = File::open(&self.path);
        // Asked after opening: a file opened before this is the one that the index describes.
        if self.retired.load(Ordering::SeqCst) {
            return Ok(None);
        }
        opened.map(Some).map_err(at("open", &self.path))
    }

    /// Before the file is removed or replaced.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::SeqCst);
    }

    /// No more appends.
    pub fn seal(&self) {
        self.sealed.store(true, Ordering::SeqCst);
    }

    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::SeqCst)
    }

    /// Writes `frames` (whole ones, described by `records` as length and record) at the end. On
    /// failure the segment is as it was, or sealed where even that cannot be had.
    pub fn append(
        &self,
        file: &File,
        frames: &[u8],
        records: &[(usize, Record)],
    ) -> Result<(), LogsError> {
        let mut index = self.index();
        let mut offset = index.length;
        if let Err(error) = file.write_all_at(frames, offset) {
            // Whole frames of the failed write would come to life again at the next start.
            if file.set_len(offset).is_err() {
                self.seal();
            }
            return Err(at("write", &self.path)(error));
        }
        for (length, record) in records {
            index.add(offset, *length, record);
            offset += *length as u64;
        }
        Ok(())
    }

    /// Writes a copy without the streams `gone` beside this file, for [`Self::replace`]. `None`
    /// where nothing is left.
    pub fn without(&self, gone: &[u32]) -> Result<Option<Index>, LogsError> {
        let bytes = fs::read(&self.path).map_err(at("read", &self.path))?;
        let mut out = record::header().to_vec();
        let mut index = empty();
        for frame in Frames::new(&bytes, HEADER) {
            let stream = match &frame.record {
                Record::Event(event) => event.stream,
                Record::Stream { id, .. } => *id,
                Record::Unknown => 0,
            };
            if !gone.contains(&stream) {
                let offset = out.len() as u64;
                out.extend_from_slice(&bytes[frame.offset..frame.offset + frame.length]);
                index.add(offset, frame.length, &frame.record);
            }
        }
        if index.blocks.is_empty() {
            return Ok(None);
        }
        let temporary = self.temporary();
        fs::write(&temporary, &out)
            .and_then(|()| File::open(&temporary)?.sync_all())
            .map_err(at("write", &temporary))?;
        Ok(Some(index))
    }

    /// Puts the copy that `without` made in this file's place, or removes the file where there is
    /// none. No reader may learn of segments meanwhile, or it would find this one retired.
    pub fn replace(&self, copy: Option<Index>) -> Result<Option<Self>, LogsError> {
        let Some(index) = copy else { return self.remove().map(|()| None) };
        self.retire();
        checkpoint::remove(&self.path);
        if let Err(error) = fs::rename(self.temporary(), &self.path) {
            self.retired.store(false, Ordering::SeqCst);
            return Err(at("put in place", &self.path)(error));
        }
        Ok(Some(Self::new(self.path.clone(), (self.day, self.number), index)))
    }

    fn temporary(&self) -> PathBuf {
        self.path.with_extension("seg.new")
    }

    /// Frees the file's space once the last reader is done with it.
    pub fn remove(&self) -> Result<(), LogsError> {
        self.retire();
        checkpoint::remove(&self.path);
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(at("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }
}

/// Says where a file has bytes that are no record.
pub fn damage(path: &Path, offset: u64, bytes: usize) {
    tracing::error!(path = %path.display(), offset, bytes, "a log segment is damaged: records before this offset are lost");
}

#[cfg(test)]
mod tests {
    use super::super::record::Event;
    use super::*;

    fn three(dir: &Path) -> (PathBuf, Vec<u8>, usize) {
        let (segment, file) = Segment::create(dir, 1, 1).unwrap();
        let mut last = 0;
        for seq in 1..=3 {
            let record =
                Record::Event(Event { seq, stream: 1, at: DAY, ingested: 0, message: "a line" });
            let mut bytes = Vec::new();
            record::encode(&record, &mut bytes);
            last = bytes.len();
            segment.append(&file, &bytes, &[(last, record)]).unwrap();
        }
        (segment.path.clone(), fs::read(&segment.path).unwrap(), last)
    }

    #[test]
    fn a_crash_in_the_middle_of_a_record_costs_that_record_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, whole, last) = three(dir.path());
        for kept in whole.len() - last..whole.len() {
            fs::write(&path, &whole[..kept]).unwrap();
            let segment = Segment::load(path.clone(), (1, 1)).unwrap();
            assert_eq!(segment.index().last_seq, 2, "cut at {kept}");
            assert_eq!(fs::metadata(&path).unwrap().len() as usize, whole.len() - last);
        }
        for kept in 0..HEADER {
            fs::write(&path, &whole[..kept]).unwrap();
            let segment = Segment::load(path.clone(), (1, 1)).unwrap();
            assert_eq!(segment.index().length as usize, HEADER);
        }
    }

    /// F15: in a log, what comes after the damage is served.
    #[test]
    fn power_loss_that_leaves_zeroes_is_a_torn_end_and_a_flipped_bit_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (path, whole, last) = three(dir.path());
        let mut zeroed = whole.clone();
        zeroed[whole.len() - last..].fill(0);
        zeroed.extend_from_slice(&[0; 4096]);
        fs::write(&path, &zeroed).unwrap();
        assert_eq!(Segment::load(path.clone(), (1, 1)).unwrap().index().last_seq, 2);
        let mut flipped = whole.clone();
        flipped[HEADER + last + 20] ^= 4;
        fs::write(&path, &flipped).unwrap();
        let segment = Segment::load(path.clone(), (1, 1)).unwrap();
        assert_eq!(segment.index().last_seq, 3);
        assert_eq!(fs::read(&path).unwrap(), flipped, "nothing after the damage is thrown away");
        flipped[2] ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert!(matches!(Segment::load(path, (1, 1)), Err(LogsError::Damaged { .. })));
    }

    #[test]
    fn a_full_disk_leaves_the_segment_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let (segment, file) = Segment::create(dir.path(), 1, 1).unwrap();
        let record =
            Record::Event(Event { seq: 1, stream: 1, at: DAY, ingested: 0, message: "a line" });
        let mut bytes = Vec::new();
        record::encode(&record, &mut bytes);
        let records = [(bytes.len(), record)];
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert!(segment.append(&full, &bytes, &records).is_err());
        assert!(segment.is_sealed(), "what cannot be cut back is not written to again");
        assert_eq!(*segment.index(), empty());
        segment.append(&file, &bytes, &records).unwrap();
        assert_eq!(segment.index().last_seq, 1);
    }

    #[test]
    fn a_start_reads_only_what_came_after_the_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let (segment, file) = Segment::create(dir.path(), 1, 1).unwrap();
        let message = "x".repeat(200_000);
        let append = |seq: u64| {
            let event = Event { seq, stream: 1, at: DAY, ingested: 0, message: &message };
            let record = Record::Event(event);
            let mut bytes = Vec::new();
            record::encode(&record, &mut bytes);
            segment.append(&file, &bytes, &[(bytes.len(), record)]).unwrap();
        };
        (1..=6).for_each(append);
        segment.checkpoint(&file, &segment.index().clone()).unwrap();
        (7..=8).for_each(append);
        let whole = segment.index().clone();
        let loaded = Segment::load(segment.path.clone(), (1, 1)).unwrap();
        assert_eq!(*loaded.index(), whole);
        // Damage before the checkpoint shows that it was not read; without one, it is.
        file.write_all_at(&[0; 64], 100).unwrap();
        let loaded = Segment::load(segment.path.clone(), (1, 1)).unwrap();
        assert_eq!(*loaded.index(), whole);
        checkpoint::remove(&segment.path);
        let loaded = Segment::load(segment.path.clone(), (1, 1)).unwrap();
        assert_ne!(*loaded.index(), whole);
    }
}
