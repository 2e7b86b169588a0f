//! The server that a drill works for: `downbeat-sim serve`, or a real Conductor.

use std::path::Path;

use serde_json::json;

use crate::conductor::{self, Backend};
use crate::firmware::model::{self, Faults};
use crate::process::{Failure, Guarded};
use crate::real_server::api::{Api, parse};

/// A server that is up, and goes down with this value.
pub(crate) struct Bed {
    pub(crate) url: String,
    pub(crate) api: Api,
    /// A real server has none.
    pub(crate) faults: Option<Faults>,
    /// Which it is, for people.
    pub(crate) name: String,
    _server: Server,
}

/// Held until the bed goes.
enum Server {
    Model { _process: Guarded },
    Real { _conductor: conductor::Server },
}

impl Bed {
    /// Starts `downbeat-sim serve` by this binary.
    pub(crate) fn model(simulator: &Path) -> Result<Self, Failure> {
        let (process, server) = model::start(simulator, false)?;
        Ok(Self {
            url: server.url,
            api: server.api,
            faults: server.faults,
            name: "downbeat-sim serve".to_owned(),
            _server: Server::Model { _process: process },
        })
    }

    /// Starts a real Conductor.
    pub(crate) fn real(backend: Backend) -> Result<Self, Failure> {
        let conductor = conductor::start(backend, 0)?;
        Ok(Self {
            url: conductor.url.clone(),
            api: Api::new(&conductor.url),
            faults: None,
            name: format!("a real Conductor, {} back end", backend.name()),
            _server: Server::Real { _conductor: conductor },
        })
    }

    /// Registers a task type, and a workflow of the same name with one task of it, whose input is the workflow's `pause`.
    pub(crate) fn register(&self, name: &str, retries: u32, lease_seconds: u32) -> Result<(), Failure> {
        self.api.register_tasks(&json!([{
            "name": name, "ownerEmail": "tests@downbeat.invalid", "retryCount": retries, "retryDelaySeconds": 0,
            "retryLogic": "FIXED", "timeoutSeconds": 0, "responseTimeoutSeconds": lease_seconds,
        }]))?;
        self.api.register_workflow(&json!({
            "name": name, "version": 1, "schemaVersion": 2, "ownerEmail": "tests@downbeat.invalid",
            "timeoutPolicy": "ALERT_ONLY", "timeoutSeconds": 0,
            "tasks": [{
                "name": name, "taskReferenceName": "only", "type": "SIMPLE",
                "inputParameters": { "pause": "${workflow.input.pause}" },
            }],
        }))
    }

    /// Starts a workflow whose command takes so many milliseconds; its id.
    pub(crate) fn start(&self, name: &str, pause_ms: u64) -> Result<String, Failure> {
        let pause = format!("{}.{:03}", pause_ms / 1_000, pause_ms % 1_000);
        self.api.start(name, &json!({ "pause": pause }).to_string())
    }

    /// A workflow's status, like `COMPLETED`.
    pub(crate) fn status(&self, workflow: &str) -> Result<String, Failure> {
        let text = self.api.get(&format!("/workflow/{workflow}?includeTasks=false"))?;
        Ok(parse(&text)?["status"].as_str().unwrap_or_default().to_owned())
    }

    /// How often the server has delivered a workflow's tasks, to whomever.
    pub(crate) fn deliveries(&self, workflow: &str) -> Result<u64, Failure> {
        let workflow = parse(&self.api.workflow(workflow)?)?;
        let tasks = workflow["tasks"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(tasks.iter().filter_map(|task| task["pollCount"].as_u64()).sum())
    }
}
