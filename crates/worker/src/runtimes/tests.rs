//! With installations made up of small scripts, and with this machine's own where it has some.

use super::probe::{ProbeError, ask_all};
use super::remembered::Remembered;
use super::search::{Candidate, Places, candidates, named};
use super::{
    BOOTSTRAPS, Client, Installed, Installer, MissingRuntime, Runtimes, Version, Wanted,
    install_clients,
};
use lamplight_model::Language;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const WANTED: Wanted<'static> = Wanted { handler: "app.handler", memory_mb: 512 };
const LONG: Duration = Duration::from_secs(60);

/// Written by another process: while this one holds a file open for writing, a child of another
/// test may hold it too, and it could not be run.
fn script(path: &Path, body: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let write = r#"printf '%s' "$1" > "$0" && chmod 755 "$0""#;
    let content = format!("#!/bin/sh\n{body}");
    let made = Command::new("sh").args(["-c", write]).arg(path).arg(content).status();
    assert!(made.unwrap().success());
}

/// An installation whose interpreter answers as a real one does.
fn python(prefix: &Path, version: &str, libraries: &str) -> PathBuf {
    let minor = version.rsplit_once('.').unwrap().0;
    let binary = prefix.join(format!("bin/python{minor}"));
    let (prefix, path) = (prefix.display(), binary.display());
    script(&binary, &format!(r"printf '{version}\0{prefix}\0{path}{libraries}'"));
    binary
}

fn node(prefix: &Path, version: &str) -> PathBuf {
    let binary = prefix.join("bin/node");
    script(&binary, &format!(r"printf '{version}\0\0{}'", binary.display()));
    binary
}

async fn only(explicit: &[(&str, &Path)]) -> Runtimes {
    let explicit: BTreeMap<String, PathBuf> =
        explicit.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect();
    Runtimes::discover_in(Places::default(), &explicit, None).await
}

#[test]
fn versions() {
    let version = |major, minor, patch| Some(Version { major, minor, patch });
    assert_eq!(Version::parse("3.11.2"), version(3, 11, 2));
    assert_eq!(Version::parse("3.15.0rc1\n"), version(3, 15, 0));
    assert!(Version::parse("3.9.20") < Version::parse("3.10.1"));
    for text in ["", "3", "3.11", "a.b.c", "3.11.", "99999999999.1.1"] {
        assert_eq!(Version::parse(text), None, "{text}");
    }
}

#[tokio::test]
async fn an_interpreter_becomes_a_plan() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let libraries = format!(
        r"\0/usr/lib/libc.so.6\0{0}/py/lib/libpython3.so\0{0}/py/dynload/_ssl.so\0{0}/ssl/libssl.so\0{0}/ssl/libcrypto.so",
        root.display()
    );
    let binary = python(&root.join("py"), "3.12.4", &libraries);
    node(&root.join("node"), "22.3.0");
    let node_dir = root.join("node");
    let runtimes = only(&[("python3.12", &binary), ("nodejs22.x", &node_dir)]).await;

    let plan = runtimes.find("python3.12").unwrap();
    // Its own library is looked for under its own path, its modules are not.
    let same = |dir: &str| (root.join(dir), root.join(dir).display().to_string());
    assert_eq!(
        plan.binds,
        [(root.join("py"), "/var/lang".to_owned()), same("py/lib"), same("ssl")]
    );
    assert_eq!(plan.execution_env.as_deref(), Some("AWS_Lambda_python3.12"));
    assert_eq!(plan.client, Some(Client::Python));
    assert_eq!(plan.interpreter(), Some(binary.as_path()));
    assert_eq!(
        plan.argv(&|inside| PathBuf::from(inside), WANTED),
        ["/var/lang/bin/python3.12", "-S", "/var/runtime/bootstrap.py"]
    );
    // Without mounts.
    let locate = |inside: &str| plan.host_path(inside).unwrap_or_else(|| PathBuf::from(inside));
    assert_eq!(plan.argv(&locate, WANTED)[0], binary.display().to_string());

    let plan = runtimes.find("nodejs22.x").unwrap();
    assert_eq!(plan.binds, [(root.join("node"), "/var/lang".to_owned())]);
    assert_eq!(plan.client, Some(Client::Node));
    assert_eq!(
        plan.argv(&|inside| PathBuf::from(inside), WANTED),
        ["/var/lang/bin/node", "/var/runtime/bootstrap.cjs"]
    );
}

