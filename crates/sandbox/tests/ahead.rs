//! Sandboxes that are built ahead: what is taken is a sandbox like any other, and what is not is
//! taken down with the rest.

mod support;

use lamplight_init::protocol::PROGRAM_UID;
use lamplight_sandbox::{Exit, Sandbox};
use std::time::Duration;
use support::leftovers::{groups, leftovers};
use support::{Bench, is_root, run, shell, skip};

/// Those of the groups that belong to blanks, taken or not.
fn blanks(bench: &Bench) -> usize {
    let names = groups(&bench.instance).into_iter().filter_map(|path| {
        path.file_name()?.to_str().filter(|name| name.starts_with("blank-")).map(str::to_owned)
    });
    names.collect::<std::collections::BTreeSet<_>>().len()
}

/// Starts one the slow way, and waits until others are built for those to come.
async fn wake(bench: &Bench) {
    bench.sandbox("first").await.destroy().await;
    let ready = async {
        while blanks(bench) < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ready).await.expect("blanks are built");
}

async fn says(sandbox: &Sandbox, script: &str) -> String {
    let (text, exit) = run(sandbox, shell(script)).await;
    assert_eq!(exit, Exit::Code(0), "{text}");
    text
}

/// What a sandbox looks like from inside, but for its name.
const LOOK: &str = "id; ls /var/task /opt /etc /dev / /proc/self/fd; cat /etc/hosts /etc/passwd; \
    grep -v Cpus_allowed /proc/self/status | grep -E 'Cap|NoNew|Seccomp|Uid|Gid'; \
    cut -d' ' -f4- /proc/self/mountinfo | sed 's/[ug]id=2[0-9]*/ours/g' | grep -v ' /tmp ' | sort; \
    df -k /tmp | tail -1; ulimit -a";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_was_built_ahead_is_like_one_that_was_not() {
    if !is_root() {
        return skip("ahead", "needs root");
    }
    let (bench, slow) = (Bench::ahead(), Bench::new(lamplight_sandbox::Mode::Namespaces));
    wake(&bench).await;
    let taken = bench.sandbox("taken").await;
    let cgroup = groups(&bench.instance).iter().any(|path| path.ends_with("taken"));
    assert!(!cgroup, "it was built before it had its name");
    let built = slow.sandbox("built").await;
    let name = "cat /etc/hostname; uname -n";
    assert_eq!(says(&taken, name).await.replace('\n', ""), "takentaken");
    let (one, other) = (says(&taken, LOOK).await, says(&built, LOOK).await);
    assert!(one.contains(&format!("uid={PROGRAM_UID}(")), "{one}");
    let paths = |text: &str, bench: &Bench| text.replace(bench.dir.path().to_str().unwrap(), "DIR");
    assert_eq!(paths(&one, &bench), paths(&other, &slow));
    for refused in ["touch /x", "touch /etc/x", "touch /var/task/x", "hostname other"] {
        let (_, exit) = run(&taken, shell(refused)).await;
        assert_ne!(exit, Exit::Code(0), "{refused}");
    }
    // 16 MiB of `/tmp` and 128 of memory, as its spec says.
    let (_, exit) = run(&taken, shell("head -c 17M /dev/zero > /tmp/x")).await;
    assert_ne!(exit, Exit::Code(0));
    taken.destroy().await;
    built.destroy().await;
    for bench in [bench, slow] {
        bench.launcher.shut_down().await;
        assert_eq!(leftovers(&bench.instance, &bench.dir.path().join("run")), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_one_is_nobodys_loss_and_a_used_one_does_not_come_back() {
    if !is_root() {
        return skip("ahead", "needs root");
    }
    let bench = Bench::ahead();
    wake(&bench).await;
    for path in groups(&bench.instance) {
        for pid in std::fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default().lines() {
            let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    let one = bench.sandbox("one").await;
    assert_eq!(says(&one, "echo mine > /tmp/x; cat /tmp/x").await, "mine\n");
    one.destroy().await;
    let two = bench.sandbox("two").await;
    assert_eq!(says(&two, "ls /tmp").await, "");
    two.destroy().await;
    bench.launcher.shut_down().await;
    assert_eq!(leftovers(&bench.instance, &bench.dir.path().join("run")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nursery_that_was_killed_is_replaced() {
    let bench = Bench::new(lamplight_sandbox::Mode::Process);
    bench.sandbox("one").await.destroy().await;
    for pid in support::leftovers::processes(&bench.instance) {
        let pid = rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    while !support::leftovers::processes(&bench.instance).is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let two = bench.sandbox("two").await;
    assert_eq!(says(&two, "echo here").await, "here\n");
    two.destroy().await;
    bench.launcher.shut_down().await;
}
