//! A bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output;

/// How often a line is written if there is no terminal.
const LINES: Duration = Duration::from_secs(1);

/// What is shown while the demo runs.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    orders: u32,
    /// When the next line is due.
    next: Mutex<Duration>,
}

impl Progress {
    pub(super) fn new(orders: u32) -> Self {
        let style = ProgressStyle::with_template("{elapsed:>4} [{bar:40}] {pos}/{len} orders  {msg}");
        let bar = std::io::stdout().is_terminal().then(|| {
            let target = ProgressDrawTarget::stdout();
            let bar = ProgressBar::with_draw_target(Some(u64::from(orders)), target);
            if let Ok(style) = style {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Self { bar, orders, next: Mutex::new(LINES) }
    }

    /// Tells an event.
    pub(super) fn say(&self, start: Instant, text: &str) {
        let line = format!("{:5.1} s  {text}", start.elapsed().as_secs_f32());
        match &self.bar {
            Some(bar) => bar.println(line),
            None => output::out(&format!("{line}\n")),
        }
    }

    /// Shows where things stand.
    pub(super) fn show(&self, start: Instant, completed: u64, running: u32, waiting: u32) {
        let rest = format!("{running} tasks run, {waiting} results wait");
        if let Some(bar) = &self.bar {
            bar.set_position(completed);
            bar.set_message(rest);
            return;
        }
        let mut next = self.next.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if start.elapsed() >= *next {
            *next += LINES;
            self.say(start, &format!("{completed} of {} orders completed, {rest}", self.orders));
        }
    }

    pub(super) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
