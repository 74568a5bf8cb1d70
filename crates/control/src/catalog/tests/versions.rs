//! Published versions.

use super::*;
use lamplight_rpc::PublishTo;
use lamplight_store::{Key, Op};
use std::sync::Arc;

async fn published(catalog: &FunctionCatalog, name: &str) -> Arc<FunctionRecord> {
    let version = catalog.publish(&named(name), Publication::default()).await.unwrap();
    assert!(catalog.repair().await);
    version
}

fn number(record: &Arc<FunctionRecord>) -> u64 {
    record.published.as_ref().map_or(0, |published| published.number)
}

async fn changed(catalog: &FunctionCatalog, content: &str) {
    catalog.update_code(&named("thumbs"), code(content)).await.unwrap();
    assert!(catalog.repair().await);
}

#[tokio::test]
async fn a_version_is_pending_then_active_and_stays_as_it_is() {
    let (world, catalog) = one_active().await;
    let function = named("thumbs");
    let before = catalog.get(&function).unwrap();
    let publication = Publication {
        description: Some("first".into()),
        code_sha256: Some(before.code.code_sha256()),
        revision_id: Some(before.revision_id.clone()),
        to: PublishTo::Number,
    };
    let version = catalog.publish(&function, publication).await.unwrap();
    assert_eq!((number(&version), &version.state), (1, &State::Pending));
    assert_eq!(version.settings.description, "first");
    let latest = catalog.get(&function).unwrap();
    assert_ne!(latest.revision_id, before.revision_id);
    assert_ne!(latest.revision_id, version.revision_id);
    assert!(text(catalog.resolve(&named("thumbs:1"))).ends_with("following state: Pending"));
    assert!(catalog.repair().await);
    let target = catalog.resolve(&named("thumbs:1")).unwrap();
    assert_eq!(target.version, Qualifier::Version(1));
    world.manager.0.lock().unwrap().clear();

    changed(&catalog, "PK 2").await;
    assert_eq!(catalog.resolve(&named("thumbs:1")).unwrap(), target);
    assert_eq!(catalog.resolve(&function).unwrap().code, digest("PK 2"));
    let generation = catalog.get(&function).unwrap().generation;
    let retired = world.manager.0.lock().unwrap().clone();
    assert_eq!(retired, [("thumbs".into(), Outdated::Latest(generation))]);
    world.clock.advance(Duration::from_secs(1000));
    assert!(catalog.repair().await);
    assert_eq!(world.stored().await, BTreeSet::from([digest("PK 1"), digest("PK 2")]));
    assert_eq!(catalog.usage(&scope()), Usage { code_size: 8, functions: 1 });
}

#[tokio::test]
async fn what_is_published_again_takes_the_place_of_what_was() {
    let (world, catalog) = one_active().await;
    let again = || Publication { to: PublishTo::Latest, ..Publication::default() };
    let refused = text(catalog.publish(&named("thumbs"), again()).await);
    assert!(refused.contains("with a capacity provider"), "{refused}");

    let mut managed = settings();
    managed.echoed.insert("CapacityProviderConfig".into(), serde_json::json!({}));
    catalog.create(&arn("managed"), new(managed, "PK 5")).await.unwrap();
    assert!(catalog.repair().await);
    let function = named("managed");
    assert_eq!(catalog.resolve(&function).unwrap().version, Qualifier::Latest);
    let first = catalog.publish(&function, again()).await.unwrap();
    assert_eq!((first.version(), &first.state), (Qualifier::LatestPublished, &State::Pending));
    assert!(catalog.repair().await);
    assert_eq!(catalog.resolve(&function).unwrap().version, Qualifier::LatestPublished);

    catalog.update_code(&function, code("PK 6")).await.unwrap();
    assert!(catalog.repair().await);
    assert_eq!(catalog.resolve(&function).unwrap().code, digest("PK 5"));
    world.manager.0.lock().unwrap().clear();
    let second = catalog.publish(&function, again()).await.unwrap();
    assert_eq!(second.state, State::Active, "calls go on");
    let retired = world.manager.0.lock().unwrap().clone();
    assert_eq!(retired, [("managed".into(), Outdated::LatestPublished(second.generation))]);
    assert!(catalog.repair().await);
    let restarted = world.catalog().await;
    assert_eq!(restarted.resolve(&function).unwrap().code, digest("PK 6"));
    // Code of what was replaced goes like any other.
    world.clock.advance(Duration::from_secs(1000));
    assert!(restarted.repair().await);
    assert_eq!(world.stored().await, BTreeSet::from([digest("PK 1"), digest("PK 6")]));

    let nobody = FunctionRef {
        qualifier: Some(Qualifier::Version(Qualifier::LATEST_PUBLISHED)),
        ..named("managed")
    };
    assert!(restarted.get(&nobody).is_err(), "the number it is kept under names nothing");
    restarted.delete(&named("managed:$LATEST.PUBLISHED")).await.unwrap();
    assert_eq!(restarted.resolve(&function).unwrap().version, Qualifier::Latest);
}

