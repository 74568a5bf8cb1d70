//! The cache: once, whole, from the right bytes, and nothing left of what was refused.

use super::super::CodeCache;
use super::super::unsynced::{self, MARK};
use super::archive::{Entry, zip};
use super::{listing, written};
use lamplight_model::limits::UNZIPPED_CODE;
use lamplight_rpc::PrepareError;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;

fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn small() -> Vec<u8> {
    zip(&[Entry::deflated("index.mjs", "export const handler = 1"), Entry::stored("d/f", "")])
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != MARK).collect()
}

#[tokio::test]
async fn code_is_unpacked_once_and_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, cache_dir) = (small(), dir.path().join("code"));
    let (digest, file) = (digest(&bytes), written(dir.path(), "blob", &bytes));
    let cache = CodeCache::open(&cache_dir).unwrap();
    assert_eq!(cache.unpacked(&digest), None);
    let prepared = cache.prepare(&digest, &file).await.unwrap();
    assert_eq!(prepared.unzipped, 24);
    let task = cache.unpacked(&digest).unwrap();
    assert_eq!(task, cache_dir.canonicalize().unwrap().join(&digest).join("task"));
    assert_eq!(listing(&task)["index.mjs"], (0o644, b"export const handler = 1".to_vec()));

    // Prepared already, so the file is not needed again; nor after a restart.
    fs::remove_file(&file).unwrap();
    assert_eq!(cache.prepare(&digest, &file).await, Ok(prepared));
    let reopened = CodeCache::open(&cache_dir).unwrap();
    assert_eq!(reopened.unpacked(&digest), Some(task));
    assert_eq!(reopened.prepare(&digest, &file).await, Ok(prepared));

    cache.forget(&digest).await;
    assert_eq!(cache.unpacked(&digest), None);
    assert_eq!(names(&cache_dir), [""; 0]);
    cache.forget(&digest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_callers_one_result() {
    let dir = tempfile::tempdir().unwrap();
    let entries: Vec<Entry> =
        (0..300).map(|n| Entry::deflated(format!("d{}/{n}", n % 7), "content")).collect();
    let bytes = zip(&entries);
    let (digest, file) = (digest(&bytes), written(dir.path(), "blob", &bytes));
    let cache = CodeCache::open(&dir.path().join("code")).unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for turn in 0..12 {
        let (cache, digest, file) = (cache.clone(), digest.clone(), file.clone());
        callers.spawn(async move {
            // Some give up at once; that must not disturb the others.
            if turn % 3 == 0 {
                tokio::select! { biased;
                    result = cache.prepare(&digest, &file) => result.map(|_| ()),
                    () = tokio::task::yield_now() => Ok(()),
                }
            } else {
                cache.prepare(&digest, &file).await.map(|_| ())
            }
        });
    }
    while let Some(result) = callers.join_next().await {
        assert_eq!(result.unwrap(), Ok(()));
    }
    assert_eq!(listing(&cache.unpacked(&digest).unwrap()).len(), 307);
}

#[tokio::test]
async fn refused_archives_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache_dir = dir.path().join("code");
    let cache = CodeCache::open(&cache_dir).unwrap();
    let good = Entry::stored("good", "1");
    // 42.zip in small: a megabyte for each kilobyte, and more of it than is allowed.
    let zeros = Entry::deflated("", vec![0; 1 << 20]);
    let bomb: Vec<Entry> = (0..=UNZIPPED_CODE >> 20)
        .map(|n| zeros.clone().with(|e| e.name = format!("{n}").into_bytes()))
        .collect();
    let late = [good.clone(), Entry::deflated("bad", "x").with(|e| e.crc ^= 1)];
    for (bytes, too_large) in
        [(zip(&bomb), true), (zip(&[good, Entry::stored("../x", "1")]), false), (zip(&late), false)]
    {
        let file = written(dir.path(), "blob", &bytes);
        let error = cache.prepare(&digest(&bytes), &file).await.unwrap_err();
        assert_eq!(matches!(error, PrepareError::TooLarge), too_large, "{error:?}");
        assert_eq!(matches!(error, PrepareError::BadZip(_)), !too_large, "{error:?}");
        assert_eq!(cache.unpacked(&digest(&bytes)), None);
        assert_eq!(names(&cache_dir), [""; 0]);
    }
    assert_eq!(names(dir.path()).len(), 2);
}

