//! What is known of a segment without reading it: where its blocks lie in time, and who wrote them.
//!
//! One [`Block`] for about 256 KiB of file and one [`Span`] for each stream, so that a gigabyte of
//! log costs some 160 KiB of memory and the streams.

use super::record::Record;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

const BLOCK: u32 = 256 * 1024;

/// A run of whole frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    pub offset: u64,
    pub length: u32,
    /// Earliest and latest event, Unix ms.
    pub from: i64,
    pub until: i64,
    /// Bit `stream % 64` is set for each stream with an event in here.
    streams: u64,
}

/// One stream's part of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub name: String,
    pub created: i64,
    /// First and last block with an event of the stream.
    blocks: (usize, usize),
    pub seen: Option<Seen>,
}

/// Times of a stream's events, Unix ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    pub first: i64,
    pub last: i64,
    pub ingested: i64,
}

impl Seen {
    pub fn with(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            ingested: self.ingested.max(other.ingested),
        }
    }
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Bytes of good file.
    pub length: u64,
    pub blocks: Vec<Block>,
    pub streams: HashMap<u32, Span>,
    pub last_seq: u64,
    pub last_stream: u32,
}

impl Index {
    /// Takes in the frame of `length` bytes at `offset`.
    pub fn add(&mut self, offset: u64, length: usize, record: &Record) {
        self.length = offset + length as u64;
        match record {
            Record::Event(event) => {
                let block = self.block_for(offset, length as u32, event.at);
                block.from = block.from.min(event.at);
                block.until = block.until.max(event.at);
                block.streams |= 1 << (event.stream % 64);
                let number = self.blocks.len() - 1;
                self.last_seq = self.last_seq.max(event.seq);
                self.last_stream = self.last_stream.max(event.stream);
                if let Some(span) = self.streams.get_mut(&event.stream) {
                    let seen = Seen { first: event.at, last: event.at, ingested: event.ingested };
                    if span.seen.is_none() {
                        span.blocks.0 = number;
                    }
                    span.blocks.1 = number;
                    span.seen = Some(span.seen.map_or(seen, |old| old.with(seen)));
                }
            }
            Record::Stream { id, created, name } => {
                self.last_stream = self.last_stream.max(*id);
                self.streams.entry(*id).or_insert_with(|| Span {
                    name: (*name).to_owned(),
                    created: *created,
                    blocks: (0, 0),
                    seen: None,
                });
            }
            Record::Unknown => {}
        }
    }

    /// The block that a frame at `offset` belongs to, longer by it.
    fn block_for(&mut self, offset: u64, length: u32, at: i64) -> &mut Block {
        let fits = self.blocks.last().is_some_and(|block| block.length < BLOCK);
        if !fits {
            self.blocks.push(Block { offset, length: 0, from: at, until: at, streams: 0 });
        }
        let last = self.blocks.len() - 1;
        let block = &mut self.blocks[last];
        // Frames between two events (names of streams) are read over with them.
        block.length = (offset - block.offset) as u32 + length;
        block
    }

    /// Earliest and latest event, Unix ms.
    pub fn range(&self) -> Option<(i64, i64)> {
        let from = self.blocks.iter().map(|block| block.from).min()?;
        Some((from, self.blocks.iter().map(|block| block.until).max()?))
    }

    /// The blocks that may hold events of `streams` (of all, where `None`).
    pub fn blocks_of(&self, streams: Option<&[u32]>) -> Vec<Block> {
        let Some(streams) = streams else { return self.blocks.clone() };
        let spans: Vec<_> = streams
            .iter()
            .filter_map(|id| Some((1u64 << (id % 64), self.streams.get(id)?)))
            .filter(|(_, span)| span.seen.is_some())
            .collect();
        let wanted = |number: usize, block: &Block| {
            spans.iter().any(|(bit, span)| {
                block.streams & bit != 0 && (span.blocks.0..=span.blocks.1).contains(&number)
            })
        };
        let all = self.blocks.iter().enumerate();
        all.filter(|(number, block)| wanted(*number, block)).map(|(_, block)| *block).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Event;
    use super::*;

    #[test]
    fn a_stream_is_looked_for_only_where_it_wrote() {
        let mut index = Index::default();
        for id in [1, 2] {
            index.add(0, 10, &Record::Stream { id, created: 0, name: "s" });
        }
        for n in 0..10u64 {
            let stream = if n < 5 { 1 } else { 2 };
            let event = Event { seq: n, stream, at: n as i64, ingested: 0, message: "" };
            index.add(n * 200_000, 200_000, &Record::Event(event));
        }
        assert_eq!(index.blocks.len(), 5);
        assert_eq!(index.blocks_of(Some(&[1])).len(), 3);
        assert_eq!(index.blocks_of(Some(&[2])).len(), 3);
        assert_eq!(index.blocks_of(Some(&[1, 2])).len(), 5);
        assert_eq!(index.blocks_of(Some(&[3])), []);
        assert_eq!(index.range(), Some((0, 9)));
        assert_eq!(index.blocks.iter().map(|b| u64::from(b.length)).sum::<u64>(), 2_000_000);
    }
}
