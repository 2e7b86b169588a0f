//! A host of a WebAssembly module that is a whole worker (`examples/wasm`): it lends a clock, a connection and sleep.
//!
//! `wasm_host MODULE URL TASK COUNT`. The runtime is wasmi, an interpreter; nothing here is particular to it.

use std::time::Duration;

use downbeat_core::drive::Link as _;
use downbeat_core::machine::{Clock as _, Instant};
use downbeat_core::ports::Cause;
use downbeat_examples::{Args, Socket, SystemClock};
use embedded_io::{ErrorKind, Read as _, Write as _};
use wasmi::{Caller, Engine, Linker, Module, Store};

/// What the module is told instead of a count of bytes.
const TIMED_OUT: i32 = -1;
const GONE: i32 = -2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.is_empty() {
        return Err("usage: wasm_host MODULE http://HOST:PORT/api TASK COUNT".into());
    }
    let module = std::fs::read(words.remove(0))?;
    let args = Args::from_words(words)?;
    let engine = Engine::default();
    let module = Module::new(&engine, &module)?;
    let host = Host { socket: Socket::new(&args.host), count: args.count, args };
    let mut store = Store::new(&engine, host);
    let instance = lent(&engine)?.instantiate_and_start(&mut store, &module)?;
    let done = instance.get_typed_func::<(), i32>(&store, "work")?.call(&mut store, ())?;
    if done < 0 { Err("the module could not begin: its settings do not fit".into()) } else { Ok(()) }
}

struct Host {
    args: Args,
    socket: Socket,
    /// Tasks after which the module is to drain; it is told once.
    count: u32,
}

/// The functions that the module is lent; `examples/wasm/src/border.rs` says what each means.
fn lent(engine: &Engine) -> Result<Linker<Host>, wasmi::Error> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "now", |_: Caller<'_, Host>| SystemClock.now().as_micros())?;
    linker.func_wrap("host", "settings", |caller: Caller<'_, Host>, into: u32, len: u32| {
        with_memory(caller, into, len, |host, memory| {
            let Args { host, base, task_type, .. } = &host.args;
            let settings = format!("{host} {base} {task_type}");
            let place = memory.get_mut(..settings.len())?;
            place.copy_from_slice(settings.as_bytes());
            i32::try_from(settings.len()).ok()
        })
    })?;
    linker.func_wrap("host", "reconnect", |mut caller: Caller<'_, Host>, deadline: u64| {
        let socket = &mut caller.data_mut().socket;
        socket.set_deadline(Instant::from_micros(deadline));
        match socket.reconnect() {
            Ok(()) => 0,
            Err(Cause::Timeout) => TIMED_OUT,
            Err(_) => GONE,
        }
    })?;
    linker.func_wrap("host", "is_stale", |mut caller: Caller<'_, Host>| {
        i32::from(caller.data_mut().socket.is_stale())
    })?;
    linker.func_wrap("host", "read", |caller: Caller<'_, Host>, into: u32, len: u32, deadline: u64| {
        with_memory(caller, into, len, |host, memory| {
            host.socket.set_deadline(Instant::from_micros(deadline));
            Some(counted(host.socket.read(memory)))
        })
    })?;
    linker.func_wrap("host", "write", |caller: Caller<'_, Host>, from: u32, len: u32, deadline: u64| {
        with_memory(caller, from, len, |host, memory| {
            host.socket.set_deadline(Instant::from_micros(deadline));
            Some(counted(host.socket.write(memory)))
        })
    })?;
    linker.func_wrap("host", "wait", |_: Caller<'_, Host>, until: u64| {
        sleep(Instant::from_micros(until).saturating_duration_since(SystemClock.now()));
    })?;
    linker.func_wrap("host", "control", |mut caller: Caller<'_, Host>, done: u32| {
        let host = caller.data_mut();
        let enough = done >= host.count;
        if enough {
            host.count = u32::MAX;
        }
        i32::from(enough)
    })?;
    Ok(linker)
}

/// Lends a function a piece of the module's memory; a piece that is not the module's is a failure, and nothing else.
fn with_memory(
    mut caller: Caller<'_, Host>,
    from: u32,
    len: u32,
    function: impl FnOnce(&mut Host, &mut [u8]) -> Option<i32>,
) -> i32 {
    let Some(memory) = caller.get_export("memory").and_then(wasmi::Extern::into_memory) else { return GONE };
    let (memory, host) = memory.data_and_store_mut(&mut caller);
    let from = usize::try_from(from).unwrap_or(usize::MAX);
    let piece = memory.get_mut(from..).and_then(|rest| rest.get_mut(..usize::try_from(len).ok()?));
    piece.and_then(|piece| function(host, piece)).unwrap_or(GONE)
}

fn counted(result: Result<usize, ErrorKind>) -> i32 {
    match result {
        Ok(count) => i32::try_from(count).unwrap_or(i32::MAX),
        Err(ErrorKind::TimedOut) => TIMED_OUT,
        Err(_) => GONE,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the machine's deadline is waited for, and nothing else can come"
)]
fn sleep(time: Duration) {
    // A command could come from elsewhere meanwhile; sooner is allowed.
    std::thread::sleep(time.min(Duration::from_millis(100)));
}
