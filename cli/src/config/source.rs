//! Where a setting came from.

use std::fmt;

/// A value and its source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Sourced<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

/// What set a value, the strongest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Source {
    /// An option of the command line.
    Flag(&'static str),
    /// A variable of the environment.
    Env(String),
    /// A line of the configuration file, counted from 1.
    File { name: String, line: usize },
    /// Nobody.
    #[default]
    Default,
}

impl<T> Sourced<T> {
    pub(crate) const fn new(value: T, source: Source) -> Self {
        Self { value, source }
    }

    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: change(self.value), source: self.source }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => f.write_str(name),
            Self::Env(name) => write!(f, "environment {name}"),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A text that is never shown.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(set)")
    }
}

/// Something in the settings that cannot be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Problem {
    pub(crate) source: Source,
    /// The key, `worker[2].slots`; empty if the whole is meant.
    pub(crate) key: String,
    /// What is wrong, and what is allowed.
    pub(crate) text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source != Source::Default {
            write!(f, "{}: ", self.source)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.text)
    }
}
