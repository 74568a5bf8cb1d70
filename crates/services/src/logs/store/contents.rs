//! The segments and streams of one group, as they are in memory once somebody asked for them.
//!
//! Streams that came with their first event live in the segments alone, which name each stream
//! before its first event; that keeps a cold start from costing a metadata write.

use super::durable::Meta;
use super::error::{LogsError, at};
use super::index::{Index, Seen};
use super::record::{self, Event, Record};
use super::segment::{DAY, Segment};
use lamplight_rpc::LogEvent;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

/// A segment is not added to beyond this many bytes.
const FULL: u64 = 64 * 1024 * 1024;

#[derive(Debug, Clone)]
pub struct Stream {
    pub name: Arc<str>,
    /// Unix ms.
    pub created: i64,
    /// By CreateLogStream, not by its first event.
    pub made: bool,
}

/// Streams by id.
pub type Streams = HashMap<u32, Stream>;

/// Events for one stream, in order.
pub struct Batch<'a> {
    pub stream: &'a str,
    pub events: &'a [LogEvent],
}

struct Writer {
    segment: Arc<Segment>,
    file: Arc<File>,
    dirty: bool,
}

pub struct Contents {
    pub ids: HashMap<Arc<str>, u32>,
    pub streams: Arc<Streams>,
    pub segments: Vec<Arc<Segment>>,
    pub next_stream: u32,
    next_seq: u64,
    next_segment: u32,
    /// By day.
    writers: HashMap<i64, Writer>,
}

