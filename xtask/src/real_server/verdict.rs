//! What became of the workflows, against what should have.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::api::{outputs, parse};
use super::kinds::{End, Kind};
use crate::process::Failure;

/// How many differences are told in full.
const TOLD: usize = 12;

/// Counts and times by kind, and every difference.
#[derive(Default)]
pub(super) struct Tally {
    rows: BTreeMap<&'static str, Row>,
    wrong: Vec<String>,
}

#[derive(Default)]
struct Row {
    workflows: u32,
    right: u32,
    tasks: usize,
    /// From the workflow's start to its end, in milliseconds.
    spans: Vec<u64>,
}

impl Tally {
    /// Takes one workflow as the server tells it in the end.
    pub(super) fn add(&mut self, kind: &'static Kind, number: u32, text: &str) {
        let row = self.rows.entry(kind.name).or_default();
        row.workflows += 1;
        let found = parse(text).and_then(|workflow| {
            row.tasks += tasks(&workflow).len();
            row.spans.push(span(&workflow, "createTime", "endTime"));
            compare(kind, &workflow, &outputs(text)?)
        });
        match found {
            Ok(()) => row.right += 1,
            Err(difference) => self.wrong.push(format!("{} (workflow {number}): {difference}", kind.name)),
        }
    }

    /// Fails with what differed.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.wrong.is_empty() {
            return Ok(());
        }
        let told = self.wrong.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join("\n");
        Err(Failure::new(format!("{} workflows ended otherwise than expected:\n{told}", self.wrong.len())))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["kind", "workflows", "as expected", "tasks", "shortest s", "median s", "longest s"];
        let [kind, workflows, right, tasks, shortest, median, longest] = head;
        writeln!(f, "{kind:<16}{workflows:>10}{right:>13}{tasks:>8}{shortest:>12}{median:>10}{longest:>11}")?;
        let (mut all, mut good, mut every) = (0, 0, 0);
        for (name, row) in &self.rows {
            let mut spans = row.spans.clone();
            spans.sort_unstable();
            let at = |place: usize| spans.get(place).copied().map_or(0.0, seconds);
            let (first, middle, last) = (at(0), at(spans.len() / 2), at(spans.len().saturating_sub(1)));
            let Row { workflows, right, tasks, .. } = row;
            writeln!(
                f,
                "{name:<16}{workflows:>10}{right:>13}{tasks:>8}{first:>12.2}{middle:>10.2}{last:>11.2}"
            )?;
            (all, good, every) = (all + workflows, good + right, every + tasks);
        }
        writeln!(f, "{:<16}{all:>10}{good:>13}{every:>8}", "in all")
    }
}

fn compare(kind: &Kind, workflow: &Value, outputs: &[String]) -> Result<(), Failure> {
    same("workflow status", kind.status, word(workflow, "status"))?;
    let tasks = tasks(workflow);
    same("number of tasks", &kind.ends.len().to_string(), &tasks.len().to_string())?;
    for (at, ((end, task), output)) in kind.ends.iter().zip(tasks).zip(outputs).enumerate() {
        compare_task(end, task, output)
            .map_err(|difference| Failure::new(format!("task {at}: {difference}")))?;
    }
    Ok(())
}

fn compare_task(end: &End, task: &Value, output: &str) -> Result<(), Failure> {
    same("status", end.status, word(task, "status"))?;
    same("retryCount", &end.retry_count.to_string(), &number(task, "retryCount").to_string())?;
    same("pollCount", &end.poll_count.to_string(), &number(task, "pollCount").to_string())?;
    let reason = word(task, "reasonForIncompletion");
    if !output.contains(end.says) && !reason.contains(end.says) {
        return Err(Failure::new(format!(
            "neither output {output} nor reason `{reason}` says `{}`",
            end.says
        )));
    }
    let took = span(task, "startTime", "endTime");
    if took < end.at_least_ms {
        return Err(Failure::new(format!("it took {took} ms, less than the {} ms it must", end.at_least_ms)));
    }
    Ok(())
}

fn same(what: &str, expected: &str, found: &str) -> Result<(), Failure> {
    if expected == found {
        Ok(())
    } else {
        Err(Failure::new(format!("{what} is {found}, expected {expected}")))
    }
}

fn tasks(workflow: &Value) -> &[Value] {
    workflow.get("tasks").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or_default()
}

fn span(value: &Value, from: &str, to: &str) -> u64 {
    number(value, to).saturating_sub(number(value, from))
}

fn seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}
