//! Programs that will not end, take too much, or leave a mess (cases S1 to S7).

mod support;

use lamplight_sandbox::{Exit, Mode, Running};
use support::leftovers::{leftovers, population};
use support::{Bench, is_root, probe, read_until, reader, run, shell, skip};

const MODES: [Mode; 2] = [Mode::Namespaces, Mode::Process];

async fn end(bench: Bench, sandbox: lamplight_sandbox::Sandbox) {
    sandbox.destroy().await;
    assert_eq!(leftovers(&bench.instance, &bench.dir.path().join("run")), Vec::<String>::new());
    bench.launcher.shut_down().await;
}

#[tokio::test]
async fn s1_s2_nothing_survives_kill_all() {
    for mode in MODES {
        let bench = Bench::new(mode);
        let sandbox = bench.sandbox("spin").await;
        let Running { output, exit, .. } =
            sandbox.start(probe(&sandbox, &["spin", "60"])).await.unwrap();
        let mut output = reader(output);
        read_until(&mut output, |text| text.contains("ready\n")).await;
        sandbox.kill_all().await;
        assert_eq!(exit.await.unwrap(), Exit::Signal(9), "{mode:?}");
        // The pipe ends only when the last process that holds it is gone.
        read_until(&mut output, |_| false).await;
        if is_root() {
            assert_eq!(population(&bench.instance), 1, "{mode:?}: only init is left");
        }
        let (text, exit) = run(&sandbox, shell("echo again")).await;
        assert_eq!((text.as_str(), exit), ("again\n", Exit::Code(0)), "{mode:?}");
        end(bench, sandbox).await;
    }
}

#[tokio::test]
async fn s1_destroy_kills_what_runs() {
    for mode in MODES {
        let bench = Bench::new(mode);
        let sandbox = bench.sandbox("busy").await;
        let Running { output, exit, .. } =
            sandbox.start(probe(&sandbox, &["spin", "20"])).await.unwrap();
        let mut output = reader(output);
        read_until(&mut output, |text| text.contains("ready\n")).await;
        end(bench, sandbox).await;
        assert!(matches!(exit.await.unwrap(), Exit::Lost | Exit::Signal(9)), "{mode:?}");
        read_until(&mut output, |_| false).await;
    }
}

