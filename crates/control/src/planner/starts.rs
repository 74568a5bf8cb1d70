//! Whose environment is started next, where starts are the bottleneck: fair between accounts, then
//! between the functions of one, and in the order they came for one function.

use super::turns::Turns;
use lamplight_model::{FunctionArn, Scope};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// At most so many at a time; `R` is what stands for a start.
#[derive(Debug)]
pub struct Starts<R> {
    most: usize,
    under_way: usize,
    scopes: Turns<Scope>,
    functions: HashMap<Scope, Turns<Arc<str>>>,
    queues: HashMap<FunctionArn, VecDeque<R>>,
}

impl<R> Starts<R> {
    pub fn new(most: usize) -> Self {
        let most = most.max(1);
        let (functions, queues) = (HashMap::new(), HashMap::new());
        Self { most, under_way: 0, scopes: Turns::default(), functions, queues }
    }

    pub fn ask(&mut self, function: &FunctionArn, start: R) {
        self.scopes.wish(&function.scope);
        self.functions.entry(function.scope.clone()).or_default().wish(&function.name);
        self.queues.entry(function.clone()).or_default().push_back(start);
    }

    /// The next one that begins now.
    pub fn begin(&mut self) -> Option<(FunctionArn, R)> {
        if self.under_way >= self.most {
            return None;
        }
        let scope = self.scopes.turn()?;
        let name = self.functions.get_mut(&scope)?.turn()?;
        let function = FunctionArn { scope, name };
        let queue = self.queues.get_mut(&function)?;
        let start = queue.pop_front()?;
        if queue.is_empty() {
            self.queues.remove(&function);
        }
        self.under_way += 1;
        Some((function, start))
    }

    /// One of `function` that has begun is over.
    pub fn done(&mut self, function: &FunctionArn) {
        self.under_way = self.under_way.saturating_sub(1);
        self.scopes.give_back(&function.scope);
        if let Some(functions) = self.functions.get_mut(&function.scope) {
            functions.give_back(&function.name);
            if functions.is_empty() {
                self.functions.remove(&function.scope);
            }
        }
    }

    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Whether nothing is under way or waits.
    pub fn is_empty(&self) -> bool {
        self.under_way == 0 && self.functions.is_empty() && self.queues.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_model::AccountId;

    fn function(account: &str, name: &str) -> FunctionArn {
        let scope = Scope { account: AccountId::new(account).unwrap(), region: "r".into() };
        FunctionArn::new(&scope, name)
    }

    #[test]
    fn a_burst_delays_others_by_their_share_alone() {
        let [one, two] = ["000000000001", "000000000002"];
        let (burst, beside, far) =
            (function(one, "burst"), function(one, "beside"), function(two, "far"));
        let mut starts = Starts::new(4);
        for n in 0..500 {
            starts.ask(&burst, n);
        }
        for n in 0..4 {
            assert_eq!(starts.begin(), Some((burst.clone(), n)));
        }
        assert_eq!(starts.begin(), None, "no more at a time");
        starts.ask(&beside, 1000);
        starts.ask(&far, 2000);
        starts.done(&burst);
        assert_eq!(starts.begin(), Some((far.clone(), 2000)), "an account that has none under way");
        starts.done(&burst);
        starts.done(&burst);
        assert_eq!(starts.begin(), Some((beside.clone(), 1000)));
        assert_eq!(starts.begin(), Some((burst.clone(), 4)), "first come, first served");
        for function in [&burst, &burst, &beside, &far] {
            starts.done(function);
        }
        while let Some((function, _)) = starts.begin() {
            starts.done(&function);
        }
        assert!(starts.is_empty());
    }
}
