//! What is drawn on the rows: spans, arrows, marks.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use downbeat_core::machine::Instant;

use super::escape::escape;
use super::rows::{Layout, title};
use super::scale::Scale;
use crate::view::timeline::{Kind, Process, Row, RowKind, Span, Timeline, Way};
use crate::view::words;

/// The page stays below about a megabyte: more pieces than these are drawn together with their neighbours.
const PIECES_MAX: usize = 3_500;

/// One or many spans that are drawn as one.
struct Piece<'a> {
    first: &'a Span,
    until: Instant,
    count: usize,
    failed: usize,
}

/// Draws all spans; if there are too many, says what was drawn together.
pub(super) fn draw(svg: &mut String, line: &Timeline, scale: Scale, layout: &Layout) -> Option<String> {
    let spans: Vec<&Span> = line.spans.iter().filter(|span| layout.place(span.row, None).is_some()).collect();
    // Pieces of one kind that are nearer than this, in pixels, are one.
    let mut near = 0.0;
    let mut pieces = together(&spans, line.end, scale, near);
    while pieces.len() > PIECES_MAX && near < 64.0 {
        near = if near == 0.0 { 0.25 } else { near * 2.0 };
        pieces = together(&spans, line.end, scale, near);
    }
    for piece in &pieces {
        rect(svg, piece, line.end, scale, layout);
    }
    (near > 0.0).then(|| {
        "There is more than a page can show: pieces of one kind that stand close are drawn as one. The Perfetto view has each.".to_owned()
    })
}

/// Joins empty polls that follow one another, and whatever is nearer than `near` pixels.
fn together<'a>(spans: &[&'a Span], end: Instant, scale: Scale, near: f64) -> Vec<Piece<'a>> {
    let mut pieces: Vec<Piece<'a>> = Vec::new();
    // The latest piece of each row and class; a poll of another kind ends a row of empty ones.
    let mut latest: BTreeMap<(Row, &'static str), usize> = BTreeMap::new();
    for span in spans {
        let until = span.until.unwrap_or(end);
        let class = class(span);
        if span.row.1 == RowKind::Poll && class != "empty" && near < 1.0 {
            latest.remove(&(span.row, "empty"));
        }
        let before = latest.get(&(span.row, class)).copied().and_then(|at| pieces.get_mut(at));
        if let Some(piece) = before {
            let gap = scale.x(span.from) - scale.x(piece.until);
            let thin = scale.x(until) - scale.x(span.from) < near.max(0.5) * 4.0;
            if class == "empty" || (near > 0.0 && gap < near && thin) {
                piece.until = piece.until.max(until);
                piece.count += 1;
                piece.failed += usize::from(span.failed);
                continue;
            }
        }
        latest.insert((span.row, class), pieces.len());
        pieces.push(Piece { first: span, until, count: 1, failed: usize::from(span.failed) });
    }
    pieces
}

fn class(span: &Span) -> &'static str {
    match span.kind {
        Kind::Fault => "fault",
        Kind::Up => "up",
        Kind::Lease if span.failed => "lapsed",
        Kind::Lease => "lease",
        _ if span.failed => "failed",
        Kind::Run => "run",
        Kind::Report => "report",
        Kind::Retry => "retry",
        Kind::Store => "store",
        Kind::Extend => "extend",
        Kind::Poll => "poll",
        Kind::EmptyPoll => "empty",
        Kind::GiveBack => "give-back",
        Kind::Refresh => "token",
        Kind::Backoff => "backoff",
        Kind::Paused => "paused",
    }
}

