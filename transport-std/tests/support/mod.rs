//! A scripted HTTP server over real sockets: a closure answers each request, and may break the connection instead.
#![expect(dead_code, reason = "each test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "this is a test's; a broken assumption ends it")]

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a test waits for anything at the most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    /// The connection's number, from 0.
    pub(crate) connection: usize,
    /// The request's number on its connection, from 0.
    pub(crate) nth: usize,
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// What the server does with a request.
pub(crate) enum Reply {
    /// Answers.
    Answer(Answer),
    /// Writes these bytes, then closes the connection.
    Bytes(Vec<u8>),
    /// Closes the connection without a word.
    Close,
    /// Says nothing until the client has closed the connection.
    Hold,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// Announces the close of the connection, and closes it.
    pub(crate) close: bool,
    /// Closes the connection without having announced it.
    pub(crate) close_silently: bool,
}

pub(crate) fn json(status: u16, body: impl Into<String>) -> Answer {
    Answer {
        status,
        headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
        body: body.into(),
        close: false,
        close_silently: false,
    }
}

impl Answer {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Status\r\n", self.status);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.close {
            text.push_str("Connection: close\r\n");
        }
        if self.status != 204 {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        text.push_str(&self.body);
        text.into_bytes()
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self::Answer(answer)
    }
}

/// Speaks TLS on a connection.
pub(crate) type Tls = dyn Fn(TcpStream) -> Box<dyn Stream> + Send + Sync;

/// What a connection is.
pub(crate) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

type Script = dyn Fn(&Received) -> Reply + Send + Sync;

#[derive(Default)]
struct Log {
    received: Vec<Received>,
    closed: usize,
}

struct Inner {
    script: Box<Script>,
    log: Mutex<Log>,
    changed: Condvar,
    over: AtomicBool,
}

/// A server at work; it ends when it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    secure: bool,
    inner: Arc<Inner>,
}

impl Server {
    pub(crate) fn start<R: Into<Reply>>(script: impl Fn(&Received) -> R + Send + Sync + 'static) -> Self {
        Self::over(None, script)
    }

    /// With TLS, where it is given.
    pub(crate) fn over<R: Into<Reply>>(
        tls: Option<Arc<Tls>>,
        script: impl Fn(&Received) -> R + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            script: Box::new(move |received| script(received).into()),
            log: Mutex::default(),
            changed: Condvar::new(),
            over: AtomicBool::new(false),
        });
        let secure = tls.is_some();
        let accepting = Arc::clone(&inner);
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                if accepting.over.load(Ordering::Acquire) {
                    return;
                }
                let (inner, tls) = (Arc::clone(&accepting), tls.clone());
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    let _ = match tls {
                        Some(tls) => serve(&inner, connection, tls(stream)),
                        None => serve(&inner, connection, stream),
                    };
                    inner.log.lock().unwrap_or_else(PoisonError::into_inner).closed += 1;
                    inner.changed.notify_all();
                });
            }
        });
        Self { address, secure, inner }
    }

    pub(crate) fn url(&self) -> String {
        if self.secure {
            return format!("https://localhost:{}/api", self.address.port());
        }
        format!("http://{}/api", self.address)
    }

    /// What has arrived so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.inner.log.lock().unwrap().received.clone()
    }

    /// Waits until `enough` says so of what has arrived.
    pub(crate) fn wait(&self, what: &str, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let log = self.inner.log.lock().unwrap();
        let (log, timeout) =
            self.inner.changed.wait_timeout_while(log, PATIENCE, |log| !enough(&log.received)).unwrap();
        assert!(!timeout.timed_out(), "no {what} in time; received: {:#?}", log.received);
        log.received.clone()
    }

    /// Waits until so many connections have been closed by the server.
    pub(crate) fn wait_closed(&self, connections: usize) {
        let log = self.inner.log.lock().unwrap();
        let wait = self.inner.changed.wait_timeout_while(log, PATIENCE, |log| log.closed < connections);
        assert!(!wait.unwrap().1.timed_out(), "the connections were not closed in time");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.inner.over.store(true, Ordering::Release);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(inner: &Inner, connection: usize, stream: impl Read + Write) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    for nth in 0.. {
        let Some(mut received) = read_request(&mut reader)? else { return Ok(()) };
        (received.connection, received.nth) = (connection, nth);
        let reply = (inner.script)(&received);
        {
            inner.log.lock().unwrap_or_else(PoisonError::into_inner).received.push(received);
            inner.changed.notify_all();
        }
        match reply {
            Reply::Answer(answer) => {
                reader.get_mut().write_all(&answer.bytes())?;
                if answer.close || answer.close_silently {
                    return Ok(());
                }
            }
            Reply::Bytes(bytes) => return reader.get_mut().write_all(&bytes),
            Reply::Close => return Ok(()),
            Reply::Hold => {
                let mut rest = Vec::new();
                return reader.read_to_end(&mut rest).map(drop);
            }
        }
    }
    Ok(())
}

fn read_request(reader: &mut impl std::io::BufRead) -> std::io::Result<Option<Received>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut received = Received {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        ..Received::default()
    };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        received.headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = received.headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    received.body = String::from_utf8_lossy(&body).into_owned();
    Ok(Some(received))
}

/// A Conductor of one queue, for a runner: hands tasks out, and remembers the results.
#[derive(Default)]
pub(crate) struct Queue {
    /// Tasks to be delivered: each is the text of one element of a poll's answer.
    pub(crate) tasks: Mutex<Vec<String>>,
}

impl Queue {
    pub(crate) fn new(tasks: impl IntoIterator<Item = String>) -> Arc<Self> {
        let tasks: Vec<String> = tasks.into_iter().collect();
        Arc::new(Self { tasks: Mutex::new(tasks) })
    }

    /// Answers polls with what there is, up to the count; accepts all else. `update-v2` brings no task.
    pub(crate) fn answer(&self, received: &Received) -> Answer {
        if let Some((_, query)) = received.target.split_once("/tasks/poll/batch/") {
            let count = query.split(['?', '&']).find_map(|part| part.strip_prefix("count="));
            let count: usize = count.and_then(|count| count.parse().ok()).unwrap_or(1);
            let mut tasks = self.tasks.lock().unwrap();
            let taken: Vec<String> = (0..count.min(tasks.len())).map(|_| tasks.remove(0)).collect();
            return json(200, format!("[{}]", taken.join(",")));
        }
        if received.target.ends_with("/update-v2") {
            return json(204, "");
        }
        json(200, "accepted").header("Content-Type", "text/plain")
    }
}

/// One task.
pub(crate) fn task(id: &str, task_type: &str, input: &str) -> String {
    format!(
        r#"{{"taskId":"{id}","workflowInstanceId":"w-{id}","taskType":"{task_type}","taskDefName":"{task_type}","responseTimeoutSeconds":60,"retryCount":1,"pollCount":2,"inputData":{input}}}"#
    )
}

/// The results that have arrived: the bodies of updates.
pub(crate) fn results(received: &[Received]) -> Vec<String> {
    let updates = received.iter().filter(|received| {
        received.method == "POST"
            && (received.target == "/api/tasks" || received.target == "/api/tasks/update-v2")
    });
    updates.map(|received| received.body.clone()).filter(|body| body.contains("\"status\"")).collect()
}

/// What `/ready` answers at an admin endpoint.
pub(crate) fn ready(address: SocketAddr) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET /ready HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}
