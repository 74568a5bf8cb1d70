//! Ways out of a sandbox, and what each must give (cases S8 to S10).

mod support;

use lamplight_sandbox::{Exit, Mode};
use std::collections::BTreeMap;
use support::{Bench, is_root, probe, run, shell};

/// The answers that are right where `EPERM`, of the filter and of missing capabilities, is not.
fn exceptions() -> BTreeMap<&'static str, &'static [i32]> {
    const ABSENT: &[i32] = &[libc::ENOENT];
    const FIXED: &[i32] = &[libc::EACCES, libc::EROFS, libc::EPERM];
    // A file that is empty, or that this kernel does not have.
    const EMPTY: &[i32] = &[0, -1];
    let mut table: BTreeMap<&str, &[i32]> = BTreeMap::from([
        ("clone3", &[libc::ENOSYS] as &[i32]),
        ("read_/proc/1/root", ABSENT),
        ("read_/proc/1/environ", ABSENT),
        ("read_/sys/fs/cgroup/release_agent", ABSENT),
        ("read_/sys/kernel/uevent_helper", ABSENT),
        ("read_/dev/mem", ABSENT),
        ("read_/dev/kvm", ABSENT),
        ("read_/dev/fuse", ABSENT),
        ("read_/etc/shadow", ABSENT),
        ("read_/run/docker.sock", ABSENT),
        ("read_/root/.ssh", ABSENT),
        // A device that reads as empty covers it.
        ("read_/proc/kmsg", &[0]),
        ("write_/proc/sysrq-trigger", &[libc::EACCES, libc::EROFS, libc::ENOENT]),
        ("write_/proc/sys/kernel/core_pattern", FIXED),
        ("write_/proc/sys/kernel/hostname", FIXED),
        ("write_/proc/sys/vm/drop_caches", FIXED),
        ("write_/proc/self/exe", FIXED),
        ("write_/usr/bin/env", FIXED),
        ("write_/etc/passwd", FIXED),
        ("write_/dev/new", FIXED),
        ("length_/proc/kcore", EMPTY),
        ("length_/proc/keys", EMPTY),
        ("length_/proc/kallsyms", EMPTY),
        ("length_/proc/timer_list", EMPTY),
        ("neighbours", &[0]),
        ("descriptors", &[3]),
        ("capabilities", &[0]),
    ]);
    if !is_root() {
        // Init is the same user then and may be signalled; the kernel shields it, as PID 1.
        table.insert("kill_1", &[0]);
        // There is no other user to become.
        table.insert("setuid_0", &[libc::EINVAL]);
        table.insert("setgid_0", &[libc::EINVAL]);
        table.insert("write_/proc/self/exe", &[libc::ETXTBSY, libc::EROFS]);
    }
    table
}

#[tokio::test]
async fn s8_every_way_out_is_closed() {
    let bench = Bench::new(Mode::Namespaces);
    let sandbox = bench.sandbox("escape").await;
    let (text, exit) = run(&sandbox, probe(&sandbox, &["escape"])).await;
    assert_eq!(exit, Exit::Code(0), "{text}");
    let table = exceptions();
    let mut deviations = Vec::new();
    for line in text.lines() {
        let (name, got) = line.split_once('=').unwrap();
        let wanted = table.get(name).copied().unwrap_or(&[libc::EPERM]);
        if !wanted.contains(&got.parse().unwrap()) {
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
