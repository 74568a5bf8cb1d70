//! The catalog over SQLite and files, with its loop running, over restarts.

use super::*;
use crate::catalog::Parts;
use lamplight_env::Env;
use lamplight_store::Store;
use std::path::Path;
use std::sync::Arc;

async fn start(dir: &Path, worker: &Arc<FakeWorker>) -> (Env, FunctionCatalog) {
    let env = Env::system();
    let store = Store::open(dir, &env).unwrap();
    let parts = Parts {
        meta: store.meta,
        blobs: store.blobs,
        worker: worker.clone(),
        manager: Arc::new(FakeManager::default()),
        belongings: Arc::new(FakeBelongings::default()),
        counting: Arc::new(crate::counting::AccountCounting::new(
            1000,
            Arc::new(lamplight_env::SystemClock),
        )),
        env: env.clone(),
    };
    let catalog = FunctionCatalog::load(parts).await.unwrap();
    catalog.start();
    (env, catalog)
}

async fn settled(catalog: &FunctionCatalog, name: &str) -> Arc<FunctionRecord> {
    loop {
        let record = catalog.get(&named(name)).unwrap();
        if record.pending().is_none() {
            return record;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn functions_outlive_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let worker = Arc::new(FakeWorker::default());
    let (env, catalog) = start(dir.path(), &worker).await;
    catalog.add("a", "PK 1").await.unwrap();
    catalog.add("b", "PK 1").await.unwrap();
    catalog.add("c", "PK 3").await.unwrap();
    settled(&catalog, "a").await;
    settled(&catalog, "c").await;
    catalog.update_code(&named("a"), code("PK 2")).await.unwrap();
    let a = settled(&catalog, "a").await;
    let b = settled(&catalog, "b").await;
    catalog.delete(&named("c")).await.unwrap();
    assert!(env.tasks.shut_down(Duration::from_secs(60)).await);
    drop(catalog);

    let (env, catalog) = start(dir.path(), &worker).await;
    assert_eq!(catalog.get(&named("a")).unwrap(), a);
    assert_eq!(catalog.get(&named("b")).unwrap(), b);
    assert!(catalog.get(&named("c")).is_err());
    assert_eq!(*catalog.resolve(&named("a")).unwrap().code, digest("PK 2"));
    // What nobody can be running after a restart goes at once.
    let used = BTreeSet::from([digest("PK 1"), digest("PK 2")]);
    while *worker.unpacked.lock().unwrap() != used {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(env.tasks.shut_down(Duration::from_secs(60)).await);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_the_catalog_from_starting() {
    let world = World::new();
    let key = super::super::tables::key(&arn("odd")).unwrap();
    let put = lamplight_store::Op::Put(key, (&b"{\"format\":99}"[..]).into());
    world.meta.txn(vec![put]).await.unwrap();
    let refusal = FunctionCatalog::load(world.parts()).await.err().unwrap().to_string();
    assert!(refusal.contains("fn/000000000000/us-east-1/odd"), "{refusal}");
    assert!(refusal.contains("newer format"), "{refusal}");
}
