//! The metrics that Conductor's SDKs share, for Prometheus: same names, same labels, same buckets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::context::lock;

/// Upper bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of the buckets of sizes, in bytes.
const BYTES: [f64; 6] = [100.0, 1_000.0, 10_000.0, 100_000.0, 1_000_000.0, 10_000_000.0];

/// What a runner counts and measures. Clones are the same.
///
/// | metric | labels |
/// | --- | --- |
/// | `task_poll_total` | `taskType` |
/// | `task_poll_error_total` | `taskType`, `exception` |
/// | `task_poll_time_seconds` | `taskType`, `status` |
/// | `task_execution_started_total` | `taskType` |
/// | `task_execute_error_total` | `taskType`, `exception` |
/// | `task_execute_time_seconds` | `taskType`, `status` |
/// | `task_result_size_bytes` | `taskType` |
/// | `task_update_error_total` | `taskType`, `exception` |
/// | `task_update_time_seconds` | `taskType`, `status` |
/// | `active_workers` | `taskType` |
/// | `external_payload_used_total` | `entityName`, `operation`, `payloadType` |
/// | `http_api_client_request_seconds` | `method`, `uri` (without ids), `status` (`0`: no answer) |
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    series: Arc<Mutex<BTreeMap<Name, BTreeMap<String, Series>>>>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Name {
    ActiveWorkers,
    ExternalPayload,
    HttpRequest,
    Poll,
    PollError,
    PollTime,
    ExecutionStarted,
    ExecuteError,
    ExecuteTime,
    ResultSize,
    UpdateError,
    UpdateTime,
}

impl Name {
    const fn text(self) -> &'static str {
        match self {
            Self::ActiveWorkers => "active_workers",
            Self::ExternalPayload => "external_payload_used_total",
            Self::HttpRequest => "http_api_client_request_seconds",
            Self::Poll => "task_poll_total",
            Self::PollError => "task_poll_error_total",
            Self::PollTime => "task_poll_time_seconds",
            Self::ExecutionStarted => "task_execution_started_total",
            Self::ExecuteError => "task_execute_error_total",
            Self::ExecuteTime => "task_execute_time_seconds",
            Self::ResultSize => "task_result_size_bytes",
            Self::UpdateError => "task_update_error_total",
            Self::UpdateTime => "task_update_time_seconds",
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::ActiveWorkers => "gauge",
            Self::ExternalPayload
            | Self::Poll
            | Self::PollError
            | Self::ExecutionStarted
            | Self::ExecuteError
            | Self::UpdateError => "counter",
            Self::HttpRequest | Self::PollTime | Self::ExecuteTime | Self::ResultSize | Self::UpdateTime => {
                "histogram"
            }
        }
    }

    const fn buckets(self) -> &'static [f64] {
        if matches!(self, Self::ResultSize) { &BYTES } else { &SECONDS }
    }
}

#[derive(Debug)]
enum Series {
    Number(i64),
    Spread { below: Vec<u64>, sum: f64, count: u64 },
}

impl Metrics {
    /// Adds to a counter or a gauge.
    pub(crate) fn add(&self, name: Name, labels: &[(&str, &str)], by: i64) {
        self.change(
            name,
            labels,
            || Series::Number(0),
            |series| {
                if let Series::Number(number) = series {
                    *number = number.saturating_add(by);
                }
            },
        );
    }

    /// Files a value in a histogram.
    pub(crate) fn observe(&self, name: Name, labels: &[(&str, &str)], value: f64) {
        let buckets = name.buckets();
        let empty = || Series::Spread { below: vec![0; buckets.len()], sum: 0.0, count: 0 };
        self.change(name, labels, empty, |series| {
            let Series::Spread { below, sum, count } = series else { return };
            for (below, bound) in below.iter_mut().zip(buckets) {
                *below += u64::from(value <= *bound);
            }
            *sum += value;
            *count += 1;
        });
    }

    /// Files a duration.
    pub(crate) fn time(&self, name: Name, labels: &[(&str, &str)], duration: Duration) {
        self.observe(name, labels, duration.as_secs_f64());
    }

    fn change(
        &self,
        name: Name,
        labels: &[(&str, &str)],
        empty: impl FnOnce() -> Series,
        change: impl FnOnce(&mut Series),
    ) {
        let mut series = lock(&self.series);
        change(series.entry(name).or_default().entry(labels_text(labels)).or_insert_with(empty));
    }

    /// All series as text, in Prometheus' exposition format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        for (name, series) in &*lock(&self.series) {
            let _ = writeln!(text, "# TYPE {} {}", name.text(), name.kind());
            for (labels, series) in series {
                render(&mut text, *name, labels, series);
            }
        }
        text
    }
}

fn render(text: &mut String, name: Name, labels: &str, series: &Series) {
    let what = name.text();
    // Writing into a string does not fail.
    let _ = match series {
        Series::Number(number) => writeln!(text, "{what}{{{labels}}} {number}"),
        Series::Spread { below, sum, count } => {
            for (below, bound) in below.iter().zip(name.buckets()) {
                let _ = writeln!(text, "{what}_bucket{{{labels},le=\"{bound}\"}} {below}");
            }
            let _ = writeln!(text, "{what}_bucket{{{labels},le=\"+Inf\"}} {count}");
            writeln!(text, "{what}_sum{{{labels}}} {sum}\n{what}_count{{{labels}}} {count}")
        }
    };
}

fn labels_text(labels: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        let comma = if text.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{comma}{name}=\"{value}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_gauges_and_histograms_are_rendered_in_order() {
        let metrics = Metrics::default();
        metrics.add(Name::Poll, &[("taskType", "b")], 1);
        metrics.add(Name::Poll, &[("taskType", "a\"\\")], 2);
        metrics.add(Name::ActiveWorkers, &[("taskType", "a")], 1);
        metrics.add(Name::ActiveWorkers, &[("taskType", "a")], -1);
        metrics.observe(Name::ResultSize, &[("taskType", "a")], 1_000.0);
        let text = metrics.render();
        let expected = [
            "# TYPE active_workers gauge",
            "active_workers{taskType=\"a\"} 0",
            "# TYPE task_poll_total counter",
            "task_poll_total{taskType=\"a\\\"\\\\\"} 2",
            "task_poll_total{taskType=\"b\"} 1",
            "# TYPE task_result_size_bytes histogram",
            "task_result_size_bytes_bucket{taskType=\"a\",le=\"100\"} 0",
            "task_result_size_bytes_bucket{taskType=\"a\",le=\"1000\"} 1",
        ];
        assert_eq!(text.lines().take(expected.len()).collect::<Vec<_>>(), expected);
        assert!(text.ends_with("task_result_size_bytes_sum{taskType=\"a\"} 1000\ntask_result_size_bytes_count{taskType=\"a\"} 1\n"));
    }
}
