//! All functions in memory, and what is counted about them. Pure.

use super::target::target;
use lamplight_model::{FunctionArn, FunctionRecord, Scope, Target};
use lamplight_rpc::{FunctionPage, Usage};
use lamplight_store::Rev;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

const NOTHING: Usage = Usage { code_size: 0, functions: 0 };

/// A function as the store has it.
pub(super) struct Function {
    pub arn: FunctionArn,
    pub record: Arc<FunctionRecord>,
    pub rev: Rev,
    pub target: Arc<Target>,
}

impl Function {
    pub fn new(arn: FunctionArn, record: FunctionRecord, rev: Rev) -> Self {
        let target = Arc::new(target(&arn, &record));
        Self { arn, record: Arc::new(record), rev, target }
    }
}

#[derive(Default)]
pub(super) struct Snapshot {
    functions: BTreeMap<FunctionArn, Arc<Function>>,
    /// How many functions use a zip file, and its size. No entry for none.
    code: HashMap<String, (usize, u64)>,
    usage: HashMap<Scope, Usage>,
    unfinished: BTreeSet<FunctionArn>,
    /// The highest that any function has or had.
    generation: u64,
}

impl Snapshot {
    pub fn get(&self, arn: &FunctionArn) -> Option<&Arc<Function>> {
        self.functions.get(arn)
    }

    /// Adds or replaces.
    pub fn insert(&mut self, function: Function) {
        self.remove(&function.arn);
        let record = &function.record;
        let (users, size) = self.code.entry(record.code.digest.clone()).or_default();
        (*users, *size) = (*users + 1, record.code.size);
        let usage = self.usage.entry(function.arn.scope.clone()).or_insert(NOTHING);
        usage.functions += 1;
        usage.code_size += record.code.size;
        if record.pending().is_some() {
            self.unfinished.insert(function.arn.clone());
        }
        self.generation = self.generation.max(record.generation);
        self.functions.insert(function.arn.clone(), Arc::new(function));
    }

    pub fn remove(&mut self, arn: &FunctionArn) {
        let Some(function) = self.functions.remove(arn) else { return };
        let code = &function.record.code;
        self.unfinished.remove(arn);
        if let Some((users, _)) = self.code.get_mut(&code.digest) {
            *users -= 1;
            if *users == 0 {
                self.code.remove(&code.digest);
            }
        }
        if let Some(usage) = self.usage.get_mut(&arn.scope) {
            usage.functions -= 1;
            usage.code_size -= code.size;
            if usage.functions == 0 {
                self.usage.remove(&arn.scope);
            }
        }
    }

    /// Takes a logarithm of all functions to find the place, whatever the page.
    pub fn list(&self, scope: &Scope, after: Option<&str>, max: usize) -> FunctionPage {
        let from = match after {
            Some(name) => Bound::Excluded(FunctionArn::new(scope, name)),
            // No name is empty.
            None => Bound::Included(FunctionArn::new(scope, "")),
        };
        let mut rest = self
            .functions
            .range((from, Bound::Unbounded))
            .map(|(_, function)| function)
            .take_while(|function| function.arn.scope == *scope)
            .peekable();
        let mut functions = Vec::new();
        let mut next = None;
        while functions.len() < max {
            let Some(function) = rest.next() else { break };
            functions.push(Arc::clone(&function.record));
            if functions.len() == max && rest.peek().is_some() {
                next = Some(function.arn.name.to_string());
            }
        }
        FunctionPage { functions, next }
    }

    pub fn usage(&self, scope: &Scope) -> Usage {
        self.usage.get(scope).copied().unwrap_or(NOTHING)
    }

    /// The size of a zip file that a function uses.
    pub fn code_size(&self, digest: &str) -> Option<u64> {
        self.code.get(digest).map(|(_, size)| *size)
    }

    pub fn uses(&self, digest: &str) -> bool {
        self.code.contains_key(digest)
    }

    pub fn codes(&self) -> impl Iterator<Item = &str> {
        self.code.keys().map(String::as_str)
    }

    pub fn unfinished(&self) -> impl Iterator<Item = &FunctionArn> {
        self.unfinished.iter()
    }

    /// For a new function: no environment of a namesake that was deleted has it.
    pub fn next_generation(&self) -> u64 {
        self.generation + 1
    }
}
