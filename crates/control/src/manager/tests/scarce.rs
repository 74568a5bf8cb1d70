//! When starts, memory or patience are scarce.

use super::*;
use std::sync::atomic::AtomicU64;
use tokio::sync::Semaphore;

/// Starts as many environments as it is let; memory is what is left after those that live.
struct Scarce {
    lets: Semaphore,
    started: Mutex<Vec<(u64, Arc<str>)>>,
    living: AtomicU64,
    most: u64,
}

impl Scarce {
    fn new(lets: usize, most: u64) -> Arc<Self> {
        let (started, living) = (Mutex::default(), AtomicU64::new(0));
        Arc::new(Self { lets: Semaphore::new(lets), started, living, most })
    }

    fn started(&self) -> Vec<String> {
        lock(&self.started).iter().map(|(_, name)| name.to_string()).collect()
    }
}

#[async_trait]
impl Worker for Scarce {
    async fn start(&self, target: Arc<Target>) -> Result<EnvironmentId, StartError> {
        self.lets.acquire().await.map_err(|_| StartError::Stopping)?.forget();
        if &*target.function.name == "broken" {
            return Err(StartError::Code("broken".to_owned()));
        }
        self.living.fetch_add(1, Ordering::SeqCst);
        let mut started = lock(&self.started);
        let id = started.len() as u64;
        started.push((id, Arc::clone(&target.function.name)));
        Ok(EnvironmentId(id))
    }

    async fn provision(&self, target: Arc<Target>) -> Result<EnvironmentId, StartError> {
        self.start(target).await
    }

    async fn invoke(&self, _: EnvironmentId, _: Invocation) -> Result<Outcome, StartError> {
        Err(StartError::Gone)
    }

    async fn end(&self, _: EnvironmentId) {
        self.living.fetch_sub(1, Ordering::SeqCst);
    }

    async fn prepare(&self, _: &str, _: &Path) -> Result<Prepared, PrepareError> {
        Ok(Prepared { unzipped: 0 })
    }

    async fn forget(&self, _: &str) {}

    async fn can_run(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn can_run_images(&self) -> Result<(), String> {
        Ok(())
    }

    fn memory_left(&self) -> Option<u64> {
        Some(self.most.saturating_sub(self.living.load(Ordering::SeqCst)))
    }
}

struct On(Arc<Scarce>);

#[async_trait]
impl Placement for On {
    async fn place(&self, _: &Target) -> Result<Arc<dyn Worker>, StartError> {
        Ok(Arc::clone(&self.0) as _)
    }
}

fn manager(worker: &Arc<Scarce>, options: Options) -> Arc<EnvironmentManager> {
    EnvironmentManager::new(Env::system(), Arc::new(On(Arc::clone(worker))), options)
}

fn named(name: &str) -> Arc<Target> {
    let mut target = (*target()).clone();
    target.function.name = name.into();
    Arc::new(target)
}

/// Lets everything that can go on go on.
async fn pause() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_becomes_idle() {
    let worker = Scarce::new(0, 9);
    let manager = manager(&worker, Options::default());
    let target = named("f");
    {
        let mut call = Box::pin(manager.assign(&target, None));
        tokio::select! {
            biased;
            _ = &mut call => panic!("nothing was started yet"),
            () = pause() => {}
        }
    }
    worker.lets.add_permits(1);
    pause().await;
    let next = manager.assign(&target, None).await.unwrap();
    assert_eq!((next.id, worker.started().len()), (EnvironmentId(0), 1));
}

#[tokio::test]
async fn a_burst_of_one_function_delays_another_by_its_share() {
    let worker = Scarce::new(0, 900);
    let manager = manager(&worker, Options { starts: 2, ..Options::default() });
    let mut calls = tokio::task::JoinSet::new();
    let mut call = |name: &str| {
        let (manager, target) = (Arc::clone(&manager), named(name));
        calls.spawn(async move { manager.assign(&target, None).await.map(drop) });
    };
    (0..100).for_each(|_| call("burst"));
    pause().await;
    call("other");
    pause().await;
    for started in 1..=101 {
        worker.lets.add_permits(1);
        while worker.started().len() < started {
            tokio::task::yield_now().await;
        }
    }
    let at = worker.started().iter().position(|name| name == "other").unwrap();
    assert!(at <= 3, "it was number {at} of 101");
    while let Some(ended) = calls.join_next().await {
        ended.unwrap().unwrap();
    }
}

#[tokio::test]
async fn each_call_of_what_cannot_start_is_told_so() {
    let worker = Scarce::new(100, 9);
    let manager = manager(&worker, Options { starts: 1, ..Options::default() });
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (manager, target) = (Arc::clone(&manager), named("broken"));
        calls.spawn(async move { manager.assign(&target, None).await.map(drop) });
    }
    while let Some(ended) = calls.join_next().await {
        assert!(matches!(ended.unwrap(), Err(StartError::Code(_))));
    }
    manager.assign(&named("f"), None).await.unwrap();
}

#[tokio::test]
async fn a_function_grows_no_faster_than_it_may() {
    let worker = Scarce::new(100, 99);
    let manager = manager(&worker, Options { growth: 3, ..Options::default() });
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(manager.assign(&named("f"), None).await.unwrap());
    }
    let refused = manager.assign(&named("f"), None).await.map(drop).unwrap_err();
    let StartError::Throttled(throttled) = refused else { panic!("{refused}") };
    assert_eq!(throttled.reason, "ConcurrentInvocationLimitExceeded");
    held.push(manager.assign(&named("g"), None).await.unwrap());
    manager.settle(held.swap_remove(0), true).await;
    manager.assign(&named("f"), None).await.unwrap();
}

#[tokio::test]
async fn idle_environments_end_before_a_start_is_refused_for_memory() {
    let worker = Scarce::new(100, 3);
    let manager = manager(&worker, Options::default());
    let mut held = Vec::new();
    for name in ["a", "b", "c"] {
        held.push(manager.assign(&named(name), None).await.unwrap());
    }
    let refused = manager.assign(&named("d"), None).await.map(drop).unwrap_err();
    assert!(matches!(refused, StartError::Memory(_)), "{refused}");
    for assignment in held.drain(1..) {
        manager.settle(assignment, true).await;
    }
    let fourth = manager.assign(&named("d"), None).await.unwrap();
    assert_eq!((fourth.id, worker.living.load(Ordering::SeqCst)), (EnvironmentId(3), 3));
    // It was b: c was used later.
    let third = manager.assign(&named("c"), None).await.unwrap();
    assert_eq!(third.id, EnvironmentId(2));
    manager.settle(third, true).await;
    manager.relieve();
    while worker.living.load(Ordering::SeqCst) > 2 {
        tokio::task::yield_now().await;
    }
}
