//! The catalog over a store in memory, a fake worker and a fake manager.

mod aliases;
mod belongings;
mod concurrency;
mod crash;
mod durable;
pub(crate) mod fakes;
mod planner;
mod versions;

use super::FunctionCatalog;
use fakes::*;
use lamplight_model::*;
use lamplight_rpc::*;
use lamplight_store::Meta;
use std::collections::BTreeSet;
use std::time::Duration;

fn text<T: std::fmt::Debug>(result: Result<T, CatalogError>) -> String {
    result.unwrap_err().to_string()
}

fn listing(after: Option<&str>, max: usize) -> Listing<'_> {
    Listing { after: after.map(|name| (name, 0)), max, versions: false }
}

fn describe(description: &'static str) -> SettingsChange {
    Box::new(move |settings| {
        settings.description = description.into();
        Ok(())
    })
}

async fn one_active() -> (World, FunctionCatalog) {
    let world = World::new();
    let catalog = world.catalog().await;
    catalog.add("thumbs", "PK 1").await.unwrap();
    assert!(catalog.repair().await);
    (world, catalog)
}

#[tokio::test]
async fn a_function_is_pending_then_active() {
    let world = World::new();
    let catalog = world.catalog().await;
    let created = catalog.add("thumbs", "PK 1").await.unwrap();
    assert_eq!((&created.state, &created.last_update), (&State::Pending, &LastUpdate::Never));
    assert_eq!(created.last_modified, 1_795_000_000_000);
    let pending = "The operation cannot be performed at this time. The function is currently in \
                   the following state: Pending";
    let function = named("thumbs");
    assert_eq!(text(catalog.resolve(&function)), pending);
    assert_eq!(text(catalog.update_code(&function, code("PK 2")).await), pending);
    assert_eq!(text(catalog.update_settings(&function, None, describe("x")).await), pending);

    assert!(catalog.repair().await);
    let active = catalog.get(&function).unwrap();
    assert_eq!((&active.state, &active.last_update), (&State::Active, &LastUpdate::Successful));
    assert_ne!(active.revision_id, created.revision_id);
    assert_eq!(active.last_modified, created.last_modified);
    let target = catalog.resolve(&function).unwrap();
    assert_eq!((target.generation, &target.code), (active.generation, &digest("PK 1")));
    let path = catalog.code(&function).await.unwrap().path;
    assert_eq!(std::fs::read(path).unwrap(), b"PK 1");
    assert_eq!(catalog.usage(&scope()), Usage { code_size: 4, functions: 1 });
}

#[tokio::test]
async fn tags_change_without_a_new_generation() {
    let (_world, catalog) = one_active().await;
    let before = catalog.get(&named("thumbs")).unwrap();
    let tag: TagsChange = Box::new(|tags| {
        tags.insert("street".into(), "lamp".into());
        Ok(())
    });
    let tagged = catalog.update_tags(&arn("thumbs"), tag).await.unwrap();
    assert_eq!(tagged.tags["street"], "lamp");
    assert_ne!(tagged.revision_id, before.revision_id);
    assert_eq!(
        (tagged.generation, tagged.last_modified, &tagged.last_update),
        (before.generation, before.last_modified, &before.last_update)
    );
    assert_eq!(catalog.get(&named("thumbs")).unwrap().tags, tagged.tags);
    let refused: TagsChange = Box::new(|_| Err(CatalogError::Invalid("no".into())));
    assert_eq!(text(catalog.update_tags(&arn("thumbs"), refused).await), "no");
    assert!(matches!(
        catalog.update_tags(&arn("none"), Box::new(|_| Ok(()))).await,
        Err(CatalogError::NotFound(_))
    ));
}

