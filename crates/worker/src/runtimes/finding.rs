//! The runtimes of a server that is already there while its interpreters are still being asked.

use super::Runtimes;
use lamplight_env::Tasks;
use std::sync::Arc;
use tokio::sync::watch;

/// Whoever needs a runtime waits for the answers; a start of the server does not.
#[derive(Debug, Clone)]
pub struct Finding(watch::Receiver<Option<Arc<Runtimes>>>);

impl Finding {
    pub fn start(
        tasks: &Tasks,
        discovering: impl Future<Output = Runtimes> + Send + 'static,
    ) -> Self {
        let (found, finding) = watch::channel(None);
        tasks.spawn(async move { found.send_replace(Some(Arc::new(discovering.await))) });
        Self(finding)
    }

    /// What this machine can run. Nothing where the server stops before that is known.
    pub async fn known(&self) -> Arc<Runtimes> {
        let mut finding = self.0.clone();
        let known = finding.wait_for(Option::is_some).await;
        known.ok().and_then(|known| known.clone()).unwrap_or_default()
    }
}
