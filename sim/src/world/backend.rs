//! The model server as the world uses it: a scenario's definitions, and answers in the world's words.

#![expect(clippy::wildcard_enum_match_arm, reason = "the others say nothing here")]

use std::collections::BTreeMap;
use std::time::Duration;

use downbeat_core::machine::{CallError, CallId, Fault, Instant, TaskKey, TaskMeta};

use super::call::{Request, Response};
use super::ending::Ending;
use crate::event::{Effect, Report};
use crate::random::Random;
use crate::scenario::{self, Fault as Fault_, FaultKind, Scenario, Tasks, YIELDS_MAX};
pub(crate) use downbeat_server::model::Ticket;
use downbeat_server::model::{
    self, Beat, Definition, End, Generation, Handed, Refusal, Server, Setup, Stage, Taken, Update,
};

/// The server, and what the scenario says of its tasks.
#[derive(Debug)]
pub(crate) struct Backend<'a> {
    scenario: &'a Scenario,
    server: Server,
    /// The queue that each group of workers polls.
    queues: Vec<u32>,
    /// How often each task has yielded.
    yields: BTreeMap<TaskKey, u32>,
    /// When each task that has a poll timeout came, and what each retry retries.
    came: BTreeMap<TaskKey, (Instant, Option<TaskKey>)>,
    /// Who has the tasks that are out, if workflows end early.
    out: BTreeMap<TaskKey, u32>,
    cancels: bool,
    /// What the server did, and nobody has been told of.
    noted: Vec<Effect>,
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
            poll_timeout: tasks.poll_timeout.map(|timeout| timeout.get()),
            ..Definition::default()
        });
        let definitions = definitions.collect();
        let queues =
            scenario.workers.iter().map(|group| number(&group.task, group.domain.as_deref())).collect();
        let rules = &scenario.server;
        let setup = Setup {
            seed: scenario.seed,
            backend: match rules.backend {
                scenario::Backend::Redis => model::Backend::Redis,
                scenario::Backend::Sql => model::Backend::Sql,
                scenario::Backend::None => model::Backend::None,
            },
            update_v2: rules.update_v2,
            token_life: rules.auth.then(|| rules.token_life.get()),
        };
        let generation = match rules.extends {
            scenario::Generation::Now => Generation::Now,
            scenario::Generation::DemandsStatus => Generation::DemandsStatus,
            scenario::Generation::BeforeExtendLease => Generation::BeforeExtendLease,
        };
        let server = Server::new(setup, definitions).with_generation(generation);
        let (yields, came, out) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let ends = |fault: &Fault_| matches!(fault.kind, FaultKind::Cancel | FaultKind::Restart);
        let cancels = scenario.faults.iter().any(ends);
        Self { scenario, server, queues, yields, came, out, cancels, noted: Vec::new() }
    }

    /// A request arrives. Returns `None` if the poll is parked.
    pub(crate) fn request(
        &mut self,
        now: Instant,
        group: usize,
        ticket: Ticket,
        token: Option<u64>,
        request: Request,
        extra: u16,
    ) -> Option<Response> {
        let call = Some(ticket.call);
        let answer = match request {
            Request::Poll { count, wait } => {
                let queue = self.queues.get(group).copied().unwrap_or(u32::MAX);
                let count = count.saturating_add(extra);
                match self.server.poll(now, ticket, token, queue, count, wait) {
                    Ok(None) => return None,
                    Ok(Some(tasks)) => Ok(Response::Tasks(self.metas(now, &tasks))),
                    Err(refusal) => Err(refusal),
                }
            }
            Request::Report { key, ending, take_next, .. } => {
                let tasks = self.server.update(now, ticket, token, call, update(key, ending, take_next));
                tasks.map(
                    |tasks| if take_next { Response::Tasks(self.metas(now, &tasks)) } else { Response::Done },
                )
            }
            Request::GiveBack { key } => self
                .server
                .update(now, ticket, token, call, update(key, Ending::GIVE_BACK, false))
                .map(|_| Response::Done),
            Request::Resend { key, ending } => self
                .server
                .update(now, ticket, token, None, update(key, ending, false))
                .map(|_| Response::Done),
            Request::Extend { key } => {
                // As drivers send it: a server of any generation hides the task for as long, or extends its lease.
                let beat = Beat { status: Some(Report::Yield), callback_after: self.lease_of(key) };
                self.server.beat(now, ticket, token, key, beat).map(|taken| match taken {
                    Taken::Extension | Taken::Report(_) => Response::Done,
                    Taken::Failure => Response::fault(Fault::Internal),
                })
            }
            Request::Question { key } => self.server.check_token(now, ticket.worker, token).and_then(|()| {
                let view = self.server.view(key).ok_or(Refusal::NoSuchTask)?;
                Ok(match view.stage {
                    Stage::Ended(End::NoResponse | End::Overran | End::NotPolled) => Response::TimedOut,
                    Stage::Ended(_) => Response::Ended,
                    Stage::Scheduled | Stage::InProgress { .. } => Response::Done,
                })
            }),
            Request::Token => {
                Ok(self.server.issue_token(now, ticket.worker).map_or(Response::NoAuth, Response::Token))
            }
        };
        Some(answer.unwrap_or_else(|refusal| {
            Response::Failed(CallError::new(match refusal {
                Refusal::Unauthorized => Fault::Unauthorized,
                Refusal::NoSuchTask => Fault::Gone,
                Refusal::NoUpdateV2 => Fault::Unsupported,
            }))
        }))
    }

    /// Parked polls that end now, with their tasks.
    pub(crate) fn advance(&mut self, now: Instant) -> Vec<(Ticket, Vec<TaskMeta>)> {
        let ended = self.server.advance(now);
        self.note(now);
        ended.into_iter().map(|(ticket, tasks)| (ticket, self.metas(now, &tasks))).collect()
    }

    /// What the answer says of tasks that are handed out now.
    fn metas(&self, now: Instant, tasks: &[Handed]) -> Vec<TaskMeta> {
        tasks.iter().map(|(key, lease)| self.meta(now, *key, *lease)).collect()
    }

    fn meta(&self, now: Instant, key: TaskKey, lease: Duration) -> TaskMeta {
        let (came, retry_of) = self.came.get(&key).copied().unwrap_or((now, None));
        let stream = self.server.definition_of(key).and_then(|stream| self.scenario.tasks.get(stream));
        let limit =
            stream.and_then(|tasks| tasks.poll_timeout).map(|timeout| came.saturating_add(timeout.get()));
        let give_back_within = limit.map(|limit| limit.saturating_duration_since(now));
        TaskMeta { give_back_within, retry_of, ..TaskMeta::new(key, Some(lease)) }
    }

    /// Until when a task may be given back, in true time.
    pub(crate) fn give_back_until(&self, key: TaskKey) -> Instant {
        let stream = self.server.definition_of(key).and_then(|stream| self.scenario.tasks.get(stream));
        let timeout = stream.and_then(|tasks| tasks.poll_timeout);
        let came = self.came.get(&key).map(|(came, _)| *came);
        timeout.zip(came).map_or(Instant::FAR_FUTURE, |(timeout, came)| came.saturating_add(timeout.get()))
    }

    /// A second delivery of a task that is out.
    pub(crate) fn again(&self, now: Instant, key: TaskKey) -> TaskMeta {
        self.meta(now, key, self.lease_of(key))
    }

    /// Ends the workflows of some of the tasks that are out. With `restarts` others follow them.
    pub(crate) fn cancel(&mut self, now: Instant, restarts: bool, mut hit: impl FnMut() -> bool) {
        let out: Vec<(TaskKey, u32)> = self.out.iter().map(|(key, worker)| (*key, *worker)).collect();
        for (key, worker) in out.into_iter().filter(|_| hit()) {
            let stream = self.server.definition_of(key);
            if !self.server.cancel(now, key) {
                continue;
            }
            self.note(now);
            self.noted.push(Effect::Cancelled { key, worker });
            self.out.remove(&key);
            if let Some(stream) = stream.filter(|_| restarts) {
                self.server.forget(key);
                self.server.schedule(now, stream);
            }
        }
        self.note(now);
    }

    /// Takes note of what the server did.
    fn note(&mut self, now: Instant) {
        for effect in self.server.take_effects() {
            match effect {
                Effect::Scheduled { key, stream, retry_of } => {
                    let tasks = self.scenario.tasks.get(stream as usize);
                    if retry_of.is_some() || tasks.is_some_and(|tasks| tasks.poll_timeout.is_some()) {
                        self.came.insert(key, (now, retry_of));
                    }
                }
                Effect::Delivered { key, worker, .. } if self.cancels => {
                    self.out.insert(key, worker);
                }
                Effect::Lapsed { key, .. } | Effect::Reported { key, applied: true, .. } => {
                    self.out.remove(&key);
                }
                _ => {}
            }
            self.noted.push(effect);
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.server.next_deadline()
    }

    pub(crate) fn take_effects(&mut self, now: Instant) -> Vec<Effect> {
        self.note(now);
        std::mem::take(&mut self.noted)
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
    pub(crate) fn code(&mut self, key: TaskKey, random: &mut Random) -> (Duration, Ending) {
        let stream = self.server.definition_of(key).and_then(|stream| self.scenario.tasks.get(stream));
        let Some(tasks) = stream else { return (Duration::ZERO, Ending::GIVE_BACK) };
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
        (tasks.duration.draw(random), Ending { report, callback_after: tasks.callback_after.get() })
    }
}

fn update(key: TaskKey, ending: Ending, take_next: bool) -> Update {
    Update { key, report: ending.report, callback_after: ending.callback_after, take_next }
}

/// A call that the machine did not make: the store's sender has numbers of its own.
pub(crate) const fn resend_call(number: u64) -> CallId {
    CallId::from_bits(u64::MAX - number)
}
