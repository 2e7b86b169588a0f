//! A server that has a task for whoever asks, and takes every result; a second process of this program.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use downbeat::StdClock;
use downbeat_core::machine::Clock as _;

pub(crate) const TASK: &str = "bench";

/// Connections and requests by which the server alone is measured.
const CONNECTIONS: u32 = 8;
const REQUESTS: u32 = 20_000;

// ------------------------------------------------------------------ its other side

/// The server's process.
pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
}

/// Of the results since the last look.
pub(crate) struct Latencies {
    pub(crate) count: u64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Server {
    pub(crate) fn start() -> Self {
        let program = std::env::current_exe().unwrap();
        let mut process = Command::new(program).arg("--serve").stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut address).unwrap();
        Self { process, address: address.trim().parse().unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    /// Results since the last look, and how long their tasks were out.
    pub(crate) fn latencies(&self) -> Latencies {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(b"GET /latencies HTTP/1.1\r\n\r\n").unwrap();
        let mut answer = [0; 1_024];
        let length = stream.read(&mut answer).unwrap();
        let text = std::str::from_utf8(&answer[..length]).unwrap();
        let mut figures = text.rsplit("\r\n").next().unwrap().split(' ').map(|word| word.parse().unwrap());
        let mut next = || figures.next().unwrap();
        Latencies { count: next(), p50: next() as f64, p99: next() as f64 }
    }

    /// How many reports that bring the next task it answers, when asked by a client that does nothing else.
    pub(crate) fn requests_per_second(&self) -> f64 {
        let clock = StdClock::new();
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS {
                scope.spawn(|| ask(self.address));
            }
        });
        self.latencies();
        f64::from(CONNECTIONS * REQUESTS) * 1e6 / clock.now().as_micros() as f64
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn ask(address: SocketAddr) {
    let id = id(0, 0);
    let body = format!(
        "{{\"taskId\":\"{id}\",\"workflowInstanceId\":\"{id}\",\"workerId\":\"w\",\"status\":\"COMPLETED\",\"outputData\":{{}}}}"
    );
    let request =
        format!("POST /api/tasks/update-v2 HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut answer, whole) = (vec![0; 4_096], http("application/json", &task(&id)).len());
    for _ in 0..REQUESTS {
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_exact(&mut answer[..whole]).unwrap();
    }
}

// ------------------------------------------------------------------ the server

/// What all connections share.
struct Shared {
    clock: StdClock,
    serial: AtomicU32,
    /// Microseconds from a task's delivery to its result, of each result.
    took: Mutex<Vec<u64>>,
}

pub(crate) fn serve() -> ! {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    println!("{}", listener.local_addr().unwrap());
    let shared =
        Arc::new(Shared { clock: StdClock::new(), serial: AtomicU32::new(0), took: Mutex::default() });
    for stream in listener.incoming() {
        let (stream, shared) = (stream.unwrap(), Arc::clone(&shared));
        std::thread::spawn(move || connection(&shared, stream));
    }
    unreachable!("a listener listens")
}

fn connection(shared: &Shared, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let (mut head, mut line, mut body) = (String::new(), String::new(), Vec::new());
    loop {
        head.clear();
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            match line.split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.trim().parse().unwrap_or(0);
                }
                Some(_) => {}
                None => break,
            }
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
        writer.write_all(shared.answer(&head, &body).as_bytes())?;
    }
}

impl Shared {
    fn answer(&self, head: &str, body: &[u8]) -> String {
        let target = head.split(' ').nth(1).unwrap_or_default();
        if target == "/latencies" {
            return http("text/plain", &self.latencies());
        }
        if let Some((_, count)) = target.split_once("count=") {
            let count = count.split('&').next().and_then(|count| count.parse().ok()).unwrap_or(1);
            let tasks: Vec<String> = (0..count).map(|_| task(&self.next_id())).collect();
            return http("application/json", &format!("[{}]", tasks.join(",")));
        }
        self.take(body);
        if target.ends_with("/update-v2") {
            http("application/json", &task(&self.next_id()))
        } else {
            http("text/plain", "taken")
        }
    }

    fn next_id(&self) -> String {
        id(self.serial.fetch_add(1, Ordering::Relaxed), self.clock.now().as_micros())
    }

    /// Files how long the task of a result was out; its id says since when. A task that is given back is no result.
    fn take(&self, body: &[u8]) {
        let text = std::str::from_utf8(body).unwrap_or_default();
        let id = text.split_once("\"taskId\":\"").and_then(|(_, rest)| rest.split('"').next());
        let since = id.and_then(|id| u64::from_str_radix(id.rsplit('-').next()?, 16).ok());
        if let Some(since) = since.filter(|_| text.contains("\"COMPLETED\"")) {
            self.took.lock().unwrap().push(self.clock.now().as_micros().saturating_sub(since));
        }
    }

    fn latencies(&self) -> String {
        let mut took = std::mem::take(&mut *self.took.lock().unwrap());
        took.sort_unstable();
        let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or(0);
        format!("{} {} {}", took.len(), at(50), at(99))
    }
}

/// The time is the last part.
fn id(serial: u32, micros: u64) -> String {
    format!("{serial:08x}-0000-4000-8000-{micros:012x}")
}

fn task(id: &str) -> String {
    format!(
        "{{\"taskType\":\"{TASK}\",\"taskDefName\":\"{TASK}\",\"status\":\"IN_PROGRESS\",\"inputData\":{{\"number\":42}},\
         \"retryCount\":0,\"pollCount\":1,\"responseTimeoutSeconds\":600,\"workflowInstanceId\":\"{id}\",\
         \"taskId\":\"{id}\",\"callbackAfterSeconds\":0,\"outputData\":{{}}}}"
    )
}

fn http(content: &str, body: &str) -> String {
    format!("HTTP/1.1 200 \r\nContent-Type: {content}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
