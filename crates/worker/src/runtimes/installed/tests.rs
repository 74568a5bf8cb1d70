//! What is installed is there whole, and nothing else stays.

use super::*;
use crate::runtimes::{MissingRuntime, Runtimes};
use lamplight_model::{BundleHead, BundleLayer, ImageConfig};

/// Bytes that a released version wrote. Never edit them: add new ones.
const FORMAT_1: [&str; 2] = [
    r#"{"format":1,"what":{"Image":{"name":"r.example/java:21","resolved":"r.example/java@sha256:00","root":"ab","config":{"entry_point":["/lambda-entrypoint.sh"],"command":[],"environment":["A=1"],"working_directory":"/var/task"}}}}"#,
    r#"{"format":1,"what":{"Jars":{"directory":"cd","files":["a-1.jar"],"digests":{"a-1.jar":"ef"}}}}"#,
];

fn bundle(path: &str, config: ImageConfig) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o755);
    archive.append_data(&mut header, path, &b"x"[..]).unwrap();
    let layer = archive.into_inner().unwrap();
    let layers = vec![BundleLayer { size: layer.len() as u64, gzip: false }];
    [BundleHead { format: BundleHead::FORMAT, config, layers }.to_bytes(), layer].concat()
}

fn jars(dir: &Path) {
    for stem in installer::JAVA_CLIENT {
        fs::write(dir.join(format!("{stem}-1.2.3.jar")), stem).unwrap();
    }
}

#[test]
fn old_bytes_are_read_and_newer_ones_refused() {
    for text in FORMAT_1 {
        let record = Record::from_bytes(text.as_bytes()).unwrap();
        assert_eq!(Record::from_bytes(&record.to_bytes()).unwrap(), record);
        let newer = r#"{"format":2,"something":"else"}"#;
        assert!(Record::from_bytes(newer.as_bytes()).unwrap_err().contains("newer"));
    }
    let record = Record::from_bytes(FORMAT_1[0].as_bytes()).unwrap();
    assert_eq!(record.describe(), "r.example/java@sha256:00");
}

#[tokio::test]
async fn an_image_serves_from_the_moment_it_is_installed() {
    let dir = tempfile::tempdir().unwrap();
    let runtimes = Runtimes::default().with_installed(Installed::new(dir.path()));
    assert!(matches!(runtimes.find("ruby3.4"), Err(MissingRuntime::ImageOnly(_))));
    let installer = Installer::open(dir.path()).unwrap();
    assert!(matches!(Installer::open(dir.path()), Err(InstallError::Busy(_))));

    let names = ("r.example/ruby:3.4", "r.example/ruby@sha256:00");
    let nothing = bundle("bin/ruby", ImageConfig::default());
    let refused = installer.image("ruby3.4", names, &nothing).await.unwrap_err();
    assert!(matches!(refused, InstallError::NoRuntime));
    let first = bundle("var/runtime/bootstrap", ImageConfig::default());
    installer.image("ruby3.4", names, &first).await.unwrap();
    let plan = runtimes.find("ruby3.4").unwrap();
    let root = plan.root.as_ref().unwrap().path.clone();
    assert_eq!(fs::read(root.join("var/runtime/bootstrap")).unwrap(), b"x");

    // Another one takes its place; the old files stay until they are swept.
    let config = ImageConfig { entry_point: vec!["/start".into()], ..ImageConfig::default() };
    installer.image("ruby3.4", names, &bundle("start", config)).await.unwrap();
    assert_ne!(runtimes.find("ruby3.4").unwrap().root.unwrap().path, root);
    assert!(root.is_dir());
    installer.sweep().unwrap();
    assert!(!root.exists());
    assert!(runtimes.find("ruby3.4").is_ok());

    assert!(installer.remove("ruby3.4").unwrap());
    assert!(!installer.remove("ruby3.4").unwrap());
    assert!(runtimes.find("ruby3.4").is_err());
    installer.sweep().unwrap();
    assert_eq!(fs::read_dir(dir.path().join(ROOTS)).unwrap().count(), 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_said_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let installer = Installer::open(dir.path()).unwrap();
    let from = tempfile::tempdir().unwrap();
    jars(from.path());
    installer.jars("java17", from.path()).unwrap();
    fs::write(dir.path().join("java21.json"), r#"{"format":9}"#).unwrap();
    let runtimes = Runtimes::default().with_installed(Installed::new(dir.path()));
    assert!(runtimes.find("java21").unwrap_err().to_string().contains("newer version"));
    installer.remove("java17").unwrap();
    // The one of the newer version may name those files.
    installer.sweep().unwrap();
    assert_eq!(fs::read_dir(dir.path().join(JARS)).unwrap().count(), 1);
    for name in ["", "../java17", ".java", "java/17"] {
        assert!(matches!(installer.jars(name, from.path()), Err(InstallError::Name(_))), "{name}");
        assert_eq!(Installed::new(dir.path()).find(name), Ok(None));
    }
}

#[test]
fn the_client_for_java_is_three_jars_and_what_they_need() {
    let dir = tempfile::tempdir().unwrap();
    let installer = Installer::open(dir.path()).unwrap();
    let from = tempfile::tempdir().unwrap();
    let refused = |expected: &str| {
        let error = installer.jars("java17", from.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused("has 0 files called aws-lambda-java-runtime-interface-client-VERSION.jar");
    jars(from.path());
    fs::write(from.path().join("aws-lambda-java-core-1.2.3-sources.jar"), "").unwrap();
    fs::write(from.path().join("utils-lite-2.34.0.jar"), "").unwrap();
    fs::write(from.path().join("README.md"), "").unwrap();
    let record = installer.jars("java17", from.path()).unwrap();
    let installed = Installed::new(dir.path());
    assert_eq!(installed.find("java17"), Ok(Some(record.clone())));
    let files = installed.files(&record.what).unwrap();
    assert_eq!(fs::read_dir(&files).unwrap().count(), 4);
    assert!(record.describe().ends_with(", utils-lite-2.34.0.jar"), "{}", record.describe());
    fs::write(from.path().join("aws-lambda-java-core-1.2.4.jar"), "").unwrap();
    refused("has 2 files called aws-lambda-java-core-VERSION.jar");
    fs::remove_dir_all(files).unwrap();
    assert!(installed.find("java17").unwrap_err().contains("install the runtime again"));
}
