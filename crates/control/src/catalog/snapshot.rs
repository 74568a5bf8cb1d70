//! All functions in memory, and what is counted about them. Pure.

use super::target::target;
use lamplight_model::{
    AliasRecord, CodeRef, FunctionArn, FunctionRecord, Qualifier, Scope, State, Target,
};
use lamplight_rpc::{FunctionPage, Listing, Usage};
use lamplight_store::Rev;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

const NOTHING: Usage = Usage { code_size: 0, functions: 0 };

fn page<'a>(members: impl Iterator<Item = &'a Arc<Function>>, max: usize) -> FunctionPage {
    let mut rest = members.peekable();
    let mut functions: Vec<Arc<FunctionRecord>> = Vec::new();
    while functions.len() < max
        && let Some(function) = rest.next()
    {
        functions.push(Arc::clone(&function.record));
    }
    let last = functions.last().filter(|_| rest.peek().is_some());
    let next = last.map(|record| {
        (record.name.clone(), record.published.as_ref().map_or(0, |published| published.number))
    });
    FunctionPage { functions, next }
}

/// `$LATEST` or a published version, as the store has it.
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

/// An alias as the store has it.
pub(super) struct Alias {
    pub record: Arc<AliasRecord>,
    pub rev: Rev,
}

/// A function with its published versions and its aliases.
struct Family {
    latest: Arc<Function>,
    versions: BTreeMap<u64, Arc<Function>>,
    aliases: BTreeMap<String, Arc<Alias>>,
}

impl Family {
    fn get(&self, version: &Qualifier) -> Option<&Arc<Function>> {
        match version {
            Qualifier::Latest => Some(&self.latest),
            Qualifier::Version(Qualifier::LATEST_PUBLISHED) => None,
            Qualifier::Version(number) => self.versions.get(number),
            Qualifier::Alias(name) => self.get(&self.aliases.get(name)?.record.points_at()),
            Qualifier::LatestPublished => self.versions.get(&Qualifier::LATEST_PUBLISHED),
        }
    }

    /// `$LATEST`, which counts as 0, and the versions by number, those after `after`.
    fn members(&self, after: Option<u64>) -> impl Iterator<Item = &Arc<Function>> {
        let latest = after.is_none().then_some(&self.latest);
        let from = Bound::Excluded(after.unwrap_or(0));
        let versions = self.versions.range((from, Bound::Unbounded)).map(|(_, version)| version);
        latest.into_iter().chain(versions)
    }
}

impl Family {
    /// Provisioned concurrency of all versions and aliases.
    fn provisioned(&self) -> u64 {
        let versions = self.versions.values();
        let of_versions = versions.filter_map(|version| version.record.published.as_ref());
        let of_aliases = self.aliases.values().filter_map(|alias| alias.record.provisioned);
        of_versions
            .filter_map(|published| published.provisioned)
            .chain(of_aliases)
            .map(|provisioned| u64::from(provisioned.requested))
            .sum()
    }

    /// How many environments of each version are to be ready ahead of calls.
    fn wishes(&self) -> BTreeMap<u64, u32> {
        let mut wishes = BTreeMap::new();
        let mut wish = |version: u64, more: u32| *wishes.entry(version).or_insert(0) += more;
        for (number, version) in &self.versions {
            let published = version.record.published.as_ref();
            if let Some(provisioned) = published.and_then(|published| published.provisioned) {
                wish(*number, provisioned.requested);
            }
        }
        for alias in self.aliases.values() {
            for (number, share) in alias.record.shares() {
                wish(number, share);
            }
        }
        wishes
    }

    /// What the function has for itself: its reservation covers what is provisioned.
    fn committed(&self) -> u64 {
        self.latest.record.reserved.map_or_else(|| self.provisioned(), u64::from)
    }
}

/// One version of a function.
pub(super) type Member = (FunctionArn, Qualifier);

#[derive(Default)]
pub(super) struct Snapshot {
    functions: BTreeMap<FunctionArn, Family>,
    /// How many versions, layers and changes under way use a zip file, and its size. No entry for
    /// none. The one place that says which zip files are needed.
    code: HashMap<String, (usize, u64)>,
    usage: HashMap<Scope, Usage>,
    unfinished: BTreeSet<Member>,
    /// Functions with provisioned concurrency.
    provisioned: BTreeSet<FunctionArn>,
    /// Functions that have concurrency for themselves, and how much. The account's limit keeps
    /// them few.
    committed: BTreeMap<FunctionArn, u64>,
    /// The highest that any function has or had.
    generation: u64,
}

impl Snapshot {
    /// `$LATEST`, a published version, or the one that an alias points at.
    pub fn get(&self, arn: &FunctionArn, version: &Qualifier) -> Option<&Arc<Function>> {
        self.functions.get(arn)?.get(version)
    }

