//! The data directory as a whole: conformance, locks, damage, and `kill -9`.

use crate::*;
use bytes::Bytes;
use lamplight_env::Env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

const CHILD_DIR: &str = "LAMPLIGHT_STORE_TEST_DIR";

fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path, &Env::system())
}

fn key(name: &str) -> Key {
    Key::new(&["t", name]).unwrap()
}

fn put(name: &str, body: &str) -> Op {
    Op::Put(key(name), Bytes::copy_from_slice(body.as_bytes()))
}

#[tokio::test]
async fn sqlite_and_files_conform() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    conformance::meta(&*store.meta).await;
    conformance::blobs(&*store.blobs).await;
    conformance::queue(&*store.meta).await;
    conformance::log(&*store.meta).await;
    conformance::leases(&*store.meta, &*store.meta).await;
}

#[tokio::test]
async fn memory_conforms() {
    conformance::meta(&MemoryMeta::default()).await;
    let queues = MemoryQueues::default();
    conformance::queue(&queues).await;
    conformance::log(&queues).await;
    conformance::leases(&queues, &queues).await;
}

#[tokio::test]
async fn revisions_go_on_after_a_reopen() {
    let dir = tempfile::tempdir().unwrap();
    let rev = open(dir.path()).unwrap().meta.txn(vec![put("a", "1")]).await.unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(store.meta.get(&key("a")).await.unwrap().unwrap().rev, rev);
    assert_eq!(store.meta.txn(vec![put("a", "2")]).await.unwrap().0, rev.0 + 1);
}

#[tokio::test]
async fn a_second_server_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let refusal = open(dir.path()).err().unwrap().to_string();
    assert!(refusal.contains(&format!("(process {})", std::process::id())), "{refusal}");
    let meta = store.meta;
    drop(store.blobs);
    assert!(open(dir.path()).is_err(), "half of the store is still open");
    drop(meta);
    open(dir.path()).unwrap();
}

#[tokio::test]
async fn half_written_blobs_are_swept() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()).unwrap());
    let partial = dir.path().join("blobs/tmp/0123");
    std::fs::write(&partial, b"half").unwrap();
    let store = open(dir.path()).unwrap();
    assert!(!partial.exists());
    assert_eq!(store.blobs.list().await.unwrap(), []);
}

#[tokio::test]
async fn a_damaged_blob_heals_when_it_is_put_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let blob = Blob::new(Bytes::from_static(b"hello"));
    store.blobs.put(blob.clone()).await.unwrap();
    let path = store.blobs.path(blob.digest(), 5).await.unwrap();
    std::fs::write(&path, b"help").unwrap();
    let damaged = store.blobs.path(blob.digest(), 5).await.unwrap_err().to_string();
    assert!(damaged.contains("4 bytes instead of 5"), "{damaged}");
    store.blobs.put(blob).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"hello");
}

#[tokio::test]
async fn a_blob_that_cannot_be_written_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let blob = Blob::new(Bytes::from_static(b"hello"));
    let name = blob.digest().as_str();
    let place = dir.path().join("blobs").join(&name[..2]).join(name);
    std::fs::create_dir(&place).unwrap();
    assert!(matches!(store.blobs.put(blob.clone()).await, Err(StoreError::Unavailable(_))));
    assert_eq!(std::fs::read_dir(dir.path().join("blobs/tmp")).unwrap().count(), 0);
    std::fs::remove_dir(&place).unwrap();
    store.blobs.put(blob).await.unwrap();
}

#[tokio::test]
async fn large_records_make_short_pages() {
    let dir = tempfile::tempdir().unwrap();
    let meta = open(dir.path()).unwrap().meta;
    let body = "x".repeat(900_000);
    for n in 0..12 {
        meta.txn(vec![put(&format!("{n:02}"), &body)]).await.unwrap();
    }
    let prefix = Key::new(&["t"]).unwrap();
    let page = meta.list(&prefix, Page { after: None, limit: 100 }).await.unwrap();
    assert!((1..12).contains(&page.len()), "{}", page.len());
    assert_eq!(meta.list_all(&prefix).await.unwrap().len(), 12);
}

/// Runs the ignored test `name` of this binary in a process of its own, through `launcher`.
fn child(name: &str, dir: &Path, launcher: &[&str]) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = match launcher {
        [program, rest @ ..] => {
            let mut command = Command::new(program);
            command.args(rest).arg(this);
            command
        }
        [] => Command::new(this),
    };
    command
        .args(["--exact", &format!("tests::{name}"), "--ignored", "--nocapture"])
        .args(["--test-threads", "1"])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped());
    command
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

