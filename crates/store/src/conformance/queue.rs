//! What every implementation of [`Queue`] does.

use super::{at, key};
use crate::{
    Ask, Dedup, Key, Message, Moved, NewMessage, Queue, Receipt, STEPS_MAX, Step, StoreError,
    Stored,
};
use bytes::Bytes;

/// Runs all of Queue's.
pub async fn queue(queue: &dyn Queue) {
    leases_and_receipts(queue).await;
    duplicate_delivery(queue).await;
    clock_jumps(queue).await;
    retries_and_states(queue).await;
    moves(queue).await;
    all_or_nothing(queue).await;
    leased_from_the_start(queue).await;
    order_of_groups(queue).await;
    deduplication(queue).await;
    depths_and_names(queue).await;
    deletions(queue).await;
    hints(queue).await;
    limits(queue).await;
}

fn message(name: &str) -> NewMessage {
    NewMessage::new(name, Bytes::from(format!("body of {name}")), at(0))
}

fn ask(messages: usize, until: i64) -> Ask {
    Ask { messages, bytes: usize::MAX, in_order: false, until: at(until) }
}

fn names(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| &*message.name).collect()
}

async fn put(queue: &dyn Queue, to: &Key, messages: Vec<NewMessage>) -> Vec<Stored> {
    let steps = messages.into_iter().map(|message| Step::Put(to.clone(), message)).collect();
    queue.apply(steps, at(0)).await.unwrap()
}

async fn leases_and_receipts(queue: &dyn Queue) {
    let q = key(&["q", "leases"]);
    assert_eq!(queue.lease(&q, ask(9, 30), at(0)).await.unwrap(), []);
    let later = NewMessage { due: at(5), ..message("later") };
    put(queue, &q, vec![later, message("one"), message("two")]).await;
    let one = queue.lease(&q, ask(1, 30), at(1)).await.unwrap();
    assert_eq!(names(&one), ["one"]);
    let [one] = one.as_slice() else { unreachable!() };
    assert_eq!((&one.body[..], one.receipt.lease), (&b"body of one"[..], 1));
    assert_eq!((one.sent, one.first_leased), (at(0), Some(at(1))));
    assert_eq!((one.due, one.leased), (at(30), true));
    let rest = queue.lease(&q, ask(9, 30), at(5)).await.unwrap();
    assert_eq!(names(&rest), ["two", "later"], "those due for longest first");
    assert_eq!(queue.lease(&q, ask(9, 60), at(29)).await.unwrap(), []);
    assert_eq!(queue.next_due(&q).await.unwrap(), Some(at(30)));
    assert_eq!(queue.next_due(&key(&["q"])).await.unwrap(), None);
    queue.apply(vec![Step::Extend { receipt: one.receipt, until: at(90) }], at(6)).await.unwrap();
    queue.apply(vec![Step::Done(rest[0].receipt)], at(6)).await.unwrap();
    let again = queue.lease(&q, ask(9, 60), at(30)).await.unwrap();
    assert_eq!(names(&again), ["later"], "one is held for longer, the other is done");
    assert_eq!((again[0].receipt.lease, again[0].first_leased), (2, Some(at(5))));
    // By size, but never none.
    let small = Ask { bytes: 1, ..ask(9, 200) };
    assert_eq!(queue.lease(&q, small, at(100)).await.unwrap().len(), 1);
}

async fn duplicate_delivery(queue: &dyn Queue) {
    let q = key(&["q", "duplicate"]);
    put(queue, &q, vec![message("one")]).await;
    let stale = queue.lease(&q, ask(1, 10), at(0)).await.unwrap()[0].receipt;
    let held = queue.lease(&q, ask(1, 40), at(10)).await.unwrap()[0].receipt;
    let lost = Err(StoreError::LeaseLost(stale.id));
    let moved = Moved {
        queue: key(&["q", "elsewhere"]),
        due: at(0),
        expires: None,
        state: Bytes::new(),
        keep_body: true,
    };
    for step in [
        Step::Done(stale),
        Step::Retry { receipt: stale, due: at(0), state: Some(Bytes::from("x")) },
        Step::Extend { receipt: stale, until: at(99) },
        Step::Move(stale, moved),
    ] {
        assert_eq!(queue.apply(vec![step], at(11)).await, lost);
    }
    assert_eq!(queue.peek(&q, None, 9).await.unwrap()[0].state, Bytes::new());
    queue.apply(vec![Step::Done(held)], at(12)).await.unwrap();
    assert_eq!(queue.apply(vec![Step::Done(held)], at(12)).await, lost, "done once");
    // One that ran out, but that nobody else was given, is still good.
    put(queue, &q, vec![message("two")]).await;
    let late = queue.lease(&q, ask(1, 10), at(0)).await.unwrap()[0].receipt;
    assert!(late.id > held.id);
    queue.apply(vec![Step::Done(late)], at(99)).await.unwrap();
}

