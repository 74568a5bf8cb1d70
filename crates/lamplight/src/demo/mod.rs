//! `lamplight demo`: the first five minutes of a newcomer, done for real through the API.

mod example;

use crate::client::Client;
use crate::config::Config;
use crate::output::say;
use crate::serve::{Server, Signals};
use anyhow::{Context, Result, bail};
use base64::Engine as _;
use example::Example;
use lamplight_env::{Clock, SystemClock};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

const FUNCTION: &str = "hello";

/// `lamplight demo`. With `once` the server ends after the example.
pub async fn run(config: Config, once: bool) -> Result<ExitCode> {
    let mode = format!("{:?}", config.mode).to_lowercase();
    let signals = Signals::listen()?;
    let server = Server::start(config).await?;
    let shown = show(&server, &mode, once).await;
    if once || shown.is_err() {
        server.stop().await;
        return shown.map(|()| ExitCode::SUCCESS);
    }
    server.until_stopped(signals).await
}

async fn show(server: &Server, mode: &str, once: bool) -> Result<()> {
    step("server", &format!("{} (isolation: {mode})", server.url()))?;
    let client = Client {
        address: server.address,
        region: server.region.clone(),
        credentials: server.credentials.clone(),
    };
    let example = Example::for_machine(&*server.runtimes().await)?;
    deploy(&client, &example).await?;
    let first = call(&client, "first call", "a new sandbox").await?;
    call(&client, "second call", "the same sandbox, warm").await?;

    say!("\nThe result:\n  {}", first.result)?;
    say!("\nThe log of the first call, from the log group /aws/lambda/{FUNCTION}:")?;
    for line in logged(&client, &first.request_id).await? {
        say!("  {}", shorten(&line))?;
    }
    let event = server.write_example("s3-put.json", example::EVENT)?;
    let this = std::env::current_exe().unwrap_or_else(|_| "lamplight".into());
    say!(
        "\nTry next, in another terminal:\n\
         \n  eval \"$({} env --data-dir {})\"\
         \n  aws lambda invoke --function-name {FUNCTION} --payload fileb://{} --log-type Tail out.json\
         \n  aws logs tail /aws/lambda/{FUNCTION} --follow\
         \n  aws lambda list-functions",
        this.display(),
        server.data_dir().display(),
        event.display(),
    )?;
    if !once {
        say!("\nThe server goes on running. Ctrl-C stops it and leaves nothing behind.")?;
    }
    Ok(())
}

async fn deploy(client: &Client, example: &Example) -> Result<()> {
    let clock = SystemClock;
    let started = clock.instant();
    let path = format!("/2015-03-31/functions/{FUNCTION}");
    // A function of an earlier demo is in the way; one that is not there is no mistake.
    let deleted = client.lambda("DELETE", &path, "".into()).await?;
    if deleted.status >= 300 && deleted.status != 404 {
        deleted.success()?;
    }
    let zip = base64::engine::general_purpose::STANDARD.encode(example.zip()?);
    let request = json!({
        "FunctionName": FUNCTION,
        "Runtime": example.runtime,
        "Handler": example.handler,
        "Role": "arn:aws:iam::000000000000:role/hello",
        "Code": { "ZipFile": zip },
        "Timeout": 10,
    });
    client.lambda("POST", "/2015-03-31/functions", request.to_string().into()).await?.success()?;
    let configuration = format!("{path}/configuration");
    loop {
        let reply = client.lambda("GET", &configuration, "".into()).await?.success()?.json()?;
        match reply["State"].as_str() {
            Some("Active") => break,
            Some("Pending") => tokio::time::sleep(Duration::from_millis(5)).await,
            _ => bail!("the function did not become active: {}", reply["StateReason"]),
        }
    }
    let took = clock.instant() - started;
    step("function", &format!("{FUNCTION}, {}, active after {:.0?}", example.runtime, took))
}

struct Called {
    request_id: String,
    result: String,
}

async fn call(client: &Client, name: &str, what: &str) -> Result<Called> {
    let clock = SystemClock;
    let started = clock.instant();
    let path = format!("/2015-03-31/functions/{FUNCTION}/invocations");
    let reply = client.lambda("POST", &path, example::EVENT.into()).await?.success()?;
    let took = clock.instant() - started;
    let result = String::from_utf8_lossy(&reply.body).into_owned();
    if reply.headers.contains_key("x-amz-function-error") {
        bail!("the example function failed: {result}");
    }
    let header = |name: &str| {
        let value = reply.headers.get(name)?;
        Some(value.to_str().ok()?.to_owned())
    };
    step(name, &format!("{:.1} ms ({what})", took.as_secs_f64() * 1000.0))?;
    Ok(Called { request_id: header("x-amzn-requestid").unwrap_or_default(), result })
}

/// The lines of one call's stream up to its REPORT, which is written with its answer.
async fn logged(client: &Client, request_id: &str) -> Result<Vec<String>> {
    let group = format!("/aws/lambda/{FUNCTION}");
    let input = json!({ "logGroupName": group, "filterPattern": format!("\"{request_id}\"") });
    for _ in 0..200 {
        let found = client.logs("FilterLogEvents", &input).await;
        let stream = found.ok().and_then(|found| {
            found["events"].as_array()?.first()?["logStreamName"].as_str().map(str::to_owned)
        });
        if let Some(stream) = stream {
            let input =
                json!({ "logGroupName": group, "logStreamName": stream, "startFromHead": true });
            let events = client.logs("GetLogEvents", &input).await?;
            let lines = until_report(&events);
            if let Some(lines) = lines {
                return Ok(lines);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("the log of the call did not appear")
}

fn until_report(events: &Value) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    for event in events["events"].as_array()? {
        let message = event["message"].as_str()?.trim_end().to_owned();
        let last = message.starts_with("REPORT ");
        lines.push(message);
        if last {
            return Some(lines);
        }
    }
    None
}

fn shorten(line: &str) -> String {
    let line = line.replace('\t', "  ");
    match line.char_indices().nth(150) {
        Some((at, _)) => format!("{} …", &line[..at]),
        None => line,
    }
}

fn step(name: &str, what: &str) -> Result<()> {
    say!("{name:>12}  {what}")?;
    Ok(())
}

impl Server {
    /// Writes a file of the example below the data directory, and says where.
    fn write_example(&self, name: &str, content: &str) -> Result<std::path::PathBuf> {
        let path = self.data_dir().join("demo").join(name);
        let write = || {
            std::fs::create_dir_all(self.data_dir().join("demo"))?;
            std::fs::write(&path, content)
        };
        write().with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    }
}
