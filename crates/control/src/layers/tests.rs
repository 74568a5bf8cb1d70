//! Layers over a store in memory, beside a catalog with a fake worker.

use super::StoredLayers;
use super::tables::Last;
use crate::catalog::FunctionCatalog;
use crate::catalog::tests::fakes::*;
use lamplight_model::{FunctionSettings, LayerArn, LayerRef, LayerVersionArn, limits};
use lamplight_rpc::{Catalog, CatalogError, LayerFilter, LayerUpload, Layers};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

async fn start(world: &World) -> (Arc<FunctionCatalog>, StoredLayers) {
    let catalog = Arc::new(world.catalog().await);
    let parts = world.parts();
    let layers = StoredLayers::load(parts.meta, Arc::clone(&catalog), parts.env).await;
    (catalog, layers.unwrap())
}

fn layer(name: &str) -> LayerArn {
    LayerArn::new(&scope(), name)
}

impl StoredLayers {
    async fn add(&self, name: &str, content: &str) -> LayerVersionArn {
        let upload = LayerUpload {
            zip: zip(content),
            runtimes: Some(vec!["python3.11".into()]),
            ..LayerUpload::default()
        };
        self.publish(&layer(name), upload).await.unwrap().arn
    }

    fn reference(&self, arn: &LayerVersionArn) -> LayerRef {
        self.get(arn).unwrap().version.reference(arn)
    }
}

fn with(layers: Vec<LayerRef>) -> FunctionSettings {
    FunctionSettings { layers, ..settings() }
}

fn digests(contents: &[&str]) -> BTreeSet<String> {
    contents.iter().map(|content| digest(content)).collect()
}

#[tokio::test]
async fn numbers_count_up_and_are_never_used_again() {
    let world = World::new();
    let (_catalog, layers) = start(&world).await;
    assert_eq!(layers.add("tools", "PK 1").await.version, 1);
    let second = layers.add("tools", "PK 2").await;
    assert_eq!(second.version, 2);
    layers.delete(&second).await.unwrap();
    layers.delete(&second).await.unwrap();
    assert_eq!(layers.get(&second), None);
    assert_eq!(layers.add("tools", "PK 2").await.version, 3);
    layers.delete(&layer("tools").version(3)).await.unwrap();

    let (_catalog, again) = start(&world).await;
    let first = layer("tools").version(1);
    assert_eq!(again.get(&first), layers.get(&first));
    assert_eq!(again.add("tools", "PK 4").await.version, 4);
    assert_eq!(again.add("other", "PK 4").await.version, 1);
}

#[tokio::test]
async fn listings_filter_and_page() {
    let world = World::new();
    let (_catalog, layers) = start(&world).await;
    for name in ["a", "b", "b", "c"] {
        layers.add(name, "PK").await;
    }
    layers
        .publish(&layer("b"), LayerUpload { zip: zip("PK"), ..Default::default() })
        .await
        .unwrap();
    let any = LayerFilter::default();
    let python = LayerFilter { runtime: Some("python3.11".into()), ..any.clone() };
    let shown = |found: Vec<lamplight_rpc::PublishedLayer>| {
        found.iter().map(|f| format!("{}{}", f.arn.layer.name, f.arn.version)).collect::<Vec<_>>()
    };
    assert_eq!(shown(layers.latest(&scope(), &any, None, 9)), ["a1", "b3", "c1"]);
    assert_eq!(shown(layers.latest(&scope(), &python, Some("a"), 1)), ["b2"]);
    assert_eq!(shown(layers.versions(&layer("b"), &any, None, 9)), ["b3", "b2", "b1"]);
    assert_eq!(shown(layers.versions(&layer("b"), &python, Some(2), 9)), ["b1"]);
    assert_eq!(shown(layers.versions(&layer("none"), &any, None, 9)), [""; 0]);
    layers.delete(&layer("a").version(1)).await.unwrap();
    assert_eq!(shown(layers.latest(&scope(), &any, None, 9)), ["b3", "c1"]);
    let arm = LayerFilter { architecture: Some("arm64".into()), ..any };
    assert_eq!(shown(layers.latest(&scope(), &arm, None, 9)), [""; 0]);
}

