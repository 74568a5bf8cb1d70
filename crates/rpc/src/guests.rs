//! What an environment gets of the server besides its calls.

use lamplight_env::Timestamp;
use lamplight_model::Target;
use std::any::Any;
use tokio::net::TcpListener;

/// Temporary credentials of a function's role.
#[derive(Clone)]
pub struct RoleCredentials {
    pub access_key: String,
    pub secret: String,
    pub session_token: String,
    pub expires: Timestamp,
}

impl std::fmt::Debug for RoleCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RoleCredentials({}, …)", self.access_key)
    }
}

/// The API as functions find it: by credentials of their role, at an address of their own.
pub trait Guests: Send + Sync {
    /// New ones at every call. Good for [`lamplight_model::limits::ROLE_CREDENTIALS`].
    fn credentials(&self, target: &Target) -> RoleCredentials;

    /// Serves the API to whoever connects, until what this returns is dropped. Nobody is believed
    /// without a signature, also where the server's own door is open.
    fn serve(&self, listener: TcpListener) -> Box<dyn Any + Send + Sync>;
}