/// Forwards, leases run out early: the same message twice, and only one of the two may write.
/// Backwards, messages are only given out late.
async fn clock_jumps(queue: &dyn Queue) {
    let q = key(&["q", "jumps"]);
    put(queue, &q, vec![message("one")]).await;
    let first = queue.lease(&q, ask(1, 30), at(0)).await.unwrap()[0].receipt;
    let second = queue.lease(&q, ask(1, 90_030), at(90_000)).await.unwrap()[0].receipt;
    assert!(queue.apply(vec![Step::Done(first)], at(1)).await.is_err());
    assert_eq!(queue.lease(&q, ask(1, 30), at(-90_000)).await.unwrap(), []);
    let back = Step::Retry { receipt: second, due: at(-90_000), state: None };
    queue.apply(vec![back], at(-90_000)).await.unwrap();
    assert_eq!(queue.lease(&q, ask(1, 30), at(-90_000)).await.unwrap().len(), 1);
}

async fn retries_and_states(queue: &dyn Queue) {
    let q = key(&["q", "retries"]);
    let new = NewMessage { state: Bytes::from("0"), ..message("one") };
    put(queue, &q, vec![new]).await;
    for n in 1..=3 {
        let held = queue.lease(&q, ask(1, 1000), at(n * 10)).await.unwrap();
        assert_eq!(held[0].state, (n - 1).to_string());
        assert_eq!((&held[0].body[..], held[0].receipt.lease), (&b"body of one"[..], n));
        let receipt = held[0].receipt;
        let state = Some(Bytes::from(n.to_string()));
        queue
            .apply(vec![Step::Retry { receipt, due: at(n * 10 + 5), state }], at(0))
            .await
            .unwrap();
        assert_eq!(queue.lease(&q, ask(1, 1000), at(n * 10 + 4)).await.unwrap(), []);
        // Nobody has been given it since.
        let again = Step::Retry { receipt, due: at(n * 10 + 6), state: None };
        queue.apply(vec![again], at(0)).await.unwrap();
    }
}

async fn moves(queue: &dyn Queue) {
    let (from, to) = (key(&["q", "from"]), key(&["q", "to"]));
    put(queue, &from, vec![message("kept"), message("emptied")]).await;
    let held = queue.lease(&from, ask(2, 100), at(0)).await.unwrap();
    let moved = |keep_body| Moved {
        queue: to.clone(),
        due: at(7),
        expires: Some(at(20)),
        state: Bytes::from("moved"),
        keep_body,
    };
    let steps = vec![
        Step::Move(held[0].receipt, moved(true)),
        Step::Move(held[1].receipt, moved(false)),
        Step::Put(to.clone(), NewMessage { due: at(9), ..message("beside") }),
    ];
    queue.apply(steps, at(1)).await.unwrap();
    let stale = held[0].receipt;
    let late = Step::Retry { receipt: stale, due: at(0), state: None };
    let lost = Err(StoreError::LeaseLost(stale.id));
    assert_eq!(queue.apply(vec![late], at(1)).await, lost, "it has gone on without its holder");
    assert_eq!(queue.peek(&from, None, 9).await.unwrap(), []);
    assert_eq!(queue.lease(&to, ask(9, 30), at(6)).await.unwrap(), []);
    let there = queue.lease(&to, ask(9, 30), at(9)).await.unwrap();
    assert_eq!(names(&there), ["kept", "emptied", "beside"]);
    assert_eq!((&there[0].body[..], &there[0].state[..]), (&b"body of kept"[..], &b"moved"[..]));
    assert_eq!((&there[1].body[..], &there[1].state[..]), (&b""[..], &b"moved"[..]));
    assert_eq!((there[0].receipt.lease, there[0].first_leased), (3, Some(at(0))));
    assert_eq!(queue.expire(at(20)).await.unwrap(), 2);
    assert_eq!(names(&queue.peek(&to, None, 9).await.unwrap()), ["beside"]);
}

