//! Credentials that a function fetches instead of having them in its variables.

use super::Agent;
use crate::runtime_api::{CREDENTIALS, Credentials};
use lamplight_model::Target;
use lamplight_rpc::{RoleCredentials, StartError};
use lamplight_sandbox::Sandbox;
use std::sync::Arc;
use tokio::net::TcpListener;

/// SDKs send their token to loopback and to nowhere else of ours.
/// AWS: the port of the Runtime API.
const PORT: u16 = 9001;

/// What the variables say of it.
pub struct Fetching {
    pub uri: String,
    pub token: String,
}

/// One more place to serve the Runtime API at, which has the credentials besides.
pub(super) struct Offered {
    pub fetching: Fetching,
    pub listener: TcpListener,
    pub credentials: Credentials,
}

impl Agent {
    /// For the variables; none where they are fetched.
    pub(super) fn credentials(&self, target: &Target) -> Option<RoleCredentials> {
        let guests = self.guests.get().filter(|_| !target.snap_start)?;
        Some(guests.credentials(target))
    }

    /// AWS: functions with SnapStart alone have it.
    pub(super) async fn offer_credentials(
        &self,
        sandbox: &Sandbox,
        target: &Target,
    ) -> Result<Option<Offered>, StartError> {
        let Some(guests) = self.guests.get().filter(|_| target.snap_start) else { return Ok(None) };
        let listening = sandbox.listen_on_loopback(PORT).await;
        let (listener, address) = listening.map_err(|e| StartError::Sandbox(e.to_string()))?;
        let token = self.parts.env.random.uuid();
        let (guests, target) = (Arc::clone(guests), target.clone());
        let credentials = Credentials::new(token.clone(), move || guests.credentials(&target));
        let fetching = Fetching { uri: format!("http://{address}{CREDENTIALS}"), token };
        Ok(Some(Offered { fetching, listener, credentials }))
    }
}
