//! The benchmark's own program: a load generator, and the floors that a server is held against.
//!
//! Each subcommand prints one line of JSON, times in nanoseconds; what serves prints its address and
//! ends with its standard input. Says nothing about Lamplight: bench/*.py puts the two side by side.

mod answer;
mod chain;
mod echo;
mod load;
mod runtime;
mod starts;

use anyhow::Result;
use clap::{Parser, Subcommand};
use lamplight_env::Env;
use std::path::PathBuf;

#[derive(Parser)]
enum Command {
    /// Sends requests that were made ahead of time, on as many connections as there are clients.
    Load(load::Options),
    /// A bare hyper server that answers with what it is sent.
    Echo,
    /// Front, idle queue, Runtime API and real runtimes, without anything else.
    Chain {
        #[arg(long, default_value_t = 1)]
        environments: usize,
        #[arg(last = true, required = true)]
        program: Vec<String>,
    },
    /// Starts a runtime until it asks for an event, again and again.
    Runtime {
        #[arg(long, default_value_t = 20)]
        starts: usize,
        /// Events that the last one gets.
        #[arg(long, default_value_t = 0)]
        cycles: usize,
        #[arg(last = true, required = true)]
        program: Vec<String>,
    },
    #[command(subcommand)]
    Bare(Bare),
    /// Ends at once; what the bare starts start.
    Nothing,
}

#[derive(Subcommand)]
enum Bare {
    /// Fork, exec and wait.
    Process {
        #[arg(long, default_value_t = 100)]
        count: usize,
    },
    /// A sandbox, and in it a program that ends at once.
    Sandbox {
        #[arg(long, default_value_t = 50)]
        count: usize,
        /// Where what runs in the sandbox is copied to; everybody must be able to read it.
        #[arg(long)]
        directory: PathBuf,
    },
}

fn main() -> Result<()> {
    let name = std::env::args_os().next().unwrap_or_default();
    if name.as_encoded_bytes().ends_with(b"lamplight-jail") {
        lamplight_sandbox::jail_main();
    }
    let command = Command::parse();
    if matches!(command, Command::Nothing) {
        return Ok(());
    }
    raise_file_limit();
    let mut runtime = match command {
        // One thread keeps a generator from taking more than one processor from what it measures.
        Command::Load(_) => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    runtime.enable_all().build()?.block_on(run(command, &Env::system()))
}

async fn run(command: Command, env: &Env) -> Result<()> {
    match command {
        Command::Load(options) => say(&load::run(options, env).await?),
        Command::Echo => echo::serve(env).await?,
        Command::Chain { environments, program } => {
            chain::serve(environments, program, env).await?
        }
        Command::Runtime { starts, cycles, program } => {
            say(&starts::runtimes(starts, cycles, &program, env).await?);
        }
        Command::Bare(Bare::Process { count }) => say(&starts::processes(count, env).await?),
        Command::Bare(Bare::Sandbox { count, directory }) => {
            say(&starts::sandboxes(count, &directory, env).await?);
        }
        Command::Nothing => {}
    }
    Ok(())
}

fn say(result: &serde_json::Value) {
    println!("{result}");
}

/// A thousand connections are more than the usual soft limit.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // With less, the load says so itself.
    let _ = setrlimit(Resource::Nofile, limit);
}
