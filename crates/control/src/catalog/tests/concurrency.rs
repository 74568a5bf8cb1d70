//! Reserved and provisioned concurrency: kept with the function, told to counting and manager.

use super::*;
use crate::catalog::Parts;
use crate::counting::AccountCounting;
use lamplight_rpc::PublishTo;
use std::sync::Arc;

async fn reserve(catalog: &FunctionCatalog, name: &str, n: u32) -> Result<(), CatalogError> {
    catalog.reserve(&named(name), Some(n)).await
}

#[tokio::test]
async fn a_reservation_is_enforced_kept_and_taken_away() {
    let (world, catalog) = one_active().await;
    reserve(&catalog, "thumbs", 1).await.unwrap();
    assert_eq!(catalog.committed(&scope()), 1);
    let restarted = FunctionCatalog::load(Parts {
        counting: Arc::new(AccountCounting::new(1000, Arc::new(lamplight_env::SystemClock))),
        ..world.parts()
    });
    let restarted = restarted.await.unwrap();
    assert_eq!(restarted.get(&named("thumbs")).unwrap().reserved, Some(1));
    for catalog in [&catalog, &restarted] {
        let counting = &catalog.core().parts.counting;
        let _one = counting.admit(&arn("thumbs"), false).unwrap();
        let full = counting.admit(&arn("thumbs"), false).map(drop).unwrap_err();
        assert_eq!(full.reason, "ReservedFunctionConcurrentInvocationLimitExceeded");
        assert_eq!(full.to_string(), "Rate Exceeded.");
    }
    restarted.update_code(&named("thumbs"), code("PK 2")).await.unwrap();
    assert_eq!(restarted.get(&named("thumbs")).unwrap().reserved, Some(1));
    restarted.delete(&named("thumbs")).await.unwrap();
    assert_eq!(restarted.committed(&scope()), 0);
    restarted.add("thumbs", "PK 1").await.unwrap();
    let counting = &restarted.core().parts.counting;
    let both = [counting.admit(&arn("thumbs"), false), counting.admit(&arn("thumbs"), false)];
    assert!(both.iter().all(Result::is_ok));
}

#[tokio::test]
async fn a_hundred_are_left_to_the_others() {
    let (_world, catalog) = one_active().await;
    catalog.add("b", "PK 1").await.unwrap();
    let refused = "Specified ReservedConcurrentExecutions for function decreases account's \
                   UnreservedConcurrentExecution below its minimum value of [100].";
    assert_eq!(text(reserve(&catalog, "thumbs", 901).await), refused);
    assert_eq!(text(reserve(&catalog, "thumbs", u32::MAX).await), refused);
    reserve(&catalog, "thumbs", 900).await.unwrap();
    assert_eq!(text(reserve(&catalog, "b", 1).await), refused);
    reserve(&catalog, "b", 0).await.unwrap();
    reserve(&catalog, "thumbs", 899).await.unwrap();
    reserve(&catalog, "b", 1).await.unwrap();
    catalog.reserve(&named("thumbs"), None).await.unwrap();
    assert_eq!(catalog.committed(&scope()), 1);
    let (one, two) = tokio::join!(reserve(&catalog, "thumbs", 500), reserve(&catalog, "b", 500));
    assert!(one.is_ok() != two.is_ok(), "together they are too many");

    let only = "This operation is permitted on Lambda functions only.";
    assert!(text(reserve(&catalog, "thumbs:1", 1).await).starts_with(only));
    assert_eq!(
        text(reserve(&catalog, "none", 1).await),
        "Function not found: arn:aws:lambda:us-east-1:000000000000:function:none:$LATEST"
    );
}

fn wishes(world: &World) -> Vec<(String, u32)> {
    world.manager.1.lock().unwrap().clone()
}

async fn published(catalog: &FunctionCatalog, content: &str) {
    let change = CodeChange { publish: Some(PublishTo::Number), ..code(content) };
    catalog.update_code(&named("thumbs"), change).await.unwrap();
    assert!(catalog.repair().await);
}

#[tokio::test]
async fn the_manager_is_told_what_is_to_be_ready() {
    let (world, catalog) = one_active().await;
    published(&catalog, "PK 2").await;
    published(&catalog, "PK 3").await;
    let made = catalog.provision(&named("thumbs:1"), Some(3)).await.unwrap().unwrap();
    assert_eq!((made.requested, made.last_modified), (3, 1_795_000_000_000));
    assert!(catalog.repair().await);
    assert_eq!(wishes(&world), [("thumbs:1".to_owned(), 3)]);
    assert_eq!(catalog.committed(&scope()), 3);
    assert!(catalog.provision(&named("thumbs:1"), None).await.unwrap().is_none());

    let two = AliasChange {
        version: Some(Qualifier::Version(1)),
        weights: Some(vec![(2, 0.25)]),
        ..AliasChange::default()
    };
    catalog.create_alias(&arn("thumbs"), "live", two).await.unwrap();
    catalog.provision(&named("thumbs:live"), Some(5)).await.unwrap();
    let restarted = world.catalog().await;
    assert!(restarted.repair().await);
    let both = [("thumbs:1".to_owned(), 3), ("thumbs:2".to_owned(), 2)];
    assert_eq!(wishes(&world), both);
    let all = restarted.all_provisioned(&arn("thumbs")).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((&all[0].0, all[0].1.requested), (&Qualifier::Alias("live".into()), 5));

    restarted.reserve(&named("thumbs"), Some(7)).await.unwrap();
    assert_eq!(restarted.committed(&scope()), 7, "a reservation covers what is provisioned");
    assert!(text(restarted.provision(&named("thumbs:live"), Some(8)).await).contains("reserved"));
    let latest = AliasChange {
        version: Some(Qualifier::Latest),
        weights: Some(Vec::new()),
        ..AliasChange::default()
    };
    assert_eq!(
        text(restarted.update_alias(&arn("thumbs"), "live", latest).await),
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    );
    restarted.delete_alias(&arn("thumbs"), "live").await.unwrap();
    assert!(restarted.repair().await);
    assert_eq!(wishes(&world), []);
    restarted.provision(&named("thumbs:2"), Some(1)).await.unwrap();
    restarted.delete(&named("thumbs")).await.unwrap();
    assert!(restarted.repair().await);
    assert_eq!(wishes(&world), []);
}
