//! The kinds of value that a setting takes: how each is read, from text and from a file, and how it is shown.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use downbeat::{Journal, OnLapse, TransportChoice};

use super::reader::{Reader, Value};
use super::{env, value};
use crate::duration;

/// How values of one type are read and shown.
pub(crate) struct Kind<T: 'static> {
    /// Reads an option's or a file's text; the error says what is allowed. It never takes the empty text.
    text: fn(&str) -> Result<T, String>,
    /// Reads a variable's text. The SDKs write times in milliseconds without a unit.
    variable: fn(&str) -> Result<T, String>,
    form: Form<T>,
    show: fn(&T) -> String,
}

/// How a file spells a value.
enum Form<T: 'static> {
    /// As an option does, in quotes.
    Text,
    /// As an option does, in quotes; an option may be no UTF-8.
    Path(fn(PathBuf) -> T),
    /// Without quotes: a number, a list or a table. The reader is told what is wrong with it.
    Own(fn(&mut Reader<'_>, &Value<'_>, &str) -> Option<T>),
}

impl<T> Kind<T> {
    const fn text(text: fn(&str) -> Result<T, String>, show: fn(&T) -> String) -> Self {
        Self { text, variable: text, form: Form::Text, show }
    }

    const fn own(
        text: fn(&str) -> Result<T, String>,
        read: fn(&mut Reader<'_>, &Value<'_>, &str) -> Option<T>,
        show: fn(&T) -> String,
    ) -> Self {
        Self { text, variable: text, form: Form::Own(read), show }
    }

    /// Returns what is allowed, in the words of the messages.
    pub(super) fn allowed(&self) -> String {
        (self.text)("").err().unwrap_or_default()
    }

    /// Returns whether a file writes the value in quotes.
    pub(super) const fn is_quoted(&self) -> bool {
        matches!(self.form, Form::Text | Form::Path(_))
    }

    pub(super) fn option(&self, text: &OsStr) -> Result<T, String> {
        match &self.form {
            Form::Path(made) if !text.is_empty() => Ok(made(text.into())),
            Form::Path(_) | Form::Text | Form::Own(_) => {
                text.to_str().ok_or_else(|| "UTF-8 text".to_owned()).and_then(self.text)
            }
        }
    }

    pub(super) fn variable(&self, text: &str) -> Result<T, String> {
        (self.variable)(text)
    }

    pub(super) fn file(&self, reader: &mut Reader<'_>, found: &Value<'_>, key: &str) -> Option<T> {
        let parsed = match (&self.form, found.get_ref().as_str()) {
            (Form::Own(read), _) => return read(reader, found, key),
            (_, Some(text)) => (self.text)(text),
            (_, None) => Err(format!("{}, in quotes", self.allowed())),
        };
        parsed.map_err(|allowed| reader.problem(found, key, &format!("must be {allowed}"))).ok()
    }

    pub(super) fn show(&self, value: &T) -> String {
        (self.show)(value)
    }
}

pub(super) const URL: Kind<String> = Kind::text(value::url, Clone::clone);
pub(super) const TEXT: Kind<String> = Kind::text(value::text, Clone::clone);
pub(super) const PATH: Kind<PathBuf> = Kind {
    text: value::path,
    variable: value::path,
    form: Form::Path(|path| path),
    show: |path| path.display().to_string(),
};
pub(super) const TIME: Kind<Duration> = Kind::text(value::duration, |time| duration::show(*time));
pub(super) const LIMIT: Kind<Duration> =
    Kind { variable: env::millis, ..Kind::text(value::time_limit, |time| duration::show(*time)) };
pub(super) const LIMIT_OR_NEVER: Kind<Option<Duration>> = Kind {
    variable: env::millis_or_never,
    ..Kind::text(value::time_or_never, |time| time.map_or_else(|| "never".to_owned(), duration::show))
};
pub(super) const TASK_SIZE: Kind<u64> = Kind::text(value::task_size, |size| value::show_size(*size));
pub(super) const STORE_SIZE: Kind<u64> = Kind::text(value::store_size, |size| value::show_size(*size));
pub(super) const JOURNAL: Kind<Journal> = Kind::text(value::journal, |journal| journal.name().to_owned());
pub(super) const ON_LAPSE: Kind<OnLapse> =
    Kind::text(value::on_lapse, |on_lapse| value::on_lapse_name(*on_lapse));
pub(super) const TRANSPORT: Kind<TransportChoice> =
    Kind::text(value::transport, |choice| value::transport_name(*choice));
pub(super) const ADDRESS: Kind<SocketAddr> = Kind::text(value::address, ToString::to_string);

pub(super) const SLOTS: Kind<u16> = Kind::own(
    value::slots,
    |reader, found, key| reader.number(found, key, value::SLOTS),
    ToString::to_string,
);
pub(super) const MAX_CALLS: Kind<u16> = Kind::own(
    value::max_calls,
    |reader, found, key| reader.number(found, key, value::MAX_CALLS),
    ToString::to_string,
);
pub(super) const STORE_FILES: Kind<u32> = Kind::own(
    value::store_files,
    |reader, found, key| reader.number(found, key, value::STORE_FILES),
    ToString::to_string,
);
pub(super) const SWITCH: Kind<bool> =
    Kind::own(value::switch, |reader, found, key| reader.switch(found, key), ToString::to_string);

/// A program and its arguments; an option has them as words of their own.
pub(super) const WORDS: Kind<Vec<OsString>> = Kind::own(
    |_| Err(value::COMMAND.to_owned()),
    |reader, found, key| reader.command(found, key),
    |words| words.iter().map(|word| format!("{word:?}")).collect::<Vec<_>>().join(" "),
);
pub(super) const HOSTS: Kind<Vec<String>> = Kind::own(
    |_| Err(value::HOSTS.to_owned()),
    |reader, found, key| reader.hosts(found, key),
    |hosts| hosts.join(", "),
);
pub(super) const VARIABLES: Kind<BTreeMap<String, String>> = Kind::own(
    |_| Err(value::VARIABLES.to_owned()),
    |reader, found, key| reader.variables(found, key),
    |variables| {
        let names = variables.keys().map(String::as_str).collect::<Vec<_>>();
        format!("{} (values not shown)", names.join(", "))
    },
);
