//! Views: a record, converted into something that people look at.

mod broken;
mod cast;
mod counters;
mod html;
mod perfetto;
mod short;
mod text;
mod timeline;
pub mod words;

pub(crate) use text::{Names as EventNames, fault_name, line as event_line};

use std::io::{self, Write};

pub use self::cast::{Cast, Player};
use crate::record::Record;

/// Kinds of views.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum View {
    /// One line for each step.
    Text,
    /// Only state changes, a column for each entry: `.` idle, `r` run, `u` update, `~` waits for a retry, `e`
    /// extend.
    Short,
    /// Chrome's trace format, for ui.perfetto.dev.
    Perfetto,
    /// One page that opens in a browser, without a network.
    Html,
    /// Counters for each second.
    Csv,
    /// The record itself, as JSON Lines.
    Record,
}

/// Writes a view of a record.
///
/// # Errors
/// The output cannot be written.
pub fn write(record: &Record, view: View, out: &mut dyn Write) -> io::Result<()> {
    let cast = Cast::from_record(record);
    let broken = broken::broken_rules(record);
    match view {
        View::Text => text::write(record, &cast, out),
        View::Short => short::write(record, &cast, out),
        View::Csv => counters::write(record, out),
        View::Record => record
            .entries
            .iter()
            .try_for_each(|entry| writeln!(out, "{}", entry.line.to_json().map_err(io::Error::other)?)),
        View::Perfetto => perfetto::write(&timeline::Timeline::from_record(record), &cast, &broken, out),
        View::Html => html::write(&timeline::Timeline::from_record(record), &cast, &broken, out),
    }
}