async fn all_or_nothing(queue: &dyn Queue) {
    let q = key(&["q", "atom"]);
    let stored = put(queue, &q, vec![message("one")]).await;
    assert_eq!(stored[0].receipt.lease, 0, "nobody has it");
    let held = queue.lease(&q, ask(1, 100), at(0)).await.unwrap()[0].receipt;
    let nobody = Receipt { lease: held.lease + 1, ..held };
    let steps = vec![
        Step::Put(q.clone(), message("two")),
        Step::Put(key(&["q", "atom", "new"]), message("three")),
        Step::Done(held),
        Step::Done(nobody),
    ];
    assert_eq!(queue.apply(steps, at(0)).await, Err(StoreError::LeaseLost(held.id)));
    assert_eq!(names(&queue.peek(&q, None, 9).await.unwrap()), ["one"]);
    assert_eq!(queue.depths(&q, at(0)).await.unwrap().len(), 1);
    let again = NewMessage { dedup: Some(Dedup { id: "d".into(), until: at(9) }), ..message("4") };
    let steps = vec![Step::Put(q.clone(), again.clone()), Step::Done(nobody)];
    assert!(queue.apply(steps, at(0)).await.is_err());
    let stored = put(queue, &q, vec![again]).await;
    assert_eq!(stored[0].duplicate_of, None, "a refusal is not remembered");
}

async fn leased_from_the_start(queue: &dyn Queue) {
    let q = key(&["q", "mine"]);
    let mine = NewMessage { lease: Some(at(30)), ..message("mine") };
    let stored = put(queue, &q, vec![mine.clone(), mine]).await;
    assert_eq!(queue.lease(&q, ask(9, 60), at(29)).await.unwrap(), []);
    queue.apply(vec![Step::Done(stored[0].receipt)], at(1)).await.unwrap();
    let other = queue.lease(&q, ask(9, 60), at(30)).await.unwrap();
    assert_eq!((other.len(), other[0].receipt.lease), (1, 2));
    assert_eq!(other[0].receipt.id, stored[1].receipt.id);
    assert!(queue.apply(vec![Step::Done(stored[1].receipt)], at(31)).await.is_err());
    // After a crash, its sender knows that nobody works on it.
    assert!(queue.reclaim(&key(&["q"]), at(32)).await.unwrap() > 0);
    assert_eq!(queue.lease(&q, ask(9, 60), at(32)).await.unwrap()[0].receipt.lease, 3);
}

async fn order_of_groups(queue: &dyn Queue) {
    let q = key(&["q", "groups"]);
    let of = |group: &str, name: &str| NewMessage { group: Some(group.into()), ..message(name) };
    let order = vec![
        of("a", "a1"),
        of("a", "a2"),
        of("b", "b1"),
        of("a", "a3"),
        of("c", "c1"),
        of("b", "b2"),
    ];
    put(queue, &q, order).await;
    let in_order = |messages, until| Ask { in_order: true, ..ask(messages, until) };
    let first = queue.lease(&q, in_order(2, 30), at(0)).await.unwrap();
    assert_eq!(names(&first), ["a1", "a2"]);
    let rest = queue.lease(&q, in_order(9, 60), at(0)).await.unwrap();
    assert_eq!(names(&rest), ["b1", "c1", "b2"], "the group of what is out waits");
    // Given back while its follower is still out: the group waits on.
    let retry = |message: &Message, due| Step::Retry {
        receipt: message.receipt,
        due: at(due),
        state: None,
    };
    queue.apply(vec![retry(&first[0], 1)], at(1)).await.unwrap();
    assert_eq!(queue.lease(&q, in_order(9, 60), at(1)).await.unwrap(), []);
    queue.apply(vec![retry(&first[1], 5)], at(1)).await.unwrap();
    let again = queue.lease(&q, in_order(9, 60), at(2)).await.unwrap();
    assert_eq!(names(&again), ["a1"], "the next one is not due, and the third waits for it");
    queue.apply(vec![Step::Done(again[0].receipt)], at(3)).await.unwrap();
    assert_eq!(queue.lease(&q, in_order(9, 60), at(3)).await.unwrap(), []);
    assert_eq!(names(&queue.lease(&q, in_order(9, 60), at(5)).await.unwrap()), ["a2", "a3"]);
    // Leases that ran out: all of it again, in order.
    let all = queue.lease(&q, in_order(9, 99), at(60)).await.unwrap();
    assert_eq!(names(&all), ["a2", "b1", "a3", "c1", "b2"]);
}