fn rect(svg: &mut String, piece: &Piece<'_>, end: Instant, scale: Scale, layout: &Layout) {
    let span = piece.first;
    let Some((y, height)) = layout.place(span.row, Some(span.kind)) else { return };
    let (x, until) = (scale.x(span.from), scale.x(piece.until));
    let class = class(span);
    // What is short and matters must be seen.
    let least = if matches!(class, "failed" | "report" | "extend") { 2.4 } else { 0.8 };
    let width = (until - x).max(least);
    let words = if piece.count == 1 {
        title(span, end)
    } else {
        let (from, to) = (words::time(span.from), words::time(piece.until));
        let failed = if piece.failed > 0 { format!(", {} failed", piece.failed) } else { String::new() };
        let plural = if span.kind == Kind::EmptyPoll {
            "empty polls".to_owned()
        } else {
            format!("times: {}", span.kind.name())
        };
        escape(&format!("{} {plural}{failed}\n{from} to {to}", piece.count))
    };
    let _ = writeln!(
        svg,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\"><title>{words}</title></rect>"
    );
    let label = match (span.kind, span.task) {
        (Kind::Run, Some(task)) if piece.count == 1 => words::task(task),
        (Kind::Fault, _) => span.note.replace('_', " "),
        _ => return,
    };
    let hidden = if width < 56.0 { " style=\"display:none\"" } else { "" };
    let _ = writeln!(
        svg,
        "<text class=\"in\" x=\"{:.1}\" y=\"{}\" data-w=\"{width:.1}\"{hidden}>{}</text>",
        x + 3.0,
        y + height.saturating_sub(3),
        escape(&label)
    );
}

/// Draws an arrow from each failed attempt to its retry, and from each lapse to the second run.
pub(super) fn arrows(svg: &mut String, line: &Timeline, scale: Scale, layout: &Layout) {
    let drawn = line.arrows.iter().filter(|arrow| arrow.kind != Way::NextRun);
    for arrow in drawn.take(PIECES_MAX / 4) {
        let middle =
            |row: Row| layout.place(row, None).map(|(y, height)| f64::from(y) + f64::from(height) / 2.0);
        let (Some(from_y), Some(to_y)) = (middle(arrow.from.1), middle(arrow.to.1)) else { continue };
        let (from_x, to_x) = (scale.x(arrow.from.0), scale.x(arrow.to.0));
        let class = if arrow.kind == Way::SecondRun { "again" } else { "try" };
        let bend = if arrow.from.1 == arrow.to.1 { -9.0 } else { 0.0 };
        let what = if arrow.kind == Way::SecondRun { "runs again after a lapse" } else { "reports again" };
        let (from, to) = (words::time(arrow.from.0), words::time(arrow.to.0));
        let _ = writeln!(
            svg,
            "<path class=\"{class}\" marker-end=\"url(#{class})\" data-a=\"{from_x:.1} {from_y:.1} {to_x:.1} {to_y:.1} {bend}\" d=\"{}\"><title>{what}: {from} to {to}</title></path>",
            curve(from_x, from_y, to_x, to_y, bend)
        );
    }
}

/// The same curve as in the script.
fn curve(from_x: f64, from_y: f64, to_x: f64, to_y: f64, bend: f64) -> String {
    let reach = (to_x - from_x) / 3.0;
    format!(
        "M{from_x:.1} {from_y:.1}C{:.1} {:.1} {:.1} {:.1} {to_x:.1} {to_y:.1}",
        from_x + reach,
        from_y + bend,
        to_x - reach,
        to_y + bend
    )
}

/// Draws what a person looks for first: crashes, drains, lapses, losses.
pub(super) fn marks(svg: &mut String, line: &Timeline, scale: Scale, layout: &Layout) {
    let loud = line.marks.iter().filter(|mark| mark.loud && mark.row.0 != Process::Server);
    for mark in loud.take(PIECES_MAX / 8) {
        let Some((y, height)) = layout.place(mark.row, None) else { continue };
        let (x, y) = (scale.x(mark.at), f64::from(y) + f64::from(height) / 2.0);
        let _ = writeln!(
            svg,
            "<circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\"><title>{}\n{}</title></circle>",
            escape(&mark.what),
            words::time(mark.at)
        );
    }
}
