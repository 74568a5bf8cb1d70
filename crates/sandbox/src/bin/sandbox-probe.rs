//! What the sandbox tests run inside a sandbox: it tries what a hostile function would try.

use std::io::{Read, Write};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["ask", address] => ask(address),
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
