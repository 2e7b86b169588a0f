//! The place of one setting's value in its section, with the value's type erased: a table has cells of all kinds.

use std::ffi::OsStr;

use super::kind::Kind;
use super::reader::{Reader, Value};
use super::source::{Source, Sourced};

/// A value that may be set, with its source.
pub(crate) type Slot<T> = Option<Sourced<T>>;

/// A setting's place in the section `S`.
pub(crate) trait Cell<S>: Sync {
    /// Returns what is allowed, in the words of the messages.
    fn allowed(&self) -> String;
    /// Returns whether a file writes the value in quotes.
    fn is_quoted(&self) -> bool;
    /// Reads an option's text without keeping it.
    fn check(&self, text: &OsStr) -> Result<(), String>;
    /// Keeps what an option says.
    fn option(&self, section: &mut S, text: &OsStr, source: Source) -> Result<(), String>;
    /// Keeps what a variable says.
    fn variable(&self, section: &mut S, text: &str, source: Source) -> Result<(), String>;
    /// Keeps what a file says, or tells its reader what is wrong.
    fn read(&self, section: &mut S, reader: &mut Reader<'_>, found: &Value<'_>, key: &str);
    /// Returns whether there is a value.
    fn is_set(&self, section: &S) -> bool;
    /// Takes the value of another section.
    fn take(&self, section: &mut S, other: &mut S);
    /// Returns the value as `explain` shows it, with its source.
    fn shown(&self, section: &S) -> Option<(String, Source)>;
}

/// A kind of value, and the field that has it.
pub(crate) struct Field<S: 'static, T: 'static> {
    pub(crate) kind: Kind<T>,
    pub(crate) get: fn(&S) -> &Slot<T>,
    pub(crate) slot: fn(&mut S) -> &mut Slot<T>,
}

/// The cell of a field.
macro_rules! cell {
    ($section:ty, $kind:expr, $field:ident) => {
        &$crate::config::cell::Field {
            kind: $kind,
            get: |section: &$section| &section.$field,
            slot: |section: &mut $section| &mut section.$field,
        }
    };
}
pub(crate) use cell;

impl<S, T> Cell<S> for Field<S, T> {
    fn allowed(&self) -> String {
        self.kind.allowed()
    }

    fn is_quoted(&self) -> bool {
        self.kind.is_quoted()
    }

    fn check(&self, text: &OsStr) -> Result<(), String> {
        self.kind.option(text).map(drop)
    }

    fn option(&self, section: &mut S, text: &OsStr, source: Source) -> Result<(), String> {
        *(self.slot)(section) = Some(Sourced::new(self.kind.option(text)?, source));
        Ok(())
    }

    fn variable(&self, section: &mut S, text: &str, source: Source) -> Result<(), String> {
        *(self.slot)(section) = Some(Sourced::new(self.kind.variable(text)?, source));
        Ok(())
    }

    fn read(&self, section: &mut S, reader: &mut Reader<'_>, found: &Value<'_>, key: &str) {
        let value = self.kind.file(reader, found, key);
        *(self.slot)(section) = value.map(|value| Sourced::new(value, reader.source(&found.span())));
    }

    fn is_set(&self, section: &S) -> bool {
        (self.get)(section).is_some()
    }

    fn take(&self, section: &mut S, other: &mut S) {
        *(self.slot)(section) = (self.slot)(other).take();
    }

    fn shown(&self, section: &S) -> Option<(String, Source)> {
        let Sourced { value, source } = (self.get)(section).as_ref()?;
        Some((self.kind.show(value), source.clone()))
    }
}