/// How often a Python that counts was asked, after a discovery that keeps its answers.
async fn asked(python: &Path, kept: &Path, count: &Path) -> usize {
    let explicit = BTreeMap::from([("python3.12".to_owned(), python.to_owned())]);
    let runtimes = Runtimes::discover_in(Places::default(), &explicit, Some(kept)).await;
    let plan = runtimes.find("python3.12").unwrap();
    assert_eq!(plan.interpreter(), Some(python));
    fs::read_to_string(count).unwrap().lines().count()
}

#[tokio::test]
async fn an_interpreter_is_asked_once_for_as_long_as_it_stays_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    let (kept, count) = (root.join("kept.json"), root.join("count"));
    let library = root.join("libraries");
    fs::create_dir(&library).unwrap();
    let answer = |version: &str| {
        let (root, count) = (root.display(), count.display());
        format!(
            r"echo asked >> {count}; printf '{version}\0{root}/py\0{root}/py/bin/python3.12\0{root}/libraries/libx.so'"
        )
    };
    let binary = root.join("py/bin/python3.12");
    script(&binary, &answer("3.12.4"));
    assert_eq!(asked(&binary, &kept, &count).await, 1);
    assert_eq!(asked(&binary, &kept, &count).await, 1, "known from the first time");

    fs::remove_file(&binary).unwrap();
    script(&binary, &answer("3.12.10"));
    assert_eq!(asked(&binary, &kept, &count).await, 2, "another file");
    for damaged in [&b"{\"format\":1,\"answers\":[{"[..], b"", br#"{"format":9,"answers":[]}"#] {
        let before = fs::read_to_string(&count).unwrap().lines().count();
        fs::write(&kept, damaged).unwrap();
        assert_eq!(asked(&binary, &kept, &count).await, before + 1);
        assert_eq!(asked(&binary, &kept, &count).await, before + 1, "written anew");
    }
    let before = fs::read_to_string(&count).unwrap().lines().count();
    fs::remove_dir(&library).unwrap();
    assert_eq!(asked(&binary, &kept, &count).await, before + 1, "a library has gone");
}

#[tokio::test]
async fn java_needs_its_client_and_minds_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    script(&root.join("jdk/bin/java"), "echo openjdk 21.0.4 2024-07-16 LTS");
    script(&root.join("new/bin/java"), "echo openjdk 25 2025-09-16");
    script(&root.join("old/bin/java"), "echo java 1.8.0_392");
    let [jdk, new, old] = ["jdk", "new", "old"].map(|name| root.join(name));
    let named = [("java21", jdk.as_path()), ("java25", &new), ("java8.al2", &old)];
    let data = root.join("runtimes");
    let runtimes = only(&named).await.with_installed(Installed::new(&data));
    let lacks = runtimes.find("java21").unwrap_err();
    assert!(matches!(&lacks, MissingRuntime::NoClient { .. }), "{lacks}");
    assert_eq!(lacks.in_short(), "Java 21.0.4 is here, its client is not");
    assert!(runtimes.find("java8.al2").unwrap_err().to_string().contains("too old"));

    let jars = root.join("jars");
    fs::create_dir(&jars).unwrap();
    let stems = ["runtime-interface-client-2.9.0", "core-1.4.0", "serialization-1.2.0"];
    for stem in stems {
        fs::write(jars.join(format!("aws-lambda-java-{stem}.jar")), "").unwrap();
    }
    let installer = Installer::open(&data).unwrap();
    for identifier in ["java21", "java25"] {
        installer.jars(identifier, &jars).unwrap();
    }
    let plan = runtimes.find("java21").unwrap();
    assert!(plan.is_framed() && plan.is_wrapped());
    let argv = plan.argv(&|inside| PathBuf::from(inside), WANTED);
    assert_eq!(argv[..2], ["/var/lang/bin/java", "-XX:MaxHeapSize=445644k"]);
    let path: Vec<String> =
        stems.iter().map(|stem| format!("/var/runtime/lib/aws-lambda-java-{stem}.jar")).collect();
    assert_eq!(argv[argv.len() - 3], path.join(":"));
    assert_eq!(argv.last().unwrap(), "app.handler");
    assert_eq!(plan.version("java21"), "java:21.v4");
    let elsewhere = |inside: &str| PathBuf::from(inside.replace("/opt", "/layers"));
    let argv = plan.argv(&elsewhere, WANTED);
    assert!(argv[argv.len() - 3].ends_with(":/layers/java/lib/*"));
    let newer = runtimes.find("java25").unwrap();
    assert_eq!(newer.version("java25"), "java:25.v0");
    let argv = newer.argv(&|inside| PathBuf::from(inside), WANTED);
    assert_eq!(argv[1], "--enable-native-access=ALL-UNNAMED");
}

