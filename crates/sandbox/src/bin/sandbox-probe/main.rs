//! What the sandbox tests run inside a sandbox: it tries what a hostile function would try, and
//! prints what it got.

mod escape;
mod hold;
#[allow(unsafe_code, reason = "hostile programs use raw system calls")]
mod raw;
mod reach;
mod serve;
mod strain;

use std::io::{Read, Write};

fn main() {
    if let Ok(api) = std::env::var("AWS_LAMBDA_RUNTIME_API") {
        return serve::serve(&api).expect("the Runtime API answers");
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["ask", address] => ask(address),
        ["connect", addresses @ ..] => addresses.iter().for_each(|address| connect(address)),
        ["follow", address] => reach::follow(address),
        ["resolve"] => reach::resolve(),
        ["flood", address, count] => reach::flood(address, count.parse().expect("a number")),
        ["dial", address, count] => reach::dial(address, count.parse().expect("a number")),
        ["escape"] => escape::try_all(),
        ["i386"] => raw::call_as_i386(),
        ["x32"] => raw::call_as_x32(),
        ["spin", children] => strain::spin(children.parse().expect("a number")),
        ["orphans", count] => strain::orphans(count.parse().expect("a number")),
        ["zombies"] => strain::zombies(),
        ["eat"] => strain::eat(),
        ["both", tmp, memory] => {
            strain::both(tmp.parse().expect("a number"), memory.parse().expect("a number"));
        }
        ["forks"] => strain::forks(),
        ["fill"] => strain::fill(),
        ["files"] => strain::files(),
        ["open"] => strain::open(),
        ["sockets"] => strain::sockets(),
        ["hold", mode, instance, run_dir, jail] => hold::hold(mode, instance, run_dir, jail),
        _ => {
            eprintln!("unknown probe {arguments:?}");
            std::process::exit(64);
        }
    }
}

/// Sends `next` to `address` and prints the answer.
fn ask(address: &str) {
    let mut stream = std::net::TcpStream::connect(address).expect("connects");
    stream.write_all(b"next").expect("sends");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("receives");
    print!("{answer}");
}

/// Prints what connecting to `address` gives: 0 or the errno.
fn connect(address: &str) {
    let answer = std::net::TcpStream::connect(address);
    println!("{address}={}", answer.err().map_or(0, |error| error.raw_os_error().unwrap_or(-1)));
}
