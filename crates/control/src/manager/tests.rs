//! How long environments are used, on a clock that is moved.

mod scarce;

use super::*;
use lamplight_env::{Clock, ManualClock, Timestamp};
use lamplight_model::{AccountId, Scope};
use lamplight_rpc::{Invocation, Outcome, PrepareError, Prepared};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Starts environments by number, and tells which were ended.
struct Numbers {
    started: AtomicU64,
    ended: tokio::sync::mpsc::UnboundedSender<u64>,
}

#[async_trait]
impl Worker for Numbers {
    async fn start(&self, _: Arc<Target>) -> Result<EnvironmentId, StartError> {
        Ok(EnvironmentId(self.started.fetch_add(1, Ordering::Relaxed)))
    }

    async fn provision(&self, target: Arc<Target>) -> Result<EnvironmentId, StartError> {
        self.start(target).await
    }

    async fn invoke(&self, _: EnvironmentId, _: Invocation) -> Result<Outcome, StartError> {
        Err(StartError::Gone)
    }

    async fn end(&self, id: EnvironmentId) {
        let _ = self.ended.send(id.0);
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
}

struct Here(Arc<Numbers>);

#[async_trait]
impl Placement for Here {
    async fn place(&self, _: &Target) -> Result<Arc<dyn Worker>, StartError> {
        Ok(Arc::clone(&self.0) as _)
    }
}

fn target() -> Arc<Target> {
    let scope = Scope { account: AccountId::new("000000000000").unwrap(), region: "r".into() };
    Arc::new(Target {
        function: FunctionArn::new(&scope, "f"),
        version: Qualifier::Latest,
        generation: 1,
        runtime: String::new(),
        handler: String::new(),
        role: String::new(),
        timeout: Duration::from_secs(3),
        memory_mb: 128,
        tmp_mb: 512,
        environment: Default::default(),
        code: String::new(),
        image: None,
        layers: Vec::new(),
        log_group: String::new(),
        log_format: String::new(),
        application_log_level: None,
        system_log_level: None,
        tenant_isolation: false,
        durable: None,
        max_concurrency: None,
        snap_start: false,
    })
}

#[tokio::test]
async fn an_environment_ends_before_its_credentials() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
    let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Env::system() };
    let (ended, mut endings) = tokio::sync::mpsc::unbounded_channel();
    let worker = Arc::new(Numbers { started: AtomicU64::new(0), ended });
    let life = Duration::from_secs(100);
    let options =
        Options { keep: Keep::fixed(Duration::from_secs(1_000)), life, ..Options::default() };
    let manager = EnvironmentManager::new(env, Arc::new(Here(worker)), options);
    let target = target();

    let first = manager.assign(&target, None).await.unwrap();
    manager.settle(first, true).await;
    clock.advance(Duration::from_secs(99));
    let again = manager.assign(&target, None).await.unwrap();
    assert_eq!(again.id, EnvironmentId(0));
    // It comes back too old to be kept.
    clock.advance(Duration::from_secs(1));
    manager.settle(again, true).await;
    assert_eq!(endings.recv().await, Some(0));

    let second = manager.assign(&target, None).await.unwrap();
    assert_eq!(second.id, EnvironmentId(1));
    manager.settle(second, true).await;
    clock.advance(life);
    manager.expire();
    assert_eq!(endings.recv().await, Some(1));

    manager.provision(vec![(Arc::clone(&target), 1)]);
    let ready = || manager.provisioned(&target.function, &target.version).ready;
    while ready() == 0 {
        tokio::task::yield_now().await;
    }
    clock.advance(life);
    manager.expire();
    assert_eq!((endings.recv().await, ready()), (Some(2), 0));
}

#[tokio::test]
async fn the_longest_idle_one_makes_room_for_a_new_one() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
    let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Env::system() };
    let (ended, mut endings) = tokio::sync::mpsc::unbounded_channel();
    let worker = Arc::new(Numbers { started: AtomicU64::new(0), ended });
    let options = Options { idle_most: Some(2), ..Options::default() };
    let manager = EnvironmentManager::new(env, Arc::new(Here(worker)), options);
    let target = target();
    let mut busy = Vec::new();
    for _ in 0..2 {
        busy.push(manager.assign(&target, None).await.unwrap());
    }
    while let Some(assignment) = busy.pop() {
        manager.settle(assignment, true).await;
        clock.advance(Duration::from_secs(1));
    }
    // Both idle ones are another function's, and there is room for two.
    let mut other = (*target).clone();
    other.function.name = "other".into();
    let _third = manager.assign(&Arc::new(other), None).await.unwrap();
    assert_eq!(endings.recv().await, Some(1));
    let warm = manager.assign(&target, None).await.unwrap();
    assert_eq!(warm.id, EnvironmentId(0));
}

