//! What functions own beside the catalog ends with them, and never with a namesake.

use super::*;
use lamplight_rpc::PublishTo;
use std::sync::atomic::Ordering;

fn forgotten(world: &World) -> Vec<String> {
    std::mem::take(&mut *world.belongings.forgotten.lock().unwrap())
}

#[tokio::test]
async fn they_are_forgotten_with_their_owner_and_before_a_namesake_is_made() {
    let world = World::new();
    let catalog = world.catalog().await;
    let function = arn("thumbs").to_string();
    catalog.add("thumbs", "PK 1").await.unwrap();
    assert_eq!(forgotten(&world), [function.as_str()]);
    // One that exists keeps what it has, whoever tries to make it again.
    assert!(catalog.add("thumbs", "PK 1").await.is_err());
    assert_eq!(forgotten(&world), Vec::<String>::new());

    assert!(catalog.repair().await);
    let change = CodeChange { publish: Some(PublishTo::Number), ..code("PK 2") };
    catalog.update_code(&named("thumbs"), change).await.unwrap();
    let thumbs = arn("thumbs");
    let alias = || catalog.create_alias(&thumbs, "live", AliasChange::default());
    alias().await.unwrap();
    assert_eq!(forgotten(&world), [format!("{function}:live")]);
    assert!(alias().await.is_err());
    assert_eq!(forgotten(&world), Vec::<String>::new());
    catalog.delete_alias(&thumbs, "live").await.unwrap();
    catalog.delete(&named("thumbs:1")).await.unwrap();
    catalog.delete(&named("thumbs")).await.unwrap();
    assert_eq!(forgotten(&world), [format!("{function}:live"), format!("{function}:1"), function]);
}

#[tokio::test]
async fn what_a_function_has_from_the_start_is_there_before_it_is() {
    let world = World::new();
    let catalog = world.catalog().await;
    let signed = |content: &str| {
        let belongings = vec![("signed-by", serde_json::json!("arn"))];
        NewFunction { belongings, ..new(settings(), content) }
    };
    let function = arn("thumbs");
    catalog.create(&function, signed("PK 1")).await.unwrap();
    assert_eq!(*world.belongings.given.lock().unwrap(), [format!("{function} has signed-by")]);
    forgotten(&world);
    // Nothing is given to one that is there, and what was given to none is forgotten.
    assert!(catalog.create(&function, signed("PK 1")).await.is_err());
    assert_eq!(world.belongings.given.lock().unwrap().len(), 1);
    assert_eq!(forgotten(&world), Vec::<String>::new());
    let other = arn("other");
    let mut large = signed("PK 2");
    large.settings.description = "x".repeat(lamplight_store::TXN_BYTES_MAX);
    assert!(text(catalog.create(&other, large).await).contains("too large"));
    assert_eq!(forgotten(&world), [other.to_string(), other.to_string()]);
    assert!(catalog.get(&named("other")).is_err());
}

#[tokio::test]
async fn a_failure_to_forget_fails_what_can_still_fail() {
    let world = World::new();
    let catalog = world.catalog().await;
    catalog.add("thumbs", "PK 1").await.unwrap();
    world.belongings.fails.store(true, Ordering::SeqCst);
    // It is gone, so that is the answer.
    catalog.delete(&named("thumbs")).await.unwrap();
    assert!(catalog.get(&named("thumbs")).is_err());
    // A namesake would inherit what is left.
    assert_eq!(text(catalog.add("thumbs", "PK 1").await), "the disk is full");
    assert!(catalog.get(&named("thumbs")).is_err());
    world.belongings.fails.store(false, Ordering::SeqCst);
    catalog.add("thumbs", "PK 1").await.unwrap();
}
