//! Which rows are drawn, where, and under which names.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::escape::escape;
use crate::view::broken::Broken;
use crate::view::timeline::{Kind, Process, Row, RowKind, Timeline};
use crate::view::{Cast, words};

/// More workers than these are counted in the charts and not drawn.
const WORKERS_MAX: usize = 40;
/// Where the rows of the faults begin: below the axis and the charts.
const TOP: u32 = 150;
const FAULT: u32 = 16;

/// Heights, names and places of all rows.
pub(super) struct Layout {
    /// The top of each row, and its height.
    rows: BTreeMap<Row, (u32, u32)>,
    labels: Vec<(u32, String, &'static str)>,
    pub(super) height: u32,
    pub(super) notes: Vec<String>,
}

impl Layout {
    pub(super) fn new(line: &Timeline, cast: &Cast, broken: &[Broken<'_>]) -> Self {
        let used: BTreeSet<Row> =
            line.spans.iter().map(|span| span.row).chain(line.marks.iter().map(|mark| mark.row)).collect();
        let mut layout = Self { rows: BTreeMap::new(), labels: Vec::new(), height: TOP, notes: Vec::new() };
        layout.labels.push((64, "calls per second".to_owned(), "small"));
        layout.labels.push((124, "open tasks".to_owned(), "small"));
        layout.faults(line);
        let accused: BTreeSet<u32> = broken.iter().filter_map(|(_, rule)| rule.w).collect();
        let all: BTreeSet<u32> = used
            .iter()
            .filter_map(
                |(process, _)| if let Process::Worker(worker) = process { Some(*worker) } else { None },
            )
            .collect();
        let mut shown: Vec<u32> = all.iter().copied().filter(|worker| accused.contains(worker)).collect();
        shown.extend(all.iter().copied().filter(|worker| !accused.contains(worker)));
        if shown.len() > WORKERS_MAX {
            layout.notes.push(format!(
                "{} of {} workers are drawn; the charts count all of them, and the record has them all.",
                WORKERS_MAX,
                shown.len()
            ));
            shown.truncate(WORKERS_MAX);
        }
        shown.sort_unstable();
        for worker in shown {
            layout.worker(worker, &used, cast);
        }
        layout.height += 8;
        layout
    }

    /// Says how high the two charts go.
    pub(super) fn scales(&mut self, calls: String, open_tasks: String) {
        self.labels.push((36, calls, "scale"));
        self.labels.push((112, open_tasks, "scale"));
    }

    fn faults(&mut self, line: &Timeline) {
        let names = line.spans.iter().filter(|span| span.kind == Kind::Fault);
        for span in names {
            if !self.rows.contains_key(&span.row) {
                self.add(span.row, FAULT, Some((span.note.replace('_', " "), "small fault")));
            }
        }
        self.height += 6;
    }

    fn worker(&mut self, worker: u32, used: &BTreeSet<Row>, cast: &Cast) {
        let process = Process::Worker(worker);
        let task = cast.players.get(worker as usize).map(|player| player.name.as_str());
        let name = cast.name(worker);
        let label = match task {
            Some(task) if task != name => format!("{name}  ·  {task}"),
            _ => name,
        };
        self.height += 8;
        self.add((process, RowKind::Own(0)), 14, Some((label, "name")));
        for (_, which) in used.range((process, RowKind::Own(0))..=(process, RowKind::Return)) {
            match which {
                RowKind::Own(_) | RowKind::Lease(_) => {}
                RowKind::Entry(index) => {
                    self.add((process, *which), 20, Some((format!("entry {index}"), "small")))
                }
                RowKind::Poll => self.add((process, *which), 13, Some(("polls".to_owned(), "small"))),
                RowKind::Auth => self.add((process, *which), 13, Some(("token".to_owned(), "small"))),
                RowKind::Return => self.add((process, *which), 13, Some(("give-backs".to_owned(), "small"))),
            }
        }
    }

    fn add(&mut self, row: Row, height: u32, label: Option<(String, &'static str)>) {
        self.rows.insert(row, (self.height, height));
        if let Some((text, class)) = label {
            self.labels.push((self.height + height.min(17) - 4, text, class));
        }
        self.height += height;
    }

    /// The top and the height of what is drawn on a row, or `None` if the row is not drawn.
    pub(super) fn place(&self, row: Row, kind: Option<Kind>) -> Option<(u32, u32)> {
        // A lease runs below its entry.
        let (process, which) = row;
        if let RowKind::Lease(index) = which {
            let (top, height) = *self.rows.get(&(process, RowKind::Entry(index)))?;
            return Some(if kind == Some(Kind::Extend) {
                (top + height - 6, 5)
            } else {
                (top + height - 5, 3)
            });
        }
        let (top, height) = *self.rows.get(&row)?;
        Some(match (which, kind) {
            (RowKind::Entry(_), Some(Kind::Retry)) => (top + 6, 3),
            (RowKind::Entry(_), _) => (top + 2, height - 8),
            (RowKind::Own(_), Some(Kind::Up)) => (top + height / 2, 2),
            (RowKind::Poll, Some(Kind::Backoff)) => (top + 1, height - 3),
            _ => (top + 2, height - 5),
        })
    }

    /// The column of names.
    pub(super) fn names(&self) -> String {
        let mut svg = String::new();
        for (y, text, class) in &self.labels {
            let x = match *class {
                "name" => "10",
                "scale" => "158\" text-anchor=\"end",
                _ => "22",
            };
            let short: String = text.chars().take(24).collect();
            let _ = writeln!(
                svg,
                "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}<title>{}</title></text>",
                escape(&short),
                escape(text)
            );
        }
        svg
    }
}

/// A span's words for whoever hovers.
pub(super) fn title(span: &crate::view::timeline::Span, end: downbeat_core::machine::Instant) -> String {
    let until = span.until.unwrap_or(end);
    let name = match span.task {
        Some(task) => format!("{} {}", span.kind.name(), words::task(task)),
        None => span.kind.name().to_owned(),
    };
    let note = if span.note.is_empty() { String::new() } else { format!("\n{}", span.note) };
    let (from, to, lasted) =
        (words::time(span.from), words::time(until), words::span(until.saturating_duration_since(span.from)));
    escape(&format!("{name}\n{from} to {to} ({lasted}){note}"))
}