/// D3: the bytes are not those that were hashed when the function was made.
#[tokio::test]
async fn another_file_than_was_hashed_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(&dir.path().join("code")).unwrap();
    let file = written(dir.path(), "blob", &zip(&[Entry::stored("evil", "1")]));
    let wanted = digest(&small());
    let error = cache.prepare(&wanted, &file).await.unwrap_err();
    assert!(matches!(&error, PrepareError::Failed(text) if text.contains("SHA-256")), "{error:?}");
    assert_eq!(cache.unpacked(&wanted), None);
    let missing = cache.prepare(&wanted, &dir.path().join("none")).await.unwrap_err();
    assert!(matches!(missing, PrepareError::Failed(_)));
}

#[tokio::test]
async fn digests_are_no_paths() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("precious")).unwrap();
    let cache = CodeCache::open(&dir.path().join("code")).unwrap();
    let upper = digest(b"").to_uppercase();
    for digest in ["", ".", "..", "../precious", "/etc", upper.as_str()] {
        let file = written(dir.path(), "blob", &small());
        assert!(matches!(cache.prepare(digest, &file).await, Err(PrepareError::Failed(_))));
        assert_eq!(cache.unpacked(digest), None);
        cache.forget(digest).await;
    }
    assert!(dir.path().join("precious").is_dir());
}

#[tokio::test]
async fn a_start_clears_what_was_not_finished() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, cache_dir) = (small(), dir.path().join("code"));
    let (whole, file) = (digest(&bytes), written(dir.path(), "blob", &bytes));
    let cache = CodeCache::open(&cache_dir).unwrap();
    cache.prepare(&whole, &file).await.unwrap();
    let (torn, old) = (digest(b"torn"), digest(b"old"));
    for name in [format!(".partial-{torn}"), torn.clone(), old.clone(), "theirs".to_owned()] {
        fs::create_dir_all(cache_dir.join(name).join("task")).unwrap();
    }
    written(&cache_dir.join(&torn), "summary.json", b"{\"version\":1,\"no");
    written(&cache_dir.join(&old), "summary.json", br#"{"version":0,"nodes":1,"unzipped":1}"#);
    assert_eq!(cache.unpacked(&torn), None);
    assert_eq!(cache.unpacked(&old), None);

    let cache = CodeCache::open(&cache_dir).unwrap();
    let mut left = names(&cache_dir);
    left.sort();
    assert_eq!(left, [whole.as_str(), "theirs"]);
    assert!(cache.unpacked(&whole).is_some());
}

#[tokio::test]
async fn code_that_was_not_synced_ends_with_the_boot_of_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, cache_dir) = (small(), dir.path().join("code"));
    let (digest, file) = (digest(&bytes), written(dir.path(), "blob", &bytes));
    let cache = CodeCache::open(&cache_dir).unwrap();
    cache.prepare(&digest, &file).await.unwrap();
    assert!(cache_dir.join(MARK).exists());
    // In order: synced, so that another boot finds it whole, and nothing is taken after it.
    cache.close().await;
    assert!(!cache_dir.join(MARK).exists());
    let late = zip(&[Entry::stored("late", "")]);
    let late = (self::digest(&late), written(dir.path(), "late", &late));
    assert!(cache.prepare(&late.0, &late.1).await.is_err());
    unsynced::begin(&cache_dir, "another boot").unwrap();
    assert!(cache.unpacked(&digest).is_some());
    // The server was killed and the machine stayed.
    unsynced::begin(&cache_dir, "another boot").unwrap();
    assert!(cache.unpacked(&digest).is_some());
    // The machine went down.
    unsynced::begin(&cache_dir, "a third boot").unwrap();
    assert_eq!(cache.unpacked(&digest), None);
    // A system that does not say which boot it is never finds anything whole.
    let cache = CodeCache::open(&cache_dir).unwrap();
    cache.prepare(&digest, &file).await.unwrap();
    unsynced::begin(&cache_dir, "").unwrap();
    assert_eq!(cache.unpacked(&digest), None);
}
