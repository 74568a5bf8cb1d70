//! What waits to be sent to one subscriber. Pure: the time is passed in.
//!
//! What the platform says comes through a flood of lines: subscribers wait for it.

use std::time::{Duration, Instant};

/// When a batch is sent: as soon as one of these is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffering {
    pub items: usize,
    pub bytes: usize,
    /// Since its first event.
    pub time: Duration,
}

/// Events that were dropped, because their subscriber is slower than they come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    pub records: usize,
    pub bytes: usize,
}

/// Holds at most two batches, and a third one's worth of what matters more; beyond that the newest
/// events are dropped and counted.
#[derive(Debug)]
pub struct Buffer {
    limits: Buffering,
    lines: Vec<String>,
    bytes: usize,
    /// When the first of `lines` came.
    since: Option<Instant>,
    dropped: Dropped,
    /// Everything is to be sent now.
    flushing: bool,
}

/// When to look again.
#[derive(Debug, PartialEq, Eq)]
pub enum Due {
    Now,
    At(Instant),
    /// When there is something.
    Never,
}

impl Buffer {
    pub fn new(limits: Buffering) -> Self {
        Self {
            limits,
            lines: Vec::new(),
            bytes: 0,
            since: None,
            dropped: Dropped::default(),
            flushing: false,
        }
    }

    /// `matters` is for what there is little of, and what is waited for.
    pub fn push(&mut self, line: String, matters: bool, now: Instant) {
        let batches = if matters { 3 } else { 2 };
        let full = self.bytes + line.len() > batches * self.limits.bytes
            || self.lines.len() >= batches * self.limits.items;
        // One that is larger than everything is sent alone.
        if full && !self.lines.is_empty() {
            self.drop_one(line.len());
            return;
        }
        self.bytes += line.len();
        self.lines.push(line);
        self.since.get_or_insert(now);
    }

    /// These could not be delivered.
    pub fn lose(&mut self, lines: &[String]) {
        lines.iter().for_each(|line| self.drop_one(line.len()));
    }

    fn drop_one(&mut self, bytes: usize) {
        self.dropped.records += 1;
        self.dropped.bytes += bytes;
    }

    pub fn due(&self, now: Instant) -> Due {
        let Some(since) = self.since else { return Due::Never };
        let full = self.lines.len() >= self.limits.items || self.bytes >= self.limits.bytes;
        match since + self.limits.time {
            _ if full || self.flushing => Due::Now,
            at if at <= now => Due::Now,
            at => Due::At(at),
        }
    }

    /// The next batch, within the limits or of one event.
    pub fn take(&mut self, now: Instant) -> Vec<String> {
        let mut bytes = 0;
        let fits = |line: &&String| {
            bytes += line.len();
            bytes <= self.limits.bytes
        };
        let count = self.lines.iter().take(self.limits.items).take_while(fits).count().max(1);
        let rest = self.lines.split_off(count.min(self.lines.len()));
        let batch = std::mem::replace(&mut self.lines, rest);
        self.bytes = self.lines.iter().map(String::len).sum();
        self.since = (!self.lines.is_empty()).then_some(now);
        self.flushing &= !self.lines.is_empty();
        batch
    }

    /// What was dropped since this was asked last.
    pub fn take_dropped(&mut self) -> Option<Dropped> {
        let dropped = std::mem::take(&mut self.dropped);
        (dropped != Dropped::default()).then_some(dropped)
    }

    /// Everything is due now. Whether there was nothing.
    pub fn flush(&mut self) -> bool {
        self.flushing = !self.lines.is_empty();
        !self.flushing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::{Clock, SystemClock};

    const LIMITS: Buffering = Buffering { items: 3, bytes: 10, time: Duration::from_millis(25) };

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_batch_is_due_by_count_size_or_time() {
        let (mut buffer, start) = (Buffer::new(LIMITS), SystemClock.instant());
        assert_eq!(buffer.due(start), Due::Never);
        buffer.push("a".into(), false, start);
        assert_eq!(buffer.due(start), Due::At(start + LIMITS.time));
        assert_eq!(buffer.due(start + LIMITS.time), Due::Now);
        buffer.push("b".into(), false, start);
        buffer.push("c".into(), false, start);
        assert_eq!(buffer.due(start), Due::Now);
        assert_eq!(buffer.take(start), texts(&["a", "b", "c"]));
        assert_eq!(buffer.due(start), Due::Never);
        buffer.push("ten bytes.".into(), false, start);
        assert_eq!(buffer.due(start), Due::Now);
    }

    #[test]
    fn a_batch_is_no_larger_than_asked_for_and_large_ones_go_alone() {
        let (mut buffer, start) = (Buffer::new(LIMITS), SystemClock.instant());
        for line in ["1234567", "89", "abc", "defgh"] {
            buffer.push(line.into(), false, start);
        }
        assert_eq!(buffer.take(start), texts(&["1234567", "89"]));
        assert_eq!(buffer.take(start), texts(&["abc", "defgh"]));
        let long = "x".repeat(100);
        buffer.push(long.clone(), false, start);
        buffer.push("y".into(), false, start);
        assert_eq!(buffer.take_dropped(), Some(Dropped { records: 1, bytes: 1 }));
        assert_eq!(buffer.take(start), [long]);
    }

    #[test]
    fn what_is_too_much_is_dropped_and_counted() {
        let (mut buffer, start) = (Buffer::new(LIMITS), SystemClock.instant());
        for _ in 0..10 {
            buffer.push("x".into(), false, start);
        }
        assert_eq!(buffer.take_dropped(), Some(Dropped { records: 4, bytes: 4 }));
        for _ in 0..4 {
            buffer.push("y".into(), true, start);
        }
        assert_eq!(buffer.take_dropped(), Some(Dropped { records: 1, bytes: 1 }));
        assert_eq!(buffer.take_dropped(), None);
        let batch = buffer.take(start);
        buffer.lose(&batch);
        assert_eq!(buffer.take_dropped(), Some(Dropped { records: 3, bytes: 3 }));
    }

    #[test]
    fn a_flush_lasts_until_nothing_is_left() {
        let (mut buffer, start) = (Buffer::new(LIMITS), SystemClock.instant());
        assert!(buffer.flush());
        for _ in 0..4 {
            buffer.push("x".into(), false, start);
        }
        assert!(!buffer.flush());
        assert_eq!((buffer.take(start).len(), buffer.due(start)), (3, Due::Now));
        assert_eq!((buffer.take(start).len(), buffer.due(start)), (1, Due::Never));
        buffer.push("x".into(), false, start);
        assert_eq!(buffer.due(start), Due::At(start + LIMITS.time));
    }
}
