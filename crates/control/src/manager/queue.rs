//! Calls that found no environment idle, and the starts they ask for: the shell around a [`Line`].
//!
//! A start belongs to nobody: it runs to its end even if the call that asked for it was served
//! otherwise or is not waited for any more.

use super::places::Places;
use super::{EnvironmentManager, Kept, lock};
use crate::planner::{Place, Serves, Ticket};
use lamplight_env::Env;
use lamplight_model::{Target, limits};
use lamplight_rpc::StartError;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A start has its turn until it is ready, but no longer than this: one that waits for something
/// else than this machine must not hold up others.
const TURN: Duration = Duration::from_millis(50);

/// An environment for a call that waits, or why it gets none.
pub(super) type Waiter = oneshot::Sender<Result<(Kept, Ticket), StartError>>;

/// Follows the place that an environment is given to its end. Gives it out when it is surplus.
pub(super) fn follow(places: &Places, env: &Env, place: Place<Kept, Waiter>) -> Option<Kept> {
    let mut place = place;
    loop {
        match place {
            Place::Idle => return None,
            Place::Surplus(kept) => return Some(kept),
            Place::Call(waiter, kept, ticket) => match waiter.send(Ok((kept, ticket))) {
                Err(Ok((kept, ticket))) => {
                    place = lock(&places.alone).unused(ticket, kept, env.clock.instant());
                }
                _ => return None,
            },
        }
    }
}

/// A call in the queue. Dropped, it leaves it, and hands on what it may have been given.
struct InQueue<'a> {
    places: &'a Places,
    env: &'a Env,
    ticket: Ticket,
    given: oneshot::Receiver<Result<(Kept, Ticket), StartError>>,
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        self.given.close();
        lock(&self.places.alone).leave(self.ticket);
        if let Ok(Ok((kept, ticket))) = self.given.try_recv() {
            let place = lock(&self.places.alone).unused(ticket, kept, self.env.clock.instant());
            if let Some(kept) = follow(self.places, self.env, place) {
                self.env.tasks.spawn(async move { kept.worker.end(kept.id).await });
            }
        }
    }
}

/// A start that is under way. Dropped, it has failed: nobody waits for it for ever.
struct Begun {
    places: Arc<Places>,
    serves: Serves,
    under_way: bool,
}

impl Begun {
    fn end(&mut self, error: StartError) {
        if std::mem::take(&mut self.under_way) {
            let waiter = lock(&self.places.alone).failed(&self.serves);
            // Whoever has hung up needs no answer.
            let _ = waiter.map(|waiter| waiter.send(Err(error)));
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.end(StartError::Sandbox("the start broke off".to_owned()));
    }
}

/// What is there for a call at once, or where it waits.
enum Asked<'a> {
    Taken((Kept, Ticket)),
    Queued(InQueue<'a>, Option<Instant>),
}

impl EnvironmentManager {
    /// An environment for a call that has it for itself.
    pub(super) async fn alone(
        &self,
        target: &Arc<Target>,
        places: &Arc<Places>,
        serves: &Serves,
    ) -> Result<(Kept, Ticket), StartError> {
        let (mut queued, until) = match self.ask(places, serves) {
            Asked::Taken(taken) => return Ok(taken),
            Asked::Queued(queued, until) => (queued, until),
        };
        let lost = |_| Err(StartError::Stopping);
        if let Some(until) = until {
            tokio::select! {
                biased;
                given = &mut queued.given => return given.unwrap_or_else(lost),
                () = tokio::time::sleep_until(until.into()) => {}
            }
            lock(&places.alone).tire(queued.ticket, self.env.clock.instant());
        }
        self.order(target, places, serves);
        (&mut queued.given).await.unwrap_or_else(lost)
    }

    fn ask<'a>(&'a self, places: &'a Places, serves: &Serves) -> Asked<'a> {
        let mut line = lock(&places.alone);
        let now = self.env.clock.instant();
        if let Some(taken) = line.take(serves, now) {
            return Asked::Taken(taken);
        }
        let (waiter, given) = oneshot::channel();
        let (ticket, until) = line.wait(serves, waiter, now);
        Asked::Queued(InQueue { places, env: &self.env, ticket, given }, until)
    }

    /// Begins the starts that calls need.
    fn order(&self, target: &Arc<Target>, places: &Arc<Places>, serves: &Serves) {
        let wanted = lock(&places.alone).order(serves);
        for _ in 0..wanted {
            let Some(manager) = self.me.upgrade() else { return };
            let (target, places, serves) = (Arc::clone(target), Arc::clone(places), serves.clone());
            self.env.tasks.spawn(async move {
                manager.start_in_turn(&target, places, serves).await;
            });
        }
    }

    async fn start_in_turn(&self, target: &Arc<Target>, places: Arc<Places>, serves: Serves) {
        let turn = self.gate.enter(&target.function).await;
        if !lock(&places.alone).begin(&serves) {
            return;
        }
        let mut begun = Begun { places: Arc::clone(&places), serves, under_way: true };
        let kept = match self.start(target).await {
            Ok(kept) => kept,
            Err(error) => return begun.end(error),
        };
        let Begun { serves, under_way, .. } = &mut begun;
        *under_way = false;
        let placed = lock(&places.alone).started(serves, kept.clone(), self.env.clock.instant());
        let idle = matches!(placed, Place::Idle);
        if let Some(surplus) = follow(&places, &self.env, placed) {
            self.end(vec![surplus]);
            return;
        }
        // The one who waited for longest has it, who may not be the one who asked.
        self.order(target, &places, serves);
        let ready = kept.worker.ready(kept.id);
        tokio::pin!(ready);
        let soon = tokio::time::timeout(TURN, &mut ready).await.is_ok();
        drop(turn);
        if soon || tokio::time::timeout(limits::INIT, ready).await.is_ok() {
            let took = self.env.clock.instant().saturating_duration_since(kept.born);
            lock(&places.alone).ready(took);
        }
        // No call drives its initialisation.
        if idle && kept.worker.initialise(kept.id).await.is_err() {
            self.forget(kept.id);
        }
    }
}
