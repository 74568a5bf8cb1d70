//! Telemetry and Logs APIs: what happens in an environment, told to the extensions in it.
//!
//! An extension subscribes while the environment initialises, and is sent what happened since its
//! start, and all that follows, in batches. Invariants: telling never waits; what a subscriber does
//! not take is bounded, dropped and said, and costs nobody else anything; deliveries are made within
//! the sandbox's own network. A batch may be sent twice, as on AWS.

mod buffer;
mod delivery;
mod happening;
mod subscription;

pub use happening::Happening;
pub use subscription::{Dialect, Invalid, Subscription};

use async_trait::async_trait;
use buffer::Buffer;
use lamplight_env::{Clock, Tasks};
use lamplight_sandbox::Dialer;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

/// What is kept for subscribers that are still to come. Bytes.
const EARLY: usize = 256 * 1024;

/// How long an environment's end waits for what was told last to be taken.
const FLUSH: Duration = Duration::from_millis(200);

/// Reaches what extensions listen on.
#[async_trait]
pub trait Dial: Send + Sync {
    async fn connect(&self, port: u16) -> io::Result<TcpStream>;
}

#[async_trait]
impl Dial for Dialer {
    async fn connect(&self, port: u16) -> io::Result<TcpStream> {
        self.connect(port).await
    }
}

/// One extension that has subscribed.
struct Subscriber {
    name: String,
    subscription: Subscription,
    buffer: Mutex<Buffer>,
    /// The buffer has changed.
    changed: Notify,
    /// Whether all that was told has been taken.
    done: watch::Sender<bool>,
}

/// Ends its delivery when it is dropped.
struct Served {
    subscriber: Arc<Subscriber>,
    delivery: AbortHandle,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.delivery.abort();
    }
}

#[derive(Default)]
struct Inner {
    /// Of this initialisation, until it is over.
    early: Vec<Happening>,
    early_bytes: usize,
    closed: bool,
    served: Vec<Served>,
}

/// The subscriptions of one environment.
pub struct Telemetry {
    tasks: Tasks,
    clock: Arc<dyn Clock>,
    dialer: Arc<dyn Dial>,
    inner: Mutex<Inner>,
    /// Whether anybody is to be told, or may come to be.
    listens: AtomicBool,
}

impl Telemetry {
    pub fn new(tasks: Tasks, clock: Arc<dyn Clock>, dialer: Arc<dyn Dial>) -> Self {
        Self { tasks, clock, dialer, inner: Mutex::default(), listens: AtomicBool::new(true) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Everything begins anew: nobody is subscribed.
    pub fn restart(&self) {
        *self.lock() = Inner::default();
        self.listens.store(true, Ordering::Relaxed);
    }

    /// Initialisation is over: nobody else is let in.
    pub fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.early = Vec::new();
        self.listens.store(!inner.served.is_empty(), Ordering::Relaxed);
    }

    /// Whether telling is of any use.
    pub fn listens(&self) -> bool {
        self.listens.load(Ordering::Relaxed)
    }

    /// `false` when it is too late. One who subscribes again has the new subscription.
    pub fn subscribe(&self, name: &str, subscription: Subscription) -> bool {
        let mut inner = self.lock();
        if inner.closed {
            return false;
        }
        let mut buffer = Buffer::new(subscription.buffering);
        let now = self.clock.instant();
        for happening in &inner.early {
            if let Some(line) = happening.told_to(&subscription) {
                buffer.push(line, happening.matters(), now);
            }
        }
        let subscriber = Arc::new(Subscriber {
            name: name.to_owned(),
            subscription,
            buffer: Mutex::new(buffer),
            changed: Notify::new(),
            done: watch::Sender::new(true),
        });
        let (clock, dialer) = (Arc::clone(&self.clock), Arc::clone(&self.dialer));
        let delivery = delivery::deliver(Arc::clone(&subscriber), clock, dialer);
        let delivery = self.tasks.spawn(delivery).abort_handle();
        inner.served.retain(|served| served.subscriber.name != name);
        inner.served.push(Served { subscriber, delivery });
        true
    }

    pub fn tell(&self, happening: Happening) {
        let mut inner = self.lock();
        for served in &inner.served {
            let subscriber = &served.subscriber;
            if let Some(line) = happening.told_to(&subscriber.subscription) {
                let now = self.clock.instant();
                subscriber.buffer().push(line, happening.matters(), now);
                subscriber.changed.notify_one();
            }
        }
        if !inner.closed && inner.early_bytes < EARLY {
            inner.early_bytes += happening.weight();
            inner.early.push(happening);
        }
    }

    /// Sends what waits to be sent, and waits a moment for it to be taken.
    pub async fn flush(&self) {
        let waiting: Vec<_> = self
            .lock()
            .served
            .iter()
            .map(|served| {
                let subscriber = &served.subscriber;
                if !subscriber.buffer().flush() {
                    subscriber.done.send_replace(false);
                    subscriber.changed.notify_one();
                }
                subscriber.done.subscribe()
            })
            .collect();
        let all = async {
            for mut done in waiting {
                let _ = done.wait_for(|done| *done).await;
            }
        };
        // Whoever does not take it in this time had his chance.
        let _ = tokio::time::timeout(FLUSH, all).await;
    }
}

impl Subscriber {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
pub mod tests {
    use super::subscription::Dialect;
    use super::*;
    use crate::logs::{Event, Source};
    use lamplight_env::{Env, SystemClock, Timestamp};
    use serde_json::{Value, json};
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    /// Extensions on this machine's loopback.
    struct Loopback;

