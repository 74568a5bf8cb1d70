//! A killed server leaves nothing that the next start does not take away (case F6).

mod support;

use lamplight_env::{OsRandom, Random};
use lamplight_sandbox::{Swept, preflight, sweep};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use support::is_root;
use support::leftovers::{leftovers, processes};

fn kill_a_server_and_sweep(mode: &str) {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().join("run");
    let instance = OsRandom.hex(4);
    let mut server = Command::new(env!("CARGO_BIN_EXE_sandbox-probe"))
        .args(["hold", mode, &instance])
        .args([run_dir.as_os_str(), env!("CARGO_BIN_EXE_lamplight-jail").as_ref()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    assert_eq!(processes(&instance).len(), 3, "two inits and the nursery");
    server.kill().unwrap();
    server.wait().unwrap();

    let swept = sweep(&instance, &run_dir);
    if is_root() {
        assert_eq!(swept.cgroups, 2, "{swept:?}");
    }
    if mode == "process" {
        assert_eq!(swept.dirs, 2, "{swept:?}");
    }
    assert_eq!(leftovers(&instance, &run_dir), Vec::<String>::new(), "{swept:?}");
    assert_eq!(sweep(&instance, &run_dir), Swept::default(), "a second sweep finds nothing");
}

#[test]
fn after_a_kill_nothing_of_namespaces_is_left() {
    kill_a_server_and_sweep("namespaces");
}

#[test]
fn after_a_kill_nothing_of_process_mode_is_left() {
    kill_a_server_and_sweep("process");
}

#[test]
fn preflight_speaks_in_whole_sentences_about_what_is_missing() {
    for check in preflight() {
        assert!(!check.finding.is_empty(), "{check:?}");
        assert_eq!(check.ok, check.remedy.is_empty(), "{check:?}");
    }
}
