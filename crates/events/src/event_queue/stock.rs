//! How much is queued, and whether there is room for more. In memory; counted anew at every start.

use lamplight_rpc::EventRefused;
use lamplight_store::{Depth, Key};
use std::collections::HashMap;
use std::sync::Mutex;

pub struct Stock {
    /// Events of one lane, and bytes of all.
    limits: (u64, u64),
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    lanes: HashMap<Key, u64>,
    bytes: u64,
}

impl Stock {
    pub fn new(events: u64, bytes: u64) -> Self {
        Self { limits: (events, bytes), counts: Mutex::default() }
    }

    /// What an earlier run left.
    pub fn load(&self, depths: &[Depth]) {
        let mut counts = self.counts.lock().expect("no holder panics");
        for depth in depths {
            *counts.lanes.entry(depth.queue.clone()).or_default() +=
                depth.ready + depth.leased + depth.delayed;
            counts.bytes += depth.bytes;
        }
    }

    pub fn enter(&self, lane: &Key, bytes: u64) -> Result<(), EventRefused> {
        let (most, most_bytes) = self.limits;
        let mut counts = self.counts.lock().expect("no holder panics");
        let count = counts.lanes.get(lane).copied().unwrap_or_default();
        if count >= most || counts.bytes.saturating_add(bytes) > most_bytes {
            return Err(EventRefused::Full);
        }
        counts.lanes.insert(lane.clone(), count + 1);
        counts.bytes += bytes;
        Ok(())
    }

    pub fn leave(&self, lane: &Key, bytes: u64) {
        let mut counts = self.counts.lock().expect("no holder panics");
        counts.bytes = counts.bytes.saturating_sub(bytes);
        if let Some(count) = counts.lanes.get_mut(lane) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.lanes.remove(lane);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_limits_hold_and_what_leaves_makes_room() {
        let stock = Stock::new(2, 100);
        let (a, b) = (Key::new(&["event", "a"]).unwrap(), Key::new(&["event", "b"]).unwrap());
        assert_eq!((stock.enter(&a, 10), stock.enter(&a, 10)), (Ok(()), Ok(())));
        assert_eq!(stock.enter(&a, 10), Err(EventRefused::Full), "of its function");
        assert_eq!(stock.enter(&b, 81), Err(EventRefused::Full), "of all");
        assert_eq!(stock.enter(&b, 80), Ok(()));
        stock.leave(&a, 10);
        stock.leave(&b, 80);
        assert_eq!(stock.enter(&a, 10), Ok(()));
        assert_eq!(stock.counts.lock().unwrap().lanes.len(), 1);
    }
}
