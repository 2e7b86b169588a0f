//! What each endpoint does, with the faults before and after it.

use std::sync::Arc;
use std::time::Duration;

use downbeat_core::machine::TaskKey;
use serde_json::value::RawValue;

use super::UnknownV2;
use super::answer::Answer;
use super::conductor::{Caller, Gist, Poll, Refused, Start, TaskResult, json};
use super::control;
use super::faults::{CallKind, Fault, FaultKind};
use super::read;
use super::request::Request;
use super::route::{self, Define, NoRoute, Read, Route};
use super::shared::{Polled, Shared};

/// The wait of a single poll and of the poll inside `update-v2` (R-POLL-6, R-UPDATE-9).
const SHORT_WAIT: Duration = Duration::from_millis(100);
/// The longest wait of a batch poll, in milliseconds; more is a 400 (R-POLL-2).
const WAIT_MAX: i64 = 5_000;
/// What Tomcat sends for what it does not parse (R-HTTP-7).
const BAD_REQUEST: &str = "<!doctype html><html lang=\"en\"><head><title>HTTP Status 400 – Bad Request</title></head><body><h1>HTTP Status 400 – Bad Request</h1></body></html>";
/// What is not Conductor at all.
const OTHER_PAGE: &str =
    "<!doctype html><html><head><title>Sign in</title></head><body><h1>Sign in</h1></body></html>";

/// A request on its way through the endpoint.
struct Visit<'a> {
    shared: &'a Arc<Shared>,
    request: &'a Request,
    caller: Caller,
    kind: CallKind,
    /// The task type that it is about, if it is known.
    task: Option<String>,
    /// What an update is about; only while faults are in force.
    gist: Option<Gist>,
}

/// Handles a request. Returns `None` if the connection is closed without an answer.
pub(super) async fn handle(shared: &Arc<Shared>, request: Request) -> Option<Answer> {
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    if path.first() == Some(&"control") {
        return Some(control::handle(shared, &request, path.get(1..).unwrap_or_default()));
    }
    if request.has_encoded_slash || (request.header("host").is_none()) {
        shared.counters.request("refused", false);
        return Some(Answer::html(400, BAD_REQUEST));
    }
    let route = match path.as_slice() {
        ["health"] => Ok(Route::Read(Read::Health)),
        ["api", rest @ ..] => route::find(&request.method, rest),
        _ => Err(NoRoute::Path),
    };
    let Ok(route) = route.inspect_err(|_| shared.counters.request("unknown", false)) else {
        return Some(unknown(&request, &path, route.err()));
    };
    let extends = matches!(route, Route::Update | Route::UpdateV2) && asks_for_time(&request.body);
    let kind = route.kind(extends);
    shared.counters.request(if extends { "extend" } else { route.name() }, kind == CallKind::Poll);
    let token = request.header("x-authorization").and_then(|token| read_token(shared.seed, token));
    let caller = Caller { call: shared.next_call(), token };
    let mut visit = Visit { shared, request: &request, caller, kind, task: None, gist: None };
    visit.gist = visit.gist_of(route);
    visit.task = visit.task_of(route);
    // R-HTTP-4: a request holds one of the server's threads until its answer, long polls too.
    let _thread = shared.threads.acquire().await;
    visit.go(route).await
}

