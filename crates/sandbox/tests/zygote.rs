//! Programs that are forked from a zygote: the same as those that are executed, and as confined.

mod support;

use lamplight_sandbox::{Bind, Exit, Mode, Program, Sandbox, Spec, Zygote, ZygoteSpec};
use std::collections::BTreeSet;
use std::path::Path;
use support::{Bench, is_root, read_all, run, skip};

const PYTHON: &str = "/usr/bin/python3";
/// Runs what a variable says, in place of a function.
const BOOTSTRAP: &str = r#"
import os
if "_LAMPLIGHT_ZYGOTE" in os.environ:
    from lamplight_runtime import zygote
    zygote.serve(int(os.environ["_LAMPLIGHT_ZYGOTE"]))
exec(os.environ["CODE"])
"#;

/// Says why there is no zygote here.
fn can(test: &str) -> bool {
    let can = is_root() && Path::new(PYTHON).exists();
    if !can {
        skip(test, "a zygote needs root's rights and a Python");
    }
    can
}

fn client(bench: &Bench) -> Bind {
    let directory = bench.dir.path().join("client");
    let package = directory.join("lamplight_runtime");
    if !package.exists() {
        std::fs::create_dir_all(&package).unwrap();
        let sources =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../runtimes/python/lamplight_runtime");
        for entry in std::fs::read_dir(sources).unwrap().flatten() {
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), package.join(entry.file_name())).unwrap();
            }
        }
        std::fs::write(directory.join("bootstrap.py"), BOOTSTRAP).unwrap();
    }
    Bind { source: directory, target: "/var/runtime".to_owned() }
}

fn python(code: &str) -> Program {
    let env = [("CODE", code), ("TZ", ":UTC"), ("SECRET", "of this function")];
    Program {
        argv: [PYTHON, "-S", "/var/runtime/bootstrap.py"].map(str::to_owned).into(),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        cwd: "/var/task".to_owned(),
    }
}

async fn zygote(bench: &Bench) -> Zygote {
    let program = Program { env: Vec::new(), ..python("") };
    let spec = ZygoteSpec { id: "zygote".to_owned(), binds: vec![client(bench)], program };
    bench.launcher.zygote(spec).await.unwrap()
}

async fn sandbox(bench: &Bench, id: &str) -> Sandbox {
    let mut spec: Spec = bench.spec(id);
    spec.binds.push(client(bench));
    bench.launcher.launch(spec).await.unwrap()
}

async fn forked(sandbox: &Sandbox, zygote: &Zygote, code: &str) -> (String, Exit) {
    let running = sandbox.fork(python(code), zygote).await.unwrap();
    let text = read_all(running.output).await;
    (text, running.exit.await.unwrap())
}

/// All that a process can learn of what it is and may do.
const LOOK: &str = r#"
import os, re, sys, resource, signal
for name in ("status", "limits", "mountinfo", "cgroup", "oom_score_adj", "cmdline", "comm", "timerslack_ns",
             "uid_map", "gid_map", "loginuid", "setgroups", "coredump_filter"):
    text = open("/proc/self/" + name, errors="replace").read()
    # What differs between any two processes.
    text = re.sub(r"(?m)^(Vm|Rss|Pid|Tgid|NSpid|NStgid|NSpgid|NSsid|.*ctxt_switches|Hugetlb|Threads|x86_Thread).*\n", "", text)
    print(name, text.strip())
print("namespaces", sorted((name, os.readlink("/proc/self/ns/" + name)) for name in os.listdir("/proc/self/ns")))
print("descriptors", [(fd, re.sub(r"\d+", "N", os.readlink("/proc/self/fd/" + fd))) for fd in sorted(os.listdir("/proc/self/fd"))[:3]],
      len(os.listdir("/proc/self/fd")))
print("own", os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid(), os.getppid(), os.getcwd(), os.getgroups())
print("ids", os.getresuid(), os.getresgid(), os.stat("/proc/self/environ").st_uid, os.stat("/proc/self/mem").st_uid)
print("signals", [(n, str(signal.getsignal(n))) for n in signal.valid_signals()])
print("python", sys.argv, getattr(sys, "orig_argv", None), sys.executable, sys.prefix, sys.path, sys.flags, sys.dont_write_bytecode)
print("stdio", [(f.fileno(), f.encoding, f.errors, f.line_buffering, f.seekable()) for f in (sys.stdout, sys.stderr)])
print("main", sys.modules["__main__"].__file__, __name__, os.readlink("/proc/self/exe"))
print("environment", sorted(os.environ.items()))
"#;

#[tokio::test]
async fn a_fork_is_what_an_executed_program_is() {
    if !can("a_fork_is_what_an_executed_program_is") {
        return;
    }
    let bench = Bench::new(Mode::Namespaces);
    let zygote = zygote(&bench).await;
    let sandbox = sandbox(&bench, "same").await;
    let executed = run(&sandbox, python(LOOK)).await;
    let forked = forked(&sandbox, &zygote, LOOK).await;
    assert_eq!(forked.1, Exit::Code(0), "{}", forked.0);
    assert_eq!(executed.1, Exit::Code(0), "{}", executed.0);
    let (executed, forked): (Vec<_>, Vec<_>) =
        (executed.0.lines().collect(), forked.0.lines().collect());
    let odd = |one: &[&str], other: &[&str]| -> Vec<String> {
        let other: BTreeSet<_> = other.iter().collect();
        one.iter().filter(|line| !other.contains(line)).map(|line| (*line).to_owned()).collect()
    };
    assert_eq!(odd(&forked, &executed), odd(&executed, &forked));
    assert!(executed.len() > 60);
    sandbox.destroy().await;
    zygote.end().await;
    bench.launcher.shut_down().await;
}
