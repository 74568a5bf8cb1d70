//! What each extension may do when: the state machine behind the Extensions API of one environment.
//!
//! Pure, like the machine of the runtime beside it. External extensions are known before they
//! register, by the names of their files; internal ones make themselves known from within the
//! runtime. An extension that has failed stays as it is: its environment is on its way out.

use super::Refusal;
use std::fmt;

/// AWS: of both kinds together.
pub const MOST: usize = 10;

/// What is kept of the name that an extension gives its error, in characters.
const ERROR_TYPE: usize = 256;

/// The names are AWS's; they appear in logs and error texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// An external one whose program was started.
    Started,
    Registered,
    /// Waits for an event.
    Ready,
    /// Has an event.
    Running,
    InitError,
    ExitError,
    /// Its program could not be started.
    LaunchError,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// What an extension wants to be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Events {
    pub invoke: bool,
    pub shutdown: bool,
}

impl Events {
    pub fn names(self) -> Vec<&'static str> {
        let all = [("INVOKE", self.invoke), ("SHUTDOWN", self.shutdown)];
        all.into_iter().filter(|(_, wanted)| *wanted).map(|(name, _)| name).collect()
    }
}

#[derive(Debug, Clone)]
pub struct Extension {
    pub name: String,
    pub external: bool,
    pub state: State,
    pub events: Events,
    pub error_type: Option<String>,
    /// Given when it registers.
    id: Option<String>,
}

/// Which of the extensions there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    None,
    Internal,
    /// One at least is external.
    External,
}

#[derive(Debug, Default)]
pub struct Extensions {
    all: Vec<Extension>,
    closed: bool,
    /// How the first one failed that said so.
    failed: Option<&'static str>,
}

impl Extensions {
    /// With external ones of these names, whose programs are about to be started.
    pub fn expecting(names: &[String]) -> Self {
        let external = |name: &String| Extension {
            name: name.clone(),
            external: true,
            state: State::Started,
            events: Events::default(),
            error_type: None,
            id: None,
        };
        Self { all: names.iter().map(external).collect(), ..Self::default() }
    }

    pub fn all(&self) -> &[Extension] {
        &self.all
    }

    /// `id` is the new one's, where it is let in.
    pub fn register(&mut self, name: &str, wanted: &[&str], id: &str) -> Result<(), Refusal> {
        let full = self.all.len() >= MOST;
        let known = self.all.iter_mut().find(|extension| extension.name == name);
        let external = known.as_ref().is_some_and(|extension| extension.external);
        let events = events(wanted, external)?;
        match known {
            Some(extension) if external => {
                if extension.state != State::Started {
                    return Err(transition(extension.state, "Registered", name));
                }
                extension.state = State::Registered;
                extension.events = events;
                extension.id = Some(id.to_owned());
                Ok(())
            }
            _ if self.closed => Err(refusal(
                "Extension.RegistrationClosed",
                "Extension registration closed already",
            )),
            _ if full => Err(refusal(
                "Extension.TooManyExtensions",
                &format!("Extension limit ({MOST}) reached"),
            )),
            Some(_) => Err(refusal(
                "Extension.InvalidExtensionState",
                "Extension with this name already registered",
            )),
            None => {
                self.all.push(Extension {
                    name: name.to_owned(),
                    external: false,
                    state: State::Registered,
                    events,
                    error_type: None,
                    id: Some(id.to_owned()),
                });
                Ok(())
            }
        }
    }

    /// The runtime has asked for its first event: nobody else is let in.
    pub fn close(&mut self) {
        self.closed = true;
    }

    fn find(&mut self, id: &str) -> Option<&mut Extension> {
        self.all.iter_mut().find(|extension| extension.id.as_deref() == Some(id))
    }

    pub fn name_of(&self, id: &str) -> Option<&str> {
        let found = self.all.iter().find(|extension| extension.id.as_deref() == Some(id));
        found.map(|extension| extension.name.as_str())
    }

    /// `GET /event/next`. `waiting` says that an earlier request of it still waits: one whose
    /// connection is gone does not count.
    pub fn next(&mut self, id: &str, waiting: bool) -> Result<(), Refusal> {
        let Some(extension) = self.find(id) else {
            return Err(refusal(
                "Extension.UnknownExtensionIdentifier",
                &format!("Unknown extension {id}"),
            ));
        };
        match extension.state {
            State::Registered | State::Running => extension.state = State::Ready,
            State::Ready if !waiting => {}
            other => return Err(transition(other, "Ready", id)),
        }
        Ok(())
    }

