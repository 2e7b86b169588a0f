//! The scheduler under every order of its threads that an explorer comes to: no wakeup is lost, no job is taken twice, and
//! an end is an end.
//!
//! The scheduler's own file is compiled here with shuttle's locks and threads (`sync.rs`). Its hub is a small one: three
//! jobs, two at a time, each with a deadline, two more after a word from outside, and a stop. Three threads take them. A
//! schedule in which all of them sleep for ever is a deadlock, which shuttle reports. Each of the mistakes that the
//! scheduler can be compiled with must be found.
#![expect(clippy::unwrap_used, reason = "a test")]

#[path = "../../src/runner/scheduler.rs"]
#[expect(dead_code, reason = "the runner uses more of it")]
mod scheduler;
mod sync;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use downbeat_core::machine::Instant;

use scheduler::{Core, Owner, Scheduler, Step};
use shuttle::rand::{Rng as _, thread_rng};

/// Schedules of each kind: by chance, and by changes of priority at a few moments.
const SCHEDULES: usize = 50_000;
/// A mistake is found in far fewer.
const FOUND_WITHIN: usize = 20_000;
const CHANGES: usize = 3;

/// Jobs that the hub has by itself, and all of them.
const FIRST: u32 = 3;
const JOBS: u32 = 5;
const AT_ONCE: u32 = 2;
const THREADS: usize = 3;
/// The longest pause before a word from outside, in turns of other threads.
const TURNS_MAX: u32 = 40;

/// A hub with the mistake of this number; 0: none.
struct Hub<const MISTAKE: u8> {
    asked: u32,
    open: u32,
    known: u32,
    stopping: bool,
}

enum Told {
    Done,
    More,
    Stop,
}

impl<const MISTAKE: u8> Core for Hub<MISTAKE> {
    type Input = Told;
    type Job = u32;

    const WAKES_NOBODY: bool = MISTAKE == 1;
    const TAKES_LATE: bool = MISTAKE == 2;
    const LOOKS_UNLOCKED: bool = MISTAKE == 3;

    fn step(&mut self, now: Instant, input: Option<Told>) -> Step<u32> {
        match input {
            Some(Told::Done) => self.open -= 1,
            Some(Told::More) => self.known = JOBS,
            Some(Told::Stop) => self.stopping = true,
            None => {}
        }
        let due = Instant::from_millis(u64::from(self.asked) * 4);
        if self.stopping && self.open == 0 {
            Step::Stopped
        } else if self.stopping || self.asked == self.known || self.open == AT_ONCE {
            Step::Wait(None)
        } else if now < due {
            Step::Wait(Some(due))
        } else {
            (self.asked, self.open) = (self.asked + 1, self.open + 1);
            Step::Job(self.asked)
        }
    }

    fn must_be_done(job: &u32) -> bool {
        job.is_multiple_of(2)
    }
}

struct Model<const MISTAKE: u8> {
    scheduler: Scheduler<Hub<MISTAKE>>,
    /// Time passes when somebody looks.
    millis: AtomicU64,
    done: std::sync::Mutex<BTreeSet<u32>>,
}

impl<const MISTAKE: u8> Owner for Arc<Model<MISTAKE>> {
    type Core = Hub<MISTAKE>;

    fn scheduler(&self) -> &Scheduler<Hub<MISTAKE>> {
        &self.scheduler
    }

    fn now(&self) -> Instant {
        Instant::from_millis(self.millis.fetch_add(1, Ordering::Relaxed))
    }

    fn perform_all(self) {
        let mut done = None;
        while let Some(job) = scheduler::next_job(&self, done.take()) {
            shuttle::thread::yield_now();
            assert!(self.done.lock().unwrap().insert(job), "job {job} is taken twice");
            scheduler::tell(&self, Vec::new(), || true, Told::Done);
            done = Some(job);
        }
    }
}

/// One run, from the first thread's start to the end of all.
fn run<const MISTAKE: u8>() {
    let hub = Hub::<MISTAKE> { asked: 0, open: 0, known: FIRST, stopping: false };
    let scheduler = Scheduler::new(hub, THREADS);
    let model = Arc::new(Model { scheduler, millis: AtomicU64::new(0), done: std::sync::Mutex::default() });
    scheduler::start_threads(&model).unwrap();
    for told in [Told::More, Told::Stop] {
        let turns = thread_rng().gen_range(0..TURNS_MAX);
        (0..turns).for_each(|_| shuttle::thread::yield_now());
        scheduler::tell_from_outside(&model, told);
    }
    model.scheduler.wait_ended();
    let asked = model.scheduler.look_at_core(|hub| hub.asked);
    let done = model.done.lock().unwrap().clone();
    assert_eq!(done, (1..=asked).collect(), "jobs are lost");
}

fn finds<const MISTAKE: u8>(words: &str) {
    let found = catch_unwind(AssertUnwindSafe(|| shuttle::check_random(run::<MISTAKE>, FOUND_WITHIN)));
    let found = found.expect_err("the mistake is not found");
    let what = found.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(what.contains(words), "{what}");
}

#[test]
fn no_schedule_of_chance_loses_a_wakeup_or_takes_a_job_twice_or_hangs() {
    shuttle::check_random(run::<0>, SCHEDULES);
}

#[test]
fn no_schedule_of_priorities_does() {
    shuttle::check_pct(run::<0>, SCHEDULES, CHANGES);
}

#[test]
fn a_thread_that_is_not_woken_is_found() {
    finds::<1>("deadlock");
}

#[test]
fn a_job_that_is_taken_twice_is_found() {
    finds::<2>("twice");
}

#[test]
fn an_end_that_is_looked_for_outside_the_lock_is_found() {
    finds::<3>("deadlock");
}
