//! The bridge: QEMU's serial port on one side, a server's TCP port on the other, frames between (`downbeat-line`).
//!
//! It can damage the line on purpose: garbage between frames, flipped bytes, dropped frames, connections cut in the
//! middle of an answer.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use downbeat_line::{DRAIN, Decoder, FRAME_MAX, Frame, Kind, PAYLOAD_MAX};

use crate::clock::Stopwatch;
use crate::process::{Context, Failure};

const CONNECT: Duration = Duration::from_secs(2);

/// A bridge that waits for QEMU, or has it.
pub(crate) struct Bridge {
    /// Where QEMU's serial port has to connect to.
    pub(crate) port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the bridge has seen and done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) opened: AtomicU32,
    pub(crate) refused: AtomicU32,
    pub(crate) closed_by_server: AtomicU32,
    pub(crate) closed_by_firmware: AtomicU32,
    /// Pieces of the firmware's stream that were no frame, or out of order.
    pub(crate) unreadable: AtomicU32,
    pub(crate) garbage: AtomicU32,
    pub(crate) flipped_to_firmware: AtomicU32,
    pub(crate) flipped_from_firmware: AtomicU32,
    pub(crate) dropped: AtomicU32,
    pub(crate) cut: AtomicU32,
    /// The longest that the server took to begin an answer, and after which the firmware closed; milliseconds.
    pub(crate) slowest: AtomicU32,
    pub(crate) given_up: AtomicU32,
}

impl Tally {
    /// What happened to connections, in one line for people.
    pub(crate) fn line(&self) -> String {
        let of = |count: &AtomicU32| count.load(Ordering::Relaxed);
        format!(
            "{} connections opened, {} closed by the server, {} by the firmware; {} pieces unreadable to the bridge; \
             slowest answer begun after {} ms, latest close by the firmware {} ms after it had asked",
            of(&self.opened),
            of(&self.closed_by_server),
            of(&self.closed_by_firmware),
            of(&self.unreadable),
            of(&self.slowest),
            of(&self.given_up),
        )
    }

