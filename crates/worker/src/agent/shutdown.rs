//! The end of everything in an environment, in AWS's phases.
//!
//! AWS: without extensions everything is killed at once. With them the runtime is asked to end
//! first, then external extensions are told and may end by themselves; what is left is killed when
//! the window is over. The deadline that they are told is that of the monotonic clock.

use super::programs::{Programs, Who};
use crate::runtime_api::{Kind, Reason, RuntimeApi};
use lamplight_env::Env;
use lamplight_sandbox::Sandbox;
use std::time::Duration;
use tokio::time::timeout_at;

/// How long an environment's end may take, and the runtime's part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    whole: Duration,
    runtime: Duration,
}

impl Window {
    /// `None` where nobody is asked.
    // AWS: 500 ms with internal extensions, 2 s with external ones, of which the runtime has 300 ms.
    pub fn of(kind: Kind) -> Option<Self> {
        let window = |whole, runtime| {
            let [whole, runtime] = [whole, runtime].map(Duration::from_millis);
            Some(Self { whole, runtime })
        };
        match kind {
            Kind::None => None,
            Kind::Internal => window(500, 500),
            Kind::External => window(2_000, 300),
        }
    }
}

/// Lets everybody end by themselves, for as long as `window` says. What is left is the caller's to
/// kill.
pub async fn ask(
    env: &Env,
    sandbox: &Sandbox,
    api: &RuntimeApi,
    programs: &Programs,
    (window, reason): (Window, Reason),
) {
    let start = env.clock.instant();
    let end = start + window.whole;
    let (runtime, ended) = programs.find(|who| *who == Who::Runtime);
    for name in &runtime {
        sandbox.terminate(*name).await;
    }
    let in_time = timeout_at((start + window.runtime).into(), ended.all()).await.is_ok();
    for name in runtime.iter().filter(|_| !in_time) {
        sandbox.kill(*name).await;
    }
    let left = end.saturating_duration_since(env.clock.instant());
    let told = api.begin_shutdown(reason, env.clock.now().plus(left).millis());
    let is_told = |who: &Who| matches!(who, Who::Extension(name) if told.contains(name));
    let (others, _) = programs.find(|who| *who != Who::Runtime && !is_told(who));
    for name in others {
        sandbox.kill(name).await;
    }
    let (_, ended) = programs.find(is_told);
    let _ = timeout_at(end.into(), ended.all()).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_awss() {
        let window = |kind| Window::of(kind).map(|w| (w.whole.as_millis(), w.runtime.as_millis()));
        assert_eq!(window(Kind::None), None);
        assert_eq!(window(Kind::Internal), Some((500, 500)));
        assert_eq!(window(Kind::External), Some((2000, 300)));
    }
}