impl Contents {
    /// Reads what is in `dir`. A segment that cannot be read is named in the log and left alone.
    pub fn load(dir: &Path, meta: &Meta) -> Result<Self, LogsError> {
        let mut contents = Self {
            ids: HashMap::new(),
            streams: Arc::default(),
            segments: Vec::new(),
            next_stream: meta.next_stream,
            next_seq: 1,
            next_segment: 1,
            writers: HashMap::new(),
        };
        for entry in fs::read_dir(dir).map_err(at("list", dir))? {
            let path = entry.map_err(at("list", dir))?.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                let _ = fs::remove_file(&path);
            }
            let Some(name) = Segment::name(&path) else { continue };
            contents.next_segment = contents.next_segment.max(name.1.saturating_add(1));
            match Segment::load(path, name) {
                Ok(segment) => contents.segments.push(Arc::new(segment)),
                Err(error @ LogsError::Damaged { .. }) => {
                    tracing::error!(%error, "a log segment is not served");
                }
                Err(error) => return Err(error),
            }
        }
        contents.segments.sort_by_key(|segment| (segment.day, segment.number));
        let mut streams = Streams::new();
        for segment in &contents.segments {
            let index = segment.index();
            contents.next_seq = contents.next_seq.max(index.last_seq + 1);
            contents.next_stream = contents.next_stream.max(index.last_stream.saturating_add(1));
            for (id, span) in &index.streams {
                if !meta.deleted.contains(id) {
                    let name = span.name.as_str().into();
                    streams.insert(*id, Stream { name, created: span.created, made: false });
                }
            }
        }
        for made in &meta.streams {
            let name = made.name.as_str().into();
            streams.insert(made.id, Stream { name, created: made.created, made: true });
        }
        contents.ids = streams.iter().map(|(id, stream)| (stream.name.clone(), *id)).collect();
        contents.streams = Arc::new(streams);
        Ok(contents)
    }

    /// A new stream's id.
    pub fn add_stream(&mut self, name: &str, created: i64, made: bool) -> u32 {
        let id = self.next_stream;
        self.next_stream = self.next_stream.saturating_add(1);
        let name: Arc<str> = name.into();
        self.ids.insert(name.clone(), id);
        Arc::make_mut(&mut self.streams).insert(id, Stream { name, created, made });
        id
    }

    pub fn remove_stream(&mut self, name: &str) -> Option<u32> {
        let id = self.ids.remove(name)?;
        Arc::make_mut(&mut self.streams).remove(&id);
        Some(id)
    }

    /// Appends all of `batches`, or none of them of any one day. Times are Unix ms; `now` is when
    /// they arrived. Streams are made where they are not there.
    pub fn append(&mut self, dir: &Path, batches: &[Batch], now: i64) -> Result<(), LogsError> {
        let mut days: BTreeMap<i64, Vec<(Event, &str)>> = BTreeMap::new();
        for batch in batches {
            let stream = match self.ids.get(batch.stream) {
                Some(id) => *id,
                None => self.add_stream(batch.stream, now, false),
            };
            for event in batch.events {
                let (seq, at) = (self.next_seq, event.at.millis());
                self.next_seq += 1;
                let event = Event { seq, stream, at, ingested: now, message: &event.message };
                days.entry(at.div_euclid(DAY)).or_default().push((event, batch.stream));
            }
        }
        for (day, events) in days {
            self.append_day(dir, day, &events)?;
        }
        Ok(())
    }

    fn append_day(
        &mut self,
        dir: &Path,
        day: i64,
        events: &[(Event, &str)],
    ) -> Result<(), LogsError> {
        let streams = self.streams.clone();
        let writer = self.writer(dir, day)?;
        let (mut bytes, mut records) = (Vec::new(), Vec::with_capacity(events.len()));
        let mut push = |record: Record<'_>| -> usize {
            let start = bytes.len();
            record::encode(&record, &mut bytes);
            bytes.len() - start
        };
        let mut named: HashSet<u32> = HashSet::new();
        for (event, name) in events {
            if named.insert(event.stream)
                && !writer.segment.index().streams.contains_key(&event.stream)
            {
                let created = streams.get(&event.stream).map_or(event.ingested, |s| s.created);
                let record = Record::Stream { id: event.stream, created, name };
                records.push((push(record), record));
            }
            let record = Record::Event(*event);
            records.push((push(record), record));
        }
        writer.dirty = true;
        writer.segment.append(&writer.file, &bytes, &records)
    }

    /// The open end of `day`.
    fn writer(&mut self, dir: &Path, day: i64) -> Result<&mut Writer, LogsError> {
        let open = |segment: &Segment| !segment.is_sealed() && segment.index().length < FULL;
        // A full one is kept until it is synced, under a key that no day has.
        if let Some(writer) = self.writers.remove(&day) {
            if open(&writer.segment) {
                return Ok(self.writers.entry(day).or_insert(writer));
            }
            self.writers.insert(i64::MIN + i64::from(writer.segment.number), writer);
        }
        let last = self.segments.iter().rev().find(|segment| segment.day == day && open(segment));
        let (segment, file) = match last {
            Some(segment) => (segment.clone(), segment.open()?),
            None => {
                let number = self.next_segment;
                self.next_segment = number.saturating_add(1);
                let (segment, file) = Segment::create(dir, day, number)?;
                let segment = Arc::new(segment);
                self.segments.push(segment.clone());
                (segment, file)
            }
        };
        let writer = Writer { segment, file: Arc::new(file), dirty: false };
        Ok(self.writers.entry(day).or_insert(writer))
    }

    /// What was written since the last call, to be synced by the caller; files that were not
    /// written to since then are closed.
    pub fn take_dirty(&mut self) -> Vec<(Arc<Segment>, Arc<File>)> {
        self.writers.retain(|_, writer| writer.dirty);
        let dirty = self.writers.values_mut().map(|writer| {
            writer.dirty = false;
            (writer.segment.clone(), writer.file.clone())
        });
        dirty.collect()
    }

    /// The next segment that holds something of `deleted` streams, closed to further events.
    pub fn next_to_purge(&mut self, deleted: &[u32]) -> Option<Arc<Segment>> {
        let holds = |segment: &&Arc<Segment>| {
            let index = segment.index();
            deleted.iter().any(|id| index.streams.contains_key(id))
        };
        let segment = self.segments.iter().find(holds)?.clone();
        segment.seal();
        self.writers.retain(|_, writer| !Arc::ptr_eq(&writer.segment, &segment));
        Some(segment)
    }

    /// Whether nobody reads or writes any segment.
    pub fn is_idle(&self) -> bool {
        self.writers.is_empty()
            && self.segments.iter().all(|segment| Arc::strong_count(segment) == 1)
    }

    /// Puts the copy that `old.without` made where `old` was.
    pub fn replace(&mut self, old: &Arc<Segment>, copy: Option<Index>) -> Result<(), LogsError> {
        let new = old.replace(copy)?;
        self.segments.retain(|segment| !Arc::ptr_eq(segment, old));
        self.segments.extend(new.map(Arc::new));
        self.segments.sort_by_key(|segment| (segment.day, segment.number));
        Ok(())
    }

    /// Removes segments whose day ended before `cutoff` (Unix ms), and the streams that had
    /// nothing else and were not made by name.
    pub fn expire(&mut self, cutoff: i64) -> Result<(), LogsError> {
        let over = |segment: &Arc<Segment>| Segment::is_over(segment.day, cutoff);
        if !self.segments.iter().any(over) {
            return Ok(());
        }
        self.writers.retain(|_, writer| !over(&writer.segment));
        for segment in self.segments.extract_if(.., |segment| over(segment)) {
            segment.remove()?;
        }
        let mut alive: HashSet<u32> = HashSet::new();
        for segment in &self.segments {
            alive.extend(segment.index().streams.keys());
        }
        let streams = Arc::make_mut(&mut self.streams);
        streams.retain(|id, stream| stream.made || alive.contains(id));
        self.ids.retain(|_, id| streams.contains_key(id));
        Ok(())
    }

    /// Bytes of segment files.
    pub fn stored_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.index().length).sum()
    }

    /// When each stream with events was written to.
    pub fn seen(&self) -> HashMap<u32, Seen> {
        let mut all: HashMap<u32, Seen> = HashMap::new();
        for segment in &self.segments {
            for (id, span) in &segment.index().streams {
                if let Some(seen) = span.seen {
                    all.entry(*id).and_modify(|old| *old = old.with(seen)).or_insert(seen);
                }
            }
        }
        all
    }
}