    /// `POST /init/error`. Saying it again changes nothing.
    pub fn init_error(&mut self, id: &str, error_type: &str) -> Result<(), Refusal> {
        let extension = self.find(id).ok_or_else(unknown)?;
        match extension.state {
            State::Registered => extension.fail(State::InitError, error_type),
            State::InitError => {}
            other => return Err(transition(other, "InitError", id)),
        }
        self.failed.get_or_insert("Extension.InitError");
        Ok(())
    }

    /// `POST /exit/error`. Saying it again changes nothing.
    pub fn exit_error(&mut self, id: &str, error_type: &str) -> Result<(), Refusal> {
        let extension = self.find(id).ok_or_else(unknown)?;
        match extension.state {
            State::Registered | State::Ready | State::Running => {
                extension.fail(State::ExitError, error_type);
            }
            State::ExitError => {}
            // AWS: the text names another state than the one that it means.
            other => return Err(transition(other, "Exited", id)),
        }
        self.failed.get_or_insert("Extension.ExitError");
        Ok(())
    }

    /// The program of an external one could not be started.
    pub fn launch_error(&mut self, name: &str, error_type: &str) {
        if let Some(extension) = self.all.iter_mut().find(|extension| extension.name == name) {
            extension.fail(State::LaunchError, error_type);
        }
    }

    /// What one of them said of its failure, before it ended.
    pub fn failed(&self) -> Option<&'static str> {
        self.failed
    }

    /// Whether all external ones are known: the runtime waits for that.
    pub fn are_registered(&self) -> bool {
        self.all.iter().all(|extension| extension.state != State::Started)
    }

    /// Whether all have asked for their first event: initialisation waits for that. Between calls
    /// and at the end of one it says whether nobody works any more.
    pub fn are_ready(&self) -> bool {
        self.all.iter().all(|extension| extension.state == State::Ready)
    }

    /// Whether anybody is to be told of calls.
    pub fn attend(&self) -> bool {
        self.all.iter().any(|extension| extension.events.invoke)
    }

    /// A call begins. Gives the ids of those who are to be told.
    pub fn begin_call(&mut self) -> Vec<String> {
        self.begin(|extension| extension.events.invoke)
    }

    /// Everything is to end. Gives the ids of those who wait and are to be told; the others are
    /// told when they come back.
    pub fn begin_shutdown(&mut self) -> Vec<String> {
        self.begin(Extension::hears_shutdown)
    }

    fn begin(&mut self, who: impl Fn(&Extension) -> bool) -> Vec<String> {
        let ready = self.all.iter_mut().filter(|e| e.state == State::Ready && who(e));
        ready
            .filter_map(|extension| {
                extension.state = State::Running;
                extension.id.clone()
            })
            .collect()
    }

    /// Whether this one is told of the end.
    pub fn hears_shutdown(&self, id: &str) -> bool {
        let found = self.all.iter().find(|extension| extension.id.as_deref() == Some(id));
        found.is_some_and(Extension::hears_shutdown)
    }

    /// Of those that have registered.
    pub fn kind(&self) -> Kind {
        let mut registered = self.all.iter().filter(|extension| extension.id.is_some()).peekable();
        if registered.peek().is_none() {
            Kind::None
        } else if registered.any(|extension| extension.external) {
            Kind::External
        } else {
            Kind::Internal
        }
    }
}

impl Extension {
    fn fail(&mut self, state: State, error_type: &str) {
        self.state = state;
        self.error_type = Some(error_type.chars().take(ERROR_TYPE).collect());
    }

    /// Whether it is told of the end. AWS: internal ones are not; they see a signal.
    pub fn hears_shutdown(&self) -> bool {
        self.external && self.events.shutdown
    }
}

fn events(wanted: &[&str], external: bool) -> Result<Events, Refusal> {
    let mut events = Events::default();
    for name in wanted {
        let why = match *name {
            "INVOKE" => {
                events.invoke = true;
                continue;
            }
            "SHUTDOWN" if external => {
                events.shutdown = true;
                continue;
            }
            "SHUTDOWN" => "ShutdownEventNotSupportedForInternalExtension",
            _ => "ErrorInvalidEventType",
        };
        return Err(refusal("Extension.InvalidEventType", &format!("{name}: {why}")));
    }
    Ok(events)
}

pub fn refusal(error_type: &'static str, message: &str) -> Refusal {
    Refusal { status: 403, error_type, message: message.to_owned() }
}

fn unknown() -> Refusal {
    refusal("Extension.UnknownExtensionIdentifier", "Unknown Lambda-Extension-Identifier")
}

