//! Aliases.

use super::*;
use lamplight_rpc::PublishTo;
use lamplight_store::{Key, Op};

async fn with_two_versions() -> (World, FunctionCatalog) {
    let (world, catalog) = one_active().await;
    for content in ["PK 2", "PK 3"] {
        let change = CodeChange { publish: Some(PublishTo::Number), ..code(content) };
        catalog.update_code(&named("thumbs"), change).await.unwrap();
        assert!(catalog.repair().await);
    }
    (world, catalog)
}

fn to(version: u64) -> AliasChange {
    AliasChange { version: Some(Qualifier::Version(version)), ..AliasChange::default() }
}

fn weighted(version: u64, weights: &[(u64, f64)]) -> AliasChange {
    AliasChange { weights: Some(weights.to_vec()), ..to(version) }
}

fn runs(catalog: &FunctionCatalog, name: &str) -> String {
    catalog.resolve(&named(name)).unwrap().version.to_string()
}

#[tokio::test]
async fn an_alias_is_moved_between_versions() {
    let (world, catalog) = with_two_versions().await;
    let thumbs = arn("thumbs");
    let described = AliasChange { description: Some("d".into()), ..to(1) };
    let made = catalog.create_alias(&thumbs, "live", described).await.unwrap();
    assert_eq!((made.version, made.description.as_str()), (Some(1), "d"));
    assert_eq!(runs(&catalog, "thumbs:live"), "1");
    assert_eq!(catalog.get(&named("thumbs:live")).unwrap().version(), Qualifier::Version(1));
    let guarded = AliasChange { revision_id: Some(made.revision_id.clone()), ..to(2) };
    let moved = catalog.update_alias(&thumbs, "live", guarded.clone()).await.unwrap();
    assert_ne!(moved.revision_id, made.revision_id);
    assert_eq!((moved.description.as_str(), runs(&catalog, "thumbs:live")), ("d", "2".into()));
    assert!(matches!(
        catalog.update_alias(&thumbs, "live", guarded).await,
        Err(CatalogError::Precondition)
    ));
    let restarted = world.catalog().await;
    assert_eq!(restarted.alias(&thumbs, "live").unwrap(), moved);
    assert_eq!(runs(&restarted, "thumbs:live"), "2");
    let latest = AliasChange { version: Some(Qualifier::Latest), ..AliasChange::default() };
    restarted.update_alias(&thumbs, "live", latest).await.unwrap();
    assert_eq!(runs(&restarted, "thumbs:live"), "$LATEST");
    restarted.delete_alias(&thumbs, "live").await.unwrap();
    restarted.delete_alias(&thumbs, "live").await.unwrap();
    assert!(restarted.resolve(&named("thumbs:live")).is_err());
}

#[tokio::test]
async fn calls_are_drawn_by_weight() {
    let (_world, catalog) = with_two_versions().await;
    let thumbs = arn("thumbs");
    catalog.create_alias(&thumbs, "all", weighted(1, &[(2, 1.0)])).await.unwrap();
    catalog.create_alias(&thumbs, "none", weighted(1, &[(2, 0.0)])).await.unwrap();
    catalog.create_alias(&thumbs, "half", weighted(1, &[(2, 0.5)])).await.unwrap();
    let ones = |name| (0..200).filter(|_| runs(&catalog, name) == "1").count();
    assert_eq!((ones("thumbs:all"), ones("thumbs:none")), (0, 200));
    // Outside of this once in 10^18 runs.
    assert!((40..160).contains(&ones("thumbs:half")));
    let kept = catalog.update_alias(&thumbs, "half", to(1)).await.unwrap();
    assert_eq!(kept.extra, Some((2, 0.5)));
    catalog.update_alias(&thumbs, "half", weighted(1, &[])).await.unwrap();
    assert_eq!(ones("thumbs:half"), 200);
}

