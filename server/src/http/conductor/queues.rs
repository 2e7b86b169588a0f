//! What can be read of queues and polls (R-QUEUE-1, R-QUEUE-2).

use std::collections::BTreeMap;

use serde::Serialize;

use super::Conductor;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PollData<'a> {
    queue_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_id: Option<&'a str>,
    last_poll_time: u64,
}

impl Conductor {
    /// How many tasks of a type wait; those that are out do not count.
    pub(crate) fn queue_size(&self, kind: &str, domain: Option<&str>) -> usize {
        let at = self.kinds.get(&(kind.to_owned(), domain.map(str::to_owned)));
        at.and_then(|at| u32::try_from(*at).ok()).map_or(0, |queue| self.server.waiting(queue).count())
    }

    /// All queues that tasks were scheduled in or polled from, with their sizes; one of a domain is `domain:type`.
    pub(crate) fn queue_sizes(&self) -> BTreeMap<String, usize> {
        let size = |(kind, domain): &(String, Option<String>)| {
            let name = domain.as_ref().map_or_else(|| kind.clone(), |domain| format!("{domain}:{kind}"));
            (name, self.queue_size(kind, domain.as_deref()))
        };
        self.names.iter().map(size).collect()
    }

    /// Who polled last, and when; of one task type, or of all.
    pub(crate) fn poll_data(&self, kind: Option<&str>) -> String {
        let all = self.poll_data.iter().filter_map(|((at, worker), last)| {
            let (name, domain) = self.names.get(*at)?;
            kind.is_none_or(|kind| kind == name).then(|| PollData {
                queue_name: name,
                domain: domain.as_deref(),
                worker_id: Some(worker.as_str()).filter(|worker| !worker.is_empty()),
                last_poll_time: *last,
            })
        });
        serde_json::to_string(&all.collect::<Vec<_>>()).unwrap_or_default()
    }
}
