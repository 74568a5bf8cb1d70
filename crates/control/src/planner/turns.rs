//! Who is next, of many who want a share of something scarce.
//!
//! Whoever has the least of it is next; of those who have as much, the one who has not had a turn for
//! longest. So somebody with a single wish waits for one turn, however many wishes others have.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

#[derive(Debug, Default)]
struct Share {
    /// What it has at this moment.
    has: usize,
    wishes: usize,
    /// The number of its last turn.
    last: u64,
}

/// Invariant: `waiting` has those with wishes, by what they have and their last turn. Who has neither
/// wishes nor anything else is not kept.
#[derive(Debug)]
pub struct Turns<K> {
    shares: HashMap<K, Share>,
    waiting: BTreeSet<(usize, u64, K)>,
    turn: u64,
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { shares: HashMap::new(), waiting: BTreeSet::new(), turn: 0 }
    }
}

impl<K: Clone + Ord + Hash> Turns<K> {
    pub fn wish(&mut self, who: &K) {
        self.change(who, |share| share.wishes += 1);
    }

    /// The one whose turn it is has one wish less, and one thing more.
    pub fn turn(&mut self) -> Option<K> {
        let (_, _, who) = self.waiting.first()?.clone();
        self.turn += 1;
        let turn = self.turn;
        self.change(&who, |share| {
            share.wishes -= 1;
            share.has += 1;
            share.last = turn;
        });
        Some(who)
    }

    /// It gives back what it had.
    pub fn give_back(&mut self, who: &K) {
        self.change(who, |share| share.has = share.has.saturating_sub(1));
    }

    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    fn change(&mut self, who: &K, change: impl FnOnce(&mut Share)) {
        // Somebody new is behind those who have waited for as little as it has.
        let last = self.turn;
        let share = self.shares.entry(who.clone()).or_insert(Share { last, ..Share::default() });
        if share.wishes > 0 {
            self.waiting.remove(&(share.has, share.last, who.clone()));
        }
        change(share);
        if share.wishes > 0 {
            self.waiting.insert((share.has, share.last, who.clone()));
        } else if share.has == 0 {
            self.shares.remove(who);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wish_beside_many_waits_for_one_turn() {
        let mut turns = Turns::default();
        for _ in 0..500 {
            turns.wish(&"many");
        }
        for _ in 0..8 {
            assert_eq!(turns.turn(), Some("many"));
        }
        turns.wish(&"one");
        turns.give_back(&"many");
        assert_eq!(turns.turn(), Some("one"));
        assert_eq!(turns.turn(), Some("many"));
    }

    #[test]
    fn equals_take_turns_and_nothing_stays_behind() {
        let mut turns = Turns::default();
        for _ in 0..2 {
            ["a", "b", "c"].iter().for_each(|who| turns.wish(who));
        }
        let mut order = Vec::new();
        while let Some(who) = turns.turn() {
            turns.give_back(&who);
            order.push(who);
        }
        assert_eq!(order, ["a", "b", "c", "a", "b", "c"]);
        assert!(turns.is_empty());
    }
}
