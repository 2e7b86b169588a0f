//! The few calls of the server's own API that the check needs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::process::{Context, Failure};

/// A client of one server.
pub(crate) struct Api {
    agent: ureq::Agent,
    base: String,
    /// For servers that want a token: a new one is got for every call, so none is ever stale.
    key: Option<Key>,
}

/// What a token is got for.
#[derive(Clone, Copy)]
pub(crate) struct Key {
    pub(crate) id: &'static str,
    pub(crate) secret: &'static str,
}

impl Api {
    pub(crate) fn new(base: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(5)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .build();
        Self { agent: config.new_agent(), base: base.to_owned(), key: None }
    }

    /// A client of a server that wants tokens.
    pub(crate) fn with_key(base: &str, key: Key) -> Self {
        Self { key: Some(key), ..Self::new(base) }
    }

    pub(crate) fn register_tasks(&self, definitions: &Value) -> Result<(), Failure> {
        self.post("/metadata/taskdefs", &definitions.to_string()).map(drop)
    }

    pub(crate) fn register_workflow(&self, definition: &Value) -> Result<(), Failure> {
        self.post("/metadata/workflow", &definition.to_string()).map(drop)
    }

    /// Starts a workflow and gives its id.
    pub(crate) fn start(&self, name: &str, input: &str) -> Result<String, Failure> {
        self.post(&format!("/workflow/{name}"), input).map(|id| id.trim_matches('"').to_owned())
    }

    /// Whether a workflow has come to any end.
    pub(crate) fn has_ended(&self, id: &str) -> Result<bool, Failure> {
        let workflow = self.get(&format!("/workflow/{id}?includeTasks=false"))?;
        let status = parse(&workflow)?.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(!matches!(status.as_str(), "RUNNING" | "PAUSED" | ""))
    }

    /// A workflow with its tasks, as the server writes it.
    pub(crate) fn workflow(&self, id: &str) -> Result<String, Failure> {
        self.get(&format!("/workflow/{id}?includeTasks=true"))
    }

    /// `GET` below the base; the body.
    pub(crate) fn get(&self, path: &str) -> Result<String, Failure> {
        let url = format!("{}{path}", self.base);
        let request = self.agent.get(&url).header("x-authorization", self.token()?);
        text(request.call(), &url)
    }

    /// `DELETE` below the base; the body.
    pub(crate) fn delete(&self, path: &str) -> Result<String, Failure> {
        let url = format!("{}{path}", self.base);
        text(self.agent.delete(&url).call(), &url)
    }

    /// `POST` of JSON below the base; the body.
    pub(crate) fn post(&self, path: &str, body: &str) -> Result<String, Failure> {
        let url = format!("{}{path}", self.base);
        let request = self.agent.post(&url).header("content-type", "application/json");
        text(request.header("x-authorization", self.token()?).send(body), &url)
    }

    /// A new token; empty for a server that wants none.
    fn token(&self) -> Result<String, Failure> {
        let Some(Key { id, secret }) = self.key else { return Ok(String::new()) };
        let url = format!("{}/token", self.base);
        let request = self.agent.post(&url).header("content-type", "application/json");
        let body = serde_json::json!({ "keyId": id, "keySecret": secret }).to_string();
        let answer = parse(&text(request.send(body), &url)?)?;
        Ok(answer["token"].as_str().unwrap_or_default().to_owned())
    }
}

/// Parses an answer of the server.
pub(crate) fn parse(text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text)
        .context(|| format!("an answer of the server is not JSON ({} bytes)", text.len()))
}

/// The outputs of a workflow's tasks as the server writes them: numbers of any size, which `Value` does not hold.
pub(crate) fn outputs(text: &str) -> Result<Vec<String>, Failure> {
    type Members = BTreeMap<String, Box<RawValue>>;
    let reading = || "an answer of the server is not a workflow".to_owned();
    let workflow: Members = serde_json::from_str(text).context(reading)?;
    let tasks = workflow.get("tasks").map_or("[]", |tasks| tasks.get());
    let tasks: Vec<Members> = serde_json::from_str(tasks).context(reading)?;
    let output =
        |task: &Members| task.get("outputData").map_or_else(String::new, |output| output.get().to_owned());
    Ok(tasks.iter().map(output).collect())
}

fn text(answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>, url: &str) -> Result<String, Failure> {
    let mut answer = answer.context(|| url.to_owned())?;
    let status = answer.status();
    let body = answer.body_mut().read_to_string().context(|| format!("{url}: reading the answer"))?;
    if status.is_success() { Ok(body) } else { Err(Failure::new(format!("{url} answered {status}: {body}"))) }
}
