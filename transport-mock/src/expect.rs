//! What a script expects of the next request.

use std::fmt;
use std::time::Duration;

use downbeat_core::ports::{Method, Request};
use downbeat_core::wire::{find, target};

/// What the next request must be like. A request may say more than is asked for here.
///
/// Names are compared after percent-decoding, members of the body as raw JSON, so that `1` is not `1.0`.
///
/// ```
/// use downbeat_mock::Expect;
/// let expected = Expect::update("t1").status("COMPLETED").output(r#"{"n":1}"#);
/// assert_eq!(
///     expected.to_string(),
///     r#"POST /tasks, "taskId":"t1", a member "status", "status":"COMPLETED", "outputData":{"n":1}"#
/// );
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use = "hand it to `ScriptedTransport::expect`"]
pub struct Expect {
    rules: Vec<Rule>,
}

/// One thing that must be so.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Rule {
    Call(Method, String),
    Query(&'static str, String),
    /// A member of the body, as raw JSON.
    Member(&'static str, String),
    Has(&'static str),
    Body(Vec<u8>),
    Token(Option<String>),
}

impl Expect {
    /// Any request at all.
    pub const fn any() -> Self {
        Self { rules: Vec::new() }
    }

    /// This method and path below the API's base; the query is not looked at.
    pub fn call(method: Method, path: &str) -> Self {
        Self { rules: vec![Rule::Call(method, path.to_owned())] }
    }

    /// A batch poll for tasks of this type.
    pub fn poll(task_type: &str) -> Self {
        Self::call(Method::Get, &format!("/tasks/poll/batch/{task_type}"))
    }

    /// A report about this task by `POST /tasks`; an extension of its lease is none.
    pub fn update(task_id: &str) -> Self {
        Self::call(Method::Post, target::UPDATE).member("taskId", &quoted(task_id)).has("status")
    }

    /// A report about this task by `POST /tasks/update-v2`, whose answer may bring the next task.
    pub fn update_v2(task_id: &str) -> Self {
        Self::call(Method::Post, target::UPDATE_V2).member("taskId", &quoted(task_id)).has("status")
    }

    /// An extension of this task's lease.
    pub fn extend(task_id: &str) -> Self {
        let call = Self::call(Method::Post, target::UPDATE).member("taskId", &quoted(task_id));
        call.member("extendLease", "true")
    }

    /// A give-back of this task: it is to be delivered again after a second.
    pub fn give_back(task_id: &str) -> Self {
        Self::update(task_id).status("IN_PROGRESS").member("callbackAfterSeconds", "1")
    }

    /// A request for a token.
    pub fn token() -> Self {
        Self::call(Method::Post, target::TOKEN).has("keyId").has("keySecret")
    }

    /// A log line of this task.
    pub fn log(task_id: &str) -> Self {
        Self::call(Method::Post, &format!("/tasks/{task_id}/log"))
    }

    /// A poll asks for this many tasks.
    pub fn count(self, count: u16) -> Self {
        self.with(Rule::Query("count", count.to_string()))
    }

    /// A poll may be held this long by the server; whole milliseconds.
    pub fn wait(self, wait: Duration) -> Self {
        self.with(Rule::Query("timeout", wait.as_millis().to_string()))
    }

    /// A poll names this worker.
    pub fn worker(self, id: &str) -> Self {
        self.with(Rule::Query("workerid", id.to_owned()))
    }

    /// A poll is for this domain.
    pub fn domain(self, domain: &str) -> Self {
        self.with(Rule::Query("domain", domain.to_owned()))
    }

    /// A report has this status: `COMPLETED`, `FAILED`, `FAILED_WITH_TERMINAL_ERROR`, `IN_PROGRESS`.
    pub fn status(self, status: &str) -> Self {
        self.member("status", &quoted(status))
    }

    /// A report has this output, as raw JSON without blanks.
    pub fn output(self, json: &str) -> Self {
        self.member("outputData", json)
    }

    /// The body has this member, with this value as raw JSON.
    pub fn member(self, name: &'static str, json: &str) -> Self {
        self.with(Rule::Member(name, json.to_owned()))
    }

    /// The body has this member, whatever its value.
    pub fn has(self, name: &'static str) -> Self {
        self.with(Rule::Has(name))
    }

    /// The body is this, byte for byte.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        self.with(Rule::Body(body.into()))
    }

    /// The request carries this token. A mismatch is reported without it.
    pub fn with_token(self, token: &str) -> Self {
        self.with(Rule::Token(Some(token.to_owned())))
    }

    /// The request carries no token.
    pub fn without_token(self) -> Self {
        self.with(Rule::Token(None))
    }

    /// The first thing that is not so, for people; `None`: the request is as expected.
    #[must_use]
    pub fn mismatch(&self, request: &Request<'_>) -> Option<String> {
        self.rules.iter().find(|rule| !rule.is_kept(request)).map(ToString::to_string)
    }

    fn with(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rules.is_empty() {
            return f.write_str("any request");
        }
        for (index, rule) in self.rules.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{rule}")?;
        }
        Ok(())
    }
}

impl Rule {
    fn is_kept(&self, request: &Request<'_>) -> bool {
        let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
        match self {
            Self::Call(method, expected) => *method == request.method && decoded(path) == *expected,
            Self::Query(name, value) => query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .any(|(key, given)| key == *name && decoded(given) == *value),
            Self::Member(name, json) => member(request.body, name) == Some(json.as_bytes()),
            Self::Has(name) => member(request.body, name).is_some(),
            Self::Body(body) => request.body == body,
            Self::Token(token) => request.token == token.as_deref(),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(method, path) => write!(f, "{} {path}", word(*method)),
            Self::Query(name, value) => write!(f, "{name}={value} in the query"),
            Self::Member(name, json) => write!(f, "\"{name}\":{json}"),
            Self::Has(name) => write!(f, "a member \"{name}\""),
            Self::Body(body) => write!(f, "the body `{}`", String::from_utf8_lossy(body)),
            Self::Token(Some(_)) => f.write_str("the expected token"),
            Self::Token(None) => f.write_str("no token"),
        }
    }
}

pub(crate) const fn word(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
    }
}

/// A text as a JSON string; only what ids and names need.
pub(crate) fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            c if c.is_control() => json.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

fn member<'a>(body: &'a [u8], name: &str) -> Option<&'a [u8]> {
    find(body, name).ok().flatten().map(|value| value.raw())
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match digits.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
