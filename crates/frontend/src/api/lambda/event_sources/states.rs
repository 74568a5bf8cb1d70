//! The states of an event source mapping. Pure.
//!
//! ```text
//! create ─► Creating ─┐             ┌─ Updating ◄──┐
//!                     ├─► Enabled ──┼─ Disabling ◄─┼── update
//!                     └─► Disabled ─┴─ Enabling ◄──┘
//!                            └─ delete ─► Deleting ─► gone
//! ```
//!
//! A mapping in transition goes to rest where it is wished to be, and takes no other change before.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Creating,
    Enabling,
    Enabled,
    Disabling,
    Disabled,
    Updating,
    Deleting,
}

/// What follows a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    In(State),
    Gone,
}

impl State {
    const ALL: [(State, &'static str); 7] = [
        (State::Creating, "Creating"),
        (State::Enabling, "Enabling"),
        (State::Enabled, "Enabled"),
        (State::Disabling, "Disabling"),
        (State::Disabled, "Disabled"),
        (State::Updating, "Updating"),
        (State::Deleting, "Deleting"),
    ];

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == text).map(|(state, _)| *state)
    }

    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("", |(_, name)| name)
    }

    fn at_rest(enabled: bool) -> Self {
        if enabled { Self::Enabled } else { Self::Disabled }
    }

    /// What an update begins that wishes the mapping `enabled`. `None` while it is in transition.
    pub fn update(self, enabled: bool) -> Option<Self> {
        match (self, enabled) {
            (Self::Enabled, true) | (Self::Disabled, false) => Some(Self::Updating),
            (Self::Enabled, false) => Some(Self::Disabling),
            (Self::Disabled, true) => Some(Self::Enabling),
            _ => None,
        }
    }

    /// What a deletion begins. `None` while the mapping is in transition.
    pub fn delete(self) -> Option<Self> {
        matches!(self, Self::Enabled | Self::Disabled).then_some(Self::Deleting)
    }

    /// Where a transition ends. `None` at rest.
    pub fn settle(self, enabled: bool) -> Option<Rest> {
        match self {
            Self::Enabled | Self::Disabled => None,
            Self::Deleting => Some(Rest::Gone),
            _ => Some(Rest::In(Self::at_rest(enabled))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_transition_ends_where_it_was_wished_to() {
        for (state, name) in State::ALL {
            assert_eq!(State::parse(name), Some(state));
            for enabled in [true, false] {
                let resting = matches!(state, State::Enabled | State::Disabled);
                assert_eq!(state.settle(enabled).is_none(), resting, "{name}");
                assert_eq!(state.update(enabled).is_some(), resting, "{name}");
                assert_eq!(state.delete().is_some(), resting, "{name}");
                if let Some(next) = state.update(enabled) {
                    assert_eq!(next.settle(enabled), Some(Rest::In(State::at_rest(enabled))));
                }
            }
        }
        assert_eq!(State::Creating.settle(false), Some(Rest::In(State::Disabled)));
        assert_eq!(State::Deleting.settle(true), Some(Rest::Gone));
        assert_eq!(State::Enabled.update(false), Some(State::Disabling));
        assert_eq!(State::parse("Enjoying"), None);
    }
}