#[tokio::test]
async fn refusals_have_the_recorded_texts() {
    let (_world, catalog) = with_two_versions().await;
    let (thumbs, none) = (arn("thumbs"), arn("none"));
    catalog.create_alias(&thumbs, "live", weighted(1, &[(2, 0.5)])).await.unwrap();
    let create = async |change| text(catalog.create_alias(&thumbs, "new", change).await);
    assert_eq!(
        create(weighted(1, &[(2, 0.1), (3, 0.1)])).await,
        "Number of items in AdditionalVersionWeights cannot be greater than 1"
    );
    assert_eq!(
        create(weighted(1, &[(1, 0.5)])).await,
        "Invalid function version 1. Function version 1 is already included in routing \
         configuration."
    );
    let latest = AliasChange { version: Some(Qualifier::Latest), ..weighted(1, &[(2, 0.5)]) };
    assert_eq!(
        create(latest).await,
        "$LATEST is not supported for an alias pointing to more than 1 version"
    );
    assert_eq!(create(to(10)).await, format!("Function not found: {thumbs}:10"));
    assert_eq!(create(weighted(1, &[(9, 0.5)])).await, format!("Function not found: {thumbs}:9"));
    assert_eq!(
        text(catalog.create_alias(&none, "new", to(1)).await),
        format!("Function not found: {none}:1")
    );
    assert_eq!(
        text(catalog.create_alias(&thumbs, "live", to(1)).await),
        format!("Alias already exists: {thumbs}:live")
    );
    assert_eq!(
        text(catalog.update_alias(&thumbs, "gone", to(1)).await),
        format!("Alias not found: {thumbs}:gone")
    );
    assert_eq!(
        text(catalog.alias(&thumbs, "gone")),
        format!("Cannot find alias arn: {thumbs}:gone")
    );
    assert_eq!(text(catalog.aliases(&none, None)), format!("Function not found: {none}"));
    assert_eq!(
        text(catalog.delete_alias(&none, "live").await),
        format!("Function not found: {none}")
    );
    for version in ["thumbs:1", "thumbs:2"] {
        assert_eq!(
            text(catalog.delete(&named(version)).await),
            "Unable to delete version because the following aliases reference it: [live]"
        );
    }
}

#[tokio::test]
async fn aliases_go_with_their_function() {
    let (world, catalog) = with_two_versions().await;
    for n in 0..150 {
        catalog.create_alias(&arn("thumbs"), &format!("a{n:03}"), to(1)).await.unwrap();
    }
    let rest = catalog.aliases(&arn("thumbs"), Some("a147")).unwrap();
    assert_eq!(rest.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["a148", "a149"]);
    catalog.delete(&named("thumbs")).await.unwrap();
    let left = world.meta.list_all(&Key::new(&["fn-alias"]).unwrap()).await.unwrap();
    assert!(left.is_empty());
    catalog.add("thumbs", "PK 1").await.unwrap();
    assert!(catalog.aliases(&arn("thumbs"), None).unwrap().is_empty());
    assert!(catalog.repair().await);

    catalog.publish(&named("thumbs"), Publication::default()).await.unwrap();
    catalog.create_alias(&arn("thumbs"), "one", to(1)).await.unwrap();
    catalog.delete(&named("thumbs")).await.unwrap();
    assert!(world.meta.list_all(&Key::new(&["fn-alias"]).unwrap()).await.unwrap().is_empty());
    let stray = lamplight_model::AliasRecord {
        format: 1,
        name: "stray".into(),
        version: None,
        description: String::new(),
        extra: None,
        revision_id: "r".into(),
        provisioned: None,
    };
    let key = super::super::tables::alias_key(&arn("none"), "stray").unwrap();
    world.meta.txn(vec![Op::Put(key, stray.to_bytes().into())]).await.unwrap();
    let refusal = FunctionCatalog::load(world.parts()).await.err().unwrap().to_string();
    assert!(refusal.contains("its function is not there"), "{refusal}");
}