#[tokio::test]
async fn no_more_is_provisioned_than_the_machine_has_memory_for() {
    let (ended, _endings) = tokio::sync::mpsc::unbounded_channel();
    let worker = Arc::new(Numbers { started: AtomicU64::new(0), ended });
    let options = Options { provisioned_mb: 300, ..Options::default() };
    let manager = EnvironmentManager::new(Env::system(), Arc::new(Here(worker)), options);
    let target = target();
    manager.provision(vec![(Arc::clone(&target), 1000)]);
    let state = || manager.provisioned(&target.function, &target.version);
    while state().ready < 2 {
        tokio::task::yield_now().await;
    }
    let reason = state().failed.unwrap();
    assert!(reason.contains("no room for 1000 environments of 128 MB"), "{reason}");
    manager.provision(vec![(Arc::clone(&target), 2)]);
    assert_eq!((state().ready, state().failed), (2, None));
}

#[test]
fn credentials_outlive_environments() {
    let longest_call = Duration::from_secs(900);
    assert!(limits::ENVIRONMENT_LIFE + longest_call + limits::INIT < limits::ROLE_CREDENTIALS);
}

#[tokio::test]
async fn tenants_share_no_environment_and_the_idle_ones_of_others_make_room() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
    let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Env::system() };
    let (ended, mut endings) = tokio::sync::mpsc::unbounded_channel();
    let worker = Arc::new(Numbers { started: AtomicU64::new(0), ended });
    let options = Options { idle_most: Some(3), ..Options::default() };
    let manager = EnvironmentManager::new(env, Arc::new(Here(worker)), options);
    let target = Arc::new(Target { tenant_isolation: true, ..(*target()).clone() });
    for tenant in ["blue", "green", "red", "blue"] {
        let assignment = manager.assign(&target, Some(tenant)).await.unwrap();
        manager.settle(assignment, true).await;
        clock.advance(Duration::from_secs(1));
    }
    let fourth = manager.assign(&target, Some("white")).await.unwrap();
    assert_eq!(fourth.id, EnvironmentId(3));
    // Green was idle for longest: blue came back.
    assert_eq!(endings.recv().await, Some(1));
    let blue = manager.assign(&target, Some("blue")).await.unwrap();
    assert_eq!(blue.id, EnvironmentId(0));
}

#[tokio::test]
async fn calls_share_environments_up_to_their_most() {
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(0)));
    let env = Env { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Env::system() };
    let (ended, mut endings) = tokio::sync::mpsc::unbounded_channel();
    let worker = Arc::new(Numbers { started: AtomicU64::new(0), ended });
    let manager = EnvironmentManager::new(env, Arc::new(Here(worker)), Options::default());
    let target = Arc::new(Target { max_concurrency: Some(2), ..(*target()).clone() });
    // All at once: whoever waits for a start finds room in what was started.
    let (a, b, c) = tokio::join!(
        manager.assign(&target, None),
        manager.assign(&target, None),
        manager.assign(&target, None)
    );
    let [a, b, c] = [a, b, c].map(Result::unwrap);
    assert_eq!([a.id, b.id, c.id], [0, 0, 1].map(EnvironmentId));
    manager.settle(a, true).await;
    // The first has room for one again, and so has the second.
    let d = manager.assign(&target, None).await.unwrap();
    let e = manager.assign(&target, None).await.unwrap();
    assert_eq!([d.id, e.id], [0, 1].map(EnvironmentId));
    // One that is spent ends with its last call.
    manager.settle(c, false).await;
    let f = manager.assign(&target, None).await.unwrap();
    assert_eq!(f.id, EnvironmentId(2));
    manager.settle(e, true).await;
    assert_eq!(endings.recv().await, Some(1));
    manager.retire(&target.function, Outdated::Latest(2)).await;
    drop(b);
    manager.settle(d, true).await;
    assert_eq!(endings.recv().await, Some(0));
    manager.settle(f, true).await;
    assert_eq!(endings.recv().await, Some(2));
}

#[tokio::test]
async fn an_environment_does_not_wait_for_calls_that_nobody_waits_for() {
    let (ended, mut endings) = tokio::sync::mpsc::unbounded_channel();
    let worker = Arc::new(Numbers { started: AtomicU64::new(0), ended });
    let manager =
        EnvironmentManager::new(Env::system(), Arc::new(Here(worker)), Options::default());
    let target = Arc::new(Target { max_concurrency: Some(2), ..(*target()).clone() });
    let mut late = manager.assign(&target, None).await.unwrap();
    let other = manager.assign(&target, None).await.unwrap();
    manager.answered(&mut late);
    // It takes its place all the same.
    let mut second = manager.assign(&target, None).await.unwrap();
    assert_eq!([late.id, other.id, second.id], [0, 0, 1].map(EnvironmentId));
    manager.retire(&target.function, Outdated::All).await;
    assert!(endings.try_recv().is_err(), "somebody waits for a call of each");
    manager.settle(other, true).await;
    assert_eq!(endings.recv().await, Some(0));
    manager.answered(&mut second);
    assert_eq!(endings.recv().await, Some(1));
    // Each is ended once.
    manager.settle(late, false).await;
    drop(second);
    tokio::task::yield_now().await;
    assert!(endings.try_recv().is_err());
}
