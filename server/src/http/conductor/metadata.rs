//! Registering and reading definitions (R-DEF-1 to R-DEF-3).

use std::sync::Arc;

use downbeat_core::machine::Instant;
use serde_json::value::RawValue;

use super::Conductor;
use super::definitions::{TaskDef, WorkflowDef};
use super::refused::Refused;

impl Conductor {
    /// Registers task definitions, a list of them or a single one; repeatable (R-DEF-1).
    pub(crate) fn define_tasks(&mut self, now: Instant, text: &str) -> Result<(), Refused> {
        let unreadable = |error| Refused::unreadable(&error);
        let items: Vec<&RawValue> = if text.trim_start().starts_with('[') {
            serde_json::from_str(text).map_err(unreadable)?
        } else {
            vec![serde_json::from_str(text).map_err(unreadable)?]
        };
        let parse = |(at, item): (usize, &&RawValue)| TaskDef::parse(item.get(), at);
        let parsed = items.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        for mut definition in parsed {
            let before = self.task_defs.get(&definition.name);
            definition.create_time = before.map_or_else(|| now.as_millis(), |before| before.create_time);
            definition.update_time = now.as_millis();
            let name = definition.name.clone();
            self.task_defs.insert(name.clone(), definition);
            self.refresh(&name);
        }
        Ok(())
    }

    /// Tells the model server of a changed definition, in every domain.
    fn refresh(&mut self, name: &str) {
        let (definition, group) = (self.task_def(name), self.group(name));
        for at in self.kinds.iter().filter(|((kind, _), _)| kind == name).map(|(_, at)| *at) {
            let queue = u32::try_from(at).unwrap_or(u32::MAX);
            self.server.redefine(at, definition.rules(queue, group));
        }
    }

    /// A task definition as the server writes it.
    pub(crate) fn task_def_json(&self, name: &str) -> Result<String, Refused> {
        let definition = self.task_defs.get(name);
        let definition = definition
            .ok_or_else(|| Refused::not_found(format!("No such taskType found by name: {name}")))?;
        serde_json::to_string(definition).map_err(|error| Refused::failed(error.to_string()))
    }

    /// All task definitions.
    pub(crate) fn task_defs_json(&self) -> String {
        serde_json::to_string(&self.task_defs.values().collect::<Vec<_>>()).unwrap_or_default()
    }

    /// Forgets a task definition; its tasks get the defaults from then on.
    pub(crate) fn undefine_task(&mut self, name: &str) -> Result<(), Refused> {
        let gone = self.task_defs.remove(name);
        gone.ok_or_else(|| Refused::not_found(format!("No such taskType found by name: {name}")))?;
        self.refresh(name);
        Ok(())
    }

    /// Registers a workflow definition; a second one of its name and version is a 409 unless it may replace it (R-DEF-2).
    pub(crate) fn define_workflow(&mut self, text: &str, overwrite: bool) -> Result<String, Refused> {
        let definition = WorkflowDef::parse(text)?;
        let (name, version) = (definition.name.clone(), definition.version);
        let versions = self.workflow_defs.entry(name.clone()).or_default();
        if versions.contains_key(&version) && !overwrite {
            return Err(Refused::new(409, format!("Workflow with {name}.{version} already exists!")));
        }
        versions.insert(version, Arc::new(definition));
        Ok(name)
    }

    /// Registers a list of workflow definitions, replacing those that are there; the answer's body (R-DEF-3).
    pub(crate) fn define_workflows(&mut self, text: &str) -> Result<String, Refused> {
        let items: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|error| Refused::unreadable(&error))?;
        let names = items.iter().map(|item| self.define_workflow(item.get(), true));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let names = serde_json::to_string(&names).unwrap_or_default();
        Ok(format!("{{\"bulkErrorResults\":{{}},\"bulkSuccessfulResults\":{names}}}"))
    }

    /// A workflow definition as it was registered; the newest version by default.
    pub(crate) fn workflow_def_json(&self, name: &str, version: Option<i64>) -> Result<String, Refused> {
        let versions = self.workflow_defs.get(name);
        let found = versions.and_then(|versions| match version {
            Some(version) => versions.get(&version),
            None => versions.values().next_back(),
        });
        found.map(|definition| definition.raw.get().to_owned()).ok_or_else(|| {
            let version = version.map_or_else(|| "null".to_owned(), |version| version.to_string());
            Refused::not_found(format!("No such workflow found by name: {name}, version: {version}"))
        })
    }

    /// All workflow definitions.
    pub(crate) fn workflow_defs_json(&self) -> String {
        let all = self.workflow_defs.values().flat_map(|versions| versions.values());
        let all: Vec<&RawValue> = all.map(|definition| &*definition.raw).collect();
        serde_json::to_string(&all).unwrap_or_default()
    }
}
