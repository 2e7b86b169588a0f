//! The examples, each against `downbeat-sim serve`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::args::Args;
use crate::ci::Done;
use crate::clock::{self, Stopwatch};
use crate::firmware::{model, toolchain};
use crate::process::{Context, Failure, Guarded, cargo, command, release_binary, root, run, target};
use crate::real_server::api::{Api, parse};

/// The programs of examples/src/bin that need nothing; `wasm_host` needs a module.
const EXAMPLES: [&str; 3] = ["tokio_host", "embassy_style", "single_thread"];
/// Tasks for each.
const TASKS: u32 = 30;
/// An unoptimised interpreter on a busy machine takes a while.
const PATIENCE: Duration = Duration::from_secs(60);
const TASK: &str = "example_greet";

/// The command with its options.
pub(crate) fn main(args: &Args<'_>) -> Result<(), Failure> {
    args.known(&["--simulator"], &[])?;
    match args.value("--simulator") {
        Some(simulator) => check(Path::new(simulator)),
        None => step().map(drop),
    }
}

/// The step of CI.
pub(crate) fn step() -> Result<Done, Failure> {
    check(&release_binary("downbeat-sim")?).map(|()| Done::Passed)
}

/// Builds the examples and gives each its tasks.
fn check(simulator: &Path) -> Result<(), Failure> {
    run(cargo().args(["build", "--quiet", "--locked", "--package", "downbeat-examples"]))?;
    let (_model, server) = model::start(simulator, false)?;
    server.api.register_tasks(&json!([{
        "name": TASK, "ownerEmail": "tests@downbeat.invalid", "retryCount": 3, "retryDelaySeconds": 1,
        "retryLogic": "FIXED", "timeoutSeconds": 0, "responseTimeoutSeconds": 5,
    }]))?;
    server.api.register_workflow(&json!({
        "name": TASK, "version": 1, "schemaVersion": 2, "ownerEmail": "tests@downbeat.invalid",
        "timeoutPolicy": "ALERT_ONLY", "timeoutSeconds": 0,
        "tasks": [{
            "name": TASK, "taskReferenceName": "greet", "type": "SIMPLE",
            "inputParameters": { "name": "${workflow.input.name}" },
        }],
    }))?;
    for example in EXAMPLES {
        try_one(example, None, &server.api, &server.url)?;
    }
    match webassembly()? {
        Some(module) => try_one("wasm_host", Some(&module), &server.api, &server.url),
        None => Ok(()),
    }
}

/// The worker that is a WebAssembly module, with a library that has neither std nor alloc; `None`: not on this machine.
fn webassembly() -> Result<Option<PathBuf>, Failure> {
    if let Some(lack) = toolchain::missing() {
        println!("!!! not built for WebAssembly, and wasm_host not run: {lack}");
        return Ok(None);
    }
    let toolchain = toolchain::prepare(toolchain::WASM)?;
    toolchain.build(&root().join("examples/wasm"), &["--lib"], &[], &[])?;
    let module = toolchain.program("downbeat_wasm.wasm");
    let size = std::fs::metadata(&module).context(|| module.display().to_string())?.len();
    println!("a whole worker for {} has {size} bytes", toolchain::WASM);
    Ok(Some(module))
}

/// Starts workflows, runs the example until it has done as many, and looks at how they ended.
fn try_one(example: &str, module: Option<&Path>, api: &Api, url: &str) -> Result<(), Failure> {
    let watch = Stopwatch::start();
    let start = |number: u32| api.start(TASK, &json!({ "name": format!("number {number}") }).to_string());
    let ids = (0..TASKS).map(start).collect::<Result<Vec<String>, Failure>>()?;
    let mut program = command(target().join("debug").join(example));
    program.args(module).args([url, TASK, &TASKS.to_string()]);
    let mut process = Guarded::start(&mut program, Duration::from_secs(2))?;
    let ended = clock::wait_for(PATIENCE, Duration::from_millis(20), || process.has_ended().then_some(()));
    let code = process.terminate();
    if ended.is_none() || code != Some(0) {
        return Err(Failure::new(format!(
            "the example {example} did not end well ({code:?}); run it by hand"
        )));
    }
    for (number, id) in ids.iter().enumerate() {
        let workflow = parse(&api.workflow(id)?)?;
        let task = &workflow["tasks"][0];
        let greeting = format!("Good morning, number {number}");
        if workflow["status"] != "COMPLETED" || task["outputData"]["greeting"] != greeting {
            return Err(Failure::new(format!("{example}: workflow {id} ended otherwise: {workflow}")));
        }
    }
    println!("{example}: {TASKS} tasks, each ended once and as expected, after {:.1} s", watch.seconds());
    Ok(())
}
