//! What every implementation of [`Blobs`] does.

use crate::{Blob, Blobs, Digest, StoreError};
use bytes::Bytes;

/// Runs all of Blobs'. The store is empty.
pub async fn blobs(blobs: &dyn Blobs) {
    let hello = Blob::new(Bytes::from_static(b"hello"));
    let digest = hello.digest().clone();
    assert_eq!(digest.as_str(), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    let missing = Err(StoreError::NoBlob(digest.to_string()));
    assert_eq!(blobs.path(&digest, 5).await, missing);
    blobs.delete(&digest).await.unwrap();
    for _ in 0..2 {
        blobs.put(hello.clone()).await.unwrap();
        let path = blobs.path(&digest, 5).await.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"hello");
    }
    assert!(matches!(blobs.path(&digest, 6).await, Err(StoreError::Damaged { .. })));
    let empty = Blob::new(Bytes::new());
    blobs.put(empty.clone()).await.unwrap();
    let mut listed = blobs.list().await.unwrap();
    listed.sort();
    assert_eq!(listed, [digest.clone(), empty.digest().clone()]);
    blobs.delete(&digest).await.unwrap();
    assert_eq!(blobs.path(&digest, 5).await, missing);
    assert_eq!(blobs.list().await.unwrap(), [empty.digest().clone()]);
    assert_eq!(Digest::parse("../../../../etc/passwd"), None);
    assert_eq!(Digest::parse(&digest.as_str().to_uppercase()), None);
}