/// Writes as fast as it can until it is killed or refused, saying what was acknowledged.
async fn write_on(dir: &Path) {
    let store = open(dir).unwrap();
    let first = store.meta.list_all(&Key::new(&["t"]).unwrap()).await.unwrap().len();
    for n in first.. {
        // Several at a time, so that they share commits.
        let one = |part: usize| {
            let (a, b) = (format!("a{n}-{part}"), format!("b{n}-{part}"));
            let meta = &store.meta;
            async move {
                let body = "x".repeat(2000);
                let done = meta.txn(vec![put(&a, &body), put(&b, &body)]).await;
                if done.is_ok() {
                    say(&format!("record {n}-{part}"));
                }
                done
            }
        };
        let (a, b, c) = tokio::join!(one(0), one(1), one(2));
        if let Some(error) = [a, b, c].into_iter().find_map(Result::err) {
            say(&format!("refused {error:?}"));
            say(&format!("then {:?}", store.meta.txn(vec![put("late", "")]).await));
            say(&format!("reason {}", store.meta.failed().await));
            return;
        }
        if n % 4 == 0 {
            let blob = Blob::new(Bytes::from(format!("blob {n}")));
            let digest = blob.digest().clone();
            if store.blobs.put(blob).await.is_ok() {
                say(&format!("blob {digest} {}", format!("blob {n}").len()));
            }
        }
    }
}

#[tokio::test]
#[ignore = "the child of other tests"]
async fn child_writes() {
    let dir = std::env::var_os(CHILD_DIR).expect("started by another test");
    write_on(Path::new(&dir)).await;
}

/// Everything that `lines` say was acknowledged is there, and every pair is whole.
async fn check(dir: &Path, lines: &[String]) -> usize {
    let store = open(dir).unwrap();
    let mut checked = 0;
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["record", id] => {
                for half in ["a", "b"] {
                    let entry = store.meta.get(&key(&format!("{half}{id}"))).await.unwrap();
                    assert_eq!(entry.expect("acknowledged").body.len(), 2000);
                }
            }
            ["blob", digest, len] => {
                let digest = Digest::parse(digest).unwrap();
                let path = store.blobs.path(&digest, len.parse().unwrap()).await.unwrap();
                assert_eq!(Digest::of(&std::fs::read(path).unwrap()), digest);
            }
            _ => continue,
        }
        checked += 1;
    }
    let records = store.meta.list_all(&Key::new(&["t"]).unwrap()).await.unwrap();
    let half = |letter| {
        let names = records.iter().filter_map(|e| e.key.segments().last());
        names.filter_map(|n| n.strip_prefix(letter)).collect::<Vec<_>>()
    };
    assert_eq!(half('a'), half('b'), "transactions are whole");
    let changes = store.meta.changes(Rev(0), PAGE_MAX).await.unwrap();
    assert!(changes.iter().zip(1..).all(|(change, rev)| change.rev == Rev(rev)));
    checked
}

#[tokio::test]
async fn a_killed_server_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..8 {
        let mut child = child("child_writes", dir.path(), &[]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let wanted = 3 + 11 * round;
        let mut seen: Vec<String> = Vec::new();
        while seen.iter().filter(|line| line.starts_with("record")).count() < wanted {
            seen.push(lines.next().expect("the child writes until it is killed"));
        }
        child.kill().unwrap();
        seen.extend(lines);
        child.wait().unwrap();
        assert!(check(dir.path(), &seen).await >= wanted);
    }
}

#[tokio::test]
async fn a_failing_device_stops_the_writer_and_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    // A limit on the size of files fails a write in the middle of a commit, as a device would.
    let limited = r#"trap "" XFSZ; ulimit -f 1000; exec "$0" "$@""#;
    let mut child = child("child_writes", dir.path(), &["sh", "-c", limited]).spawn().unwrap();
    let lines: Vec<String> =
        BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success());
    let said = |start: &str| lines.iter().find(|l| l.starts_with(start)).expect("said");
    assert!(said("refused").contains("Failed("), "{}", said("refused"));
    assert!(said("then").contains("Err(Failed("), "{}", said("then"));
    assert!(said("reason").contains("I/O"), "{}", said("reason"));
    assert!(check(dir.path(), &lines).await > 10);
}
