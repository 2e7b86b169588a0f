//! User-mode CPU per request: the lean transport against ureq, in one run, with the same server and the same calls.
//!
//! `cargo bench -p downbeat --bench transports` starts this program a second time as the server, so that the server's
//! CPU does not count: a poll brings a real server's task in chunks, a report is acknowledged as text, and every
//! 100th answer of a connection closes it, as Conductor does. Rounds alternate; the best of each side counts.
//! `--at-least N` ends with 1 where the ratio is below N.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and has nobody to answer to"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use downbeat::{LeanTransport, StdClock, UreqTransport};
use downbeat_core::machine::Clock as _;
use downbeat_core::ports::{Content, Head, Method, Request, Sink, TooLarge, Transport};

const ROUNDS: usize = 3;
const PAIRS: usize = 40_000;
const TASK: &str = include_str!("../../core/tests/golden/task.json");
const REPORT: &[u8] = br#"{"taskId":"7b491c2e-5d3f-4f6a-9c0b-1a2b3c4d5e6f","workflowInstanceId":"3b7b1f6e-0000-4000-8000-00000000002a","workerId":"host-1","status":"COMPLETED","outputData":{"total":42}}"#;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == "--serve") {
        serve();
    }
    let at_least = arguments.iter().skip_while(|argument| *argument != "--at-least").nth(1);
    let at_least: f64 = at_least.map_or(0.0, |number| number.parse().unwrap());
    let program = std::env::current_exe().unwrap();
    let mut server = Command::new(program).arg("--serve").stdout(Stdio::piped()).spawn().unwrap();
    let mut address = String::new();
    BufReader::new(server.stdout.as_mut().unwrap()).read_line(&mut address).unwrap();
    let url = format!("http://{}/api", address.trim());

    let clock = StdClock::new();
    let mut ureq = UreqTransport::new(&url, clock).unwrap();
    let mut lean = LeanTransport::new(&url, clock).unwrap();
    for transport in [&mut ureq as &mut dyn Transport, &mut lean] {
        round(transport, clock, 500);
    }
    let mut best = [f64::MAX; 2];
    for _ in 0..ROUNDS {
        best[0] = best[0].min(round(&mut ureq, clock, PAIRS));
        best[1] = best[1].min(round(&mut lean, clock, PAIRS));
    }
    server.kill().unwrap();
    server.wait().unwrap();
    let ratio = best[0] / best[1];
    println!("user-mode CPU per request, {} requests a round, best of {ROUNDS} rounds:", 2 * PAIRS);
    println!("ureq {:.2} µs, lean {:.2} µs, ratio {ratio:.1}", best[0], best[1]);
    if ratio < at_least { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Microseconds of user-mode CPU for each of `pairs` polls and reports.
fn round(transport: &mut dyn Transport, clock: StdClock, pairs: usize) -> f64 {
    let poll = Request {
        method: Method::Get,
        target: "/tasks/poll/batch/greet?workerid=host-1&count=1&timeout=1000",
        content: Content::None,
        body: b"",
        token: Some("a-token-of-some-length"),
    };
    let report =
        Request { method: Method::Post, target: "/tasks", content: Content::Json, body: REPORT, ..poll };
    let before = user_micros();
    for _ in 0..pairs {
        assert_eq!(exchange(transport, clock, &poll), TASK.len());
        assert_eq!(exchange(transport, clock, &report), 36);
    }
    (user_micros() - before) / (2.0 * pairs as f64)
}

struct Body(Vec<u8>);

impl Sink for Body {
    fn head(&mut self, head: &Head) {
        assert_eq!(head.status, 200);
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

fn exchange(transport: &mut dyn Transport, clock: StdClock, request: &Request<'_>) -> usize {
    let mut body = Body(Vec::with_capacity(4_096));
    transport.exchange(request, clock.now().saturating_add(Duration::from_secs(10)), &mut body).unwrap();
    body.0.len()
}

/// User-mode CPU of this process so far, as the system counts it.
fn user_micros() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    // proc(5): `utime` is the 14th field, the 12th after the name, in ticks of 1/100 s.
    let ticks: f64 = after_name.split_whitespace().nth(11).unwrap().parse().unwrap();
    ticks * 10_000.0
}

// -------------------------------------------------------------------- the server

fn serve() -> ! {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    println!("{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        std::thread::spawn(move || connection(stream));
    }
    unreachable!("a listener listens")
}

fn connection(stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let mut line = String::new();
    for nth in 1..=100 {
        let (mut polls, mut length, mut first) = (false, 0, true);
        loop {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if first {
                (polls, first) = (line.starts_with("GET"), false);
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
        }
        std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink())?;
        let close = if nth == 100 { "Connection: close\r\n" } else { "" };
        let date = "Date: Thu, 26 Nov 2026 07:00:00 GMT\r\n";
        let answer = if polls {
            format!(
                "HTTP/1.1 200 \r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n{date}{close}\r\n\
                 {:x}\r\n{TASK}\r\n0\r\n\r\n",
                TASK.len()
            )
        } else {
            format!(
                "HTTP/1.1 200 \r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: 36\r\n{date}{close}\r\n\
                 7b491c2e-5d3f-4f6a-9c0b-1a2b3c4d5e6f"
            )
        };
        writer.write_all(answer.as_bytes())?;
    }
    Ok(())
}