async fn deduplication(queue: &dyn Queue) {
    let (q, other) = (key(&["q", "dedup"]), key(&["q", "dedup-other"]));
    let new = |name: &str, until| NewMessage {
        dedup: Some(Dedup { id: "same".into(), until: at(until) }),
        ..message(name)
    };
    let steps = vec![Step::Put(q.clone(), new("one", 300)), Step::Put(q.clone(), new("two", 300))];
    let stored = queue.apply(steps, at(0)).await.unwrap();
    assert_eq!(stored[1].duplicate_of.as_deref(), Some("one"));
    assert_eq!(stored[1].receipt.id, stored[0].receipt.id);
    let elsewhere = queue.apply(vec![Step::Put(other, new("three", 300))], at(0)).await.unwrap();
    assert_eq!(elsewhere[0].duplicate_of, None);
    // Also after the first one is done, until its time is over.
    let held = queue.lease(&q, ask(9, 30), at(0)).await.unwrap();
    queue.apply(vec![Step::Done(held[0].receipt)], at(1)).await.unwrap();
    let late = queue.apply(vec![Step::Put(q.clone(), new("four", 999))], at(299)).await.unwrap();
    assert_eq!(late[0].duplicate_of.as_deref(), Some("one"));
    let later = queue.apply(vec![Step::Put(q.clone(), new("five", 999))], at(300)).await.unwrap();
    assert_eq!(later[0].duplicate_of, None);
    queue.expire(at(999)).await.unwrap();
    assert_eq!(names(&queue.peek(&q, None, 9).await.unwrap()), ["five"]);
}

async fn depths_and_names(queue: &dyn Queue) {
    let (a, b) = (key(&["depth", "x", "a"]), key(&["depth", "x", "b"]));
    put(queue, &key(&["depth", "xx"]), vec![message("near")]).await;
    put(queue, &b, vec![message("other")]).await;
    let delayed = NewMessage { due: at(50), ..message("delayed") };
    let gone = NewMessage { expires: Some(at(3)), ..message("gone") };
    put(queue, &a, vec![message("out"), message("ready"), delayed, gone]).await;
    queue.lease(&a, ask(1, 30), at(0)).await.unwrap();
    let depths = queue.depths(&key(&["depth", "x"]), at(4)).await.unwrap();
    let shown: Vec<_> =
        depths.iter().map(|d| (&d.queue, d.ready, d.leased, d.delayed, d.bytes)).collect();
    assert_eq!(shown, [(&a, 1, 1, 1, 39), (&b, 1, 0, 0, 13)]);
    assert_eq!((depths[0].oldest, depths[0].next_due), (at(0), at(0)));
    let found = queue.find(&key(&["depth"]), "ready").await.unwrap();
    assert_eq!((found.len(), &found[0].queue, found[0].leased), (1, &a, false));
    assert_eq!(queue.find(&key(&["elsewhere"]), "ready").await.unwrap(), []);
    let page = queue.peek(&a, None, 2).await.unwrap();
    assert_eq!(names(&page), ["out", "ready"]);
    assert_eq!(page[0].due, at(30));
    let after = Some(page[1].receipt.id);
    assert_eq!(names(&queue.peek(&a, after, 9).await.unwrap()), ["delayed", "gone"]);
    // What is found can be worked on, and whoever had it loses it.
    queue.apply(vec![Step::Done(page[0].receipt)], at(4)).await.unwrap();
}

async fn deletions(queue: &dyn Queue) {
    let (a, b) = (key(&["del", "a"]), key(&["del", "b"]));
    for to in [&a, &b] {
        let due = |n: i64| NewMessage { due: at(100 - n), ..message(&n.to_string()) };
        put(queue, to, (0..5).map(due).collect()).await;
    }
    assert_eq!(queue.purge(&a).await.unwrap(), 5);
    assert_eq!(queue.purge(&a).await.unwrap(), 0);
    assert_eq!(queue.trim(&b, 9).await.unwrap(), 0);
    assert_eq!(queue.trim(&b, 2).await.unwrap(), 3);
    let left = queue.lease(&b, ask(9, 200), at(100)).await.unwrap();
    assert_eq!(names(&left), ["1", "0"], "what was due first is gone");
    assert_eq!(&left[0].body[..], b"body of 1");
}

async fn hints(queue: &dyn Queue) {
    let q = key(&["q", "hints"]);
    let mut hints = queue.hints();
    put(queue, &q, vec![message("one")]).await;
    assert_eq!(hints.recv().await.unwrap(), q);
}

async fn limits(queue: &dyn Queue) {
    let q = key(&["q", "limits"]);
    let many = vec![Step::Put(q.clone(), message("x")); STEPS_MAX + 1];
    let long = vec![Step::Put(q.clone(), message(&"x".repeat(600)))];
    let large = NewMessage { body: Bytes::from(vec![0; 17 << 20]), ..message("x") };
    for steps in [many, long, vec![Step::Put(q.clone(), large)]] {
        assert!(matches!(queue.apply(steps, at(0)).await, Err(StoreError::TooLarge(_))));
    }
    assert_eq!(queue.peek(&q, None, 9).await.unwrap(), []);
}