#[tokio::test]
async fn zip_files_stay_while_a_version_or_a_function_names_them() {
    let world = World::new();
    let (catalog, layers) = start(&world).await;
    let (kept, gone) = (layers.add("kept", "PK kept").await, layers.add("gone", "PK gone").await);
    let used = with(vec![layers.reference(&kept), layers.reference(&gone)]);
    catalog.create(&arn("f"), new(used, "PK f")).await.unwrap();
    assert!(catalog.repair().await);
    assert_eq!(catalog.usage(&scope()).code_size, 4 + 7 + 7);

    layers.delete(&gone).await.unwrap();
    let (catalog, layers) = start(&world).await;
    world.clock.advance(Duration::from_secs(100));
    assert!(catalog.repair().await);
    assert_eq!(world.stored().await, digests(&["PK f", "PK kept", "PK gone"]));
    let target = catalog.resolve(&named("f")).unwrap();
    assert_eq!(target.layers, [digest("PK kept"), digest("PK gone")]);

    let without = Box::new(|settings: &mut FunctionSettings| {
        settings.layers.clear();
        Ok(())
    });
    catalog.update_settings(&named("f"), None, without).await.unwrap();
    assert!(catalog.repair().await);
    // A call that began before may still run.
    assert_eq!(world.stored().await.len(), 3);
    world.clock.advance(Duration::from_secs(100));
    assert!(catalog.repair().await);
    assert_eq!(world.stored().await, digests(&["PK f", "PK kept"]));
    assert_eq!(catalog.usage(&scope()).code_size, 4 + 7);
    layers.delete(&kept).await.unwrap();
    world.clock.advance(Duration::from_secs(100));
    assert!(catalog.repair().await);
    assert_eq!(world.stored().await, digests(&["PK f"]));
    assert_eq!(world.unpacked(), digests(&["PK f"]));
}

#[tokio::test]
async fn a_function_cannot_name_a_layer_that_is_gone() {
    let world = World::new();
    let (catalog, layers) = start(&world).await;
    let gone = layers.add("gone", "PK gone").await;
    let reference = layers.reference(&gone);
    layers.delete(&gone).await.unwrap();
    world.clock.advance(Duration::from_secs(100));
    assert!(catalog.repair().await);
    let f = arn("f");
    let refused = catalog.create(&f, new(with(vec![reference]), "PK")).await;
    let text = refused.unwrap_err().to_string();
    assert_eq!(text, format!("Layer version {gone} does not exist."));
    assert_eq!(world.stored().await, digests(&[]));
}

#[tokio::test]
async fn code_and_layers_share_one_limit() {
    let world = World::new();
    let (catalog, layers) = start(&world).await;
    let small = layers.add("small", "PK small").await;
    let large = LayerRef { unzipped: limits::UNZIPPED_CODE, ..layers.reference(&small) };
    let refused = async |layers: Vec<LayerRef>| {
        let f = arn("f");
        let created = catalog.create(&f, new(with(layers), "PK f")).await;
        created.unwrap_err().to_string()
    };
    assert_eq!(
        refused(vec![large.clone()]).await,
        "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. The actual size is 262144004 bytes."
    );
    assert_eq!(
        refused(vec![large.clone(), large.clone()]).await,
        "Layers consume more than the available size of 262144000 bytes"
    );
    assert_eq!(world.stored().await, digests(&["PK small"]));
    catalog.add("f", "PK f").await.unwrap();
    assert!(catalog.repair().await);
    let add = Box::new(|settings: &mut FunctionSettings| {
        settings.layers = vec![large];
        Ok(())
    });
    let refused = catalog.update_settings(&named("f"), None, add).await;
    assert!(matches!(refused, Err(CatalogError::Invalid(text)) if text.contains("262144004")));
}

#[test]
fn old_bytes_of_numbers_are_read_and_newer_ones_refused() {
    let bytes = br#"{"format":1,"last":7}"#;
    assert_eq!(Last::from_bytes(bytes), Ok(Last::new(7)));
    assert_eq!(Last::new(7).to_bytes(), bytes);
    assert!(Last::from_bytes(br#"{"format":9,"last":7}"#).unwrap_err().contains("newer"));
}
