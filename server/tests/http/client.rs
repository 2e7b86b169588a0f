//! An HTTP client that hides nothing: one connection, every header, every close.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use downbeat_server::http::{Options, Server};

/// One connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Whether the server says that it closes the connection.
    pub(crate) fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }

    /// A member of the body, or of a member of it: `path` is a JSON pointer.
    pub(crate) fn at(&self, pointer: &str) -> serde_json::Value {
        let body: serde_json::Value = serde_json::from_str(&self.body).expect("a JSON body");
        body.pointer(pointer).cloned().unwrap_or_default()
    }

    /// The text at a pointer.
    pub(crate) fn text(&self, pointer: &str) -> String {
        self.at(pointer).as_str().unwrap_or_default().to_owned()
    }
}

impl Client {
    pub(crate) fn new(server: &Server) -> Self {
        Self::to(server.address()).expect("a connection")
    }

    pub(crate) fn to(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request with a JSON body and reads its answer.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<Reply> {
        self.send(method, path, "Content-Type: application/json\r\n", body)?;
        self.read()
    }

    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> std::io::Result<()> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        self.raw(&request)
    }

    pub(crate) fn raw(&mut self, text: &str) -> std::io::Result<()> {
        self.stream.get_mut().write_all(text.as_bytes())
    }

    pub(crate) fn read(&mut self) -> std::io::Result<Reply> {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        let mut reply = Reply { status, head, body: String::new() };
        let mut body = Vec::new();
        if reply.header("transfer-encoding") == Some("chunked") {
            loop {
                let mut line = String::new();
                if self.stream.read_line(&mut line)? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                let length = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
                let mut chunk = vec![0; length + 2];
                self.stream.read_exact(&mut chunk)?;
                if length == 0 {
                    break;
                }
                body.extend_from_slice(&chunk[..length]);
            }
        } else if let Some(length) = reply.header("content-length") {
            body.resize(length.parse().map_err(std::io::Error::other)?, 0);
            self.stream.read_exact(&mut body)?;
        }
        reply.body = String::from_utf8(body).map_err(std::io::Error::other)?;
        Ok(reply)
    }

    /// Whether the server has closed the connection; waits for it for a while.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        matches!(self.stream.read(&mut byte), Ok(0))
            || self
                .stream
                .get_ref()
                .peek(&mut byte)
                .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    }
}

/// A call on a connection of its own, which must be answered.
pub(crate) fn call(server: &Server, method: &str, path: &str, body: &str) -> Reply {
    Client::new(server).call(method, path, body).expect("an answer")
}

/// Polls a batch.
pub(crate) fn poll(server: &Server, kind: &str, count: u32, timeout: u32) -> Reply {
    let path = format!("/api/tasks/poll/batch/{kind}?workerid=w1&count={count}&timeout={timeout}");
    call(server, "GET", &path, "")
}

/// A result for the first task of a polled batch.
pub(crate) fn result(polled: &Reply, members: &str) -> String {
    let (workflow, task) = (polled.text("/0/workflowInstanceId"), polled.text("/0/taskId"));
    format!(r#"{{"workflowInstanceId":"{workflow}","taskId":"{task}","workerId":"w1",{members}}}"#)
}

/// A server where a workflow with one task `t` runs, that task polled.
pub(crate) fn polled(definition: &str) -> (Server, String, Reply) {
    let server = Server::start(Options::default()).expect("a server");
    server.define_task(definition).expect("a definition");
    let workflow = server.schedule("t", r#"{"a":1}"#).expect("scheduled");
    let polled = poll(&server, "t", 1, 0);
    (server, workflow, polled)
}

/// Reports a polled task; `members` is what is said of it beside its ids.
pub(crate) fn update(server: &Server, polled: &Reply, members: &str) -> Reply {
    call(server, "POST", "/api/tasks", &result(polled, members))
}

/// Waits until something holds, for five seconds at most.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..5_000 {
        if holds() {
            return;
        }
        let _ = std::sync::mpsc::channel::<()>().1.recv_timeout(Duration::from_millis(1));
    }
    panic!("{what}: not within five seconds");
}