#[tokio::test]
async fn provided_runtimes_bring_their_own() {
    for identifier in ["provided.al2", "provided.al2023"] {
        let mut plan = Runtimes::default().find(identifier).unwrap();
        assert_eq!(
            (plan.client, plan.interpreter(), plan.execution_env.clone()),
            (None, None, None)
        );
        assert!(plan.binds.is_empty());
        assert!(plan.pick_bootstrap(&|path| path == BOOTSTRAPS[1]));
        assert_eq!(plan.argv(&|inside| PathBuf::from(inside), WANTED), ["/opt/bootstrap"]);
        assert!(plan.pick_bootstrap(&|_| true));
        assert_eq!(plan.argv(&|inside| PathBuf::from(inside), WANTED), ["/var/task/bootstrap"]);
        assert!(!plan.pick_bootstrap(&|_| false));
    }
}

#[tokio::test]
async fn what_is_missing_is_said_plainly() {
    let dir = tempfile::tempdir().unwrap();
    let binary = python(dir.path(), "3.11.2", "");
    // Named for another version: the configuration wins there, and only there.
    let runtimes = only(&[("python3.12", &binary), ("python3.13", Path::new("/nowhere"))]).await;
    assert_eq!(
        runtimes.find("python3.12").unwrap().execution_env.unwrap(),
        "AWS_Lambda_python3.12"
    );
    let broken = runtimes.find("python3.13").unwrap_err();
    assert!(matches!(&broken, MissingRuntime::Broken { .. }));
    assert!(broken.to_string().contains("/nowhere"), "{broken}");

    let found = Runtimes {
        found: vec![runtimes.explicit["python3.12"].clone().unwrap()],
        ..Runtimes::default()
    };
    assert!(found.find("python3.11").is_ok());
    let text = found.find("python3.14").unwrap_err().to_string();
    for part in ["Python 3.14", "3.11.2", "uv python install 3.14", "configuration"] {
        assert!(text.contains(part), "{text}");
    }
    let text = found.find("nodejs20.x").unwrap_err().to_string();
    for part in ["Node.js 20,", "no Node.js was found", "nvm install 20"] {
        assert!(text.contains(part), "{text}");
    }
    let text = found.find("java21").unwrap_err().to_string();
    for part in ["Java 21,", "no Java was found", "openjdk-21-jre-headless"] {
        assert!(text.contains(part), "{text}");
    }
    for identifier in ["dotnet8", "ruby3.3"] {
        let error = found.find(identifier).unwrap_err();
        assert_eq!(error, MissingRuntime::ImageOnly(identifier.to_owned()));
        assert!(error.to_string().contains(&format!("runtime install {identifier} --from")));
    }
    let go = found.find("go1.x").unwrap_err();
    assert_eq!(go, MissingRuntime::Unsupported("go1.x".to_owned()));
    assert!(matches!(found.find("cobol85"), Err(MissingRuntime::Unknown(_))));
    let listing = runtimes.listing();
    assert_eq!(listing.len(), 2);
    assert_eq!((listing[0].version.as_str(), &listing[0].problem), ("3.11.2", &None));
    assert!(listing[1].problem.as_ref().is_some_and(|why| why.contains("/nowhere")));
}

