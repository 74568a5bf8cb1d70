//! The probe as a function: it brings its own runtime, and its event is the list of its arguments.
//!
//! Each event runs the probe once more, as a child, so that one that is killed has an answer too:
//! what it wrote and how it ended, as one text.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

const PATH: &str = "/2018-06-01/runtime/invocation";

/// Asks for events until the Runtime API is gone.
pub(crate) fn serve(api: &str) -> std::io::Result<()> {
    loop {
        let (head, event) = exchange(api, &format!("GET {PATH}/next"), "")?;
        let id = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("lambda-runtime-aws-request-id").then(|| value.trim())
        });
        let id = id.unwrap_or_default();
        let answer = escaped(&run(&arguments(&event))?);
        exchange(api, &format!("POST {PATH}/{id}/response"), &answer)?;
    }
}

/// `["a","b"]` without escapes, which is all that the tests send.
fn arguments(event: &str) -> Vec<String> {
    event.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn run(arguments: &[String]) -> std::io::Result<String> {
    let child = Command::new("/proc/self/exe")
        .args(arguments)
        .env_remove("AWS_LAMBDA_RUNTIME_API")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let end = match (child.status.code(), child.status.signal()) {
        (Some(code), _) => format!("code={code}"),
        (_, signal) => format!("signal={}", signal.unwrap_or_default()),
    };
    Ok(format!("{}{end}\n", String::from_utf8_lossy(&child.stdout)))
}

/// The text as JSON.
fn escaped(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        '\n' => "\\n".to_owned(),
        c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
        c => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}

/// One request on a connection of its own; head and body of the answer.
fn exchange(api: &str, what: &str, body: &str) -> std::io::Result<(String, String)> {
    let mut stream = TcpStream::connect(api)?;
    let length = body.len();
    write!(
        stream,
        "{what} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    Ok((head.to_owned(), body.to_owned()))
}
