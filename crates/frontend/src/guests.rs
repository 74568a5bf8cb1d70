//! The API for functions: a listener in each environment, and credentials of its role.
//!
//! Their requests go the way of all others, with a budget for bodies that is theirs alone: what
//! functions send does not keep anybody else waiting.

use crate::Parts;
use crate::body::Bodies;
use crate::server::serve_guest;
use lamplight_model::Target;
use lamplight_rpc::RoleCredentials;
use std::any::Any;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

pub struct Guests {
    parts: Arc<Parts>,
    bodies: Arc<Bodies>,
}

/// Ends with its environment. Connections end by themselves when their processes do.
struct Serving(AbortHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Guests {
    pub fn new(parts: Arc<Parts>) -> Self {
        Self { parts, bodies: Arc::default() }
    }
}

impl lamplight_rpc::Guests for Guests {
    fn credentials(&self, target: &Target) -> RoleCredentials {
        let made = self.parts.sts.for_function(&target.function, &target.role);
        RoleCredentials {
            access_key: made.access_key,
            secret: made.secret,
            session_token: made.token,
            expires: made.expires,
        }
    }

    fn serve(&self, listener: TcpListener) -> Box<dyn Any + Send + Sync> {
        let (parts, bodies) = (Arc::clone(&self.parts), Arc::clone(&self.bodies));
        let serving = self.parts.env.tasks.spawn(serve_guest(listener, parts, bodies));
        Box::new(Serving(serving.abort_handle()))
    }
}
