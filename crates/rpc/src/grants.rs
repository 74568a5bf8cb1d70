//! What services of this server may do on behalf of something of the account.

use lamplight_model::FunctionRef;

/// A service by its name in policies, `sns.amazonaws.com`, and the ARN it acts for.
pub type Actor<'a> = (&'a str, &'a str);

/// Decides from policies alone, like everybody else's requests are decided on. Where the server
/// enforces no policies, everything may be done.
pub trait Grants: Send + Sync {
    /// Whether the text of a resource's policy lets them do `action` on `resource`.
    fn service_may(&self, actor: Actor<'_>, on: (&str, &str), policy: Option<&str>) -> bool;

    /// Whether the function's own policy lets them call it.
    fn service_may_invoke(&self, actor: Actor<'_>, function: &FunctionRef) -> bool;
}