#[tokio::test]
async fn whatever_an_executable_does_it_is_only_no_interpreter() {
    let dir = tempfile::tempdir().unwrap();
    let ask = async |name: &str, body: &str, patience| {
        let path = dir.path().join(name);
        script(&path, body);
        let candidate = Candidate { language: Language::Python, path };
        let nothing = Remembered::default();
        let (mut answers, _) = ask_all(vec![candidate.clone()], patience, &nothing).await;
        answers.remove(&candidate).unwrap().unwrap_err()
    };
    assert!(matches!(ask("silent", "true", LONG).await, ProbeError::Answer { .. }));
    assert!(matches!(ask("chatty", "echo hello", LONG).await, ProbeError::Answer { .. }));
    assert!(matches!(ask("endless", "exec cat /dev/zero", LONG).await, ProbeError::Answer { .. }));
    assert!(matches!(
        ask("failing", r"printf '3.11.2\0/usr\0/bin/sh'; exit 3", LONG).await,
        ProbeError::Answer { .. }
    ));
    assert!(matches!(
        ask("old", r"printf '3.7.1\0/usr\0/bin/sh'", LONG).await,
        ProbeError::TooOld { .. }
    ));
    for place in [r"printf '3.11.2\0/\0/bin/sh'", r"printf '3.11.2\0/nowhere\0/none'"] {
        assert!(matches!(ask("place", place, LONG).await, ProbeError::Place(_)));
    }
    let stuck = ask("stuck", "exec sleep 600", Duration::from_millis(50)).await;
    assert!(matches!(stuck, ProbeError::TimedOut(_)));
}

#[test]
fn version_managers_are_searched_and_their_shims_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let program = |path: PathBuf| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"\x7fELF...").unwrap();
        path
    };
    let real = [
        program(home.join(".pyenv/versions/3.12.1/bin/python3.12")),
        program(home.join(".nvm/versions/node/v20.1.0/bin/node")),
        program(home.join(".local/share/uv/python/cpython-3.13-x/bin/python3.13")),
    ];
    std::os::unix::fs::symlink("python3.12", home.join(".pyenv/versions/3.12.1/bin/python3"))
        .unwrap();
    let shims = home.join(".pyenv/shims");
    script(&shims.join("python3"), "exec pyenv");
    let places = Places { path: vec![shims], home: Some(home.clone()), system: Vec::new() };
    let mut found: Vec<PathBuf> = candidates(&places).into_iter().map(|c| c.path).collect();
    found.sort();
    let mut real = real.to_vec();
    real.sort();
    assert_eq!(found, real);

    let installed = home.join(".pyenv/versions/3.12.1");
    let candidate = named("python3.12", &installed).unwrap();
    assert_eq!(candidate.path, installed.join("bin/python3.12"));
    assert_eq!(named("provided.al2023", &installed), None);
}

/// What each interpreter of this machine claims has to be so.
#[tokio::test]
async fn the_machines_own_interpreters_run() {
    let runtimes = Runtimes::discover(&BTreeMap::new(), None).await;
    for listed in runtimes.listing() {
        let output = Command::new(&listed.path).arg("--version").output().unwrap();
        let version = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(version.contains(&listed.version), "{listed:?} says {version}");
        let Ok(plan) = runtimes.find(&listed.identifier) else {
            // Java needs more than a Java.
            assert!(listed.identifier.starts_with("java"), "{listed:?}");
            continue;
        };
        let inside = &plan.argv(&|inside| PathBuf::from(inside), WANTED)[0];
        assert_eq!(plan.host_path(inside).as_deref(), plan.interpreter());
    }
    let dir = tempfile::tempdir().unwrap();
    install_clients(dir.path()).unwrap();
    runtimes.compile_clients(dir.path()).await;
    let kept = dir.path().join("python/lamplight_runtime/__pycache__");
    for listed in runtimes.listing() {
        if let Some(minor) = listed.identifier.strip_prefix("python3.") {
            assert!(kept.join(format!("loop.cpython-3{minor}.pyc")).is_file(), "{listed:?}");
        }
    }
}

#[test]
fn clients_are_written_whole_and_mended() {
    let dir = tempfile::tempdir().unwrap();
    install_clients(dir.path()).unwrap();
    let start = Client::Python.directory(dir.path()).join("bootstrap.py");
    let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
    let before = time(&start);
    install_clients(dir.path()).unwrap();
    assert_eq!(time(&start), before);
    fs::write(&start, "broken").unwrap();
    install_clients(dir.path()).unwrap();
    for client in [Client::Python, Client::Node] {
        for (path, content) in client.sources() {
            let found = fs::read_to_string(client.directory(dir.path()).join(path)).unwrap();
            assert_eq!(&found, content);
        }
    }
    // What the plans start.
    for path in ["python/bootstrap.py", "python/lamplight_runtime/loop.py", "nodejs/bootstrap.cjs"]
    {
        assert!(dir.path().join(path).is_file(), "{path}");
    }
}