#[tokio::test]
async fn nothing_new_is_no_new_version() {
    let (_world, catalog) = one_active().await;
    let first = published(&catalog, "thumbs").await;
    let described = Publication { description: Some("again".into()), ..Publication::default() };
    let again = catalog.publish(&named("thumbs"), described).await.unwrap();
    assert_eq!((number(&again), again.settings.description.as_str()), (1, ""));
    assert_eq!(number(&first), 1);
    catalog.update_settings(&named("thumbs"), None, describe("x")).await.unwrap();
    catalog.repair().await;
    assert_eq!(number(&published(&catalog, "thumbs").await), 2);
    let same = CodeChange { publish: Some(PublishTo::Number), ..code("PK 1") };
    assert_eq!(number(&catalog.update_code(&named("thumbs"), same).await.unwrap()), 2);
    catalog.repair().await;
    let other = CodeChange { publish: Some(PublishTo::Number), ..code("PK 3") };
    let third = catalog.update_code(&named("thumbs"), other).await.unwrap();
    assert_eq!((number(&third), &third.code.digest), (3, &digest("PK 3")));
    let both = NewFunction { publish: Some(PublishTo::Number), ..new(settings(), "PK") };
    let version = catalog.create(&arn("both"), both).await.unwrap();
    assert_eq!((number(&version), &version.state), (1, &State::Pending));
    assert_eq!(catalog.get(&named("both")).unwrap().last_version, 1);
}

#[tokio::test]
async fn guards_and_refusals_have_the_recorded_texts() {
    let (_world, catalog) = one_active().await;
    let function = named("thumbs");
    let current = catalog.get(&function).unwrap().code.code_sha256();
    let other = Publication { code_sha256: Some("other".into()), ..Publication::default() };
    assert_eq!(
        text(catalog.publish(&function, other).await),
        format!(
            "CodeSHA256 (other) is different from current CodeSHA256 in $LATEST ({current}). \
             Please try again with the CodeSHA256 in $LATEST."
        )
    );
    let stale = Publication { revision_id: Some("stale".into()), ..Publication::default() };
    assert!(matches!(catalog.publish(&function, stale).await, Err(CatalogError::Precondition)));
    published(&catalog, "thumbs").await;
    let only = "This operation is permitted on Lambda functions only.";
    assert!(text(catalog.update_code(&named("thumbs:1"), code("PK")).await).starts_with(only));
    assert!(
        text(catalog.update_settings(&named("thumbs:1"), None, describe("")).await)
            .starts_with(only)
    );
    let missing = "Function not found: arn:aws:lambda:us-east-1:000000000000:function:";
    assert_eq!(text(catalog.get(&named("thumbs:9"))), format!("{missing}thumbs:9"));
    assert_eq!(text(catalog.delete(&named("none:9")).await), format!("{missing}none:9"));
    assert!(catalog.delete(&named("thumbs:9")).await.is_ok(), "it is gone already");
}

#[tokio::test]
async fn numbers_are_never_used_again() {
    let (world, catalog) = one_active().await;
    published(&catalog, "thumbs").await;
    world.manager.0.lock().unwrap().clear();
    catalog.delete(&named("thumbs:1")).await.unwrap();
    assert!(catalog.get(&named("thumbs:1")).is_err());
    assert_eq!(*world.manager.0.lock().unwrap(), [("thumbs".into(), Outdated::Version(1))]);
    assert_eq!(number(&published(&catalog, "thumbs").await), 2);
    let restarted = world.catalog().await;
    restarted.delete(&named("thumbs:2")).await.unwrap();
    assert_eq!(number(&published(&restarted, "thumbs").await), 3);
}

#[tokio::test]
async fn versions_are_listed_in_pages_and_go_with_their_function() {
    let (world, catalog) = one_active().await;
    catalog.add("zoo", "PK 1").await.unwrap();
    for n in 1..=230 {
        let change =
            CodeChange { publish: Some(PublishTo::Number), ..code(&format!("PK {}", n % 7 + 2)) };
        catalog.update_code(&named("thumbs"), change).await.unwrap();
        catalog.repair().await;
    }
    let restarted = world.catalog().await;
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = restarted.versions(&arn("thumbs"), after, 50).unwrap();
        seen.extend(page.functions.iter().map(number));
        match page.next {
            Some((_, next)) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, (0..=230).collect::<Vec<_>>());
    let all = Listing { max: 300, versions: true, after: None };
    assert_eq!(restarted.list(&scope(), all).functions.len(), 232);
    let rest = Listing { max: 300, versions: true, after: Some(("thumbs", 229)) };
    let names: Vec<_> = restarted.list(&scope(), rest).functions.iter().map(number).collect();
    assert_eq!(names, [230, 0]);
    assert_eq!(restarted.list(&scope(), listing(None, 300)).functions.len(), 2);

    restarted.delete(&named("thumbs")).await.unwrap();
    world.clock.advance(Duration::from_secs(1000));
    assert!(restarted.repair().await);
    assert_eq!(world.stored().await, BTreeSet::from([digest("PK 1")]));
    assert_eq!(restarted.usage(&scope()), Usage { code_size: 4, functions: 1 });
    let left = world.meta.list_all(&Key::new(&["fn-version"]).unwrap()).await.unwrap();
    assert!(left.is_empty());
}

#[tokio::test]
async fn a_version_without_its_function_is_not_overlooked() {
    let (world, catalog) = one_active().await;
    published(&catalog, "thumbs").await;
    let key = super::super::tables::key(&arn("thumbs")).unwrap();
    world.meta.txn(vec![Op::Delete(key)]).await.unwrap();
    let refusal = FunctionCatalog::load(world.parts()).await.err().unwrap().to_string();
    assert!(refusal.contains("its function is not there"), "{refusal}");
}
