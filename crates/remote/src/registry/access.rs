//! Who this server is at a registry, from the configuration. Passwords are never shown or logged.

use base64::Engine as _;
use http::{HeaderValue, Uri};

/// What the configuration says about one registry.
#[derive(Debug, Clone, Default)]
pub struct Access {
    pub login: Option<Login>,
    /// Where the registry may send this server for tokens, beside itself and public places: scheme,
    /// host and port.
    pub token_server: Option<Uri>,
}

#[derive(Clone)]
pub struct Login {
    pub username: String,
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Login({})", self.username)
    }
}

impl Login {
    pub(super) fn header(&self) -> Result<HeaderValue, http::Error> {
        let pair = format!("{}:{}", self.username, self.password);
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        secret(format!("Basic {pair}"))
    }
}

/// A header that is left out where headers are printed.
pub(super) fn secret(text: String) -> Result<HeaderValue, http::Error> {
    let mut value = HeaderValue::try_from(text)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let login = Login { username: "lamp".into(), password: "oil".into() };
        let header = login.header().unwrap();
        assert_eq!(header, "Basic bGFtcDpvaWw=");
        let access = Access { login: Some(login), token_server: None };
        let shown = format!("{access:?} {header:?}");
        assert!(shown.contains("lamp") && !shown.contains("oil"), "{shown}");
        assert!(!shown.contains("bGFtcDpvaWw"), "{shown}");
    }
}
