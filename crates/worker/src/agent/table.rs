//! Which environments there are, and which code they need.

use super::environment::Environment;
use lamplight_model::Target;
use lamplight_rpc::{EnvironmentId, StartError};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// An environment is `starting` from before its code is looked for until it is here or has failed.
/// Code that any of them needs is not removed; what was to be removed is remembered.
#[derive(Default)]
pub struct Table {
    environments: HashMap<EnvironmentId, Arc<Environment>>,
    starting: HashMap<EnvironmentId, Arc<Target>>,
    forgotten: HashSet<String>,
    closed: bool,
}

impl Table {
    /// An environment is about to be made.
    pub fn begin(&mut self, id: EnvironmentId, target: &Arc<Target>) -> Result<(), StartError> {
        if self.closed {
            return Err(StartError::Stopping);
        }
        self.starting.insert(id, Arc::clone(target));
        Ok(())
    }

    /// It is there. Refused, with the environment, when everything is to end.
    pub fn insert(
        &mut self,
        id: EnvironmentId,
        environment: Arc<Environment>,
    ) -> Result<(), Arc<Environment>> {
        if self.closed {
            return Err(environment);
        }
        self.environments.insert(id, environment);
        Ok(())
    }

    /// Its start is over, well or badly.
    pub fn started(&mut self, id: EnvironmentId) {
        self.starting.remove(&id);
    }

    pub fn is_starting(&self) -> bool {
        !self.starting.is_empty()
    }

    pub fn get(&self, id: EnvironmentId) -> Option<Arc<Environment>> {
        self.environments.get(&id).cloned()
    }

    pub fn remove(&mut self, id: EnvironmentId) -> Option<Arc<Environment>> {
        self.environments.remove(&id)
    }

    /// Takes no more environments, and gives out those that are there.
    pub fn close(&mut self) -> Vec<Arc<Environment>> {
        self.closed = true;
        self.environments.drain().map(|(_, environment)| environment).collect()
    }

    fn uses(&self, digest: &str) -> bool {
        let running = self.environments.values().map(|environment| environment.target());
        let starting = self.starting.values().map(|target| &**target);
        running.chain(starting).any(|target| target.packages().any(|used| used == digest))
    }

    /// Whether code can be removed now; remembered for later where it cannot.
    pub fn forget(&mut self, digest: &str) -> bool {
        let used = self.uses(digest);
        if used {
            self.forgotten.insert(digest.to_owned());
        }
        !used
    }

    /// The code is wanted again.
    pub fn remember(&mut self, digest: &str) {
        self.forgotten.remove(digest);
    }

    /// Code of `target` that was to be removed and that nobody uses any more.
    pub fn release(&mut self, target: &Target) -> Vec<String> {
        let unused: Vec<String> = target
            .packages()
            .filter(|digest| self.forgotten.contains(*digest) && !self.uses(digest))
            .cloned()
            .collect();
        for digest in &unused {
            self.forgotten.remove(digest);
        }
        unused
    }
}
