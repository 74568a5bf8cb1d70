//! `conformance/uncovered.txt` says which modelled operations this server does not serve yet. It
//! is generated, so that it cannot say anything else than the code does.

use lamplight_frontend::api::served;
use lamplight_wire::{Service, operations, services};
use std::fmt::Write as _;
use std::path::Path;

fn ledger() -> String {
    let mut text = String::from(
        "# Operations of the service models that are not served yet, made by\n\
         # LAMPLIGHT_WRITE=1 cargo test -p lamplight-frontend --test ledger\n",
    );
    // The first of the dialects of a service has its newest operations.
    let newest = |service: &&Service| {
        lamplight_wire::service(&service.name).is_some_and(|first| std::ptr::eq(first, *service))
    };
    for service in services().iter().filter(newest) {
        let served = served(&service.name);
        let all: Vec<&str> = operations(service).map(|operation| operation.name.as_str()).collect();
        for name in served {
            assert!(all.contains(name), "{} has no operation {name}", service.name);
        }
        let _ = writeln!(text, "\n{}: {} of {} served", service.name, served.len(), all.len());
        for name in all.iter().filter(|name| !served.contains(name)) {
            let _ = writeln!(text, "{} {name}", service.name);
        }
    }
    text
}

#[test]
fn the_ledger_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/uncovered.txt");
    if std::env::var_os("LAMPLIGHT_WRITE").is_some() {
        std::fs::write(&path, ledger()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(
        written,
        ledger(),
        "regenerate it: LAMPLIGHT_WRITE=1 cargo test -p lamplight-frontend --test ledger"
    );
}