impl Visit<'_> {
    async fn go(&self, route: Route<'_>) -> Option<Answer> {
        if let Some(slow) = self.hit(|kind| kind == FaultKind::Slow) {
            tokio::time::sleep(slow.by).await;
        }
        let spoiled = self.hit_by(|fault| {
            let nothing = fault.kind == FaultKind::Nothing && self.kind == CallKind::Poll;
            nothing
                || matches!(
                    fault.kind,
                    FaultKind::Status(_) | FaultKind::LostRequest | FaultKind::Html | FaultKind::Garbage
                )
        });
        if let Some(fault) = spoiled {
            if let Some(gist) = &self.gist {
                self.shared.with(|conductor, _| conductor.kept_off(gist));
            }
            #[expect(clippy::wildcard_enum_match_arm, reason = "only the kinds above come here")]
            return match fault.kind {
                FaultKind::Status(status) => {
                    let mut answer = Answer::ordered(status, fault.body);
                    answer.retry_after = fault.retry_after;
                    Some(answer)
                }
                FaultKind::Html => Some(Answer::html(200, OTHER_PAGE)),
                FaultKind::Nothing if matches!(route, Route::PollOne(_)) => Some(Answer::empty(204)),
                FaultKind::Nothing => Some(Answer::json("[]".to_owned())),
                FaultKind::Garbage => Some(Answer::json("}{ this is not JSON".to_owned())),
                _ => None,
            };
        }
        let mut answer = match self.perform(route).await {
            Ok(answer) => answer,
            Err(refused) => Answer::from(refused),
        };
        let has_task = answer.tasks > 0;
        let concerns = |fault: &Fault| has_task || !fault.with_task;
        if let Some(slow) = self.hit_by(|fault| fault.kind == FaultKind::SlowAnswer && concerns(fault)) {
            tokio::time::sleep(slow.by).await;
        }
        let answered = answer.status < 300;
        let hit = self.hit_by(|fault| {
            // A task in the answer would be lost: only if that is ordered.
            let replaced = matches!(fault.kind, FaultKind::Empty | FaultKind::Null)
                && answered
                && has_task == fault.with_task;
            let after = [FaultKind::LostAnswer, FaultKind::Cut, FaultKind::Truncated].contains(&fault.kind);
            replaced || (after && concerns(fault))
        });
        match hit.map(|fault| fault.kind) {
            Some(FaultKind::LostAnswer) => return None,
            Some(FaultKind::Cut) => answer.cut = true,
            Some(FaultKind::Truncated) => truncate(&mut answer.body),
            Some(FaultKind::Empty) => answer = Answer::empty(200),
            Some(FaultKind::Null) => answer = Answer::json("null".to_owned()),
            _ => {}
        }
        Some(answer)
    }

    async fn perform(&self, route: Route<'_>) -> Result<Answer, Refused> {
        let (shared, request) = (self.shared, self.request);
        if shared.options.auth.is_some() && !route.is_open() {
            shared.with(|conductor, now| conductor.check_token(now, self.caller.token))?;
        }
        let given = if route.wants_json() { route::unsupported_type(request) } else { None };
        if let Some(given) = given.filter(|_| !request.body.is_empty()) {
            return Err(Refused::failed(format!("Content-Type '{given}' is not supported")));
        }
        match route {
            Route::PollBatch(kind) => self.poll_batch(kind).await,
            Route::PollOne(kind) => self.poll_one(kind).await,
            Route::Update => self.update(),
            Route::UpdateV2 => self.update_v2().await,
            Route::UpdateByReference(workflow, reference, status) => {
                self.update_by_reference((workflow, reference, status))
            }
            Route::AddLog(id) => self.add_log(id),
            Route::Token => self.token(),
            Route::Start(name) => self.start(name),
            Route::Define(what) => self.define(what),
            Route::Change(change, id) => {
                let reason = request.query("reason").map(str::to_owned);
                shared.with(|conductor, now| conductor.change(now, id, change, reason))?;
                Ok(Answer::empty(200))
            }
            Route::Read(what) => read::read(shared, request, what),
        }
    }

    // ---------------------------------------------------------------- faults

    fn hit(&self, of: impl Fn(FaultKind) -> bool) -> Option<Fault> {
        self.hit_by(|fault| of(fault.kind))
    }

    fn hit_by(&self, of: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let status = self.gist.as_ref().and_then(Gist::status);
        let length = self.request.body.len();
        let concerns = |fault: &Fault| {
            fault.with_status.is_none_or(|wanted| status == Some(wanted))
                && fault.above_bytes.is_none_or(|bytes| length > bytes)
        };
        self.shared.faults.hit(Some(self.kind), self.task.as_deref(), |fault| concerns(fault) && of(fault))
    }

    /// What an update is about, while faults are in force.
    fn gist_of(&self, route: Route<'_>) -> Option<Gist> {
        if !self.shared.faults.any() {
            return None;
        }
        if let Route::Read(Read::Task(id)) = route {
            return Some(Gist::from_read(id));
        }
        let updates = matches!(route, Route::Update | Route::UpdateV2);
        updates.then(|| Gist::from_update(&self.request.text())).flatten()
    }

    /// The task type that a request is about.
    fn task_of(&self, route: Route<'_>) -> Option<String> {
        if let Route::PollBatch(kind) | Route::PollOne(kind) = route {
            return Some(kind.to_owned());
        }
        let id = &self.gist.as_ref()?.task;
        self.shared.with(|conductor, _| conductor.kind_of(id)).map(|(kind, _)| kind)
    }

    // ---------------------------------------------------------------- polls

    async fn poll_batch(&self, kind: &str) -> Result<Answer, Refused> {
        let count = self.number("count", 1)?;
        let wait = self.number("timeout", 100)?;
        if wait > WAIT_MAX {
            return Err(Refused::new(400, "Long Poll Timeout value cannot be more than 5 seconds"));
        }
        // R-POLL-5: nothing asked, nothing waited for.
        if count < 1 {
            return Ok(Answer::json("[]".to_owned()));
        }
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
        let tasks = self.poll(self.ask(kind, count, wait)).await?;
        let mut answer = Answer::json(format!("[{}]", tasks.join(",")));
        answer.tasks = tasks.len();
        Ok(answer)
    }

    async fn poll_one(&self, kind: &str) -> Result<Answer, Refused> {
        let tasks = self.poll(self.ask(kind, 1, SHORT_WAIT)).await?;
        Ok(one(tasks))
    }

    fn ask(&self, kind: &str, count: u16, wait: Duration) -> Poll {
        let text = |name: &str| self.request.query(name).map(str::to_owned);
        Poll { kind: kind.to_owned(), domain: text("domain"), worker: text("workerid"), count, wait }
    }

    /// Polls, and hands out the tasks as JSON; more of them (R-POLL-8), or spoiled, if a fault says so.
    async fn poll(&self, mut ask: Poll) -> Result<Vec<String>, Refused> {
        let shared = self.shared;
        let (kind, domain) = (ask.kind.clone(), ask.domain.clone());
        let waits = |conductor: &super::conductor::Conductor| {
            conductor.queue_size(&kind, domain.as_deref()) > usize::from(ask.count)
        };
        if shared.faults.has(FaultKind::OverDeliver)
            && shared.with(|conductor, _| waits(conductor))
            && self.hit(|kind| kind == FaultKind::OverDeliver).is_some()
        {
            ask.count = ask.count.saturating_add(1);
        }
        let caller = self.caller;
        let mut keys = match shared.wait_for(caller.call, |conductor, now| conductor.poll(now, caller, ask)) {
            Polled::Tasks(keys) => keys,
            Polled::Refused(refused) => return Err(refused),
            // A poll that is dropped when the server stops ends with nothing.
            Polled::Waits(waiting) => waiting.await.unwrap_or_default(),
        };
        if shared.faults.has(FaultKind::Duplicate) {
            let again = shared.with(|conductor, _| conductor.running(&kind, domain.as_deref(), &keys));
            if let Some(again) = again.filter(|_| self.hit(|kind| kind == FaultKind::Duplicate).is_some()) {
                keys.push(again);
            }
        }
        Ok(self.render(&keys))
    }

    fn render(&self, keys: &[TaskKey]) -> Vec<String> {
        let render = |key: &TaskKey| self.shared.with(|conductor, _| conductor.render(*key));
        let mut tasks: Vec<String> = keys.iter().filter_map(render).collect();
        for (fault, spoil) in [
            (FaultKind::MalformedTask, ("inputData", Some("\"not an object\""))),
            (FaultKind::NoId, ("taskId", None)),
            (FaultKind::WrongType, ("taskType", Some("\"another_type\""))),
            (FaultKind::WrongType, ("taskDefName", Some("\"another_type\""))),
        ] {
            let Some(last) = tasks.last_mut() else { break };
            // The second member of one fault is no second hit.
            if spoil.0 == "taskDefName" {
                if last.contains("\"taskType\":\"another_type\"") {
                    *last = with_member(last, spoil);
                }
            } else if self.hit(|kind| kind == fault).is_some() {
                *last = with_member(last, spoil);
            }
        }
        tasks
    }

    fn number(&self, name: &str, default: i64) -> Result<i64, Refused> {
        let Some(text) = self.request.query(name).filter(|text| !text.is_empty()) else { return Ok(default) };
        text.parse().map_err(|_| {
            Refused::failed(format!(
                "Method parameter '{name}': Failed to convert value of type 'java.lang.String' to required type 'int'; For input string: \"{text}\""
            ))
        })
    }

    // ---------------------------------------------------------------- results

    fn update(&self) -> Result<Answer, Refused> {
        let text = self.request.text();
        let result = TaskResult::parse(&text, false)?;
        self.shared.with(|conductor, now| conductor.update(now, self.caller, &result))?;
        Ok(Answer::text(result.id().to_owned()))
    }

    async fn update_v2(&self) -> Result<Answer, Refused> {
        if !self.shared.options.update_v2 {
            // R-UPDATE-12: the path is another endpoint's, POST /api/tasks/{something}, to most of them.
            return Err(match self.shared.options.unknown_v2 {
                UnknownV2::NotFound => Refused::not_found("No static resource api/tasks/update-v2."),
                UnknownV2::NotAllowed => Refused::new(405, "Request method 'POST' is not supported"),
                UnknownV2::Failed => Refused::failed("Request method 'POST' not supported"),
            });
        }
        let text = self.request.text();
        let result = TaskResult::parse(&text, true)?;
        let polls = self.shared.with(|conductor, now| conductor.update(now, self.caller, &result))?;
        let kind = self.shared.with(|conductor, _| conductor.kind_of(result.id()));
        let Some((kind, domain)) = kind.filter(|_| polls) else { return Ok(Answer::empty(204)) };
        let worker = result.worker().map(str::to_owned);
        let tasks = self.poll(Poll { kind, domain, worker, count: 1, wait: SHORT_WAIT }).await?;
        Ok(one(tasks))
    }

    fn update_by_reference(&self, path: (&str, &str, &str)) -> Result<Answer, Refused> {
        let worker = self.request.query("workerid").map(str::to_owned);
        let text = self.request.text();
        let done = self
            .shared
            .with(|conductor, now| conductor.update_by_reference(now, self.caller, path, worker, &text))?;
        Ok(done.map_or_else(|| Answer::empty(200), Answer::text))
    }

    fn add_log(&self, id: &str) -> Result<Answer, Refused> {
        if self.request.body.is_empty() {
            return Err(Refused::failed("Required request body is missing"));
        }
        let text = self.request.text();
        self.shared.with(|conductor, now| conductor.add_log(now, id, &text))?;
        Ok(Answer::empty(200))
    }

    // ---------------------------------------------------------------- definitions and workflows

    fn define(&self, what: Define<'_>) -> Result<Answer, Refused> {
        let text = self.request.text();
        let overwrite = self.request.query("overwrite") == Some("true");
        self.shared.with(|conductor, now| match what {
            Define::Tasks => conductor.define_tasks(now, &text).map(|()| Answer::empty(200)),
            Define::DeleteTask(name) => conductor.undefine_task(name).map(|()| Answer::empty(200)),
            Define::Workflows => conductor.define_workflows(&text).map(Answer::json),
            Define::Workflow => conductor.define_workflow(&text, overwrite).map(|_| Answer::empty(200)),
        })
    }

    fn start(&self, name: Option<&str>) -> Result<Answer, Refused> {
        let text = self.request.text();
        let start = if let Some(name) = name {
            let text = if text.is_empty() { "{}" } else { &text };
            let input: &RawValue = serde_json::from_str(text).map_err(|error| Refused::unreadable(&error))?;
            Start {
                name: name.to_owned(),
                version: self.request.query("version").and_then(|version| version.parse().ok()),
                input: Some(input),
                correlation_id: self.request.query("correlationId").map(str::to_owned),
                task_to_domain: None,
            }
        } else {
            serde_json::from_str(&text).map_err(|error| Refused::unreadable(&error))?
        };
        self.shared.with(|conductor, now| conductor.start(now, start)).map(Answer::text)
    }

    // ---------------------------------------------------------------- tokens

    fn token(&self) -> Result<Answer, Refused> {
        let Some(auth) = &self.shared.options.auth else {
            // R-TOKEN-1: no authentication, no such endpoint.
            return Err(Refused::not_found("No static resource api/token."));
        };
        let text = self.request.text();
        let members = json::members(&text).map_err(|error| Refused::unreadable(&error))?;
        let member = |name: &str| members.get(name).and_then(|value| json::scalar(value));
        if member("keyId").as_deref() != Some(&*auth.key)
            || member("keySecret").as_deref() != Some(&*auth.secret)
        {
            return Err(Refused::new(401, "The key or its secret is wrong"));
        }
        let issued = self.shared.with(|conductor, now| conductor.issue_token(now)).unwrap_or_default();
        Ok(Answer::json(format!("{{\"token\":\"{}\"}}", write_token(self.shared.seed, issued))))
    }
}

