//! What lies across all rows: axis, faults, counts, the end of faults, broken rules.

use std::fmt::Write as _;

use downbeat_core::machine::Instant;

use super::escape::escape;
use super::scale::{Scale, WIDTH};
use crate::view::broken::Broken;
use crate::view::timeline::{Happening, Kind, Process, Timeline};
use crate::view::words;

/// Bars of the chart of calls.
const BINS: usize = 240;
/// Where the chart of calls stands.
const CALLS: (f64, f64) = (26.0, 64.0);
/// Where the chart of open tasks stands.
const OPEN: (f64, f64) = (106.0, 30.0);

/// Ticks at round times, about ten of them.
pub(super) fn axis(svg: &mut String, scale: Scale, height: u32) {
    let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];
    let step = steps.into_iter().find(|step| scale.seconds() / step <= 14.0).unwrap_or(7_200.0);
    let mut second = 0.0;
    while second <= scale.seconds() {
        let x = second / scale.seconds() * WIDTH;
        let label = if step < 1.0 { format!("{second:.1} s") } else { format!("{second:.0} s") };
        let _ = writeln!(
            svg,
            "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"18\" y2=\"{height}\"/>{}",
            beside(x, 40.0, 3.0, "axis", 12, &label)
        );
        second += step;
    }
}

/// A text to the right of a place, or to its left if `room` pixels would not be enough.
fn beside(x: f64, room: f64, gap: f64, class: &str, y: u32, text: &str) -> String {
    let text = escape(text);
    if x + room <= WIDTH {
        format!("<text class=\"{class}\" x=\"{:.1}\" y=\"{y}\">{text}</text>", x + gap)
    } else {
        format!("<text class=\"{class}\" text-anchor=\"end\" x=\"{:.1}\" y=\"{y}\">{text}</text>", x - gap)
    }
}

/// Faults as bands behind everything; if some overlap there is one band, and each has its own row.
pub(super) fn bands(svg: &mut String, line: &Timeline, scale: Scale, height: u32) {
    let faults = line.spans.iter().filter(|span| span.kind == Kind::Fault);
    let mut bands: Vec<(Instant, Instant)> =
        faults.map(|span| (span.from, span.until.unwrap_or(line.end))).collect();
    bands.sort_unstable();
    bands.dedup_by(|(from, until), (_, last)| {
        let joins = *from <= *last;
        *last = if joins { (*last).max(*until) } else { *last };
        joins
    });
    for (from, until) in bands {
        let (x, until) = (scale.x(from), scale.x(until));
        let _ = writeln!(
            svg,
            "<rect class=\"band\" x=\"{x:.1}\" y=\"18\" width=\"{:.1}\" height=\"{}\"/>",
            (until - x).max(1.0),
            height.saturating_sub(18)
        );
    }
}

/// Calls per second over the whole fleet; failed ones in red. The height of the highest bar, in words.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bar is coarser"
)]
pub(super) fn calls(svg: &mut String, line: &Timeline, scale: Scale) -> String {
    let (top, height) = CALLS;
    let mut bins = vec![(0_u32, 0_u32); BINS];
    for (at, failed) in &line.calls {
        let bin = (scale.x(*at) / WIDTH * BINS as f64) as usize;
        if let Some((sent, lost)) = bins.get_mut(bin.min(BINS - 1)) {
            *(if *failed { lost } else { sent }) += 1;
        }
    }
    let most = bins.iter().map(|(sent, failed)| *sent.max(failed)).max().unwrap_or(0).max(1);
    let length = scale.seconds() / BINS as f64;
    for (number, (sent, failed)) in bins.iter().enumerate().filter(|(_, (sent, failed))| sent + failed > 0) {
        let (x, width) = (number as f64 * WIDTH / BINS as f64, WIDTH / BINS as f64 - 0.6);
        let from = number as f64 * length;
        for (class, count) in [("bar", sent), ("bar bad", failed)] {
            if *count == 0 {
                continue;
            }
            let tall = f64::from(*count) / f64::from(most) * height;
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{tall:.1}\"><title>{:.1} calls sent, {:.1} failed per second\n{from:.1} s to {:.1} s</title></rect>",
                top + height - tall,
                f64::from(*sent) / length,
                f64::from(*failed) / length,
                from + length
            );
        }
    }
    format!("{:.0} /s", f64::from(most) / length)
}

/// Tasks that have not ended, as the server counts them. The most, in words.
#[expect(clippy::cast_precision_loss, reason = "a pixel is coarser")]
pub(super) fn open_tasks(svg: &mut String, line: &Timeline, scale: Scale) -> String {
    let (top, height) = OPEN;
    let mut points: Vec<(f64, u64)> = vec![(0.0, 0)];
    for event in &line.order {
        if let Happening::Count { process: Process::Server, at, value, .. } = event {
            let x = scale.x(*at);
            match points.last_mut() {
                Some((last, open)) if x - *last < 0.5 => *open = *value,
                _ => points.push((x, *value)),
            }
        }
    }
    let most = points.iter().map(|(_, open)| *open).max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let end = scale.x(line.end);
    points.push((end, points.last().map_or(0, |(_, open)| *open)));
    for pair in points.windows(2) {
        let [(x, open), (until, _)] = pair else { continue };
        if *open == 0 {
            continue;
        }
        let tall = *open as f64 / most as f64 * height;
        let _ = writeln!(
            svg,
            "<rect class=\"open\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"><title>{open} open tasks</title></rect>",
            top + height - tall,
            until - x
        );
    }
    most.to_string()
}

/// The end of the faults, and the broken rules.
pub(super) fn moments(svg: &mut String, line: &Timeline, broken: &[Broken<'_>], scale: Scale, height: u32) {
    let mut moment = |class: &str, at: Instant, label: &str, what: &str| {
        let x = scale.x(at);
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"18\" y2=\"{height}\"><title>{}</title></line>{}",
            escape(what),
            beside(x, 180.0, 4.0, class, if class == "healed" { 30 } else { 44 }, label)
        );
    };
    if let Some(at) = line.healed.filter(|_| line.spans.iter().any(|span| span.kind == Kind::Fault)) {
        moment("healed", at, "no faults from here", &format!("no fault after {}", words::time(at)));
    }
    for (at, rule) in broken {
        moment("violation", *at, &rule.rule, &format!("{}\n{}\n{}", rule.rule, words::time(*at), rule.what));
    }
}
