//! Programs that are forked from a zygote: the same as those that are executed, and as confined.

mod support;

use lamplight_sandbox::{Bind, Exit, Mode, Program, Sandbox, Spec, Zygote, ZygoteSpec};
use std::collections::BTreeSet;
use std::future::Future;
use std::path::Path;
use support::leftovers::{groups, leftovers};
use support::{Bench, is_root, read_all, reader, run, skip};

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
print("at the start", open("/proc/self/environ").read().strip("\0").split("\0"))
print("environment", sorted(os.environ.items()))
"#;

/// Runs a test with a zygote and a sandbox, and looks that nothing is left of either.
async fn with_zygote<F: Future<Output = (Bench, Zygote, Vec<Sandbox>)>>(
    test: &str,
    body: impl FnOnce(Bench, Zygote) -> F,
) {
    if !can(test) {
        return;
    }
    let bench = Bench::new(Mode::Namespaces);
    let zygote = zygote(&bench).await;
    let (bench, zygote, sandboxes) = body(bench, zygote).await;
    for sandbox in sandboxes {
        sandbox.destroy().await;
    }
    zygote.end().await;
    bench.launcher.shut_down().await;
    assert_eq!(leftovers(&bench.instance, &bench.dir.path().join("run")), Vec::<String>::new());
}

