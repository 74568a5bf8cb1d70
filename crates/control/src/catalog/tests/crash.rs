//! Cut off between any two steps, restarted, converged.

use super::*;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Change {
    Create,
    Refused,
    UpdateCode,
    UpdateSettings,
    Delete,
    Publish,
    DeleteVersion,
    Alias,
    Repair,
}

/// Begins with one active function and, for `Repair`, an unfinished update.
async fn run(catalog: &FunctionCatalog, change: Change) -> Result<(), CatalogError> {
    let function = named("thumbs");
    match change {
        Change::Create => catalog.add("new", "PK new").await.map(drop),
        Change::Refused => match catalog.add("new", "bad").await {
            Err(CatalogError::Invalid(_)) => Ok(()),
            other => other.map(drop),
        },
        Change::UpdateCode => catalog.update_code(&function, code("PK new")).await.map(drop),
        Change::UpdateSettings => {
            catalog.update_settings(&function, None, describe("new")).await.map(drop)
        }
        Change::Delete => catalog.delete(&function).await,
        Change::Publish => catalog.publish(&function, Publication::default()).await.map(drop),
        Change::DeleteVersion => catalog.delete(&named("thumbs:1")).await,
        Change::Alias => {
            let change =
                AliasChange { version: Some(Qualifier::Version(1)), ..AliasChange::default() };
            catalog.create_alias(&arn("thumbs"), "live", change).await.map(drop)
        }
        Change::Repair => match catalog.repair().await {
            true => Ok(()),
            false => Err(CatalogError::Unavailable("not done".into())),
        },
    }
}

/// What there is holds together: nothing unfinished, all code there, no code too much.
async fn check(world: &World, catalog: &FunctionCatalog) {
    let functions =
        catalog.list(&scope(), Listing { max: 100, versions: true, after: None }).functions;
    assert!(functions.iter().all(|f| f.state == State::Active && f.pending().is_none()));
    let used: BTreeSet<String> = functions.iter().map(|f| f.code.digest.clone()).collect();
    assert_eq!(world.stored().await, used);
    assert_eq!(world.unpacked(), used);
    for function in functions {
        assert!(catalog.resolve(&named(&function.name)).is_ok());
    }
}

#[tokio::test]
async fn a_restart_finishes_or_cleans_up_whatever_was_cut_off() {
    use Change::*;
    let mut cuts = 0;
    for change in
        [Create, Refused, UpdateCode, UpdateSettings, Delete, Publish, DeleteVersion, Alias, Repair]
    {
        for last_happens in [false, true] {
            for steps in 1.. {
                let world = World::new();
                let catalog = world.catalog().await;
                catalog.add("thumbs", "PK 1").await.unwrap();
                assert!(catalog.repair().await);
                if [Delete, DeleteVersion, Alias].contains(&change) {
                    catalog.publish(&named("thumbs"), Publication::default()).await.unwrap();
                    assert!(catalog.repair().await);
                }
                if change == Repair {
                    catalog.update_code(&named("thumbs"), code("PK 2")).await.unwrap();
                }
                drop(catalog);
                let cut = Arc::new(Cut { left: AtomicI64::new(steps), last_happens });
                let catalog = FunctionCatalog::load(world.cut_parts(&cut)).await.unwrap();
                let done = run(&catalog, change).await;
                let reached = cut.left.load(std::sync::atomic::Ordering::SeqCst) <= 0;
                drop(catalog);

                let restarted = world.catalog().await;
                assert!(restarted.repair().await, "{change:?} cut at {steps}");
                check(&world, &restarted).await;
                if done.is_ok() {
                    let there = |name| restarted.get(&named(name)).ok();
                    match change {
                        Create => assert!(there("new").is_some()),
                        Refused => assert!(there("new").is_none()),
                        UpdateCode => {
                            assert_eq!(there("thumbs").unwrap().code.digest, digest("PK new"));
                        }
                        UpdateSettings => {
                            assert_eq!(there("thumbs").unwrap().settings.description, "new");
                        }
                        Delete => {
                            assert!(there("thumbs").is_none() && there("thumbs:1").is_none());
                        }
                        Publish => assert!(there("thumbs:1").is_some()),
                        DeleteVersion => assert!(there("thumbs:1").is_none()),
                        Alias => assert!(there("thumbs:live").is_some()),
                        Repair => {}
                    }
                }
                if !reached {
                    assert!(done.is_ok(), "{change:?} was not cut off: {done:?}");
                    break;
                }
                cuts += 1;
            }
        }
    }
    assert!(cuts > 20, "only {cuts} places were cut");
}

#[tokio::test]
async fn unpacked_code_that_went_missing_is_made_again() {
    let world = World::new();
    world.catalog().await.add("thumbs", "PK 1").await.unwrap();
    world.worker.unpacked.lock().unwrap().clear();
    let catalog = world.catalog().await;
    assert!(catalog.repair().await);
    check(&world, &catalog).await;
}

#[tokio::test]
async fn a_function_without_its_code_fails_and_an_update_repairs_it() {
    let world = World::new();
    let catalog = world.catalog().await;
    catalog.add("thumbs", "PK 1").await.unwrap();
    let path = catalog.code(&named("thumbs")).await.unwrap().path;
    std::fs::remove_file(path).unwrap();
    assert!(catalog.repair().await, "there is nothing left to try");
    let failed = catalog.get(&named("thumbs")).unwrap();
    assert!(matches!(&failed.state, State::Failed { code, .. } if code == "InternalError"));
    assert!(text(catalog.resolve(&named("thumbs"))).ends_with("following state: Failed"));
    catalog.update_code(&named("thumbs"), code("PK 2")).await.unwrap();
    world.clock.advance(Duration::from_secs(1000));
    assert!(catalog.repair().await);
    check(&world, &catalog).await;
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let world = World::new();
    let catalog = world.catalog().await;
    catalog.add("thumbs", "PK 1").await.unwrap();
    *world.worker.failure.lock().unwrap() = Some(PrepareError::Failed("no space".into()));
    assert!(!catalog.repair().await);
    assert_eq!(catalog.get(&named("thumbs")).unwrap().state, State::Pending);
    assert!(matches!(catalog.add("b", "PK 2").await, Err(CatalogError::Unavailable(_))));
    *world.worker.failure.lock().unwrap() = None;
    assert!(catalog.repair().await);
    check(&world, &catalog).await;
}
