//! Reserved concurrency: kept with the function, told to counting.

use super::*;
use crate::catalog::Parts;
use crate::counting::AccountCounting;
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
        counting: Arc::new(AccountCounting::new(1000)),
        ..world.parts()
    });
    let restarted = restarted.await.unwrap();
    assert_eq!(restarted.get(&named("thumbs")).unwrap().reserved, Some(1));
    for catalog in [&catalog, &restarted] {
        let counting = &catalog.core().parts.counting;
        let _one = counting.admit(&arn("thumbs")).unwrap();
        let full = counting.admit(&arn("thumbs")).map(drop).unwrap_err();
        assert_eq!(full.reason, "ReservedFunctionConcurrentInvocationLimitExceeded");
        assert_eq!(full.to_string(), "Rate Exceeded.");
    }
    restarted.update_code(&named("thumbs"), code("PK 2")).await.unwrap();
    assert_eq!(restarted.get(&named("thumbs")).unwrap().reserved, Some(1));
    restarted.delete(&named("thumbs")).await.unwrap();
    assert_eq!(restarted.committed(&scope()), 0);
    restarted.add("thumbs", "PK 1").await.unwrap();
    let counting = &restarted.core().parts.counting;
    let both = [counting.admit(&arn("thumbs")), counting.admit(&arn("thumbs"))];
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
