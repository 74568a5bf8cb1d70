//! The server is the parent of every init: none may stay behind as a zombie, nor any descriptor.
//! Alone in its file, since it looks at all children of the process.

mod support;

use lamplight_sandbox::Mode;
use rustix::process::WaitOptions;
use support::leftovers::leftovers;
use support::{Bench, run, shell};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_sandboxes_at_once_leave_no_child_and_no_descriptor() {
    for mode in [Mode::Namespaces, Mode::Process] {
        let bench = Bench::new(mode);
        run_round(&bench, "warm").await;
        let before = descriptors();
        for round in ["one", "two"] {
            run_round(&bench, round).await;
        }
        let mut broken = bench.spec("broken");
        broken.binds[0].source = bench.dir.path().join("missing");
        if mode == Mode::Namespaces {
            assert!(bench.launcher.launch(broken).await.is_err());
        }
        assert_eq!(descriptors(), before, "{mode:?}");
        // The nursery lives, and nothing that has ended waits to be reaped.
        let children = || rustix::process::wait(WaitOptions::NOHANG);
        assert!(matches!(children(), Ok(None)), "{mode:?}");
        bench.launcher.shut_down().await;
        assert_eq!(children().err(), Some(rustix::io::Errno::CHILD), "{mode:?}");
        assert_eq!(leftovers(&bench.instance, &bench.dir.path().join("run")), Vec::<String>::new());
    }
}

/// Twelve sandboxes live, work and end at the same time.
async fn run_round(bench: &Bench, round: &str) {
    let mut tasks = Vec::new();
    for n in 0..12 {
        let (launcher, spec) = (bench.launcher.clone(), bench.spec(&format!("{round}{n}")));
        tasks.push(bench.env.tasks.spawn(async move {
            let sandbox = launcher.launch(spec).await.unwrap();
            let (text, _) = run(&sandbox, shell("echo here")).await;
            assert_eq!(text, "here\n");
            sandbox.destroy().await;
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}
