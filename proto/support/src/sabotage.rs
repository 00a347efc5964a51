//! Known bugs that a simulation can put back into a component, to prove that it would find them.
//!
//! A component asks [`Sabotage::is`] at the one place where the bug would be. In production the answer is
//! always no: only a simulation can make any other value than [`Sabotage::NONE`].

/// At most one bug, by name. The names stand with the simulation that knows how to find them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sabotage(Option<&'static str>);

impl Sabotage {
    /// No bug but those that nobody knows of.
    pub const NONE: Self = Self(None);

    /// Puts this bug back in.
    #[cfg(feature = "simulation")]
    pub const fn with(bug: &'static str) -> Self {
        Self(Some(bug))
    }

    /// Whether this bug is wanted.
    pub fn is(self, bug: &str) -> bool {
        self.0.is_some_and(|wanted| wanted == bug)
    }
}
