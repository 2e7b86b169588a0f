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
/// docs/runner.md has the table of all metrics with their labels, and says which of the SDKs' have no meaning here. Each
/// metric is rendered with its help and its type from the start, its series as soon as there is something to tell.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    series: Arc<Mutex<BTreeMap<Name, BTreeMap<String, Series>>>>,
}

/// Declares the metrics: each with its name, its kind, its labels and its help.
macro_rules! metrics {
    ($($name:ident: $text:literal, $kind:ident, [$($label:literal),*], $help:literal;)*) => {
        /// What is measured.
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        pub(crate) enum Name { $($name),* }

        impl Name {
            const ALL: &[Self] = &[$(Self::$name),*];

            const fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }

            const fn kind(self) -> Kind {
                match self { $(Self::$name => Kind::$kind),* }
            }

            const fn labels(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($label),*]),* }
            }

            const fn help(self) -> &'static str {
                match self { $(Self::$name => $help),* }
            }
        }
    };
}

metrics! {
    Poll: "task_poll_total", Counter, ["taskType"], "Polls.";
    PollError: "task_poll_error_total", Counter, ["taskType", "exception"], "Polls that failed.";
    PollTime: "task_poll_time_seconds", Seconds, ["taskType", "status"], "Time of a poll.";
    ExecutionStarted: "task_execution_started_total", Counter, ["taskType"], "Tasks that were started.";
    QueueFull: "task_execution_queue_full_total", Counter, ["taskType"], "Tasks that took the last free slot.";
    ExecuteError: "task_execute_error_total", Counter, ["taskType", "exception"], "Tasks that failed.";
    ExecuteTime: "task_execute_time_seconds", Seconds, ["taskType", "status"], "Time of a task.";
    ResultSize: "task_result_size_bytes", Bytes, ["taskType"], "Size of an output.";
    UpdateError: "task_update_error_total", Counter, ["taskType", "exception"], "Reports that failed.";
    UpdateTime: "task_update_time_seconds", Seconds, ["taskType", "status"], "Time of a report.";
    Paused: "task_paused_total", Counter, ["taskType"], "Pauses that were asked for.";
    ActiveWorkers: "active_workers", Gauge, ["taskType"], "Tasks that run.";
    ExternalPayload: "external_payload_used_total", Counter, ["entityName", "operation", "payloadType"],
        "Inputs in external storage.";
    UncaughtException: "thread_uncaught_exceptions_total", Counter, ["exception"], "Unexpected errors of the runner's threads.";
    HttpRequest: "http_api_client_request_seconds", Seconds, ["method", "uri", "status"],
        "Time of a request; status 0: no answer.";
    ExtensionError: "downbeat_lease_extension_error_total", Counter, ["taskType", "exception"],
        "Lease extensions that failed.";
    LeaseLapsed: "downbeat_lease_lapsed_total", Counter, ["taskType"],
        "Leases that ended while their tasks were held.";
    ReportLate: "downbeat_report_late_total", Counter, ["taskType"],
        "Reports that were answered after the end of their leases: the server drops what it has timed out.";
    RetryAdopted: "downbeat_retry_adopted_total", Counter, ["taskType"],
        "Runs that went on for the server's retry of their task.";
    RunCancelled: "downbeat_run_cancelled_total", Counter, ["taskType", "reason"],
        "Runs and results that nobody waits for any more.";
    ResultReplaced: "downbeat_result_replaced_total", Counter, ["taskType", "reason"],
        "Results in whose place a failure was reported.";
    ResultsRefused: "downbeat_results_refused", Gauge, ["taskType"],
        "Results that wait and that the server has refused.";
    ResultStored: "downbeat_result_stored_total", Counter, ["taskType"], "Results that went to the store.";
    ResultGivenUp: "downbeat_result_given_up_total", Counter, ["taskType", "reason"], "Results that were given up.";
    StoreFiles: "downbeat_store_files", Gauge, ["part"], "Results or files in the store.";
    StoreSyncs: "downbeat_store_syncs_total", Counter, [],
        "Times that the disk was asked to make results durable: one for many.";
    StoreBytes: "downbeat_store_bytes", Gauge, ["part"], "Bytes in the store.";
}

/// What a metric is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Counter,
    Gauge,
    /// A histogram of durations.
    Seconds,
    /// A histogram of sizes.
    Bytes,
}

impl Kind {
    const fn text(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Seconds | Self::Bytes => "histogram",
        }
    }
}

impl Name {
    const fn buckets(self) -> &'static [f64] {
        if matches!(self.kind(), Kind::Bytes) { &BYTES } else { &SECONDS }
    }
}

#[derive(Debug)]
enum Series {
    Number(i64),
    Spread { below: Vec<u64>, sum: f64, count: u64 },
}