fn transition(from: State, to: &str, who: &str) -> Refusal {
    let message = format!(
        "State transition from {from} to {to} failed for extension {who}. Error: State transition is not allowed"
    );
    refusal("Extension.InvalidExtensionState", &message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    fn said(refused: Result<(), Refusal>) -> (&'static str, String) {
        let refusal = refused.unwrap_err();
        assert_eq!(refusal.status, 403);
        (refusal.error_type, refusal.message)
    }

    #[test]
    fn initialisation_waits_for_all_and_a_call_for_those_who_were_told() {
        let mut all = Extensions::expecting(&names(&["spy", "idle"]));
        assert!(!all.are_registered());
        all.register("spy", &["INVOKE", "SHUTDOWN"], "1").unwrap();
        all.register("idle", &[], "2").unwrap();
        assert!(all.are_registered());
        all.register("inner", &["INVOKE"], "3").unwrap();
        for id in ["1", "2", "3"] {
            assert!(!all.are_ready());
            all.next(id, false).unwrap();
        }
        assert!(all.are_ready() && all.attend());
        assert_eq!(all.begin_call(), ["1", "3"]);
        all.next("3", false).unwrap();
        assert!(!all.are_ready());
        all.next("1", false).unwrap();
        assert!(all.are_ready());
        assert_eq!(all.kind(), Kind::External);
        assert_eq!(all.begin_shutdown(), ["1"]);
        assert!(all.hears_shutdown("1") && !all.hears_shutdown("3"));
    }

    #[test]
    fn who_may_register_is_as_on_aws() {
        let mut all = Extensions::expecting(&names(&["spy"]));
        assert_eq!(
            said(all.register("spy", &["NAP"], "1")),
            ("Extension.InvalidEventType", "NAP: ErrorInvalidEventType".into())
        );
        assert_eq!(
            said(all.register("inner", &["SHUTDOWN"], "1")),
            (
                "Extension.InvalidEventType",
                "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension".into()
            )
        );
        all.register("spy", &[], "1").unwrap();
        assert_eq!(
            said(all.register("spy", &[], "2")),
            (
                "Extension.InvalidExtensionState",
                "State transition from Registered to Registered failed for extension spy. Error: State transition is not allowed".into()
            )
        );
        for n in 2..=MOST {
            all.register(&format!("inner-{n}"), &["INVOKE"], &n.to_string()).unwrap();
        }
        assert_eq!(
            said(all.register("inner-11", &[], "11")),
            ("Extension.TooManyExtensions", "Extension limit (10) reached".into())
        );
        let mut all = Extensions::default();
        all.register("inner", &[], "1").unwrap();
        assert_eq!(
            said(all.register("inner", &[], "2")),
            (
                "Extension.InvalidExtensionState",
                "Extension with this name already registered".into()
            )
        );
        assert_eq!(all.kind(), Kind::Internal);
        all.close();
        assert_eq!(
            said(all.register("late", &[], "2")),
            ("Extension.RegistrationClosed", "Extension registration closed already".into())
        );
    }

    #[test]
    fn requests_out_of_turn_are_refused_as_on_aws() {
        let mut all = Extensions::expecting(&names(&["spy"]));
        assert_eq!(
            said(all.next("1", false)),
            ("Extension.UnknownExtensionIdentifier", "Unknown extension 1".into())
        );
        assert_eq!(
            said(all.init_error("1", "A.B")),
            ("Extension.UnknownExtensionIdentifier", "Unknown Lambda-Extension-Identifier".into())
        );
        all.register("spy", &[], "1").unwrap();
        all.next("1", false).unwrap();
        let out_of_turn = |from: &str, to: &str| {
            (
                "Extension.InvalidExtensionState",
                format!(
                    "State transition from {from} to {to} failed for extension 1. Error: State transition is not allowed"
                ),
            )
        };
        assert_eq!(said(all.next("1", true)), out_of_turn("Ready", "Ready"));
        all.next("1", false).unwrap();
        assert_eq!(said(all.init_error("1", "A.B")), out_of_turn("Ready", "InitError"));
        all.exit_error("1", "A.B").unwrap();
        all.exit_error("1", "C.D").unwrap();
        assert_eq!(all.all()[0].error_type.as_deref(), Some("A.B"));
        assert_eq!(all.failed(), Some("Extension.ExitError"));
        assert_eq!(said(all.next("1", false)), out_of_turn("ExitError", "Ready"));
        assert!(!all.are_ready());
    }

    #[test]
    fn an_error_of_initialisation_is_told_once() {
        let mut all = Extensions::expecting(&names(&["spy", "other"]));
        all.register("spy", &[], "1").unwrap();
        all.init_error("1", "Spy.NoConfig").unwrap();
        all.launch_error("other", "PermissionDenied");
        assert_eq!(all.failed(), Some("Extension.InitError"));
        assert!(all.are_registered() && !all.are_ready());
        assert_eq!(all.all()[1].state.to_string(), "LaunchError");
        let refused = all.exit_error("1", "Spy.Late");
        assert!(said(refused).1.starts_with("State transition from InitError to Exited failed"));
    }
}
