//! The workflows that the firmware works on, and the end that each must come to.

use serde_json::{Value, json};

use crate::process::{Context, Failure};
use crate::real_server::api::{Api, parse};

/// The task type that the firmware polls, and the workflow of one such task.
const TASK: &str = "measure";
const WORKFLOW: &str = "measured";
/// The lease that the slow tasks outlast.
const RESPONSE_TIMEOUT: u32 = 2;

/// A workflow that was started.
pub(crate) struct Case {
    name: &'static str,
    id: String,
    expected: Expected,
}

/// How it must end.
enum Expected {
    /// `COMPLETED`, with this output, after so many tries at least.
    Reading { output: Value, tries: usize },
    /// `FAILED`, for a reason that says this.
    Failed { says: &'static str },
}

/// Registers the task and its workflow. The task's retries are taken over by workflows started from now on.
pub(crate) fn register(api: &Api, retries: u32) -> Result<(), Failure> {
    api.register_tasks(&json!([{
        "name": TASK, "ownerEmail": "tests@downbeat.invalid", "retryCount": retries, "retryDelaySeconds": 1,
        "retryLogic": "FIXED", "timeoutSeconds": 0, "responseTimeoutSeconds": RESPONSE_TIMEOUT,
    }]))
}

/// Registers the workflow, once.
pub(crate) fn register_workflow(api: &Api) -> Result<(), Failure> {
    api.register_workflow(&json!({
        "name": WORKFLOW, "version": 1, "schemaVersion": 2, "ownerEmail": "tests@downbeat.invalid",
        "timeoutPolicy": "ALERT_ONLY", "timeoutSeconds": 0,
        "tasks": [{
            "name": TASK, "taskReferenceName": "measured", "type": "SIMPLE",
            "inputParameters": {
                "sensor": "${workflow.input.sensor}", "samples": "${workflow.input.samples}",
                "hold_ms": "${workflow.input.hold_ms}", "fails": "${workflow.input.fails}",
                "ballast": "${workflow.input.ballast}",
            },
        }],
    }))
}

/// One of each kind.
pub(crate) fn one_of_each(api: &Api) -> Result<Vec<Case>, Failure> {
    let mut cases = mixed(api, 6)?;
    cases.push(reading(api, "slow", "slow", 5_000, 0, 0)?);
    cases.push(reading(api, "flaky", "flaky", 0, 1, 0)?);
    cases.push(reading(api, "escapes", "K\u{fc}hler \"1\"\n\\", 0, 0, 0)?);
    cases.push(reading(api, "large", "large", 0, 0, 1_200)?);
    let ballast = "x".repeat(4_000);
    let too_large = json!({ "sensor": "s", "samples": [1], "hold_ms": 0, "fails": 0, "ballast": ballast });
    cases.push(failed(api, "too large", &too_large, "this worker has room for")?);
    let unfit = json!({ "sensor": "s", "samples": "none", "hold_ms": 0, "fails": 0, "ballast": "" });
    cases.push(failed(api, "unfit", &unfit, "the input must be")?);
    Ok(cases)
}

/// Quick ones, with a slow and a flaky one now and then.
pub(crate) fn mixed(api: &Api, count: u32) -> Result<Vec<Case>, Failure> {
    let one = |number: u32| {
        let sensor = format!("s-{number}");
        match number % 8 {
            5 => reading(api, "slow", &sensor, 3_000, 0, 0),
            7 => reading(api, "flaky", &sensor, 0, 1, 0),
            _ => reading(api, "quick", &sensor, 0, 0, 0),
        }
    };
    (0..count).map(one).collect()
}

/// More than the worker has slots for: quick ones, a slow and a flaky one.
pub(crate) fn handful(api: &Api) -> Result<Vec<Case>, Failure> {
    let slow = reading(api, "slow", "held", 3_000, 0, 0)?;
    let flaky = reading(api, "flaky", "shy", 0, 1, 0)?;
    let mut cases = mixed(api, 4)?;
    cases.extend([slow, flaky]);
    Ok(cases)
}

/// A slow one, for the drain.
pub(crate) fn slow(api: &Api) -> Result<Case, Failure> {
    reading(api, "slow", "drained", 3_000, 0, 0)
}

fn reading(
    api: &Api,
    name: &'static str,
    sensor: &str,
    hold_ms: u32,
    fails: u32,
    ballast: usize,
) -> Result<Case, Failure> {
    let ballast = "x".repeat(ballast);
    let input = json!({
        "sensor": sensor, "samples": [3, -40, 17], "hold_ms": hold_ms, "fails": fails, "ballast": ballast,
    });
    let output = json!({ "sensor": sensor, "count": 3, "min": -40, "max": 17, "sum": -20 });
    let id = api.start(WORKFLOW, &input.to_string())?;
    let tries = usize::try_from(fails).context(|| "counting tries".to_owned())? + 1;
    Ok(Case { name, id, expected: Expected::Reading { output, tries } })
}

fn failed(api: &Api, name: &'static str, input: &Value, says: &'static str) -> Result<Case, Failure> {
    let id = api.start(WORKFLOW, &input.to_string())?;
    Ok(Case { name, id, expected: Expected::Failed { says } })
}

impl Case {
    /// Whether the workflow has come to any end.
    pub(crate) fn has_ended(&self, api: &Api) -> Result<bool, Failure> {
        api.has_ended(&self.id)
    }

    /// Whether its task is at a worker.
    pub(crate) fn is_running(&self, api: &Api) -> Result<bool, Failure> {
        let workflow = parse(&api.workflow(&self.id)?)?;
        Ok(tasks(&workflow).iter().any(|task| task["status"] == "IN_PROGRESS"))
    }

    /// Checks the end. With `strict` there were no more tries than the case itself asks for; else more are right,
    /// because an answer that was lost with a task in it costs a try, but exactly one may have completed.
    pub(crate) fn check(&self, api: &Api, strict: bool) -> Result<(), Failure> {
        let workflow = parse(&api.workflow(&self.id)?)?;
        self.compare(&workflow, strict).map_err(|difference| {
            Failure::new(format!("workflow `{}` ({}): {difference}", self.name, self.id))
        })
    }

    fn compare(&self, workflow: &Value, strict: bool) -> Result<(), String> {
        let (status, tasks) = (workflow["status"].as_str().unwrap_or_default(), tasks(workflow));
        let told: Vec<String> = tasks
            .iter()
            .map(|task| format!("{} {}", task["status"], task["reasonForIncompletion"]))
            .collect();
        let told = told.join(", ");
        match &self.expected {
            Expected::Reading { output, tries } => {
                let ended: Vec<&Value> = tasks.iter().filter(|task| task["status"] == "COMPLETED").collect();
                let [completed] = ended.as_slice() else {
                    return Err(format!("{status}; {} tasks completed, not 1: {told}", ended.len()));
                };
                if status != "COMPLETED" {
                    return Err(format!("the workflow is {status}: {told}"));
                }
                if completed["outputData"] != *output {
                    return Err(format!("the output is {}", completed["outputData"]));
                }
                if tasks.len() < *tries || strict && tasks.len() > *tries {
                    return Err(format!("{} tries, not {tries}: {told}", tasks.len()));
                }
            }
            Expected::Failed { says } => {
                if status != "FAILED" || !told.contains(says) {
                    return Err(format!("the workflow is {status}, and no task says `{says}`: {told}"));
                }
            }
        }
        Ok(())
    }
}

fn tasks(workflow: &Value) -> &[Value] {
    workflow["tasks"].as_array().map_or(&[], Vec::as_slice)
}
