//! The heads of all executions, by what they are looked for by. Pure.

use super::facts::Text;
use super::tables::{Head, Status};
use lamplight_model::FunctionArn;
use lamplight_rpc::{ExecutionArn, ExecutionFilter};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Heads that are looked at for one part of a listing: meanwhile nothing else goes on.
const LOOKED_AT: usize = 10_000;

/// In a listing: the time of the start, and the id.
pub type Place = (i64, Text);

/// Which part of a listing.
pub struct Part<'a> {
    pub after: Option<&'a Place>,
    /// The oldest first.
    pub reverse: bool,
    pub max: usize,
}

#[derive(Default)]
pub struct Index {
    heads: HashMap<Text, (ExecutionArn, Head)>,
    /// By the time of their start.
    by_function: BTreeMap<FunctionArn, BTreeSet<Place>>,
    names: HashMap<(FunctionArn, Text), Text>,
    timers: BTreeSet<(i64, Text)>,
    armed: HashMap<Text, i64>,
}

impl Index {
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    pub fn get(&self, id: &str) -> Option<&(ExecutionArn, Head)> {
        self.heads.get(id)
    }

    /// The execution that has `name`. One that is being deleted has none.
    pub fn named(&self, function: &FunctionArn, name: &Text) -> Option<&(ExecutionArn, Head)> {
        self.heads.get(self.names.get(&(function.clone(), name.clone()))?)
    }

    pub fn put(&mut self, arn: &ExecutionArn, head: &Head) {
        let (id, name) = (arn.id.clone(), (arn.function.clone(), arn.name.clone()));
        let listed = self.by_function.entry(arn.function.clone()).or_default();
        listed.insert((head.started, id.clone()));
        if head.status == Status::Deleting {
            self.unname(&name, &id);
        } else {
            self.names.insert(name, id.clone());
        }
        self.heads.insert(id, (arn.clone(), head.clone()));
    }

    fn unname(&mut self, name: &(FunctionArn, Text), id: &Text) {
        if self.names.get(name) == Some(id) {
            self.names.remove(name);
        }
    }

    pub fn remove(&mut self, id: &Text) {
        self.arm(id, None);
        let Some((arn, head)) = self.heads.remove(id) else { return };
        self.unname(&(arn.function.clone(), arn.name.clone()), id);
        if let Some(listed) = self.by_function.get_mut(&arn.function) {
            listed.remove(&(head.started, id.clone()));
            if listed.is_empty() {
                self.by_function.remove(&arn.function);
            }
        }
    }

    /// When the execution has to be looked at next.
    pub fn arm(&mut self, id: &Text, at: Option<i64>) {
        if let Some(before) = self.armed.remove(id) {
            self.timers.remove(&(before, id.clone()));
        }
        if let Some(at) = at {
            self.armed.insert(id.clone(), at);
            self.timers.insert((at, id.clone()));
        }
    }

    /// The next of them, where its time has come; it is not armed any more.
    pub fn take_due(&mut self, now: i64) -> Option<ExecutionArn> {
        loop {
            let (at, id) = self.timers.first()?.clone();
            if at > now {
                return None;
            }
            self.arm(&id, None);
            if let Some((arn, _)) = self.heads.get(&id) {
                return Some(arn.clone());
            }
        }
    }

    pub fn next_timer(&self) -> Option<i64> {
        Some(self.timers.first()?.0)
    }

    pub fn of_function(&self, function: &FunctionArn) -> Vec<ExecutionArn> {
        let ids = self.by_function.get(function).into_iter().flatten();
        ids.filter_map(|(_, id)| Some(self.heads.get(id)?.0.clone())).collect()
    }

    /// The newest first, or the oldest, and where the next part is after, if there may be more. A
    /// part without any is none the less not the last: only so many are looked at for it.
    pub fn list(
        &self,
        function: &FunctionArn,
        filter: &ExecutionFilter,
        part: &Part<'_>,
    ) -> (Vec<&(ExecutionArn, Head)>, Option<Place>) {
        use std::ops::Bound::{Excluded, Unbounded};
        let Some(listed) = self.by_function.get(function) else { return (Vec::new(), None) };
        let places: Box<dyn Iterator<Item = &Place>> = match (part.after, part.reverse) {
            (None, true) => Box::new(listed.iter()),
            (None, false) => Box::new(listed.iter().rev()),
            (Some(after), true) => Box::new(listed.range((Excluded(after.clone()), Unbounded))),
            (Some(after), false) => Box::new(listed.range(..after.clone()).rev()),
        };
        let (mut found, mut last) = (Vec::new(), None);
        for (looked, place) in places.enumerate() {
            let head = self.heads.get(&place.1);
            let head = head.filter(|(arn, head)| matches(arn, head, filter));
            let full = head.is_some() && found.len() >= part.max;
            if full || looked >= LOOKED_AT {
                return (found, last);
            }
            found.extend(head);
            last = Some(place.clone());
        }
        (found, None)
    }
}

fn matches(arn: &ExecutionArn, head: &Head, filter: &ExecutionFilter) -> bool {
    let ExecutionFilter { version, name, statuses, started_after, started_before } = filter;
    version.as_ref().is_none_or(|version| *version == arn.version)
        && name.as_ref().is_none_or(|name| **name == *arn.name)
        && (statuses.is_empty() || statuses.iter().any(|status| status == head.status.name()))
        && started_after.is_none_or(|after| head.started > after)
        && started_before.is_none_or(|before| head.started < before)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{arn, head};
    use super::*;

    #[test]
    fn a_part_of_a_listing_takes_only_so_long() {
        let mut index = Index::default();
        let all = LOOKED_AT * 2 + 5;
        for at in 0..all {
            let mut arn = arn();
            arn.id = format!("{at:06}").into();
            index.put(&arn, &head());
        }
        let nobody = ExecutionFilter { name: Some("nobody".to_owned()), ..Default::default() };
        for reverse in [true, false] {
            let (mut after, mut parts) = (None, 0);
            loop {
                let part = Part { after: after.as_ref(), reverse, max: 10 };
                let (found, next) = index.list(&arn().function, &nobody, &part);
                assert!(found.is_empty());
                parts += 1;
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            assert_eq!(parts, 3);
        }
        let part = Part { after: None, reverse: true, max: all };
        let (found, next) = index.list(&arn().function, &ExecutionFilter::default(), &part);
        assert_eq!(
            (found.len(), next.unwrap().1),
            (LOOKED_AT, format!("{:06}", LOOKED_AT - 1).into())
        );
    }
}
