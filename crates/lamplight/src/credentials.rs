//! The access key of a server: made at its first start, kept in its data directory.
//!
//! The file is a shared credentials file of the AWS tools, so they can also be pointed at it.

use crate::client::Client;
use crate::data_dir::DataDir;
use anyhow::{Context, Result, bail};
use lamplight_env::Random;
use lamplight_model::AccountId;

const FILE: &str = "credentials";
pub const ENDPOINT: &str = "endpoint";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub account: AccountId,
    pub access_key: String,
    pub secret: String,
}

impl Credentials {
    /// The key of the data directory; makes one where there is none.
    pub fn open(dir: &DataDir, account: &AccountId, random: &dyn Random) -> Result<Self> {
        if let Some(content) = dir.read(FILE)? {
            return Self::parse(&content).with_context(|| {
                format!("{} is not a credentials file", dir.join(FILE).display())
            });
        }
        let made = Self {
            account: account.clone(),
            access_key: format!("AKIA{}", random.text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)),
            secret: random
                .text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 40),
        };
        dir.write(FILE, &made.to_text())?;
        Ok(made)
    }

    fn to_text(&self) -> String {
        format!(
            "# The access key of this Lamplight server. Whoever has it may do everything here.\n\
             [default]\n\
             aws_access_key_id = {}\n\
             aws_secret_access_key = {}\n\
             aws_account_id = {}\n",
            self.access_key, self.secret, self.account
        )
    }

    fn parse(content: &str) -> Result<Self> {
        let value = |name: &str| {
            content
                .lines()
                .filter_map(|line| line.split_once('='))
                .find_map(|(key, value)| (key.trim() == name).then(|| value.trim().to_owned()))
                .with_context(|| format!("{name} is missing"))
        };
        let account = AccountId::new(&value("aws_account_id")?)
            .context("aws_account_id is not a number of twelve digits")?;
        Ok(Self {
            account,
            access_key: value("aws_access_key_id")?,
            secret: value("aws_secret_access_key")?,
        })
    }
}

/// The server that runs on a data directory: its URL, its region, its key.
fn running(dir: &DataDir) -> Result<(String, String, Credentials)> {
    let Some(endpoint) = dir.read(ENDPOINT)? else {
        bail!(
            "no server is running on {}. Start one with `lamplight serve`, or name its directory with --data-dir",
            dir.path().display()
        );
    };
    let content = dir.read(FILE)?.context("the data directory has no credentials file")?;
    let credentials = Credentials::parse(&content)?;
    let mut lines = endpoint.lines();
    let (url, region) = (lines.next().unwrap_or_default(), lines.next().unwrap_or("us-east-1"));
    Ok((url.to_owned(), region.to_owned(), credentials))
}

/// A client of the server that runs on a data directory, as its owner.
pub fn client(dir: &DataDir) -> Result<Client> {
    let (url, region, credentials) = running(dir)?;
    let address = url.trim_start_matches("http://").parse().context("the server's address")?;
    Ok(Client { address, region, credentials })
}

/// What `lamplight env` prints: shell commands, safe to `eval`.
pub fn exports(dir: &DataDir) -> Result<String> {
    let (url, region, credentials) = running(dir)?;
    Ok(format!(
        "export AWS_ENDPOINT_URL={url}\n\
         export AWS_REGION={region}\n\
         export AWS_DEFAULT_REGION={region}\n\
         export AWS_ACCESS_KEY_ID={}\n\
         export AWS_SECRET_ACCESS_KEY={}\n\
         unset AWS_SESSION_TOKEN AWS_PROFILE\n",
        credentials.access_key, credentials.secret
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamplight_env::OsRandom;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_is_made_once_and_only_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let dir = DataDir::new(Some(dir.path().join("data"))).unwrap().create().unwrap();
        let account = AccountId::new("000000000000").unwrap();
        let first = Credentials::open(&dir, &account, &OsRandom).unwrap();
        assert_eq!((first.access_key.len(), first.secret.len()), (20, 40));
        assert_eq!(Credentials::open(&dir, &account, &OsRandom).unwrap(), first);
        let mode = std::fs::metadata(dir.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(exports(&dir).unwrap_err().to_string().starts_with("no server is running"));
        dir.write(ENDPOINT, "http://127.0.0.1:1\nus-east-1\n").unwrap();
        assert!(exports(&dir).unwrap().starts_with("export AWS_ENDPOINT_URL=http://127.0.0.1:1\n"));
    }
}
