//! What the sandbox tests share: a launcher of their own, programs, and output read to its end.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod leftovers;

use lamplight_env::Env;
use lamplight_sandbox::{
    Bind, Egress, Exit, Launcher, Mode, Options, Program, Running, Sandbox, Spec,
};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::unix::pipe;

pub struct Bench {
    pub launcher: Launcher,
    pub instance: String,
    pub env: Env,
    pub dir: tempfile::TempDir,
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Says by name which test cannot run here.
pub fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED {test}: {why}");
}

impl Bench {
    pub fn new(mode: Mode) -> Self {
        Self::with_egress(mode, Egress::Denied)
    }

    pub fn with_egress(mode: Mode, egress: Egress) -> Self {
        Self::make(mode, egress, false)
    }

    /// One whose launcher builds sandboxes ahead.
    pub fn ahead() -> Self {
        Self::make(Mode::Namespaces, Egress::Denied, true)
    }

    fn make(mode: Mode, egress: Egress, ahead: bool) -> Self {
        let env = Env::system();
        let dir = tempfile::tempdir().unwrap();
        let instance = env.random.hex(4);
        let options = Options {
            mode,
            instance: instance.clone(),
            run_dir: dir.path().join("run"),
            jail: env!("CARGO_BIN_EXE_lamplight-jail").into(),
            egress,
            ports: vec![9002],
            ahead,
        };
        Self { launcher: Launcher::new(options, env.clone()).unwrap(), instance, env, dir }
    }

    /// A spec that shows the probe at `/var/task/sandbox-probe`.
    pub fn spec(&self, id: &str) -> Spec {
        let probe = Path::new(env!("CARGO_BIN_EXE_sandbox-probe"));
        let task = self.dir.path().join("task");
        std::fs::create_dir_all(&task).unwrap();
        let copy = task.join("sandbox-probe");
        if !copy.exists() {
            std::fs::copy(probe, &copy).unwrap();
        }
        Spec {
            id: id.to_owned(),
            binds: vec![Bind { source: task, target: "/var/task".to_owned() }],
            system: Default::default(),
            memory_mb: 128,
            tmp_mb: 16,
        }
    }

    pub async fn sandbox(&self, id: &str) -> Sandbox {
        self.launcher.launch(self.spec(id)).await.unwrap()
    }
}

pub fn program(argv: &[&str]) -> Program {
    Program {
        argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        cwd: "/".to_owned(),
    }
}

pub fn shell(script: &str) -> Program {
    program(&["/bin/sh", "-c", script])
}

/// The probe's path as `sandbox` sees it, with its arguments.
pub fn probe(sandbox: &Sandbox, arguments: &[&str]) -> Program {
    let path = sandbox.locate("/var/task/sandbox-probe").to_str().unwrap().to_owned();
    let mut argv = vec![path.as_str()];
    argv.extend(arguments);
    program(&argv)
}

/// Runs a program to its end; what it wrote, and how it ended.
pub async fn run(sandbox: &Sandbox, program: Program) -> (String, Exit) {
    let Running { output, exit, .. } = sandbox.start(program).await.unwrap();
    let text = read_all(output).await;
    (text, exit.await.unwrap())
}

pub async fn read_all(output: OwnedFd) -> String {
    read_until(&mut reader(output), |_| false).await
}

pub fn reader(output: OwnedFd) -> pipe::Receiver {
    pipe::Receiver::from_owned_fd(output).unwrap()
}

/// Reads until `enough` or the end.
pub async fn read_until(output: &mut pipe::Receiver, enough: impl Fn(&str) -> bool) -> String {
    let mut text = Vec::new();
    loop {
        let so_far = String::from_utf8_lossy(&text).into_owned();
        if enough(&so_far) {
            return so_far;
        }
        output.ready(Interest::READABLE).await.unwrap();
        let mut chunk = [0u8; 4096];
        match output.try_read(&mut chunk) {
            Ok(0) => return so_far,
            Ok(n) => text.extend(&chunk[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads until nothing has come for half a second.
pub async fn read_until_silent(output: &mut pipe::Receiver) {
    let mut chunk = [0u8; 65536];
    while let Ok(ready) = tokio::time::timeout(Duration::from_millis(500), output.readable()).await
    {
        ready.unwrap();
        match output.try_read(&mut chunk) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }
}
