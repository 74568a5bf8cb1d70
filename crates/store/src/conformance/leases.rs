//! What every implementation of [`Leases`] does, and how they fence.

use super::{at, key};
use crate::{Held, Leases, NewMessage, Queue, Step, StoreError};
use bytes::Bytes;

/// Runs all of Leases'. `queue` is of the same store.
pub async fn leases(leases: &dyn Leases, queue: &dyn Queue) {
    one_holder_at_a_time(leases).await;
    jumps_of_the_clock(leases).await;
    stale_holders_write_nothing(leases, queue).await;
}

async fn one_holder_at_a_time(leases: &dyn Leases) {
    let name = key(&["lease", "one"]);
    let first = leases.acquire(&name, "a", at(10), at(0)).await.unwrap().unwrap();
    assert_eq!(leases.acquire(&name, "b", at(10), at(9)).await.unwrap(), None);
    leases.renew(&first, at(20)).await.unwrap();
    assert_eq!(leases.acquire(&name, "b", at(30), at(19)).await.unwrap(), None);
    let second = leases.acquire(&name, "b", at(30), at(20)).await.unwrap().unwrap();
    assert!(second.epoch > first.epoch);
    assert_eq!(leases.renew(&first, at(99)).await, Err(StoreError::Fenced(name.clone())));
    // Given back by somebody who lost it: the holder keeps it.
    leases.release(&first).await.unwrap();
    assert_eq!(leases.acquire(&name, "a", at(30), at(21)).await.unwrap(), None);
    leases.release(&second).await.unwrap();
    assert_eq!(leases.renew(&second, at(99)).await, Err(StoreError::Fenced(name.clone())));
    let third = leases.acquire(&name, "a", at(30), at(21)).await.unwrap().unwrap();
    assert!(third.epoch > second.epoch, "an epoch is never used again");
    // One that starts again under its own name gets in at once, as another holder.
    let fourth = leases.acquire(&name, "a", at(30), at(22)).await.unwrap().unwrap();
    assert!(fourth.epoch > third.epoch);
}

/// Forwards, a lease may be taken early: the epoch tells the two holders apart. Backwards, it is
/// only taken late.
async fn jumps_of_the_clock(leases: &dyn Leases) {
    let name = key(&["lease", "jump"]);
    let first = leases.acquire(&name, "a", at(10), at(0)).await.unwrap().unwrap();
    let second = leases.acquire(&name, "b", at(3610), at(3600)).await.unwrap().unwrap();
    assert_eq!(leases.renew(&first, at(99)).await, Err(StoreError::Fenced(name.clone())));
    assert_eq!(leases.acquire(&name, "a", at(20), at(0)).await.unwrap(), None);
    leases.renew(&second, at(10)).await.unwrap();
    assert!(leases.acquire(&name, "a", at(30), at(10)).await.unwrap().is_some());
}

async fn stale_holders_write_nothing(leases: &dyn Leases, queue: &dyn Queue) {
    let (name, inbox) = (key(&["lease", "fence"]), key(&["lease-inbox"]));
    let write = |held: &Held, text: &str| {
        let message = NewMessage::new(text, Bytes::new(), at(0));
        vec![Step::Put(inbox.clone(), message), Step::Fence(held.clone())]
    };
    let stale = leases.acquire(&name, "a", at(10), at(0)).await.unwrap().unwrap();
    queue.apply(write(&stale, "good"), at(1)).await.unwrap();
    // It ran out, but nobody took it: still the only holder.
    queue.apply(write(&stale, "late"), at(11)).await.unwrap();
    let held = leases.acquire(&name, "b", at(30), at(12)).await.unwrap().unwrap();
    let refused = queue.apply(write(&stale, "stale"), at(13)).await;
    assert_eq!(refused, Err(StoreError::Fenced(name.clone())));
    queue.apply(write(&held, "new"), at(13)).await.unwrap();
    leases.release(&held).await.unwrap();
    assert!(queue.apply(write(&held, "released"), at(14)).await.is_err());
    let written = queue.peek(&inbox, None, 10).await.unwrap();
    let names: Vec<&str> = written.iter().map(|message| &*message.name).collect();
    assert_eq!(names, ["good", "late", "new"]);
}
