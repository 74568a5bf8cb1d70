//! A server that holds sandboxes until it is killed.

use lamplight_env::Env;
use lamplight_sandbox::{Egress, Launcher, Mode, Options, Program, Spec};
use std::io::Write;

/// Starts two busy sandboxes, prints `ready`, and waits to be killed.
pub(crate) fn hold(mode: &str, instance: &str, run_dir: &str, jail: &str) {
    let mode = if mode == "process" { Mode::Process } else { Mode::Namespaces };
    let egress = if mode == Mode::Namespaces && rustix::process::geteuid().is_root() {
        Egress::Internet {
            resolvers: Vec::new(),
            also_blocked: Vec::new(),
            rates: Default::default(),
        }
    } else {
        Egress::Denied
    };
    let options = Options {
        mode,
        instance: instance.to_owned(),
        run_dir: run_dir.into(),
        jail: jail.into(),
        egress,
        ports: Vec::new(),
        ahead: false,
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("builds");
    runtime.block_on(async {
        let launcher = Launcher::new(options, Env::system()).expect("a launcher");
        let mut held = Vec::new();
        for id in ["one", "two"] {
            let spec = Spec {
                id: id.to_owned(),
                binds: Vec::new(),
                memory_mb: 128,
                tmp_mb: 1,
                system: Default::default(),
            };
            let sandbox = launcher.launch(spec).await.expect("a sandbox");
            let argv = ["/bin/sh", "-c", "sleep 1000 & sleep 1000"].map(str::to_owned).to_vec();
            let program = Program { argv, env: Vec::new(), cwd: "/".to_owned() };
            let running = sandbox.start(program).await.expect("starts");
            held.push((sandbox, running));
        }
        println!("ready");
        std::io::stdout().flush().expect("flushes");
        std::future::pending::<()>().await;
    });
}