    /// Each kind of trouble that the bridge makes, and how often it did.
    pub(crate) fn rows(&self) -> [(&'static str, u32); 6] {
        let of = |count: &AtomicU32| count.load(Ordering::Relaxed);
        [
            ("outage: connections refused", of(&self.refused)),
            ("garbage between frames", of(&self.garbage)),
            ("bytes flipped, to the firmware", of(&self.flipped_to_firmware)),
            ("bytes flipped, from the firmware", of(&self.flipped_from_firmware)),
            ("frames dropped", of(&self.dropped)),
            ("streams cut in an answer", of(&self.cut)),
        ]
    }
}

struct Shared {
    server: SocketAddr,
    line: Mutex<Option<TcpStream>>,
    /// The present connection.
    current: Mutex<Option<Connection>>,
    /// Of so many frames to the firmware one is damaged, on average; 0: none.
    one_in: AtomicU32,
    /// Frames until the next damage.
    pause: AtomicU32,
    down: AtomicBool,
    ended: AtomicBool,
    random: Mutex<u64>,
    /// How many frames were damaged.
    turn: AtomicU32,
    tally: Tally,
}

struct Connection {
    number: u8,
    server: TcpStream,
    /// The next number of data from the firmware.
    expected: u8,
    /// Since the firmware's last bytes, and whether an answer has begun.
    asked: Option<Stopwatch>,
    begun: bool,
}

/// What is done to a frame on its way to the firmware.
enum Damage {
    None,
    Garbage(u64),
    Flip(u64),
    Drop,
    Cut,
}

impl Bridge {
    /// Waits for QEMU on a free port; connections go to `server`.
    pub(crate) fn start(server: SocketAddr, seed: u64) -> Result<Self, Failure> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context(|| "the bridge's port".to_owned())?;
        let port = listener.local_addr().context(|| "the bridge's port".to_owned())?.port();
        let shared = Arc::new(Shared {
            server,
            line: Mutex::new(None),
            current: Mutex::new(None),
            one_in: AtomicU32::new(0),
            pause: AtomicU32::new(0),
            down: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            random: Mutex::new(seed.max(1)),
            turn: AtomicU32::new(0),
            tally: Tally::default(),
        });
        let its = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            if let Ok((line, _)) = listener.accept() {
                its.carry(line);
            }
        });
        Ok(Self { port, shared, thread: Some(thread) })
    }

    /// Damages one in so many frames to the firmware, on average, and as many of the bytes from it; 0: none.
    pub(crate) fn damage(&self, one_in: u32) {
        self.shared.one_in.store(one_in, Ordering::Relaxed);
        self.shared.pause.store(one_in, Ordering::Relaxed);
    }

    /// Closes what is open and refuses what comes, or lets it pass again: a server that is down.
    pub(crate) fn outage(&self, on: bool) {
        self.shared.down.store(on, Ordering::Relaxed);
        if on {
            self.shared.close_and_tell();
        }
    }

    /// Asks the worker to drain. The word may be lost: ask again until it has ended.
    pub(crate) fn drain(&self) {
        self.shared.send(&Frame { kind: Kind::Command, connection: 0, sequence: 0, payload: DRAIN });
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.shared.tally
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        self.shared.close();
        if let Some(line) = lock(&self.shared.line).take() {
            drop(line.shutdown(Shutdown::Both));
        }
        // Ends the wait for a QEMU that never came.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    /// Reads the firmware's side until QEMU ends.
    fn carry(self: &Arc<Self>, mut line: TcpStream) {
        drop(line.set_nodelay(true));
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        *lock(&self.line) = line.try_clone().ok();
        let mut decoder = Decoder::new();
        let mut bytes = [0; 4096];
        while let Ok(len @ 1..) = line.read(&mut bytes) {
            let bytes = bytes.get_mut(..len).unwrap_or_default();
            self.damage_arriving(bytes);
            for byte in bytes {
                match decoder.push(*byte) {
                    None => {}
                    Some(Ok(frame)) => self.arrived(&frame),
                    Some(Err(_)) => self.broken(),
                }
            }
        }
        self.close();
    }

    fn arrived(self: &Arc<Self>, frame: &Frame<'_>) {
        match frame.kind {
            Kind::Open => self.open(frame.connection),
            Kind::Data => self.forward(frame),
            Kind::Close => {
                count(&self.tally.closed_by_firmware);
                self.waited(&self.tally.given_up, true);
                self.close();
            }
            Kind::Opened | Kind::Refused | Kind::Command => self.broken(),
        }
    }

    fn open(self: &Arc<Self>, number: u8) {
        self.close();
        let answer = |kind| Frame { kind, connection: number, sequence: 0, payload: &[] };
        let Some((server, reader)) = self.connect() else {
            count(&self.tally.refused);
            return self.send(&answer(Kind::Refused));
        };
        *lock(&self.current) = Some(Connection { number, server, expected: 0, asked: None, begun: false });
        count(&self.tally.opened);
        self.send(&answer(Kind::Opened));
        let shared = Arc::clone(self);
        std::thread::spawn(move || shared.answers(number, reader));
    }

    fn connect(&self) -> Option<(TcpStream, TcpStream)> {
        if self.down.load(Ordering::Relaxed) {
            return None;
        }
        let server = TcpStream::connect_timeout(&self.server, CONNECT).ok()?;
        server.set_nodelay(true).ok()?;
        let reader = server.try_clone().ok()?;
        Some((server, reader))
    }

    /// Carries what the server sends, until it closes.
    fn answers(&self, number: u8, mut server: TcpStream) {
        let mut sequence = 0_u8;
        let mut bytes = [0; PAYLOAD_MAX];
        while let Ok(len @ 1..) = server.read(&mut bytes) {
            let payload = bytes.get(..len).unwrap_or_default();
            self.waited(&self.tally.slowest, false);
            self.send(&Frame { kind: Kind::Data, connection: number, sequence, payload });
            sequence = sequence.wrapping_add(1);
        }
        let mut current = lock(&self.current);
        if current.as_ref().is_some_and(|connection| connection.number == number) {
            *current = None;
            drop(current);
            count(&self.tally.closed_by_server);
            self.send(&Frame { kind: Kind::Close, connection: number, sequence: 0, payload: &[] });
        }
    }

    fn forward(&self, frame: &Frame<'_>) {
        let mut current = lock(&self.current);
        let Some(connection) = current.as_mut().filter(|open| open.number == frame.connection) else {
            return;
        };
        let whole = connection.expected == frame.sequence;
        connection.expected = frame.sequence.wrapping_add(1);
        (connection.asked, connection.begun) = (Some(Stopwatch::start()), false);
        let sent = whole && connection.server.write_all(frame.payload).is_ok();
        drop(current);
        if !whole {
            self.broken();
        } else if !sent {
            self.close_and_tell();
        }
    }

    /// Notes how long the firmware has waited, where that is the longest: at the beginning of an answer, or at its end.
    fn waited(&self, longest: &AtomicU32, at_the_end: bool) {
        let mut current = lock(&self.current);
        let Some(connection) = current.as_mut().filter(|connection| at_the_end || !connection.begun) else {
            return;
        };
        connection.begun = true;
        if let Some(asked) = &connection.asked {
            let millis = u32::try_from(asked.elapsed().as_millis()).unwrap_or(u32::MAX);
            longest.fetch_max(millis, Ordering::Relaxed);
        }
    }

    /// Something from the firmware was lost.
    fn broken(&self) {
        count(&self.tally.unreadable);
        self.close_and_tell();
    }

    fn close(&self) -> Option<u8> {
        let connection = lock(&self.current).take()?;
        drop(connection.server.shutdown(Shutdown::Both));
        Some(connection.number)
    }

    fn close_and_tell(&self) {
        if let Some(number) = self.close() {
            self.send(&Frame { kind: Kind::Close, connection: number, sequence: 0, payload: &[] });
        }
    }

    fn send(&self, frame: &Frame<'_>) {
        let mut encoded = [0; FRAME_MAX];
        let len = frame.encode(&mut encoded);
        let mut bytes = encoded.get(..len).unwrap_or_default().to_vec();
        let damage = self.choose(frame);
        match damage {
            Damage::None => {}
            Damage::Garbage(random) => {
                count(&self.tally.garbage);
                let garbage = (0..random % 40 + 1).map(|at| random.rotate_left(at as u32 * 7) as u8);
                bytes = garbage.chain(bytes).collect();
            }
            Damage::Flip(random) => {
                count(&self.tally.flipped_to_firmware);
                let at = random as usize % bytes.len();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (random >> 32 & 7);
                }
            }
            Damage::Drop => {
                count(&self.tally.dropped);
                bytes.clear();
            }
            Damage::Cut => {
                count(&self.tally.cut);
                bytes.clear();
            }
        }
        if let Some(line) = lock(&self.line).as_mut() {
            drop(line.write_all(&bytes));
        }
        if matches!(damage, Damage::Cut) {
            self.close_and_tell();
        }
    }

    /// Frames are damaged at intervals of chance, and in each way in turn, so that none is left out; only data can be
    /// cut.
    fn choose(&self, frame: &Frame<'_>) -> Damage {
        let one_in = self.one_in.load(Ordering::Relaxed);
        if one_in == 0 || self.pause.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less_one).is_ok() {
            return Damage::None;
        }
        let random = self.random();
        self.pause.store((random >> 40) as u32 % (2 * one_in - 1), Ordering::Relaxed);
        match self.turn.fetch_add(1, Ordering::Relaxed) % 4 {
            0 => Damage::Garbage(random >> 16),
            1 => Damage::Flip(random >> 16),
            2 => Damage::Drop,
            _ if frame.kind == Kind::Data => Damage::Cut,
            _ => Damage::Garbage(random >> 16),
        }
    }

    /// Flips a bit in one byte of as many frames' worth.
    fn damage_arriving(&self, bytes: &mut [u8]) {
        let one_in = u64::from(self.one_in.load(Ordering::Relaxed)) * PAYLOAD_MAX as u64;
        if one_in == 0 {
            return;
        }
        for byte in bytes {
            let random = self.random();
            if (random >> 8).is_multiple_of(one_in) {
                count(&self.tally.flipped_from_firmware);
                *byte ^= 1 << (random >> 48 & 7);
            }
        }
    }

    /// Xorshift: good enough to choose damage, and the same for the same seed.
    fn random(&self) -> u64 {
        let mut state = lock(&self.random);
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

const fn less_one(count: u32) -> Option<u32> {
    count.checked_sub(1)
}

fn count(of: &AtomicU32) {
    of.fetch_add(1, Ordering::Relaxed);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
