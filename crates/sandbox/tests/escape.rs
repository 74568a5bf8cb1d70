//! Ways out of a sandbox, and what each must give (cases S8 to S10).

mod support;

use lamplight_sandbox::{Exit, Mode};
use std::collections::BTreeMap;
use support::{Bench, is_root, probe, run, shell};

const TABLE: &str = include_str!("escape.txt");

/// What each probe must give, of one column of the table.
fn expected(column: &str) -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut rows = TABLE.lines().filter(|line| !line.starts_with('#')).map(str::split_whitespace);
    let at = rows.next().and_then(|mut head| head.position(|name| name == column));
    let at = at.expect("the table has the column");
    rows.map(|row| {
        let row: Vec<_> = row.collect();
        (row[0], row[at].split(',').collect())
    })
    .collect()
}

/// The table's word for what a probe printed.
fn word(name: &str, got: &str) -> String {
    let counted = ["neighbours", "descriptors", "capabilities"].contains(&name);
    if counted || name.starts_with("length_") {
        return got.to_owned();
    }
    let errno = match got.parse().unwrap_or(-1) {
        0 => "ok",
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EACCES => "EACCES",
        libc::EINVAL => "EINVAL",
        libc::ETXTBSY => "ETXTBSY",
        libc::EROFS => "EROFS",
        libc::ENOSYS => "ENOSYS",
        _ => return got.to_owned(),
    };
    errno.to_owned()
}

#[tokio::test]
async fn s8_every_way_out_is_closed() {
    let bench = Bench::new(Mode::Namespaces);
    let sandbox = bench.sandbox("escape").await;
    let (text, exit) = run(&sandbox, probe(&sandbox, &["escape"])).await;
    assert_eq!(exit, Exit::Code(0), "{text}");
    let table = expected(if is_root() { "namespaces/root" } else { "namespaces/user" });
    let mut deviations = Vec::new();
    for line in text.lines() {
        let (name, got) = line.split_once('=').unwrap();
        let wanted = table.get(name).unwrap_or_else(|| panic!("{name} is not in the table"));
        if !wanted.contains(&word(name, got).as_str()) {
            deviations.push(format!("{line}, not one of {wanted:?}"));
        }
    }
    assert!(text.lines().count() >= 80, "{text}");
    assert_eq!(deviations, Vec::<String>::new());
    sandbox.destroy().await;
    bench.launcher.shut_down().await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn s8_other_call_tables_are_death() {
    let bench = Bench::new(Mode::Namespaces);
    let sandbox = bench.sandbox("tables").await;
    for table in ["i386", "x32"] {
        let (text, exit) = run(&sandbox, probe(&sandbox, &[table])).await;
        assert_eq!((text.as_str(), exit), ("", Exit::Signal(libc::SIGSYS)), "{table}");
    }
    sandbox.destroy().await;
    bench.launcher.shut_down().await;
}

#[tokio::test]
async fn s9_the_jail_cannot_be_reached_through_a_program_path() {
    let bench = Bench::new(Mode::Namespaces);
    let sandbox = bench.sandbox("paths").await;
    for path in ["/proc/1/exe", "/proc/self/fd/3", "/proc/self/fd/7"] {
        let error = sandbox.start(support::program(&[path])).await.unwrap_err();
        assert!(
            matches!(error.start_errno(), Some(libc::ENOENT | libc::EACCES)),
            "{path}: {error}"
        );
    }
    let mut inside_out = shell("pwd");
    inside_out.cwd = "/proc/1/cwd".to_owned();
    assert!(sandbox.start(inside_out).await.is_err());
    sandbox.destroy().await;
    bench.launcher.shut_down().await;
}

#[tokio::test]
async fn s10_neighbours_do_not_meet() {
    let bench = Bench::new(Mode::Namespaces);
    let (mut one, two) = (bench.sandbox("one").await, bench.sandbox("two").await);
    let listener = one.listener().unwrap();
    run(&one, shell("echo secret > /tmp/secret")).await;
    let (text, _) = run(&two, shell("ls /tmp; hostname")).await;
    assert_eq!(text, "two\n");
    // The neighbour's Runtime API has the same address, and is not the same socket.
    let connect = probe(&two, &["connect", "169.254.100.1:9001"]);
    run(&two, connect).await;
    listener.set_ttl(64).unwrap();
    let nobody = tokio::select! {
        biased;
        _ = listener.accept() => false,
        () = std::future::ready(()) => true,
    };
    assert!(nobody, "a neighbour reached the Runtime API");
    drop(listener);
    one.destroy().await;
    two.destroy().await;
    bench.launcher.shut_down().await;
}
