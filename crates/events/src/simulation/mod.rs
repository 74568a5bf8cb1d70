//! Whole lives of the queue and its pollers in simulated time, from a seed: hours in milliseconds.
//!
//! What runs is the real room over a store in memory. Around it are senders, functions that are
//! slow, fail or find no room, a store that is late or refuses, a wall clock that jumps, and
//! crashes. `world` is the referee: it sees every commit and every start. Each run has two phases:
//! with faults, nothing wrong may happen (safety); then without, everything has to end (liveness).
//!
//! `LAMPLIGHT_SEEDS=1000..2000` runs other seeds than the few of every day (`cargo xtask campaign c14`). Bugs are planted in what
//! surrounds the room, to see that the referee notices.

mod cases;
mod shaky;
mod world;

use crate::destinations::Routes;
use crate::options::Options;
use crate::service::Events;
use lamplight_env::{Clock, Env, SeededRandom, SteadyClock, Tasks};
use lamplight_model::{AccountId, FunctionRef, Scope};
use lamplight_rpc::Event;
use lamplight_store::MemoryQueues;
use shaky::Shaky;
use std::sync::Arc;
use std::time::Duration;
use world::World;

const HOUR: u64 = 3600 * 1000;

/// What is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// Events are answered, and stored later.
    EarlyAnswer,
    /// Whoever has lost a lease may write all the same.
    NoFencing,
    /// Time within a run is the wall's.
    WallClock,
    /// What is put back for later comes back a thousand times later.
    LateRetries,
}

/// Everything that happened, and the first thing that should not have.
struct Run {
    log: Vec<String>,
    broken: Option<String>,
}

fn simulate(seed: u64, bug: Bug) -> Run {
    let world = Arc::new(World::new(seed, bug));
    let store = Arc::new(MemoryQueues::default());
    for _ in 0..=world.dice(3) {
        let for_ms = 1 + world.dice(HOUR);
        world.strike_soon();
        live(&world, &store, for_ms, true);
        world.crashed(&store);
    }
    world.heal();
    // Longer than the longest wait, a lease and all retries together.
    live(&world, &store, HOUR, false);
    world.finish(&store);
    world.run()
}

/// One life of the server; what runs at its end is gone, as after a kill.
fn live(world: &Arc<World>, store: &Arc<MemoryQueues>, for_ms: u64, sends: bool) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O");
    runtime.block_on(async {
        world.begin();
        let env = Env {
            clock: Arc::new(SteadyClock::new(Arc::clone(world) as Arc<dyn Clock>)),
            random: Arc::new(SeededRandom::new(world.dice(u64::MAX))),
            tasks: Tasks::new(),
        };
        let queue = Arc::new(Shaky { world: Arc::clone(world), store: Arc::clone(store) });
        let options = Options { window: 2, running: 16, ..Options::default() };
        let events = loop {
            let parts = (Arc::clone(&queue) as _, Arc::clone(world) as _);
            let routes = Routes::default().with("sqs", Arc::clone(world) as _);
            let known = Arc::clone(world) as _;
            match Events::assemble(env.clone(), options.clone(), parts, known, routes).await {
                Ok(events) => break events,
                // As if its supervisor started it again.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        events.start();
        if sends {
            for sender in 0..3 {
                env.tasks.spawn(send(Arc::clone(world), events.queue(), sender));
            }
            env.tasks.spawn(jump(Arc::clone(world)));
        }
        tokio::select! {
            biased;
            () = world.struck(), if sends => {}
            () = tokio::time::sleep(Duration::from_millis(for_ms)) => {}
        }
        world.note("the server is gone", "");
        world.close();
    });
}

async fn send(world: Arc<World>, queue: Arc<dyn lamplight_rpc::EventQueue>, sender: u64) {
    let scope = Scope {
        account: AccountId::new("000000000000").expect("twelve digits"),
        region: "us-east-1".into(),
    };
    for _ in 0..world.dice(40) {
        // Now in bursts, now after a long pause.
        let pause = if world.dice(4) == 0 { world.dice(10 * 60 * 1000) } else { world.dice(20) };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let name = format!("f{}", world.dice(4));
        let request_id = world.next_name(sender);
        let event = Event {
            function: FunctionRef::parse(&scope, &name, None).expect("a plain name"),
            request_id: request_id.clone(),
            payload: bytes::Bytes::from_static(b"{}"),
            trace_id: "Root=1".to_owned(),
            tenant: None,
        };
        if queue.accept(event).await.is_ok() {
            world.promised(request_id);
        }
    }
}

/// Somebody sets the wall clock, by up to a day in either direction.
async fn jump(world: Arc<World>) {
    loop {
        tokio::time::sleep(Duration::from_millis(1 + world.dice(HOUR / 4))).await;
        world.jump();
    }
}

fn seeds() -> std::ops::Range<u64> {
    let asked = std::env::var("LAMPLIGHT_SEEDS").ok();
    let range = asked.as_deref().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some(from.parse().ok()?..to.parse().ok()?)
    });
    range.unwrap_or(0..50)
}

/// Whatever the wall clock does, and whoever comes too late with an outcome.
#[test]
fn f12_f16_nothing_is_lost_or_ends_twice_and_everything_ends() {
    let (mut lines, mut seeds_run) = (0, 0);
    for seed in seeds() {
        let run = simulate(seed, Bug::None);
        lines += run.log.len();
        seeds_run += 1;
        if let Some(broken) = run.broken {
            let from = run.log.len().saturating_sub(60);
            panic!("seed {seed}: {broken}\n{}", run.log[from..].join("\n"));
        }
    }
    println!("{seeds_run} seeds, {lines} things happened");
    assert!(lines > seeds_run * 50, "hardly anything happened");
}

#[test]
fn the_same_seed_twice_is_the_same_run() {
    for seed in 0..10 {
        let (one, two) = (simulate(seed, Bug::None), simulate(seed, Bug::None));
        let differs = one.log.iter().zip(&two.log).position(|(one, two)| one != two);
        if let Some(at) = differs {
            panic!("seed {seed}, line {at}: {:?} and {:?}", one.log[at], two.log[at]);
        }
        assert_eq!(one.log.len(), two.log.len(), "seed {seed}");
    }
}

/// The text of what breaks first within some seeds.
fn found(bug: Bug) -> Option<String> {
    (0..100).find_map(|seed| simulate(seed, bug).broken)
}

#[test]
fn planted_bugs_are_found() {
    for (bug, what) in [
        (Bug::EarlyAnswer, "is nowhere"),
        (Bug::NoFencing, "ends twice"),
        (Bug::LateRetries, "has not ended"),
    ] {
        let broken = found(bug).unwrap_or_else(|| panic!("{bug:?} is not noticed"));
        assert!(broken.contains(what), "{bug:?}: {broken}");
    }
}

#[test]
fn jumps_of_the_clock_would_be_noticed() {
    let broken = found(Bug::WallClock).expect("events are early, too old too soon, or stuck");
    assert!(
        ["early", "too soon", "has not ended", "still held"]
            .iter()
            .any(|what| broken.contains(what)),
        "{broken}"
    );
}
