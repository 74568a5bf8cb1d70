//! Lamplight: AWS Lambda that you run yourself, in one binary.
//!
//! This crate is arguments, configuration and wiring; what the server does is in the role crates.

#![deny(clippy::print_stdout)] // See `output`.

mod args;
mod client;
mod config;
mod credentials;
mod data_dir;
mod demo;
mod doctor;
mod events;
mod output;
mod runtime;
mod serve;

use args::{Args, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    // The server starts sandboxes by running a copy of itself under this name.
    let name = std::env::args_os().next().unwrap_or_default();
    if name.as_encoded_bytes().ends_with(b"lamplight-jail") {
        lamplight_sandbox::jail_main();
    }
    let args = Args::parse();
    init_tracing(args.verbose);
    raise_file_limit();
    match run(args.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lamplight: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Serve(options) => block_on(serve::run(config::load(&options)?)),
        Command::Demo { serve, once } => block_on(demo::run(config::load(&serve)?, once)),
        Command::Env { data_dir } => {
            let exports = credentials::exports(&data_dir::DataDir::new(data_dir)?)?;
            output::write(format_args!("{exports}"))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor { place } => block_on(doctor::run(&place)),
        Command::Runtime { command } => block_on(runtime::run(command)),
        Command::Events { command } => block_on(events::run(command)),
        Command::Version => {
            output::say!("lamplight {}", env!("CARGO_PKG_VERSION"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn block_on(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    // On one processor, too, a thread that waits for a disk must not be the only one.
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(threads).enable_all().build()?.block_on(work)
}

/// Every environment and every client takes some descriptors. The usual soft limit of 1024 is for
/// programs that use select(2), which nothing here does.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

fn init_tracing(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let level = match verbose {
        0 => "lamplight=info,warn",
        1 => "lamplight=debug,info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_env("LAMPLIGHT_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        // It would say so on standard error, and panic where that cannot be written either: a full
        // disk below the log would end requests without an answer.
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        .init();
}
