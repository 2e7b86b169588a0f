//! The model server as the world uses it: a scenario's definitions, and answers in the world's words.

use std::collections::BTreeMap;
use std::time::Duration;

use downbeat_core::machine::{CallError, CallId, Fault, Instant, TaskKey};

use super::call::{Ask, Said};
use super::unit::Verdict;
use crate::event::{Effect, Report};
use crate::oracle::YIELDS_MAX;
use crate::random::Random;
use crate::scenario::{Scenario, Tasks};
pub(crate) use crate::server::Ticket;
use crate::server::{Definition, Handed, Refusal, Server, Setup, Update};

/// The server, and what the scenario says of its tasks.
#[derive(Debug)]
pub(crate) struct Backend<'a> {
    scenario: &'a Scenario,
    server: Server,
    /// The queue that each group of workers polls.
    queues: Vec<u32>,
    /// How often each task has yielded.
    yields: BTreeMap<TaskKey, u32>,
}

impl<'a> Backend<'a> {
    pub(crate) fn new(scenario: &'a Scenario) -> Self {
        let mut names: Vec<(&str, Option<&str>)> = Vec::new();
        let mut number = |task: &'a str, domain: Option<&'a str>| {
            let at = names.iter().position(|name| *name == (task, domain)).unwrap_or_else(|| {
                names.push((task, domain));
                names.len() - 1
            });
            u32::try_from(at).unwrap_or(u32::MAX)
        };
        let definitions = scenario.tasks.iter().map(|tasks| Definition {
            queue: number(&tasks.task, tasks.domain.as_deref()),
            response_timeout: tasks.response_timeout.get(),
            retries: tasks.retries,
            retry_delay: tasks.retry_delay.get(),
            ..Definition::default()
        });
        let definitions = definitions.collect();
        let queues =
            scenario.workers.iter().map(|group| number(&group.task, group.domain.as_deref())).collect();
        let rules = &scenario.server;
        let setup = Setup {
            seed: scenario.seed,
            backend: rules.backend,
            update_v2: rules.update_v2,
            token_life: rules.auth.then(|| rules.token_life.get()),
        };
        Self { scenario, server: Server::new(setup, definitions), queues, yields: BTreeMap::new() }
    }

    /// A request arrives; `None`: the poll is parked.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        group: usize,
        ticket: Ticket,
        token: Option<u64>,
        ask: Ask,
        extra: u16,
    ) -> Option<Said> {
        let call = Some(ticket.call);
        let answer = match ask {
            Ask::Poll { count, wait } => {
                let queue = self.queues.get(group).copied().unwrap_or(u32::MAX);
                let count = count.saturating_add(extra);
                match self.server.poll(now, ticket, token, queue, count, wait) {
                    Ok(None) => return None,
                    Ok(Some(tasks)) => Ok(Said::Tasks(tasks)),
                    Err(refusal) => Err(refusal),
                }
            }
            Ask::Report { key, verdict, take_next } => {
                let tasks = self.server.update(now, ticket, token, call, update(key, verdict, take_next));
                tasks.map(|tasks| if take_next { Said::Tasks(tasks) } else { Said::Done })
            }
            Ask::GiveBack { key } => self
                .server
                .update(now, ticket, token, call, update(key, Verdict::GIVE_BACK, false))
                .map(|_| Said::Done),
            Ask::Resend { key, verdict } => {
                self.server.update(now, ticket, token, None, update(key, verdict, false)).map(|_| Said::Done)
            }
            Ask::Extend { key } => self.server.extend(now, ticket.worker, token, key).map(|()| Said::Done),
            Ask::Token => Ok(self.server.issue_token(now, ticket.worker).map_or(Said::NoAuth, Said::Token)),
        };
        Some(answer.unwrap_or_else(|refusal| {
            Said::Failed(CallError::new(match refusal {
                Refusal::Unauthorized => Fault::Unauthorized,
                Refusal::NoSuchTask => Fault::Rejected,
                Refusal::NoUpdateV2 => Fault::Unsupported,
            }))
        }))
    }

    /// Parked polls that end now, with their tasks.
    pub(crate) fn advance(&mut self, now: Instant) -> Vec<(Ticket, Vec<Handed>)> {
        self.server.advance(now)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.server.next_deadline()
    }

    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        self.server.take_effects()
    }

    pub(crate) fn schedule(&mut self, now: Instant, stream: usize) {
        self.server.schedule(now, stream);
    }

    pub(crate) fn revoke_tokens(&mut self) {
        self.server.revoke_tokens();
    }

    pub(crate) fn lease_of(&self, key: TaskKey) -> Duration {
        self.server.lease_of(key).unwrap_or_default()
    }

    /// Whether tasks have not ended.
    pub(crate) fn is_open(&self) -> bool {
        self.server.open_tasks() > 0
    }

    pub(crate) fn pending(&self) -> Option<String> {
        let open = self.server.open_tasks();
        if open == 0 {
            return None;
        }
        let first = self.server.describe_open().unwrap_or_else(|| "all of them wait for a retry".to_owned());
        let orphans = self.unserved().map(|what| format!("; {what}")).unwrap_or_default();
        Some(format!("{open} tasks have not ended; {first}{orphans}"))
    }

    /// A stream of tasks that no group of workers asks for.
    fn unserved(&self) -> Option<String> {
        let polls = |tasks: &Tasks| {
            self.scenario.workers.iter().any(|group| group.task == tasks.task && group.domain == tasks.domain)
        };
        let tasks = self.scenario.tasks.iter().find(|tasks| !polls(tasks))?;
        let domain = tasks.domain.as_ref().map(|domain| format!(" in the domain `{domain}`"));
        Some(format!("no worker polls for tasks of type `{}`{}", tasks.task, domain.unwrap_or_default()))
    }

    /// How long the user's code takes for a task, and how it ends. It yields a few times at the most, so that every
    /// task can end.
    pub(crate) fn code(&mut self, key: TaskKey, random: &mut Random) -> (Duration, Verdict) {
        let stream = self.server.definition_of(key).and_then(|stream| self.scenario.tasks.get(stream));
        let Some(tasks) = stream else { return (Duration::ZERO, Verdict::GIVE_BACK) };
        let weights = &tasks.outcomes;
        let report = random.weighted(&[
            (Report::Completed, weights.completed),
            (Report::Failed, weights.failed),
            (Report::Terminal, weights.terminal),
            (Report::Yield, weights.yielded),
        ]);
        let mut report = report.unwrap_or(Report::Completed);
        if report == Report::Yield {
            let yields = self.yields.entry(key).or_default();
            *yields += 1;
            if *yields > YIELDS_MAX {
                report = Report::Completed;
            }
        }
        (random.spread(&tasks.duration), Verdict { report, callback_after: tasks.callback_after.get() })
    }
}

fn update(key: TaskKey, verdict: Verdict, take_next: bool) -> Update {
    Update { key, report: verdict.report, callback_after: verdict.callback_after, take_next }
}

/// A call that the machine did not make: the store's resender has numbers of its own.
pub(crate) const fn resend_call(number: u64) -> CallId {
    CallId::from_bits(u64::MAX - number)
}
