//! What is known of a function whose events are worked on. From memory.

use lamplight_model::{FunctionArn, FunctionRef};
use lamplight_rpc::{Catalog, DocumentKey, Documents, EVENT_INVOKE};
use serde_json::Value;
use std::sync::Arc;

pub trait Known: Send + Sync {
    /// What was configured for the qualifier that is called.
    fn config(&self, function: &FunctionRef) -> Option<Arc<Value>>;

    /// Whether its reserved concurrency is 0.
    fn is_off(&self, function: &FunctionRef) -> bool;

    /// The ARN of its dead-letter queue.
    fn dead_letters(&self, function: &FunctionRef) -> Option<String>;
}

/// As people have set it.
pub struct Settings {
    pub catalog: Arc<dyn Catalog>,
    pub documents: Arc<dyn Documents>,
}

impl Known for Settings {
    fn config(&self, function: &FunctionRef) -> Option<Arc<Value>> {
        let FunctionArn { scope, name } = &function.function;
        let qualifier = function.qualifier_or_latest().to_string();
        let key = DocumentKey::new(EVENT_INVOKE, scope, name, &qualifier);
        Some(self.documents.get(&key)?.body)
    }

    fn is_off(&self, function: &FunctionRef) -> bool {
        let whole = FunctionRef { qualifier: None, ..function.clone() };
        self.catalog.get(&whole).is_ok_and(|record| record.reserved == Some(0))
    }

    fn dead_letters(&self, function: &FunctionRef) -> Option<String> {
        let record = self.catalog.get(function).ok()?;
        Some(record.echoed_text("DeadLetterConfig", "TargetArn")?.to_owned())
    }
}
