//! `lamplight events`: what is queued, owed and ended on a running server.

use crate::args::EventsCommand;
use crate::client::Client;
use crate::credentials;
use crate::data_dir::DataDir;
use crate::output::say;
use anyhow::{Result, bail};
use http::Method;
use lamplight_wire::percent;
use serde_json::Value;
use std::process::ExitCode;

pub async fn run(command: EventsCommand) -> Result<ExitCode> {
    match command {
        EventsCommand::List { stage, place } => {
            let client = client(place.data_dir)?;
            let Some(stage) = stage else {
                let queues = client.owner(Method::GET, "/_lamplight/events").await?;
                print_all(&queues["Queues"])?;
                return Ok(ExitCode::SUCCESS);
            };
            let mut after = String::new();
            loop {
                let path = format!("/_lamplight/events/{}{after}", stage.path());
                let page = client.owner(Method::GET, &path).await?;
                print_all(&page["Events"])?;
                let Some(next) = page["Next"].as_str() else { return Ok(ExitCode::SUCCESS) };
                after = format!("?after={}", percent::encode(next));
            }
        }
        EventsCommand::Show { id, place } => {
            let found = client(place.data_dir)?.owner(Method::GET, &path(&id)).await?;
            if found["Events"].as_array().is_none_or(Vec::is_empty) {
                bail!(
                    "nothing is known of {id}: it is no event of this server, or it ended too long ago"
                );
            }
            print_all(&found["Events"])?;
            Ok(ExitCode::SUCCESS)
        }
        EventsCommand::Retry { id, place } => {
            changed(&client(place.data_dir)?, Method::POST, &id, "tried again").await
        }
        EventsCommand::Drop { id, place } => {
            changed(&client(place.data_dir)?, Method::DELETE, &id, "dropped").await
        }
    }
}

fn client(data_dir: Option<std::path::PathBuf>) -> Result<Client> {
    credentials::client(&DataDir::new(data_dir)?)
}

fn path(id: &str) -> String {
    format!("/_lamplight/events/id/{}", percent::encode(id))
}

async fn changed(client: &Client, method: Method, id: &str, what: &str) -> Result<ExitCode> {
    let answer = client.owner(method, &path(id)).await?;
    let count = answer["Changed"].as_u64().unwrap_or_default();
    if count == 0 {
        bail!("nothing of {id} is waiting");
    }
    say!("{count} {what}")?;
    Ok(ExitCode::SUCCESS)
}

/// One line of JSON each, so that other tools can read it.
fn print_all(values: &Value) -> Result<()> {
    for value in values.as_array().into_iter().flatten() {
        say!("{value}")?;
    }
    Ok(())
}
