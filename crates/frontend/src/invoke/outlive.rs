//! Work that goes on when whoever waits for it goes away.

use lamplight_env::Tasks;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Polls `work` where it is awaited; dropped before its end, it becomes a task of its own. A task
/// from the start would cost every call a hop between threads for the sake of the few that are cut.
pub struct Outlive<T: Send + 'static> {
    work: Option<Boxed<T>>,
    tasks: Tasks,
}

impl<T: Send + 'static> Outlive<T> {
    pub fn new(tasks: &Tasks, work: impl Future<Output = T> + Send + 'static) -> Self {
        Self { work: Some(Box::pin(work)), tasks: tasks.clone() }
    }
}

impl<T: Send + 'static> Future for Outlive<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(work) = self.work.as_mut() else { return Poll::Pending };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<T: Send + 'static> Drop for Outlive<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.tasks.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn work_ends_with_or_without_somebody_waiting() {
        let tasks = Tasks::new();
        assert_eq!(Outlive::new(&tasks, async { 7 }).await, 7);

        let (go, gone) = oneshot::channel::<()>();
        let (done, seen) = oneshot::channel();
        let work = async move {
            let _ = gone.await;
            let _ = done.send("ended");
        };
        let mut waiting = Box::pin(Outlive::new(&tasks, work));
        tokio::select! {
            biased;
            () = &mut waiting => panic!("it was not told to end"),
            () = std::future::ready(()) => {}
        }
        drop(waiting);
        go.send(()).unwrap();
        assert_eq!(seen.await, Ok("ended"));
    }
}