    #[async_trait]
    impl Dial for Loopback {
        async fn connect(&self, port: u16) -> io::Result<TcpStream> {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await
        }
    }

    pub fn telemetry() -> Arc<Telemetry> {
        let tasks = Env::system().tasks;
        Arc::new(Telemetry::new(tasks, Arc::new(SystemClock), Arc::new(Loopback)))
    }

    fn subscription(destination: Value) -> Subscription {
        let body = json!({
            "schemaVersion": "2022-12-13",
            "types": ["platform", "function"],
            "buffering": { "timeoutMs": 25, "maxItems": 1000 },
            "destination": destination,
        });
        Subscription::read(Dialect::Telemetry, body.to_string().as_bytes()).unwrap()
    }

    fn line(text: &str) -> Happening {
        Happening::line(Source::Function, text, false, Timestamp::from_millis(0))
    }

    #[tokio::test]
    async fn what_happened_before_and_after_is_told_a_line_each() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let telemetry = telemetry();
        telemetry.tell(line("early"));
        telemetry.tell(Happening::of(&Event::End { request_id: "1" }, Timestamp::from_millis(0)));
        assert!(
            telemetry.subscribe("spy", subscription(json!({ "protocol": "TCP", "port": port })))
        );
        telemetry.close();
        telemetry.tell(line("late"));
        let mut lines = BufReader::new(listener.accept().await.unwrap().0).lines();
        for expected in ["early", "late"] {
            let line = lines.next_line().await.unwrap().unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            assert_eq!((&event["record"], &event["type"]), (&json!(expected), &json!("function")));
        }
        let late = subscription(json!({ "protocol": "TCP", "port": port }));
        assert!(!telemetry.subscribe("late", late), "it is closed");
        telemetry.restart();
        assert_eq!(lines.next_line().await.unwrap(), None, "its delivery ended with it");
    }

    async fn request(stream: &mut TcpStream) -> (String, Value) {
        let mut text = Vec::new();
        loop {
            let mut some = [0; 1024];
            let n = stream.read(&mut some).await.unwrap();
            assert_ne!(n, 0, "it was closed");
            text.extend_from_slice(&some[..n]);
            let all = String::from_utf8_lossy(&text);
            if let Some((head, body)) = all.split_once("\r\n\r\n")
                && let Ok(body) = serde_json::from_str(body)
            {
                return (head.to_owned(), body);
            }
        }
    }

    #[tokio::test]
    async fn a_batch_that_was_not_taken_is_sent_again() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let telemetry = telemetry();
        let uri = format!("http://sandbox.localdomain:{port}/in");
        telemetry.subscribe("spy", subscription(json!({ "protocol": "HTTP", "URI": uri })));
        telemetry.tell(line("one"));
        telemetry.tell(line("two"));
        for status in ["500 Oh", "200 OK"] {
            let mut stream = listener.accept().await.unwrap().0;
            let (head, body) = request(&mut stream).await;
            assert!(head.starts_with("POST /in HTTP/1.1"), "{head}");
            let records: Vec<_> = body.as_array().unwrap().iter().map(|e| &e["record"]).collect();
            assert_eq!(records, [&json!("one"), &json!("two")]);
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        telemetry.flush().await;
    }

    #[tokio::test]
    async fn who_does_not_read_is_told_what_it_missed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let telemetry = telemetry();
        let uri = format!("http://sandbox.localdomain:{port}");
        telemetry.subscribe("slow", subscription(json!({ "protocol": "HTTP", "URI": uri })));
        let text = "x".repeat(1000);
        for _ in 0..3000 {
            telemetry.tell(line(&text));
        }
        let (mut told, mut missed) = (0, 0);
        while told + missed < 3000 {
            let mut stream = listener.accept().await.unwrap().0;
            let (_, body) = request(&mut stream).await;
            for event in body.as_array().unwrap() {
                match event["type"].as_str() {
                    Some("function") => told += 1,
                    Some("platform.logsDropped") => {
                        missed += event["record"]["droppedRecords"].as_u64().unwrap();
                    }
                    other => panic!("{other:?}"),
                }
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
        assert_eq!(told + missed, 3000);
        assert!(missed > 0);
    }
}
