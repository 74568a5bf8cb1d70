//! Placement: which machine starts the next environment. With one machine there is one answer.

use async_trait::async_trait;
use lamplight_model::Target;
use lamplight_rpc::{Placement, StartError, Worker};
use std::sync::Arc;

/// Everything runs here.
pub struct OneMachine(pub Arc<dyn Worker>);

#[async_trait]
impl Placement for OneMachine {
    async fn place(&self, _target: &Target) -> Result<Arc<dyn Worker>, StartError> {
        Ok(Arc::clone(&self.0))
    }
}
