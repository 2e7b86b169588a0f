//! One page that opens in a browser without a network: swimlanes as inline SVG, hover for the story of each piece.

mod charts;
mod escape;
mod pieces;
mod rows;
mod scale;

use std::fmt::Write as _;
use std::io::{self, Write};

use downbeat_core::machine::Instant;

use self::escape::escape;
use self::rows::Layout;
use self::scale::{Scale, WIDTH};
use super::broken::Broken;
use super::timeline::{Kind, Timeline, Way};
use super::{Cast, words};

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// Heads of the two kinds of arrows.
const HEADS: &str = "<defs>\
<marker id=\"try\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"6\" markerHeight=\"6\" orient=\"auto\"><path class=\"head\" d=\"M0 0L8 4L0 8z\"/></marker>\
<marker id=\"again\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"6\" markerHeight=\"6\" orient=\"auto\"><path class=\"head bad\" d=\"M0 0L8 4L0 8z\"/></marker>\
</defs>\n";

/// Writes the page.
pub(super) fn write(
    line: &Timeline,
    cast: &Cast,
    broken: &[Broken<'_>],
    out: &mut dyn Write,
) -> io::Result<()> {
    let last = broken.iter().map(|(at, _)| *at).chain(Some(line.end)).max().unwrap_or(line.end);
    // A broken rule ends a run: beyond its mark there is a little room.
    let room = if broken.is_empty() { 0 } else { last.as_micros() / 100 };
    let scale = Scale::new(Instant::from_micros(last.as_micros() + room));
    let mut layout = Layout::new(line, cast, broken);
    let mut svg = String::new();
    charts::axis(&mut svg, scale, layout.height);
    charts::bands(&mut svg, line, scale, layout.height);
    let calls = charts::calls(&mut svg, line, scale);
    let open_tasks = charts::open_tasks(&mut svg, line, scale);
    layout.scales(calls, open_tasks);
    let merged = pieces::draw(&mut svg, line, scale, &layout);
    pieces::arrows(&mut svg, line, scale, &layout);
    pieces::marks(&mut svg, line, scale, &layout);
    charts::moments(&mut svg, line, broken, scale, layout.height);

    let title = escape(&cast.title);
    writeln!(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")?;
    writeln!(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
    writeln!(out, "<title>{title}</title>\n<style>\n{STYLE}</style></head><body>")?;
    writeln!(out, "<header><h1>{title}</h1><p class=\"why\">{}</p>", escape(&cast.subtitle))?;
    writeln!(out, "<p class=\"facts\">{}</p>", facts(line, cast))?;
    for (at, rule) in broken {
        let who = rule.w.map_or_else(String::new, |worker| format!(", {}", cast.name(worker)));
        let (name, what) = (escape(&rule.rule), escape(&rule.what));
        let secs = words::time(*at);
        let link = secs.trim_end_matches(" s");
        writeln!(
            out,
            "<p class=\"broken\"><b>{name}</b> broken at <a href=\"#t={link}\">{secs}</a>{who}: {what}</p>"
        )?;
    }
    writeln!(out, "</header>\n{}", legend())?;
    for note in layout.notes.iter().chain(merged.as_ref()) {
        writeln!(out, "<p class=\"note\">{}</p>", escape(note))?;
    }
    writeln!(out, "<main><div class=\"names\"><svg width=\"168\" height=\"{}\">", layout.height)?;
    out.write_all(layout.names().as_bytes())?;
    writeln!(
        out,
        "</svg></div><div class=\"time\"><svg id=\"time\" data-seconds=\"{:.6}\" data-width=\"{WIDTH}\" width=\"{WIDTH}\" height=\"{}\">",
        scale.seconds(),
        layout.height
    )?;
    out.write_all(HEADS.as_bytes())?;
    out.write_all(svg.as_bytes())?;
    writeln!(
        out,
        "<line id=\"cursor\" y1=\"0\" y2=\"{}\" visibility=\"hidden\"/><text id=\"moment\" y=\"58\" visibility=\"hidden\"></text></svg></div></main>",
        layout.height
    )?;
    writeln!(
        out,
        "<footer>Hover for details. Click, or a link that ends in <code>#t=16.059</code>, marks a time.</footer>"
    )?;
    writeln!(out, "<script>\n{SCRIPT}</script></body></html>")
}

/// What happened, in figures.
fn facts(line: &Timeline, cast: &Cast) -> String {
    let count = |kind: Kind| line.spans.iter().filter(|span| span.kind == kind).count();
    let failed = line.calls.iter().filter(|(_, failed)| *failed).count();
    let workers = cast.players.iter().filter(|player| player.slots > 0).count();
    let lapsed = line.spans.iter().filter(|span| span.kind == Kind::Lease && span.failed).count();
    let again = line.arrows.iter().filter(|arrow| arrow.kind == Way::SecondRun).count();
    let mut text = String::new();
    let facts = [
        (workers.to_string(), "workers"),
        (words::time(Instant::from_millis(line.end.as_millis())), "long"),
        (count(Kind::Run).to_string(), "runs"),
        ((count(Kind::Poll) + count(Kind::EmptyPoll)).to_string(), "polls"),
        (count(Kind::Report).to_string(), "reports"),
        (failed.to_string(), "calls failed"),
        (lapsed.to_string(), "leases lapsed"),
        (again.to_string(), "second runs"),
    ];
    for (figure, what) in facts {
        let _ = write!(text, "<span><b>{figure}</b> {what}</span>");
    }
    let _ = write!(text, "<span>seed <b>{}</b></span>", cast.seed);
    text
}

fn legend() -> String {
    let mut text = String::from("<div class=\"legend\">");
    let items = [
        ("run", "runs"),
        ("report", "reports its result"),
        ("retry", "waits to report again"),
        ("store", "stores its result"),
        ("lease", "lease"),
        ("lapsed", "lease that lapses"),
        ("extend", "extends it"),
        ("poll", "poll that brought tasks"),
        ("empty", "empty polls"),
        ("backoff", "backs off"),
        ("token", "token"),
        ("failed", "failed"),
        ("band", "faults"),
    ];
    for (class, what) in items {
        let _ = write!(
            text,
            "<span><svg width=\"18\" height=\"12\"><rect class=\"{class}\" width=\"18\" height=\"12\" rx=\"2\"/></svg>{what}</span>"
        );
    }
    for (shape, what) in [
        ("<path class=\"try\" d=\"M0 9Q9 -2 18 9\"/>", "to the next report"),
        ("<path class=\"again\" d=\"M0 6H18\"/>", "from a lapse to the second run"),
        ("<circle class=\"mark\" cx=\"9\" cy=\"6\" r=\"3.5\"/>", "lapse, crash or loss"),
    ] {
        let _ = write!(text, "<span><svg width=\"18\" height=\"12\">{shape}</svg>{what}</span>");
    }
    text.push_str("<span class=\"zoom\"><button id=\"out\">−</button><button id=\"fit\">fit</button><button id=\"in\">+</button></span></div>");
    text
}
