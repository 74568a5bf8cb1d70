//! A sandbox's life: start, output, Runtime API, reset, end, in both modes.

mod support;

use lamplight_sandbox::{Exit, Mode, Sandbox, SandboxError};
use support::{Bench, is_root, program, run, shell, skip};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const MODES: [Mode; 2] = [Mode::Namespaces, Mode::Process];

#[tokio::test]
async fn output_keeps_its_order_and_exits_are_told() {
    for mode in MODES {
        let bench = Bench::new(mode);
        let sandbox = bench.sandbox("order").await;
        let (text, exit) = run(&sandbox, shell("echo one; echo two >&2; echo three; exit 7")).await;
        assert_eq!((text.as_str(), exit), ("one\ntwo\nthree\n", Exit::Code(7)), "{mode:?}");
        let (_, exit) = run(&sandbox, shell("kill -SEGV $$")).await;
        assert_eq!(exit, Exit::Signal(libc::SIGSEGV), "{mode:?}");
        sandbox.destroy().await;
        bench.launcher.shut_down().await;
    }
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    for mode in MODES {
        let bench = Bench::new(mode);
        let sandbox = bench.sandbox("why").await;
        let missing = sandbox.start(program(&["/nowhere"])).await.unwrap_err();
        assert_eq!(missing.start_errno(), Some(libc::ENOENT), "{mode:?} {missing}");
        let directory = sandbox.start(program(&["/tmp"])).await.unwrap_err();
        assert_eq!(directory.start_errno(), Some(libc::EACCES), "{mode:?} {directory}");
        let nul = sandbox.start(program(&["/bin/sh", "a\0b"])).await.unwrap_err();
        assert_eq!(nul.start_errno(), Some(libc::EINVAL), "{mode:?} {nul}");
        sandbox.destroy().await;
        bench.launcher.shut_down().await;
    }
}

#[tokio::test]
async fn a_program_reaches_what_listens_in_its_sandbox() {
    for mode in MODES {
        let bench = Bench::new(mode);
        let mut sandbox = bench.sandbox("api").await;
        let listener = sandbox.listener().unwrap();
        let api = sandbox.runtime_api().to_owned();
        assert!(mode == Mode::Process || api == "169.254.100.1:9001");
        answers(&sandbox, listener, &api).await;
        // One that is opened now, and one that was opened with the sandbox.
        for port in [4566, 9002] {
            let (listener, address) = sandbox.listen(port).await.unwrap();
            assert!(mode == Mode::Process || address == format!("169.254.100.1:{port}"));
            if mode == Mode::Namespaces {
                assert!(matches!(sandbox.listen(port).await, Err(SandboxError::Listen(_))));
            }
            answers(&sandbox, listener, &address).await;
        }
        let (listener, address) = sandbox.listen_on_loopback(4566).await.unwrap();
        assert!(mode == Mode::Process || address == "127.0.0.1:4566");
        answers(&sandbox, listener, &address).await;
        sandbox.destroy().await;
        bench.launcher.shut_down().await;
    }
}

/// A program in `sandbox` asks at `address`, and `listener` hears it.
async fn answers(sandbox: &Sandbox, listener: TcpListener, address: &str) {
    let ask = support::probe(sandbox, &["ask", address]);
    let answer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = [0u8; 4];
        stream.read_exact(&mut asked).await.unwrap();
        assert_eq!(&asked, b"next");
        stream.write_all(b"event").await.unwrap();
    };
    let ((text, exit), ()) = tokio::join!(run(sandbox, ask), answer);
    assert_eq!((text.as_str(), exit), ("event", Exit::Code(0)), "{address}");
}

#[tokio::test]
async fn tmp_survives_a_reset_and_memory_does_not() {
    for mode in MODES {
        let bench = Bench::new(mode);
        let sandbox = bench.sandbox("reset").await;
        let tmp = sandbox.locate("/tmp").to_str().unwrap().to_owned();
        run(&sandbox, shell(&format!("echo kept > {tmp}/file"))).await;
        sandbox.kill_all().await;
        let (text, _) = run(&sandbox, shell(&format!("cat {tmp}/file"))).await;
        assert_eq!(text, "kept\n", "{mode:?}");
        sandbox.destroy().await;
        bench.launcher.shut_down().await;
    }
}

#[tokio::test]
async fn the_program_stands_where_lambda_would_put_it() {
    let bench = Bench::new(Mode::Namespaces);
    let sandbox = bench.sandbox("place").await;
    let script = "id -un; id -u; id -g; pwd; umask; ulimit -n; ulimit -u; ulimit -l; hostname; touch /var/task/x /x 2>&1; ls /sys";
    let (text, _) = run(&sandbox, shell(script)).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(&lines[..3], ["sbx_user1051", "993", "990"], "{text}");
    assert_eq!(&lines[3..5], ["/", "0022"], "{text}");
    if is_root() {
        assert_eq!(
            lines.iter().filter(|line| line.contains("Read-only file system")).count(),
            2,
            "{text}"
        );
    } else {
        skip(
            "the_program_stands_where_lambda_would_put_it",
            "errors of read-only directories, without root",
        );
    }
    assert!(text.contains("/sys"), "there must be no sysfs: {text}");
    sandbox.destroy().await;
    bench.launcher.shut_down().await;
}

#[tokio::test]
async fn what_is_frozen_stands_still_and_can_still_be_killed() {
    for mode in MODES {
        let bench = Bench::new(mode);
        let sandbox = bench.sandbox("frozen").await;
        let running = sandbox.start(shell("while :; do echo tick; done")).await.unwrap();
        let mut output = support::reader(running.output);
        support::read_until(&mut output, |text| text.contains("tick")).await;
        sandbox.freeze().await;
        // Stopped processes write nothing: what comes after the pipe was empty once comes never.
        support::read_until_silent(&mut output).await;
        sandbox.thaw().await;
        support::read_until(&mut output, |text| text.len() > 100_000).await;
        sandbox.freeze().await;
        assert!(sandbox.kill_all().await);
        assert_eq!(running.exit.await.unwrap(), Exit::Signal(9), "{mode:?}");
        sandbox.destroy().await;
        bench.launcher.shut_down().await;
    }
}
