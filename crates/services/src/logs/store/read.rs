//! One page of events in order of time out of segments that are only roughly in that order.
//!
//! Blocks are read by their earliest event. As soon as no unread block can hold anything earlier
//! than what the page has, the page is whole: memory is a page and a block, whatever is searched.
//! Reading backward is the same with every position complemented. A page that finds little stops
//! after [`BUDGET`] bytes and says how far it got, so that each page makes progress.

use super::contents::Streams;
use super::error::{LogsError, at};
use super::index::Block;
use super::record::{Frames, Record};
use super::segment::{Segment, damage};
use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// Bytes of log read for one page, about.
const BUDGET: u64 = 32 * 1024 * 1024;
/// Bytes of messages in one page, about. AWS: a page is at most 1 MB.
const PAGE: usize = 1024 * 1024;

/// An event's place in its group: time in Unix ms, then order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub at: i64,
    pub seq: u64,
}

/// An event as it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub position: Position,
    /// Unix ms.
    pub ingested: i64,
    pub stream: Arc<str>,
    pub message: String,
}

/// What a page is to hold.
pub struct Query<'a> {
    /// Ids of streams; all, where `None`.
    pub streams: Option<HashSet<u32>>,
    /// First and last moment, both included, Unix ms.
    pub range: (i64, i64),
    /// Only what comes later in reading order.
    pub after: Option<Position>,
    pub backward: bool,
    /// Most events of a page.
    pub limit: usize,
    pub wanted: &'a (dyn Fn(&str) -> bool + Sync),
}

#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// In reading order.
    pub events: Vec<Found>,
    /// Where the next page goes on; `None` once the range is exhausted.
    pub reached: Option<Position>,
}

impl Query<'_> {
    /// A position as a key that grows in reading order, and back.
    fn key(&self, position: Position) -> Position {
        if self.backward { Position { at: !position.at, seq: !position.seq } } else { position }
    }

    /// A span of time as keys.
    fn keys(&self, (from, until): (i64, i64)) -> (i64, i64) {
        if self.backward { (!until, !from) } else { (from, until) }
    }
}

/// Something not read yet.
enum Waiting {
    Segment(Arc<Segment>),
    Block(Arc<Segment>, Block),
}

struct Scan<'a> {
    query: &'a Query<'a>,
    streams: &'a Streams,
    /// Only keys beyond this one, up to and including the time `last`.
    after: Position,
    last: i64,
    /// By the earliest key that may be inside.
    waiting: BTreeMap<(i64, usize), Waiting>,
    added: usize,
    page: BTreeMap<Position, Found>,
    bytes: usize,
    /// The first key that did not fit in.
    horizon: Option<Position>,
    /// Something beyond the page was passed over, wanted or not.
    more: bool,
    read: u64,
    open: Option<(Arc<Segment>, File)>,
}

/// The page of `query` in `segments`. `None` when a segment was replaced meanwhile: ask anew.
pub fn page(
    segments: &[Arc<Segment>],
    streams: &Streams,
    query: &Query,
) -> Result<Option<Page>, LogsError> {
    let (first, last) = query.keys(query.range);
    let start = Position { at: first.saturating_sub(1), seq: u64::MAX };
    let after = query.after.map_or(start, |after| query.key(after).max(start));
    let mut scan = Scan {
        query,
        streams,
        after,
        last,
        waiting: BTreeMap::new(),
        added: 0,
        page: BTreeMap::new(),
        bytes: 0,
        horizon: None,
        more: false,
        read: 0,
        open: None,
    };
    for segment in segments {
        let (range, wrote) = {
            let index = segment.index();
            let ids = query.streams.as_ref();
            let wrote = ids.is_none_or(|ids| ids.iter().any(|id| index.streams.contains_key(id)));
            (index.range(), wrote)
        };
        if let Some(range) = range.filter(|_| wrote) {
            scan.wait(range, Waiting::Segment(segment.clone()));
        }
    }
    let whole = scan.run()?;
    Ok(whole.map(|reached| Page {
        events: scan.page.into_values().collect(),
        reached: reached.map(|key| query.key(key)),
    }))
}

