//! The room put together: one engine for events, one for what is owed, and upkeep.

use crate::desk::Desk;
use crate::destinations::{Delivering, Functions, Routes};
use crate::event_queue::{Intake, Stock};
use crate::options::Options;
use crate::poller::calls::Calls;
use crate::poller::engine::Engine;
use crate::poller::known::{Known, Settings};
use crate::poller::lanes::Limits;
use crate::record::{DELIVERIES, ENDED, EVENTS, root};
use lamplight_env::{Clock, Env, faults};
use lamplight_rpc::{Catalog, Documents, EventDesk, EventQueue, Invoker};
use lamplight_store::{Queue, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks for what has outlived its use.
const UPKEEP: Duration = Duration::from_secs(60);
/// Deliveries at the same time, and bytes of them.
const DELIVERING: Limits = Limits { running: 64, bytes: 32 << 20, window: 4 };

/// What the room works with.
pub struct Parts {
    /// Its clock is one that does not jump (`SteadyClock`), shared by all that share the store. Its
    /// tasks are told to stop before environments end.
    pub env: Env,
    pub options: Options,
    pub queue: Arc<dyn Queue>,
    pub invoker: Arc<dyn Invoker>,
    pub catalog: Arc<dyn Catalog>,
    pub documents: Arc<dyn Documents>,
    /// Destinations beside functions.
    pub routes: Routes,
}

pub struct Events {
    env: Env,
    options: Options,
    clock: Arc<dyn Clock>,
    store: Arc<dyn Queue>,
    calls: Arc<Engine>,
    deliveries: Arc<Engine>,
    intake: Arc<Intake>,
}

impl Events {
    /// Looks at what an earlier run has left; nothing runs yet.
    pub async fn load(parts: Parts) -> Result<Self, StoreError> {
        let Parts { env, options, queue, invoker, catalog, documents, routes } = parts;
        let known = Arc::new(Settings { catalog, documents });
        Self::assemble(env, options, (queue, invoker), known, routes).await
    }

    pub(crate) async fn assemble(
        env: Env,
        options: Options,
        (queue, invoker): (Arc<dyn Queue>, Arc<dyn Invoker>),
        known: Arc<dyn Known>,
        routes: Routes,
    ) -> Result<Self, StoreError> {
        let clock = Arc::clone(&env.clock);
        // Nobody else works on this store, so whoever held a lease is gone.
        for queues in [EVENTS, DELIVERIES].into_iter().filter(|_| !faults::bug("forget-reclaim")) {
            faults::point("event.reclaim")
                .map_err(|error| StoreError::Unavailable(error.to_string()))?;
            queue.reclaim(&root(queues), clock.now()).await?;
        }
        let stock = Arc::new(Stock::new(options.queued, options.queued_bytes));
        stock.load(&queue.depths(&root(EVENTS), clock.now()).await?);
        let limits = Limits {
            running: options.running,
            bytes: options.running_bytes,
            window: options.window,
        };
        let work = Calls {
            invoker,
            known,
            clock: clock.clone(),
            options: options.clone(),
            stock: Arc::clone(&stock),
            stop: env.tasks.stop_signal(),
        };
        let calls = Engine::new(
            (Arc::clone(&queue), root(EVENTS)),
            Arc::new(work),
            (env.tasks.clone(), clock.clone()),
            limits,
        );
        let intake = Intake::new(Arc::clone(&queue), Arc::clone(&calls), stock, env.tasks.clone());
        let intake = Arc::new(intake);
        let functions =
            Functions { events: Arc::clone(&intake) as _, random: Arc::clone(&env.random) };
        let delivering = Delivering {
            destinations: Arc::new(routes.with("lambda", Arc::new(functions))),
            clock: clock.clone(),
        };
        let deliveries = Engine::new(
            (Arc::clone(&queue), root(DELIVERIES)),
            Arc::new(delivering),
            (env.tasks.clone(), clock.clone()),
            DELIVERING,
        );
        Ok(Self { env, options, clock, store: queue, calls, deliveries, intake })
    }

    pub fn queue(&self) -> Arc<dyn EventQueue> {
        Arc::clone(&self.intake) as _
    }

    pub fn desk(&self) -> Arc<dyn EventDesk> {
        Arc::new(Desk {
            store: Arc::clone(&self.store),
            calls: Arc::clone(&self.calls),
            deliveries: Arc::clone(&self.deliveries),
            intake: Arc::clone(&self.intake),
            kept: self.options.kept,
        })
    }

    /// Begins to call functions.
    pub fn start(&self) {
        self.env.tasks.spawn(Arc::clone(&self.calls).run());
        self.env.tasks.spawn(Arc::clone(&self.deliveries).run());
        let store = Arc::clone(&self.store);
        let records = self.options.records;
        self.env.tasks.spawn(upkeep(self.env.clone(), self.clock.clone(), store, records));
    }
}

/// Deletes what has outlived its use, until the stop.
async fn upkeep(env: Env, clock: Arc<dyn Clock>, store: Arc<dyn Queue>, records: u64) {
    let mut stop = env.tasks.stop_signal();
    loop {
        let swept = async {
            faults::point("event.sweep")
                .map_err(|error| StoreError::Unavailable(error.to_string()))?;
            store.expire(clock.now()).await?;
            store.trim(&root(ENDED), records).await
        };
        if let Err(error) = swept.await {
            tracing::warn!(%error, "what has expired cannot be deleted");
        }
        tokio::select! {
            () = tokio::time::sleep(UPKEEP) => {}
            () = stop.stopped() => return,
        }
    }
}