#[tokio::test]
async fn refusals_have_the_texts_that_clients_match_on() {
    let (world, catalog) = one_active().await;
    assert_eq!(text(catalog.add("thumbs", "PK 2").await), "Function already exist: thumbs");
    assert_eq!(
        text(catalog.add("b", "bad").await),
        "Could not unzip uploaded file. Please check your file, then try to upload again."
    );
    assert_eq!(
        text(catalog.add("b", "huge").await),
        "Unzipped size must be smaller than 262144000 bytes"
    );
    let with_runtime =
        |runtime: &str| FunctionSettings { runtime: Some(runtime.into()), ..settings() };
    let name = arn("b");
    let create = |settings| catalog.create(&name, new(settings, "PK"));
    assert_eq!(
        text(create(with_runtime("python3.7")).await),
        "The runtime parameter of python3.7 is no longer supported for creating or updating AWS \
         Lambda functions. We recommend you use a supported runtime while creating or updating \
         functions."
    );
    assert_eq!(text(create(with_runtime("ruby3.3")).await), "ruby is not installed");
    assert!(matches!(
        catalog.create(&arn("a\u{1f}b"), new(settings(), "PK")).await,
        Err(CatalogError::Invalid(_))
    ));

    let missing = "Function not found: arn:aws:lambda:us-east-1:000000000000:function:none";
    assert_eq!(text(catalog.get(&named("none"))), missing);
    assert_eq!(text(catalog.get(&named("none:$LATEST"))), format!("{missing}:$LATEST"));
    assert_eq!(text(catalog.resolve(&named("none"))), format!("{missing}:$LATEST"));
    assert_eq!(text(catalog.resolve(&named("none:7"))), format!("{missing}:7"));
    assert_eq!(text(catalog.delete(&named("none")).await), missing);
    assert_eq!(text(catalog.update_code(&named("none"), code("PK")).await), missing);
    let live = "Function not found: arn:aws:lambda:us-east-1:000000000000:function:thumbs:live";
    assert_eq!(text(catalog.resolve(&named("thumbs:live"))), live);
    assert_eq!(
        text(catalog.delete(&named("thumbs:live")).await),
        "Deletion of aliases is not currently supported."
    );
    assert!(catalog.resolve(&named("thumbs:$LATEST")).is_ok());
    assert_eq!(
        text(catalog.delete(&named("thumbs:$LATEST")).await),
        "$LATEST version cannot be deleted without deleting the function."
    );
    let stale = CodeChange { revision_id: Some("stale".into()), ..code("PK 2") };
    assert!(matches!(
        catalog.update_code(&named("thumbs"), stale).await,
        Err(CatalogError::Precondition)
    ));
    // Nothing of what was refused is left.
    assert_eq!(world.stored().await, BTreeSet::from([digest("PK 1")]));
    assert_eq!(world.unpacked(), world.stored().await);
    assert_eq!(catalog.usage(&scope()).functions, 1);
}

#[tokio::test]
async fn an_update_takes_effect_when_it_is_acknowledged() {
    let (world, catalog) = one_active().await;
    let function = named("thumbs");
    let before = catalog.get(&function).unwrap();
    world.clock.advance(Duration::from_secs(5));
    let change = CodeChange { revision_id: Some(before.revision_id.clone()), ..code("PK 2") };
    let updated = catalog.update_code(&function, change).await.unwrap();
    assert_eq!((&updated.state, &updated.last_update), (&State::Active, &LastUpdate::InProgress));
    assert_eq!(updated.generation, before.generation + 1);
    assert_eq!(updated.last_modified, before.last_modified + 5_000);
    let target = catalog.resolve(&function).unwrap();
    assert_eq!((target.generation, &target.code), (updated.generation, &digest("PK 2")));
    assert_eq!(
        *world.manager.0.lock().unwrap(),
        [("thumbs".into(), Outdated::Latest(updated.generation))]
    );

    let busy = "The operation cannot be performed at this time. An update is in progress for \
                resource: arn:aws:lambda:us-east-1:000000000000:function:thumbs";
    assert_eq!(text(catalog.update_code(&function, code("PK 3")).await), busy);
    assert_eq!(text(catalog.update_settings(&function, None, describe("x")).await), busy);
    assert!(catalog.repair().await);
    let done = catalog.get(&function).unwrap();
    assert_eq!(done.last_update, LastUpdate::Successful);

    let described = catalog.update_settings(&function, None, describe("x")).await.unwrap();
    assert_eq!(described.generation, done.generation + 1);
    assert_eq!(described.settings.description, "x");
    assert_eq!(catalog.resolve(&function).unwrap().generation, described.generation);
}

