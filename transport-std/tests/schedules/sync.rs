//! What the scheduler takes from `std`, of the explorer's kind.
//!
//! The explorer knows no time: a wait with a limit ends when it likes. Its own `park` may end without a reason, which hides
//! a wakeup that is lost; this one ends only when somebody ends it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use shuttle::rand::{Rng as _, thread_rng};

pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};

/// The longest wait with a limit, in turns of other threads.
const TURNS_MAX: u32 = 4;

/// A thread, to be woken.
#[derive(Clone)]
pub(crate) struct Thread(Arc<Parker>);

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct ThreadId(*const Parker);

struct Parker {
    woken: Mutex<bool>,
    changed: Condvar,
}

shuttle::thread_local! {
    static ME: Thread = Thread(Arc::new(Parker { woken: Mutex::new(false), changed: Condvar::new() }));
}

impl Thread {
    pub(crate) fn id(&self) -> ThreadId {
        ThreadId(Arc::as_ptr(&self.0))
    }

    pub(crate) fn unpark(&self) {
        *lock(&self.0.woken) = true;
        self.0.changed.notify_one();
    }
}

pub(crate) fn current() -> Thread {
    ME.with(Thread::clone)
}

pub(crate) fn park() {
    let Thread(me) = current();
    let mut woken = lock(&me.woken);
    while !*woken {
        woken = wait(&me.changed, woken);
    }
    *woken = false;
}

pub(crate) fn park_until(_: Duration) {
    let turns: u32 = thread_rng().gen_range(0..TURNS_MAX);
    (0..turns).for_each(|_| shuttle::thread::yield_now());
    *lock(&current().0.woken) = false;
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

pub(crate) fn wait<'m, T>(condition: &Condvar, guard: MutexGuard<'m, T>) -> MutexGuard<'m, T> {
    condition.wait(guard).unwrap()
}

pub(crate) fn spawn(name: String, life: impl FnOnce() + Send + 'static) -> io::Result<()> {
    shuttle::thread::Builder::new().name(name).spawn(life).map(drop)
}
