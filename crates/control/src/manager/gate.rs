//! Starts take turns: so many at a time on this machine, and those that wait in fair order.

use super::lock;
use crate::planner::Starts;
use lamplight_model::FunctionArn;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// A turn that a caller does not wait for any more goes to the next one.
#[derive(Clone)]
pub(super) struct Gate(Arc<Mutex<Starts<oneshot::Sender<Turn>>>>);

/// A start's turn, which is over when this is dropped.
pub(super) struct Turn {
    gate: Gate,
    /// Taken where the turn was over before it began.
    function: Option<FunctionArn>,
}

impl Gate {
    pub fn new(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Starts::new(most))))
    }

    /// Waits for the turn of a start of `function`.
    pub async fn enter(&self, function: &FunctionArn) -> Turn {
        loop {
            let (start, turn) = oneshot::channel();
            lock(&self.0).ask(function, start);
            self.next();
            // The sender is in the queue until it sends, so this is the turn; if it were lost, we
            // would ask for another.
            if let Ok(turn) = turn.await {
                return turn;
            }
        }
    }

    fn next(&self) {
        loop {
            let Some((function, start)) = lock(&self.0).begin() else { return };
            let turn = Turn { gate: self.clone(), function: Some(function.clone()) };
            if let Err(mut turn) = start.send(turn) {
                turn.function = None;
                lock(&self.0).done(&function);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(function) = self.function.take() {
            lock(&self.gate.0).done(&function);
            self.gate.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_model::{AccountId, Scope};

    fn function(name: &str) -> FunctionArn {
        let scope = Scope { account: AccountId::new("000000000000").unwrap(), region: "r".into() };
        FunctionArn::new(&scope, name)
    }

    #[tokio::test]
    async fn a_turn_that_nobody_waits_for_goes_on() {
        let (gate, a, b) = (Gate::new(1), function("a"), function("b"));
        let first = gate.enter(&a).await;
        {
            let mut given_up = Box::pin(gate.enter(&b));
            assert!(poll(&mut given_up).is_none());
        }
        let mut waits = Box::pin(gate.enter(&a));
        assert!(poll(&mut waits).is_none());
        drop(first);
        drop(waits.await);
        assert!(lock(&gate.0).is_empty());
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(future).poll(&mut cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