/// A single task, or 204.
fn one(tasks: Vec<String>) -> Answer {
    let Some(task) = tasks.into_iter().next() else { return Answer::empty(204) };
    let mut answer = Answer::json(task);
    answer.tasks = 1;
    answer
}

fn unknown(request: &Request, path: &[&str], why: Option<NoRoute>) -> Answer {
    Answer::from(match why {
        Some(NoRoute::Method) => {
            Refused::new(405, format!("Request method '{}' is not supported", request.method))
        }
        _ => Refused::not_found(format!("No static resource {}.", path.join("/"))),
    })
}

/// Whether a result asks for more time instead of reporting.
fn asks_for_time(body: &[u8]) -> bool {
    let needle = b"extendLease";
    let may = body.windows(needle.len()).any(|window| window == needle);
    let text = if may { std::str::from_utf8(body).ok() } else { None };
    text.and_then(|text| json::members(text).ok())
        .is_some_and(|members| members.get("extendLease").is_some_and(|flag| flag.get() == "true"))
}

fn with_member(task: &str, (name, value): (&str, Option<&str>)) -> String {
    let Ok(mut members) = json::members(task) else { return task.to_owned() };
    members.remove(name);
    if let Some(value) = value.and_then(|value| serde_json::from_str::<&RawValue>(value).ok()) {
        members.insert(name.to_owned(), value);
    }
    serde_json::to_string(&members).unwrap_or_default()
}

fn truncate(body: &mut String) {
    let mut half = body.len() / 2;
    while !body.is_char_boundary(half) {
        half -= 1;
    }
    body.truncate(half);
}

/// A token as text: its number, and a mark that only this server makes.
fn write_token(seed: u64, number: u64) -> String {
    format!("{number:016x}{:016x}", crate::random::mix(seed ^ crate::random::mix(number)))
}

fn read_token(seed: u64, text: &str) -> Option<u64> {
    let number = u64::from_str_radix(text.get(..16)?, 16).ok()?;
    (write_token(seed, number) == text).then_some(number)
}