impl Scan<'_> {
    fn wait(&mut self, range: (i64, i64), item: Waiting) {
        let (low, high) = self.query.keys(range);
        if high >= self.after.at && low <= self.last {
            self.added += 1;
            self.waiting.insert((low, self.added), item);
        }
    }

    /// Fills the page. The inner value is the key reached, `None` at the end of the range; the
    /// outer `None` means that a segment was replaced.
    fn run(&mut self) -> Result<Option<Option<Position>>, LogsError> {
        while let Some(((low, _), item)) = self.waiting.pop_first() {
            if let Some(bound) = self.bound()
                && low > bound.at
            {
                return Ok(Some(self.last_key()));
            }
            let before = Position { at: low.saturating_sub(1), seq: u64::MAX };
            if self.read >= BUDGET && before > self.after {
                // Nothing earlier than `low` is unread, but there may be more beyond.
                self.page.retain(|key, _| key.at < low);
                return Ok(Some(Some(before)));
            }
            match item {
                Waiting::Segment(segment) => {
                    let ids: Option<Vec<u32>> = match &self.query.streams {
                        Some(ids) if ids.len() <= 64 => Some(ids.iter().copied().collect()),
                        _ => None,
                    };
                    let blocks = segment.index().blocks_of(ids.as_deref());
                    for block in blocks {
                        let range = (block.from, block.until);
                        self.wait(range, Waiting::Block(segment.clone(), block));
                    }
                }
                Waiting::Block(segment, block) => {
                    if !self.read_block(&segment, &block)? {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(self.last_key().filter(|_| self.more || self.horizon.is_some())))
    }

    /// No event beyond this key belongs to the page.
    fn bound(&self) -> Option<Position> {
        let full = self.page.len() >= self.query.limit;
        self.horizon.or_else(|| self.last_key().filter(|_| full))
    }

    fn last_key(&self) -> Option<Position> {
        self.page.last_key_value().map(|(key, _)| *key)
    }

    /// `false` when the segment is not what it was.
    fn read_block(&mut self, segment: &Arc<Segment>, block: &Block) -> Result<bool, LogsError> {
        let mut bytes = vec![0; block.length as usize];
        if !self.open.as_ref().is_some_and(|(open, _)| Arc::ptr_eq(open, segment)) {
            match segment.open_to_read()? {
                Some(file) => self.open = Some((segment.clone(), file)),
                None => return Ok(false),
            }
        }
        if let Some((_, file)) = &self.open {
            file.read_exact_at(&mut bytes, block.offset).map_err(at("read", &segment.path))?;
        }
        self.read += u64::from(block.length);
        let mut frames = Frames::new(&bytes, 0);
        for frame in frames.by_ref() {
            if frame.skipped > 0 {
                damage(&segment.path, block.offset + frame.offset as u64, frame.skipped);
            }
            if let Record::Event(event) = frame.record {
                self.offer(&event);
            }
        }
        let torn = bytes.len() - frames.end();
        if torn > 0 {
            damage(&segment.path, block.offset + bytes.len() as u64, torn);
        }
        Ok(true)
    }

    fn offer(&mut self, event: &super::record::Event) {
        let key = self.query.key(Position { at: event.at, seq: event.seq });
        let inside = key > self.after
            && key.at <= self.last
            && self.query.streams.as_ref().is_none_or(|ids| ids.contains(&event.stream));
        let Some(stream) = self.streams.get(&event.stream).filter(|_| inside) else { return };
        if self.bound().is_some_and(|bound| key > bound) {
            self.more = true;
            return;
        }
        if !(self.query.wanted)(event.message) {
            return;
        }
        let found = Found {
            position: Position { at: event.at, seq: event.seq },
            ingested: event.ingested,
            stream: stream.name.clone(),
            message: event.message.to_owned(),
        };
        self.bytes += found.message.len();
        self.page.insert(key, found);
        while self.page.len() > self.query.limit || (self.bytes > PAGE && self.page.len() > 1) {
            if let Some((key, dropped)) = self.page.pop_last() {
                self.bytes -= dropped.message.len();
                self.horizon = Some(key);
            }
        }
    }
}
