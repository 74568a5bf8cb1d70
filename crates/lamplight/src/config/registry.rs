//! Logins at registries of container images. Passwords are in files of their own, which are read
//! when they are needed, so that the configuration can be shown around.

use super::file;
use anyhow::{Context, Result, bail};
use lamplight_remote::{Access, Login};
use std::collections::BTreeMap;
use std::path::Path;

/// Longer than any token of a registry.
const PASSWORD_BYTES: u64 = 64 * 1024;

#[derive(Debug, Clone)]
pub struct Registries(pub(super) BTreeMap<String, file::Registry>);

/// The registries that a configuration file names.
pub fn registries(config: Option<&Path>) -> Result<Registries> {
    Ok(Registries(super::read(config)?.registry))
}

impl Registries {
    /// With the passwords.
    pub fn access(&self) -> Result<BTreeMap<String, Access>> {
        let all = self.0.iter().map(|(name, registry)| {
            let read = access(registry).with_context(|| format!("[registry.\"{name}\"]"));
            Ok((name.clone(), read?))
        });
        all.collect()
    }
}

fn access(registry: &file::Registry) -> Result<Access> {
    let login = match (&registry.username, &registry.password_file) {
        (Some(username), Some(file)) => {
            Some(Login { username: username.clone(), password: password(file)? })
        }
        (None, None) => None,
        _ => bail!("give both username and password_file, or neither"),
    };
    let token_server = registry.token_server.as_ref().map(|text| {
        let uri: http::Uri = text.parse().context("token_server")?;
        if uri.host().is_none() || !matches!(uri.scheme_str(), Some("http" | "https")) {
            bail!("token_server: \"{text}\" is no address such as https://auth.example.com");
        }
        Ok(uri)
    });
    Ok(Access { login, token_server: token_server.transpose()? })
}

fn password(file: &Path) -> Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(file)
        .and_then(|file| file.take(PASSWORD_BYTES).read_to_string(&mut text));
    read.with_context(|| format!("the password_file {} cannot be read", file.display()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => bail!("the password_file {} is empty", file.display()),
        password => Ok(password.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, Access>> {
        let file: file::File = toml::from_str(text)?;
        Registries(file.registry).access()
    }

    #[test]
    fn passwords_come_from_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "oil\n").unwrap();
        let text = format!(
            "[registry.\"r.example:5000\"]\nusername = \"lamp\"\npassword_file = {path:?}\n\
             token_server = \"https://auth.example\""
        );
        let all = read(&text).unwrap();
        let access = &all["r.example:5000"];
        assert_eq!(access.login.as_ref().unwrap().password, "oil");
        assert_eq!(access.token_server.as_ref().unwrap().host(), Some("auth.example"));
        std::fs::write(&path, "\n").unwrap();
        assert!(format!("{:#}", read(&text).unwrap_err()).contains("is empty"));
        for (wrong, why) in [
            ("username = \"lamp\"", "both"),
            ("token_server = \"auth.example\"", "is no address"),
            ("password = \"oil\"", "unknown field"),
            ("username = \"lamp\"\npassword_file = \"/nowhere\"", "cannot be read"),
        ] {
            let error = read(&format!("[registry.r]\n{wrong}")).unwrap_err();
            assert!(format!("{error:#}").contains(why), "{error:#}");
        }
    }
}
