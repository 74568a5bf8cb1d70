//! Floors of a cold start: fork and exec, a bare sandbox, a runtime until its first question.

use crate::runtime::{Call, Environment};
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use lamplight_env::Env;
use lamplight_sandbox::{Bind, Egress, Exit, Launcher, Mode, Options, Program, Spec};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc, oneshot};

pub async fn processes(count: usize, env: &Env) -> Result<Value> {
    let own = std::env::current_exe()?;
    let mut taken = Vec::new();
    for _ in 0..count {
        let begin = env.clock.instant();
        let ended = tokio::process::Command::new(&own).arg("nothing").status().await?;
        taken.push(since(begin, env));
        ensure!(ended.success(), "the program failed");
    }
    Ok(json!({ "nanoseconds": taken }))
}

/// From the order for a sandbox, of which none is built ahead, to the end of the program in it; and
/// its removal, apart.
pub async fn sandboxes(count: usize, directory: &Path, env: &Env) -> Result<Value> {
    let own = std::env::current_exe()?;
    let task = directory.join("task");
    std::fs::create_dir_all(&task)?;
    std::fs::copy(&own, task.join("meter"))?;
    let options = Options {
        mode: Mode::Namespaces,
        instance: env.random.hex(4),
        run_dir: directory.join("run"),
        jail: own,
        egress: Egress::Denied,
        ahead: false,
        ports: Vec::new(),
    };
    let launcher = Launcher::new(options, env.clone())?;
    let (mut taken, mut removals) = (Vec::new(), Vec::new());
    for number in 0..count {
        let begin = env.clock.instant();
        let spec = Spec {
            id: format!("s{number}"),
            binds: vec![Bind { source: task.clone(), target: "/var/task".to_owned() }],
            system: Default::default(),
            memory_mb: 128,
            tmp_mb: 16,
        };
        let sandbox = launcher.launch(spec).await?;
        let program = Program {
            argv: vec!["/var/task/meter".to_owned(), "nothing".to_owned()],
            env: Vec::new(),
            cwd: "/".to_owned(),
        };
        let running = sandbox.start(program).await?;
        let exit = running.exit.await?;
        taken.push(since(begin, env));
        let begin = env.clock.instant();
        sandbox.destroy().await;
        removals.push(since(begin, env));
        ensure!(exit == Exit::Code(0), "the program in the sandbox ended with {exit:?}");
    }
    launcher.shut_down().await;
    Ok(json!({ "nanoseconds": taken, "removals": removals }))
}

/// From fork to the first question; then `cycles` events for the last one, each until its answer.
pub async fn runtimes(
    starts: usize,
    cycles: usize,
    program: &[String],
    env: &Env,
) -> Result<Value> {
    let (mut taken, mut last) = (Vec::new(), None);
    for _ in 0..starts {
        // Its process ends before the next one begins.
        drop(last.take());
        let (give, calls) = mpsc::channel(1);
        let begin = env.clock.instant();
        let mut one = Environment::start(program, Arc::new(Mutex::new(calls)), env).await?;
        one.ready().await?;
        taken.push(since(begin, env));
        last = Some((one, give));
    }
    let (_one, give) = last.context("no start, no events")?;
    let mut exchanged = Vec::new();
    for _ in 0..cycles {
        let (answer, answered) = oneshot::channel();
        let begin = env.clock.instant();
        let call = Call { event: Bytes::from_static(b"{\"lamp\":\"post\"}"), answer };
        give.send(call).await.ok().context("nobody takes calls")?;
        tokio::time::timeout(Duration::from_secs(30), answered).await??;
        exchanged.push(since(begin, env));
    }
    Ok(json!({ "nanoseconds": taken, "cycles": exchanged }))
}

fn since(begin: Instant, env: &Env) -> u64 {
    u64::try_from((env.clock.instant() - begin).as_nanos()).unwrap_or(u64::MAX)
}