/// The numbers of the processes in a cgroup, as this process sees them.
fn members(bench: &Bench, id: &str) -> BTreeSet<String> {
    let mine = groups(&bench.instance).into_iter().filter(|group| group.ends_with(id));
    let lists = mine.map(|group| std::fs::read_to_string(group.join("cgroup.procs")).unwrap());
    lists.flat_map(|list| list.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn signal(zygote: &BTreeSet<String>, signal: rustix::process::Signal) {
    assert_eq!(zygote.len(), 1, "{zygote:?}");
    let pid = zygote.first().unwrap().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

#[tokio::test]
async fn s8_a_fork_is_what_an_executed_program_is() {
    with_zygote("s8_a_fork_is_what_an_executed_program_is", async |bench, zygote| {
        let sandbox = sandbox(&bench, "same").await;
        let ways_out = "import os; os.execv('/var/task/sandbox-probe', ['probe', 'escape'])";
        for (code, lines) in [(LOOK, 60), (ways_out, 80)] {
            let executed = run(&sandbox, python(code)).await;
            let forked = forked(&sandbox, &zygote, code).await;
            assert_eq!((&executed.1, &forked.1), (&Exit::Code(0), &Exit::Code(0)), "{}", forked.0);
            let lines_of = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
            let (executed, forked) = (lines_of(&executed.0), lines_of(&forked.0));
            let odd = |one: &[String], other: &[String]| -> Vec<String> {
                one.iter().filter(|line| !other.contains(line)).cloned().collect()
            };
            assert_eq!(odd(&forked, &executed), odd(&executed, &forked));
            assert!(executed.len() > lines, "{executed:?}");
        }
        (bench, zygote, vec![sandbox])
    })
    .await;
}

/// Counts what is in its own memory of a text of its own, and of the other's. Neither is in the code.
const SEARCH: &str = r#"
import os
own, other = os.environ["OWN"].encode(), bytes(reversed(os.environ["BACKWARDS"].encode()))
counts = [0, 0]
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
    for line in maps.readlines():
        span, rights = line.split()[:2]
        start, end = (int(text, 16) for text in span.split("-"))
        if rights[0] == "r" and "[v" not in line:
            memory.seek(start)
            content = memory.read(end - start)
            counts[0] += content.count(own)
            # Once: what we look for.
            counts[1] += content.count(other)
            del content
print(counts[0] > 0, counts[1])
"#;

#[tokio::test]
async fn s10_a_fork_knows_nothing_of_another() {
    with_zygote("s10_a_fork_knows_nothing_of_another", async |bench, zygote| {
        let (one, other) = (sandbox(&bench, "one").await, sandbox(&bench, "other").await);
        let secret = "b7e1c2a9-secret-of-the-first";
        let mut first = python("import json; json.marked = open('/tmp/mark', 'w'); print('ran')");
        first.env.push(("OWN".to_owned(), secret.to_owned()));
        let running = one.fork(first, &zygote).await.unwrap();
        assert_eq!(read_all(running.output).await, "ran\n");
        let backwards: String = secret.chars().rev().collect();
        let nothing =
            "import json, os; print(hasattr(json, 'marked'), os.path.exists('/tmp/mark'))";
        for (code, expected) in [(SEARCH, "True 1\n"), (nothing, "False False\n")] {
            let mut second = python(code);
            second.env.push(("OWN".to_owned(), "what the second has itself".to_owned()));
            second.env.push(("BACKWARDS".to_owned(), backwards.clone()));
            let running = other.fork(second, &zygote).await.unwrap();
            assert_eq!(read_all(running.output).await, expected);
        }
        (bench, zygote, vec![one, other])
    })
    .await;
}

#[tokio::test]
async fn forks_have_randomness_of_their_own() {
    with_zygote("forks_have_randomness_of_their_own", async |bench, zygote| {
        let sandbox = sandbox(&bench, "random").await;
        let code = "import os, random, secrets, ssl, tempfile, uuid; print(random.random(), random.SystemRandom().random(), \
                    secrets.token_hex(8), ssl.RAND_bytes(8).hex(), uuid.uuid4(), uuid.uuid1().clock_seq, os.urandom(8).hex(), \
                    next(tempfile._get_candidate_names()))";
        let mut seen = BTreeSet::new();
        for _ in 0..8 {
            let (text, exit) = forked(&sandbox, &zygote, code).await;
            assert_eq!(exit, Exit::Code(0), "{text}");
            seen.extend(text.split_whitespace().map(str::to_owned));
        }
        // A sequence number of fourteen bits may come twice.
        assert!(seen.len() >= 8 * 8 - 1, "{seen:?}");
        (bench, zygote, vec![sandbox])
    })
    .await;
}

#[tokio::test]
async fn forks_end_as_programs_do() {
    with_zygote("forks_end_as_programs_do", async |bench, zygote| {
        let sandbox = sandbox(&bench, "ends").await;
        assert_eq!(forked(&sandbox, &zygote, "os._exit(7)").await.1, Exit::Code(7));
        let waiting = "print('up', flush=True)\nimport signal\nsignal.pause()";
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            let running = sandbox.fork(python(waiting), &zygote).await.unwrap();
            support::read_until(&mut reader(running.output), |text| text.contains("up")).await;
            match signal {
                libc::SIGTERM => sandbox.terminate(running.name).await,
                _ => sandbox.kill(running.name).await,
            }
            assert_eq!(running.exit.await.unwrap(), Exit::Signal(signal));
        }
        let running = sandbox.fork(python(waiting), &zygote).await.unwrap();
        assert!(sandbox.kill_all().await);
        assert_eq!(running.exit.await.unwrap(), Exit::Signal(libc::SIGKILL));
        // Init is left, and no zombie; the zygote has no child.
        assert_eq!(members(&bench, "ends").len(), 1);
        let zygote_pid = members(&bench, "zygote").first().unwrap().clone();
        let children = format!("/proc/{zygote_pid}/task/{zygote_pid}/children");
        assert_eq!(std::fs::read_to_string(children).unwrap_or_default(), "");
        (bench, zygote, vec![sandbox])
    })
    .await;
}

#[tokio::test]
async fn a_zygote_that_is_killed_or_stands_still_starts_nothing() {
    with_zygote("a_zygote_that_is_killed_or_stands_still_starts_nothing", async |bench, zygote| {
        let sandbox = sandbox(&bench, "killed").await;
        signal(&members(&bench, "zygote"), rustix::process::Signal::STOP);
        // It is waited for, given up, and killed.
        let hung = sandbox.fork(python("print(1)"), &zygote).await.unwrap_err();
        assert!(hung.start_errno().is_some(), "{hung}");
        assert!(!zygote.is_of_use());
        sandbox.fork(python("print(1)"), &zygote).await.unwrap_err();
        assert_eq!(run(&sandbox, python("print(2)")).await, ("2\n".to_owned(), Exit::Code(0)));
        assert_eq!(members(&bench, "killed").len(), 1);
        (bench, zygote, vec![sandbox])
    })
    .await;
}

#[tokio::test]
async fn a_zygote_that_cannot_start_leaves_nothing() {
    if !can("a_zygote_that_cannot_start_leaves_nothing") {
        return;
    }
    let bench = Bench::new(Mode::Namespaces);
    for command in ["/bin/false", "/nowhere"] {
        let program = Program { argv: vec![command.to_owned()], ..python("") };
        let spec = ZygoteSpec { id: "zygote".to_owned(), binds: vec![client(&bench)], program };
        assert!(bench.launcher.zygote(spec).await.is_err());
    }
    bench.launcher.shut_down().await;
    assert_eq!(leftovers(&bench.instance, &bench.dir.path().join("run")), Vec::<String>::new());
}