impl Metrics {
    /// Adds to a counter or a gauge. `values` are those of the name's labels, in their order.
    pub(crate) fn add(&self, name: Name, values: &[&str], by: i64) {
        self.number(name, values, |number| number.saturating_add(by));
    }

    /// Sets a gauge.
    pub(crate) fn set(&self, name: Name, values: &[&str], to: i64) {
        self.number(name, values, |_| to);
    }

    fn number(&self, name: Name, values: &[&str], change: impl FnOnce(i64) -> i64) {
        self.change(
            name,
            values,
            || Series::Number(0),
            |series| {
                if let Series::Number(number) = series {
                    *number = change(*number);
                }
            },
        );
    }

    /// Files a value in a histogram.
    pub(crate) fn observe(&self, name: Name, values: &[&str], value: f64) {
        let buckets = name.buckets();
        let empty = || Series::Spread { below: vec![0; buckets.len()], sum: 0.0, count: 0 };
        self.change(name, values, empty, |series| {
            let Series::Spread { below, sum, count } = series else { return };
            for (below, bound) in below.iter_mut().zip(buckets) {
                *below += u64::from(value <= *bound);
            }
            *sum += value;
            *count += 1;
        });
    }

    /// Files a duration.
    pub(crate) fn time(&self, name: Name, values: &[&str], duration: Duration) {
        self.observe(name, values, duration.as_secs_f64());
    }

    fn change(
        &self,
        name: Name,
        values: &[&str],
        empty: impl FnOnce() -> Series,
        change: impl FnOnce(&mut Series),
    ) {
        let mut series = lock(&self.series);
        change(series.entry(name).or_default().entry(labels_text(name, values)).or_insert_with(empty));
    }

    /// All series as text, in Prometheus' exposition format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let all = lock(&self.series);
        for name in Name::ALL {
            let what = name.text();
            // Writing into a string does not fail.
            let _ = write!(text, "# HELP {what} {}\n# TYPE {what} {}\n", name.help(), name.kind().text());
            for (labels, series) in all.get(name).into_iter().flatten() {
                render(&mut text, *name, labels, series);
            }
        }
        text
    }
}

fn render(text: &mut String, name: Name, labels: &str, series: &Series) {
    let what = name.text();
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

fn labels_text(name: Name, values: &[&str]) -> String {
    debug_assert_eq!(name.labels().len(), values.len(), "{name:?} has other labels");
    let mut text = String::new();
    for (name, value) in name.labels().iter().zip(values) {
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
        metrics.add(Name::Poll, &["b"], 1);
        metrics.add(Name::Poll, &["a\"\\"], 2);
        metrics.add(Name::ActiveWorkers, &["a"], 1);
        metrics.add(Name::ActiveWorkers, &["a"], -1);
        metrics.set(Name::StoreFiles, &["dead"], 7);
        metrics.observe(Name::ResultSize, &["a"], 1_000.0);
        let text = metrics.render();
        let expected = [
            "# HELP task_poll_total Polls.",
            "# TYPE task_poll_total counter",
            "task_poll_total{taskType=\"a\\\"\\\\\"} 2",
            "task_poll_total{taskType=\"b\"} 1",
            "# HELP task_poll_error_total Polls that failed.",
            "# TYPE task_poll_error_total counter",
            "# HELP task_poll_time_seconds Time of a poll.",
        ];
        assert_eq!(text.lines().take(expected.len()).collect::<Vec<_>>(), expected);
        for part in [
            "# TYPE task_result_size_bytes histogram\n\
             task_result_size_bytes_bucket{taskType=\"a\",le=\"100\"} 0\n\
             task_result_size_bytes_bucket{taskType=\"a\",le=\"1000\"} 1\n",
            "task_result_size_bytes_sum{taskType=\"a\"} 1000\ntask_result_size_bytes_count{taskType=\"a\"} 1\n",
            "\nactive_workers{taskType=\"a\"} 0\n",
            "\ndownbeat_store_files{part=\"dead\"} 7\n",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
    }

    #[test]
    fn the_document_has_every_metric_with_its_kind_its_labels_and_its_help() {
        let document = include_str!("../../docs/runner.md");
        let told = document.lines().filter(|line| {
            let kind = line.split('|').nth(2).unwrap_or_default().trim();
            matches!(kind, "counter" | "gauge" | "histogram")
        });
        let row = |name: &Name| {
            let labels: Vec<String> = name.labels().iter().map(|label| format!("`{label}`")).collect();
            let (kind, labels) = (name.kind().text(), labels.join(", "));
            format!("| `{}` | {kind} | {labels} | {} |", name.text(), name.help())
        };
        let told: Vec<String> = told.map(str::to_owned).collect();
        assert_eq!(told, Name::ALL.iter().map(row).collect::<Vec<_>>());
    }
}