    /// What is meant where no qualifier is given. AWS: of a function on Managed Instances what was
    /// published last, and not what it is being made of.
    pub fn unqualified(&self, arn: &FunctionArn) -> Qualifier {
        let family = self.functions.get(arn).filter(|family| family.latest.record.is_managed());
        match family.and_then(|family| family.get(&Qualifier::LatestPublished)) {
            Some(_) => Qualifier::LatestPublished,
            None => Qualifier::Latest,
        }
    }

    pub fn alias(&self, arn: &FunctionArn, name: &str) -> Option<&Arc<Alias>> {
        self.functions.get(arn)?.aliases.get(name)
    }

    /// Adds or replaces. Returns false for an alias of a function that is not there.
    pub fn insert_alias(&mut self, arn: &FunctionArn, alias: Alias) -> bool {
        let Some(family) = self.functions.get_mut(arn) else { return false };
        family.aliases.insert(alias.record.name.clone(), Arc::new(alias));
        self.note_concurrency(arn);
        true
    }

    pub fn remove_alias(&mut self, arn: &FunctionArn, name: &str) {
        if let Some(family) = self.functions.get_mut(arn) {
            family.aliases.remove(name);
        }
        self.note_concurrency(arn);
    }

    /// The aliases of a function by name, those after `after`; none where there is no function.
    pub fn aliases(
        &self,
        arn: &FunctionArn,
        after: Option<&str>,
    ) -> Option<impl Iterator<Item = &Arc<Alias>>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let aliases = &self.functions.get(arn)?.aliases;
        Some(aliases.range::<str, _>((from, Bound::Unbounded)).map(|(_, alias)| alias))
    }

    /// Adds or replaces. Returns false for a version of a function that is not there.
    pub fn insert(&mut self, function: Function) -> bool {
        let arn = function.arn.clone();
        let number = function.record.published.as_ref().map(|published| published.number);
        let function = Arc::new(function);
        let replaced = match (self.functions.get_mut(&arn), number) {
            (Some(family), Some(number)) => family.versions.insert(number, Arc::clone(&function)),
            (None, Some(_)) => return false,
            (Some(family), _) => Some(std::mem::replace(&mut family.latest, Arc::clone(&function))),
            (None, _) => {
                let (versions, aliases) = (BTreeMap::new(), BTreeMap::new());
                let latest = Arc::clone(&function);
                self.functions.insert(arn, Family { latest, versions, aliases });
                None
            }
        };
        if let Some(replaced) = replaced {
            self.forget(&replaced);
        }
        self.count(&function);
        self.note_concurrency(&function.arn);
        true
    }

    /// Removes a function with all its versions.
    pub fn remove(&mut self, arn: &FunctionArn) {
        let Some(family) = self.functions.remove(arn) else { return };
        for function in family.members(None) {
            self.forget(function);
        }
        self.note_concurrency(arn);
    }

    pub fn remove_version(&mut self, arn: &FunctionArn, number: u64) {
        let family = self.functions.get_mut(arn);
        if let Some(version) = family.and_then(|family| family.versions.remove(&number)) {
            self.forget(&version);
        }
        self.note_concurrency(arn);
    }

    fn count(&mut self, function: &Function) {
        let record = &function.record;
        for package in record.packages() {
            claim(&mut self.code, package);
        }
        let usage = self.usage.entry(function.arn.scope.clone()).or_insert(NOTHING);
        usage.functions += u64::from(record.published.is_none());
        usage.code_size += record.code.charged();
        if record.pending().is_some() {
            self.unfinished.insert((function.arn.clone(), record.version()));
        }
        self.generation = self.generation.max(record.generation);
    }

    fn forget(&mut self, function: &Function) {
        let (record, scope) = (&function.record, &function.arn.scope);
        self.unfinished.remove(&(function.arn.clone(), record.version()));
        for package in record.packages() {
            self.release(package);
        }
        if let Some(usage) = self.usage.get_mut(scope) {
            usage.functions -= u64::from(record.published.is_none());
            usage.code_size -= record.code.charged();
            if *usage == NOTHING {
                self.usage.remove(scope);
            }
        }
    }

    /// Counts a user of a zip file. Returns whether there was one before.
    pub fn claim(&mut self, code: &CodeRef) -> bool {
        claim(&mut self.code, code) > 1
    }

    pub fn release(&mut self, code: &CodeRef) {
        if let Some((users, _)) = self.code.get_mut(&code.digest) {
            *users -= 1;
            if *users == 0 {
                self.code.remove(&code.digest);
            }
        }
    }

    /// Counts a layer version of `scope`.
    pub fn insert_layer(&mut self, scope: &Scope, code: &CodeRef) {
        self.claim(code);
        self.usage.entry(scope.clone()).or_insert(NOTHING).code_size += code.charged();
    }

    /// The opposite, of a layer version that was counted.
    pub fn remove_layer(&mut self, scope: &Scope, code: &CodeRef) {
        self.release(code);
        if let Some(usage) = self.usage.get_mut(scope) {
            usage.code_size -= code.charged();
            if *usage == NOTHING {
                self.usage.remove(scope);
            }
        }
    }

    /// Takes a logarithm of all functions to find the place, whatever the page.
    pub fn list(&self, scope: &Scope, listing: Listing<'_>) -> FunctionPage {
        let Listing { after, max, versions } = listing;
        let from = match after {
            Some((name, _)) if versions => Bound::Included(FunctionArn::new(scope, name)),
            Some((name, _)) => Bound::Excluded(FunctionArn::new(scope, name)),
            // No name is empty.
            None => Bound::Included(FunctionArn::new(scope, "")),
        };
        let functions = self.functions.range((from, Bound::Unbounded));
        let members =
            functions.take_while(|(arn, _)| arn.scope == *scope).flat_map(|(arn, family)| {
                let seen = after.filter(|(name, _)| *name == &*arn.name).map(|(_, number)| number);
                family.members(seen).take(if versions { usize::MAX } else { 1 })
            });
        page(members, max)
    }

    /// `$LATEST` and the versions of one function; none where there is no function.
    pub fn versions(
        &self,
        arn: &FunctionArn,
        after: Option<u64>,
        max: usize,
    ) -> Option<FunctionPage> {
        Some(page(self.functions.get(arn)?.members(after), max))
    }

    /// The published versions of a function.
    pub fn published(&self, arn: &FunctionArn) -> Vec<Arc<Function>> {
        let family = self.functions.get(arn);
        family.into_iter().flat_map(|family| family.versions.values().cloned()).collect()
    }

    /// What the functions of a scope have for themselves, in all.
    pub fn committed(&self, scope: &Scope) -> u64 {
        let functions = self.committed.range(FunctionArn::new(scope, "")..);
        let functions = functions.take_while(|(arn, _)| arn.scope == *scope);
        functions.map(|(_, committed)| committed).sum()
    }

    /// What one function has for itself, and how much of that is provisioned.
    pub fn committed_of(&self, arn: &FunctionArn) -> (u64, u64) {
        let family = self.functions.get(arn);
        family.map_or((0, 0), |family| (family.committed(), family.provisioned()))
    }

    /// The versions of all functions that are to be ready ahead of calls, with how many
    /// environments. Versions that cannot be called yet are not among them.
    pub fn wishes(&self) -> Vec<(Arc<Target>, u32)> {
        let mut all = Vec::new();
        for family in self.provisioned.iter().filter_map(|arn| self.functions.get(arn)) {
            for (number, wanted) in family.wishes() {
                let version = family.versions.get(&number);
                if let Some(version) = version.filter(|v| v.record.state == State::Active) {
                    all.push((Arc::clone(&version.target), wanted));
                }
            }
        }
        all
    }

    /// Call after anything of a function has changed.
    fn note_concurrency(&mut self, arn: &FunctionArn) {
        let family = self.functions.get(arn);
        match family.is_some_and(|family| family.provisioned() > 0) {
            true => self.provisioned.insert(arn.clone()),
            false => self.provisioned.remove(arn),
        };
        match family.map_or(0, Family::committed) {
            0 => self.committed.remove(arn),
            committed => self.committed.insert(arn.clone(), committed),
        };
    }

    pub fn usage(&self, scope: &Scope) -> Usage {
        self.usage.get(scope).copied().unwrap_or(NOTHING)
    }

    /// The size of a zip file that is used.
    pub fn code_size(&self, digest: &str) -> Option<u64> {
        self.code.get(digest).map(|(_, size)| *size)
    }

    pub fn uses(&self, digest: &str) -> bool {
        self.code.contains_key(digest)
    }

    pub fn codes(&self) -> impl Iterator<Item = &str> {
        self.code.keys().map(String::as_str)
    }

    pub fn unfinished(&self) -> impl Iterator<Item = &Member> {
        self.unfinished.iter()
    }

    /// For a new function: no environment of a namesake that was deleted has it.
    pub fn next_generation(&self) -> u64 {
        self.generation + 1
    }
}

fn claim(code: &mut HashMap<String, (usize, u64)>, wanted: &CodeRef) -> usize {
    let (users, size) = code.entry(wanted.digest.clone()).or_default();
    (*users, *size) = (*users + 1, wanted.size);
    *users
}