#[tokio::test]
async fn dropping_a_sandbox_leaves_nothing_either() {
    for mode in MODES {
        let bench = Bench::new(mode);
        let sandbox = bench.sandbox("dropped").await;
        let _running = sandbox.start(shell("sleep 1000 & sleep 1000")).await.unwrap();
        drop(sandbox);
        assert_eq!(
            leftovers(&bench.instance, &bench.dir.path().join("run")),
            Vec::<String>::new(),
            "{mode:?}"
        );
        bench.launcher.shut_down().await;
    }
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_built_leaves_nothing() {
    let bench = Bench::new(Mode::Namespaces);
    let mut spec = bench.spec("broken");
    spec.binds[0].source = bench.dir.path().join("missing");
    let error = bench.launcher.launch(spec).await.err().unwrap();
    assert!(error.to_string().contains("OpenSource"), "{error}");
    assert_eq!(leftovers(&bench.instance, &bench.dir.path().join("run")), Vec::<String>::new());
    bench.launcher.shut_down().await;
}

#[tokio::test]
async fn s3_orphans_are_reaped() {
    for mode in MODES {
        let bench = Bench::new(mode);
        let sandbox = bench.sandbox("orphans").await;
        let (text, _) = run(&sandbox, probe(&sandbox, &["orphans", "500"])).await;
        assert_eq!(text, "done\n", "{mode:?}");
        // Answered once nothing is left to reap.
        sandbox.kill_all().await;
        if is_root() {
            assert_eq!(population(&bench.instance), 1, "{mode:?}");
        }
        if mode == Mode::Namespaces {
            let (text, _) = run(&sandbox, probe(&sandbox, &["zombies"])).await;
            assert_eq!(text, "0\n");
        }
        end(bench, sandbox).await;
    }
}

#[tokio::test]
async fn s4_too_much_memory_kills_and_is_counted() {
    if !is_root() {
        return skip("s4_too_much_memory_kills_and_is_counted", "needs root for cgroups");
    }
    let bench = Bench::new(Mode::Namespaces);
    let sandbox = bench.sandbox("memory").await;
    assert!(!sandbox.ran_out_of_memory());
    let (_, exit) = run(&sandbox, probe(&sandbox, &["eat"])).await;
    assert_eq!(exit, Exit::Signal(9));
    assert!(sandbox.ran_out_of_memory());
    let peak = sandbox.memory_peak_bytes().unwrap();
    assert!((120 << 20..=128 << 20).contains(&peak), "{peak}");
    end(bench, sandbox).await;
}

#[tokio::test]
async fn s4_tmp_and_memory_are_two_sizes() {
    if !is_root() {
        return skip("s4_tmp_and_memory_are_two_sizes", "needs root for cgroups");
    }
    let bench = Bench::new(Mode::Namespaces);
    let mut spec = bench.spec("sizes");
    (spec.memory_mb, spec.tmp_mb) = (64, 256);
    let sandbox = bench.launcher.launch(spec).await.unwrap();
    // Four times the memory in /tmp, and half of the memory beside it.
    let (text, exit) = run(&sandbox, probe(&sandbox, &["both", "240", "32"])).await;
    assert_eq!((text.as_str(), exit), ("done\n", Exit::Code(0)));
    assert!(!sandbox.ran_out_of_memory());
    run(&sandbox, shell("rm /tmp/kept")).await;
    let (_, exit) = run(&sandbox, probe(&sandbox, &["both", "200", "600"])).await;
    assert_eq!(exit, Exit::Signal(9));
    assert!(sandbox.ran_out_of_memory());
    // Room that /tmp has given back is not memory's: three quarters of both sizes are too much.
    run(&sandbox, shell("rm -f /tmp/kept")).await;
    let (_, exit) = run(&sandbox, probe(&sandbox, &["both", "1", "240"])).await;
    assert_eq!(exit, Exit::Signal(9));
    // It goes on as before.
    let (text, exit) = run(&sandbox, probe(&sandbox, &["both", "1", "8"])).await;
    assert_eq!((text.as_str(), exit), ("done\n", Exit::Code(0)));
    end(bench, sandbox).await;
}

#[tokio::test]
async fn s5_a_fork_bomb_meets_its_limit() {
    let bench = Bench::new(Mode::Namespaces);
    let sandbox = bench.sandbox("forks").await;
    let (text, _) = {
        let Running { output, exit, .. } =
            sandbox.start(probe(&sandbox, &["forks"])).await.unwrap();
        let text = read_until(&mut reader(output), |text| text.contains('\n')).await;
        (text, exit.await.unwrap())
    };
    let numbers: Vec<i32> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(numbers[1], libc::EAGAIN, "{text}");
    assert!(numbers[0] <= 742, "{text}");
    sandbox.kill_all().await;
    end(bench, sandbox).await;
}

#[tokio::test]
async fn s6_tmp_has_an_end() {
    let bench = Bench::new(Mode::Namespaces);
    let sandbox = bench.sandbox("tmp").await;
    let (text, _) = run(&sandbox, probe(&sandbox, &["fill"])).await;
    assert_eq!(text, format!("{} {}\n", 16 << 20, libc::ENOSPC));
    let (text, _) = run(&sandbox, probe(&sandbox, &["files"])).await;
    let (count, errno) = text.trim().split_once(' ').unwrap();
    assert_eq!(errno, libc::ENOSPC.to_string());
    assert!(count.parse::<u32>().unwrap() <= 16 * 1024, "{text}");
    end(bench, sandbox).await;
}

#[tokio::test]
async fn s7_descriptors_have_an_end() {
    for mode in MODES {
        let bench = Bench::new(mode);
        let sandbox = bench.sandbox("fds").await;
        for what in ["open", "sockets"] {
            let (text, _) = run(&sandbox, probe(&sandbox, &[what])).await;
            // Three are standard input, output and error.
            assert_eq!(text, format!("1021 {}\n", libc::EMFILE), "{mode:?} {what}");
        }
        end(bench, sandbox).await;
    }
}
