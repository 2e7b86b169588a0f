//! A real Conductor server on this machine: fetched once, started as often as needed.

mod fetch;
mod java;

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::args::Args;
use crate::clock;
use crate::process::{Context, Failure, Guarded, on_path, root, target};

/// Where the server keeps its state.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Backend {
    Sqlite,
    Redis,
}

impl Backend {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Redis => "redis",
        }
    }

    pub(crate) fn parse(word: &str) -> Result<Self, Failure> {
        match word {
            "sqlite" => Ok(Self::Sqlite),
            "redis" => Ok(Self::Redis),
            _ => Err(Failure::new(format!("there is no back end `{word}`; there are sqlite and redis"))),
        }
    }
}

/// A server that is up, and goes down with this value.
pub(crate) struct Server {
    /// The base of the API, `http://127.0.0.1:PORT/api`.
    pub(crate) url: String,
    // Dropped in this order: the server first, what it stands on after it.
    _java: Guarded,
    _redis: Option<Guarded>,
}

/// What this machine lacks for a server on that back end; `None` if nothing.
pub(crate) fn missing(backend: Backend) -> Option<String> {
    if java::find().is_none() {
        return Some("no Java 21 or newer was found (CONDUCTOR_JAVA may name one)".to_owned());
    }
    if !fetch::is_cached() && !on_path("mvn") {
        return Some("Maven (`mvn`) is not installed, and the server was not fetched before".to_owned());
    }
    (backend == Backend::Redis && !on_path("redis-server"))
        .then(|| "redis-server is not installed".to_owned())
}

/// `cargo xtask conductor`: a server to play with.
pub(crate) fn main(args: &Args<'_>) -> Result<(), Failure> {
    args.known(&["--backend", "--port"], &[])?;
    let backend = Backend::parse(args.value("--backend").unwrap_or("sqlite"))?;
    let port = args.number("--port", 0)?;
    let port = u16::try_from(port).context(|| format!("`--port {port}`"))?;
    let server = start(backend, port)?;
    println!("Conductor ({}) is at {}; Ctrl-C ends it", backend.name(), server.url);
    // Ctrl-C reaches the server and this process alike; without a signal this waits for ever.
    loop {
        std::thread::park();
    }
}

/// Starts a server on a free port (or on `port`, unless 0) and waits until it says that it is healthy.
pub(crate) fn start(backend: Backend, port: u16) -> Result<Server, Failure> {
    if let Some(lack) = missing(backend) {
        return Err(Failure::new(lack));
    }
    let java = java::find().ok_or_else(|| Failure::new("no Java 21 or newer was found"))?;
    let home = fetch::server(&java)?;
    let port = if port == 0 { free_port()? } else { port };
    let dir = target().join("real-server").join(format!("{}-{port}", backend.name()));
    drop(std::fs::remove_dir_all(&dir));
    std::fs::create_dir_all(dir.join("tmp")).context(|| format!("making {}", dir.display()))?;
    let redis = match backend {
        Backend::Sqlite => None,
        Backend::Redis => Some(start_redis(&dir)?),
    };
    let log = dir.join("server.log");
    let mut command = java::server(&java, &home);
    command.arg(format!("-Djava.io.tmpdir={}", dir.join("tmp").display()));
    command.arg("-jar").arg(home.join("app/server.jar"));
    command.arg(properties(backend)).arg(format!("--server.port={port}"));
    if let Some((_, redis_port)) = &redis {
        command.arg(format!("--conductor.redis.hosts=127.0.0.1:{redis_port}:us-east-1c"));
    }
    log_to(&mut command, &dir, &log)?;
    let mut java = Guarded::start(&mut command, Duration::from_secs(15))?;
    let healthy = clock::wait_for(Duration::from_secs(180), Duration::from_millis(200), || {
        if java.has_ended() { Some(false) } else { is_healthy(port).then_some(true) }
    });
    if healthy != Some(true) {
        return Err(Failure::new(format!(
            "the server did not become healthy; its log:\n{}",
            last_lines(&log)
        )));
    }
    let url = format!("http://127.0.0.1:{port}/api");
    Ok(Server { url, _java: java, _redis: redis.map(|(process, _)| process) })
}

fn start_redis(dir: &Path) -> Result<(Guarded, u16), Failure> {
    let port = free_port()?;
    let mut command = Command::new("redis-server");
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]).arg(port.to_string());
    log_to(&mut command, dir, &dir.join("redis.log"))?;
    let mut redis = Guarded::start(&mut command, Duration::from_secs(5))?;
    let up = clock::wait_for(Duration::from_secs(20), Duration::from_millis(50), || {
        if redis.has_ended() {
            return Some(false);
        }
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(true)
    });
    if up == Some(true) {
        Ok((redis, port))
    } else {
        Err(Failure::new(format!("redis-server did not come up:\n{}", last_lines(&dir.join("redis.log")))))
    }
}

/// The settings file of a back end, as the server's argument.
fn properties(backend: Backend) -> String {
    let file = root().join("tools/conductor-server").join(format!("{}.properties", backend.name()));
    format!("--spring.config.additional-location=file:{}", file.display())
}

fn log_to(command: &mut Command, dir: &Path, log: &Path) -> Result<(), Failure> {
    let file = File::create(log).context(|| format!("making {}", log.display()))?;
    let twin = file.try_clone().context(|| format!("opening {} twice", log.display()))?;
    command.current_dir(dir).stdout(file).stderr(twin);
    Ok(())
}

/// A port that nobody has now; somebody may have it a moment later, and then the start fails and says so.
pub(crate) fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context(|| "finding a free port".to_owned())?;
    listener.local_addr().map(|address| address.port()).context(|| "finding a free port".to_owned())
}

fn is_healthy(port: u16) -> bool {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(2))).build();
    let answer = config.new_agent().get(format!("http://127.0.0.1:{port}/health")).call();
    let body = answer.ok().and_then(|mut answer| answer.body_mut().read_to_string().ok());
    body.is_some_and(|body| body.contains("\"healthy\":true"))
}

/// The end of a log file, for a failure's text.
pub(crate) fn last_lines(path: &PathBuf) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines.iter().skip(lines.len().saturating_sub(20)).copied().collect::<Vec<_>>().join("\n")
}