#[tokio::test]
async fn a_refused_settings_change_changes_nothing() {
    let (world, catalog) = one_active().await;
    let function = named("thumbs");
    let before = catalog.get(&function).unwrap();
    let own: SettingsChange = Box::new(|_| Err(CatalogError::Invalid("no".into())));
    assert_eq!(text(catalog.update_settings(&function, None, own).await), "no");
    let blocked: SettingsChange = Box::new(|settings| {
        settings.runtime = Some("nodejs14.x".into());
        Ok(())
    });
    assert!(text(catalog.update_settings(&function, None, blocked).await).contains("nodejs14.x"));
    assert_eq!(catalog.get(&function).unwrap(), before);
    assert!(world.manager.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nobody_uploads_an_image_as_a_zip_file() {
    let (world, catalog) = one_active().await;
    let known = world.stored().await;
    let bundle = "lamplight image\n{}\n";
    assert!(text(catalog.add("b", bundle).await).starts_with("Could not unzip"));
    let update = catalog.update_code(&named("thumbs"), code(bundle)).await;
    assert!(text(update).starts_with("Could not unzip"));
    // The file alone would have been taken for an image.
    assert_eq!((world.stored().await, world.unpacked()), (known.clone(), known));
}

#[tokio::test]
async fn a_dry_run_checks_and_changes_nothing() {
    let (world, catalog) = one_active().await;
    let function = named("thumbs");
    let before = catalog.get(&function).unwrap();
    let dry = |content| CodeChange { dry_run: true, ..code(content) };
    assert_eq!(catalog.update_code(&function, dry("PK 2")).await.unwrap(), before);
    assert!(text(catalog.update_code(&function, dry("bad")).await).starts_with("Could not unzip"));
    assert_eq!(catalog.get(&function).unwrap(), before);
    assert_eq!(world.stored().await, BTreeSet::from([digest("PK 1")]));
    assert_eq!(world.unpacked(), world.stored().await);
}

#[tokio::test]
async fn updates_of_one_function_happen_one_after_the_other() {
    let (_world, catalog) = one_active().await;
    let function = named("thumbs");
    let before = catalog.get(&function).unwrap();
    let (a, b, c) = tokio::join!(
        catalog.update_code(&function, code("PK a")),
        catalog.update_settings(&function, None, describe("b")),
        catalog.update_code(&function, code("PK c")),
    );
    let done: Vec<_> = [a, b, c].into_iter().filter_map(Result::ok).collect();
    assert_eq!(done.len(), 1, "the others find an update in progress");
    assert_eq!(done[0].generation, before.generation + 1);
    assert_eq!(catalog.get(&function).unwrap(), done[0]);
}

#[tokio::test]
async fn a_namesake_never_gets_the_generation_of_a_deleted_function() {
    let (world, catalog) = one_active().await;
    let function = named("thumbs");
    let mut last = catalog.get(&function).unwrap().generation;
    for _ in 0..3 {
        catalog.delete(&function).await.unwrap();
        assert!(matches!(catalog.get(&function), Err(CatalogError::NotFound(_))));
        let again = catalog.add("thumbs", "PK 2").await.unwrap();
        assert!(again.generation > last);
        last = again.generation;
    }
    assert!(world.manager.0.lock().unwrap().iter().all(|(_, outdated)| *outdated == Outdated::All));
}

#[tokio::test]
async fn code_stays_while_calls_may_run_it_and_no_longer() {
    let (world, catalog) = one_active().await;
    let function = named("thumbs");
    catalog.update_code(&function, code("PK 2")).await.unwrap();
    assert!(catalog.repair().await);
    let both = BTreeSet::from([digest("PK 1"), digest("PK 2")]);
    assert_eq!(world.stored().await, both);
    assert_eq!(world.unpacked(), both);
    // A start that was on its way still finds the old code; a dry run does not take it away.
    assert!(catalog.fetch(&digest("PK 1")).await.is_ok());
    let dry = CodeChange { dry_run: true, ..code("PK 1") };
    catalog.update_code(&function, dry).await.unwrap();
    assert_eq!(world.unpacked(), both);

    world.clock.advance(Duration::from_secs(3 + 60));
    assert!(catalog.repair().await);
    assert_eq!(world.stored().await, BTreeSet::from([digest("PK 2")]));
    assert_eq!(world.unpacked(), world.stored().await);
    assert!(catalog.fetch(&digest("PK 1")).await.is_err());
}

#[tokio::test]
async fn shared_code_stays_until_its_last_function_goes() {
    let (world, catalog) = one_active().await;
    catalog.add("twin", "PK 1").await.unwrap();
    catalog.delete(&named("thumbs")).await.unwrap();
    world.clock.advance(Duration::from_secs(1000));
    catalog.repair().await;
    assert_eq!(world.stored().await.len(), 1);
    catalog.delete(&named("twin")).await.unwrap();
    world.clock.advance(Duration::from_secs(1000));
    catalog.repair().await;
    assert!(world.stored().await.is_empty() && world.unpacked().is_empty());
    assert_eq!(catalog.usage(&scope()), Usage { code_size: 0, functions: 0 });
}

#[tokio::test]
async fn a_change_that_fails_does_not_take_the_code_of_others_along() {
    let (world, catalog) = one_active().await;
    let used = BTreeSet::from([digest("PK 1")]);
    let dry = CodeChange { dry_run: true, ..code("PK 1") };
    catalog.update_code(&named("thumbs"), dry).await.unwrap();
    assert_eq!((world.stored().await, world.unpacked()), (used.clone(), used.clone()));
    *world.worker.failure.lock().unwrap() = Some(PrepareError::Failed("no space".into()));
    assert!(matches!(catalog.add("twin", "PK 1").await, Err(CatalogError::Unavailable(_))));
    assert_eq!((world.stored().await, world.unpacked()), (used.clone(), used));
}

#[tokio::test]
async fn code_storage_has_an_end() {
    let world = World::new();
    let active = (*world.catalog().await.add("big", "PK 1").await.unwrap()).clone();
    let size = limits::CODE_STORAGE - 3;
    let big =
        FunctionRecord { code: CodeRef { size, ..active.code }, state: State::Active, ..active };
    let key = super::tables::key(&arn("big")).unwrap();
    let put = lamplight_store::Op::Put(key, big.to_bytes().into());
    world.meta.txn(vec![put]).await.unwrap();
    let catalog = world.catalog().await;
    assert_eq!(text(catalog.add("more", "PK 2").await), "Code storage limit exceeded.");
    assert!(catalog.add("fits", "PK").await.is_ok());
    assert!(catalog.update_code(&named("big"), code("PK 2")).await.is_ok(), "it replaces");
    assert!(catalog.add("more", "PK 2").await.is_ok());
}

#[tokio::test]
async fn images_are_charged_for_what_they_unpack_to() {
    let world = World::new();
    let catalog = world.catalog().await;
    let image = |text: &str| {
        let settings = FunctionSettings { package_type: PackageType::Image, ..settings() };
        let bundle = [lamplight_model::MAGIC, text.as_bytes()].concat();
        (bundle.len() as u64, new(settings, std::str::from_utf8(&bundle).unwrap()))
    };
    // The worker of the tests says that things unpack to as much as they are.
    let (length, small) = image("small");
    let made = catalog.create(&arn("image"), small).await.unwrap();
    assert_eq!((made.code.size, made.code.charged()), (length, 2 * length));
    assert_eq!(catalog.usage(&scope()).code_size, 2 * length);
    let size = limits::CODE_STORAGE - 2 * length - 30;
    let code = CodeRef { size, unpacked: 0, ..made.code.clone() };
    let big = FunctionRecord { code, state: State::Active, ..(*made).clone() };
    let put =
        lamplight_store::Op::Put(super::tables::key(&arn("big")).unwrap(), big.to_bytes().into());
    world.meta.txn(vec![put]).await.unwrap();
    let catalog = world.catalog().await;
    let before = world.unpacked();
    let (_, second) = image("second");
    assert_eq!(text(catalog.create(&arn("two"), second).await), "Code storage limit exceeded.");
    assert_eq!(world.unpacked(), before);
}

#[tokio::test]
async fn a_thousand_updates_do_not_fill_the_disk() {
    let (world, catalog) = one_active().await;
    let function = named("thumbs");
    for n in 0..1000 {
        catalog.update_code(&function, code(&format!("PK {n}"))).await.unwrap();
        assert!(super::reconciler::pass(catalog.core(), false).await);
    }
    let most = super::reconciler::Suspects::MAX + 1;
    assert!(world.stored().await.len() <= most && world.unpacked().len() <= most);
    world.clock.advance(Duration::from_secs(63));
    assert!(super::reconciler::pass(catalog.core(), false).await);
    assert_eq!(world.stored().await, BTreeSet::from([digest("PK 999")]));
    assert_eq!(world.unpacked(), world.stored().await);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_half_change() {
    let world = World::new();
    let catalog = world.catalog().await;
    {
        let creation = catalog.add("thumbs", "PK 1");
        tokio::pin!(creation);
        // Polled once, then dropped.
        tokio::select! { biased; _ = &mut creation => panic!("too fast"), () = async {} => {} }
    }
    while catalog.get(&named("thumbs")).is_err() {
        tokio::task::yield_now().await;
    }
    let stored = world.catalog().await;
    assert_eq!(stored.get(&named("thumbs")).unwrap(), catalog.get(&named("thumbs")).unwrap());
}

#[tokio::test]
async fn ten_thousand_functions_are_listed_in_pages() {
    let world = World::new();
    let template = FunctionRecord {
        state: State::Active,
        ..(*world.catalog().await.add("template", "PK 1").await.unwrap()).clone()
    };
    let names: Vec<String> = (0..10_000).map(|n| format!("f{n:05}")).collect();
    for some in names.chunks(200) {
        let put = |name: &String| {
            let record = FunctionRecord { name: name.clone(), ..template.clone() };
            let key = super::tables::key(&arn(name)).unwrap();
            lamplight_store::Op::Put(key, record.to_bytes().into())
        };
        world.meta.txn(some.iter().map(put).collect()).await.unwrap();
    }
    let catalog = world.catalog().await;
    catalog.delete(&named("template")).await.unwrap();
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = catalog.list(&scope(), listing(after.as_deref(), 50));
        seen.extend(page.functions.iter().map(|f| f.name.clone()));
        match page.next {
            Some((next, 0)) => after = Some(next),
            Some((_, version)) => panic!("version {version} is listed"),
            None => break,
        }
    }
    assert_eq!(seen, names);
    let last = catalog.list(&scope(), listing(Some("f09949"), 50));
    assert_eq!((last.functions.len(), last.next), (50, None), "no empty page at the end");
    let other = Scope { region: "eu-west-1".into(), ..scope() };
    assert!(catalog.list(&other, listing(None, 50)).functions.is_empty());
    assert_eq!(catalog.list(&scope(), listing(None, 0)).functions.len(), 0);
    assert_eq!(catalog.usage(&scope()), Usage { code_size: 40_000, functions: 10_000 });
}

#[tokio::test]
async fn a_target_has_what_a_worker_needs() {
    let world = World::new();
    let catalog = world.catalog().await;
    let environment = [("A", "1"), ("_HANDLER", "x"), ("_", "y")];
    let logging = serde_json::json!({
        "LogGroup": "/mine", "LogFormat": "JSON", "ApplicationLogLevel": "DEBUG",
    });
    let settings = FunctionSettings {
        environment: Some(environment.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
        echoed: serde_json::Map::from_iter([("LoggingConfig".to_owned(), logging)]),
        ..settings()
    };
    catalog.create(&arn("mine"), new(settings, "PK")).await.unwrap();
    catalog.add("plain", "PK").await.unwrap();
    catalog.repair().await;
    let mine = catalog.resolve(&named("mine")).unwrap();
    assert_eq!(mine.environment, [("A".to_owned(), "1".to_owned())].into());
    assert_eq!((mine.log_group.as_str(), mine.log_format.as_str()), ("/mine", "JSON"));
    assert_eq!(mine.application_log_level.as_deref(), Some("DEBUG"));
    assert_eq!(mine.system_log_level.as_deref(), Some("INFO"));
    assert_eq!((mine.timeout, mine.version.clone()), (Duration::from_secs(3), Qualifier::Latest));
    let plain = catalog.resolve(&named("plain")).unwrap();
    assert_eq!(
        (plain.log_group.as_str(), plain.log_format.as_str()),
        ("/aws/lambda/plain", "Text")
    );
    assert_eq!((&plain.application_log_level, &plain.system_log_level), (&None, &None));
}
