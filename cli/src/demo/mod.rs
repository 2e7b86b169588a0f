//! `demo`: a development server, workers and a stream of tasks in one process. Ends by itself.

mod progress;

use std::sync::Arc;
use std::time::{Duration, Instant};

use downbeat::{Context, Handle, Runner, Summary, TaskError, Worker};
use downbeat_server::http::{Fault, FaultKind, Options, Server, WorkflowStatus};
use serde_json::{Value, json};

use crate::exec;
use crate::scratch::Scratch;
use crate::{clock, example, logs, output, run};
use progress::Progress;

const HELP: &str = "\
Workers check, pay and ship orders: each order is a workflow of three tasks, and each task type has a worker. Some
payments fail at first, and the server retries them. Midway the server is away for a while. What the workers do in that
time they report when it is back.

Example:
  downbeat demo

Exit codes: 0 every workflow completed, 1 not.";

/// Options of `demo`.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// How many orders are placed.
    #[arg(long, value_name = "N", default_value_t = 240, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    orders: u32,
}

const WORKFLOW: &str = "order";
const TASKS: [&str; 3] = ["check_order", "pay_order", "ship_order"];
/// Tasks run at once by each worker.
const SLOTS: u16 = 16;
/// A task that was delivered into the cut connection is delivered again after so many seconds.
const LEASE: u32 = 4;
/// Every so many-th payment fails the first time.
const DECLINED_EVERY: u64 = 16;
/// Orders are placed over this time.
const ARRIVALS: Duration = Duration::from_secs(5);
/// When the server goes away, and when it is back.
const OUTAGE: (Duration, Duration) = (Duration::from_millis(1_500), Duration::from_millis(3_500));
/// Whatever is open then has failed.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often orders are placed and looked at.
const TICK: Duration = Duration::from_millis(20);

pub(crate) fn run(args: &Args, logs: &logs::Args) -> u8 {
    // The display says what happens; the outage would fill the log.
    logs::start(logs, "off");
    match play(args.orders) {
        Ok(true) => output::DONE,
        Ok(false) => output::FAILED,
        Err(failure) => {
            output::error(&failure);
            output::FAILED
        }
    }
}

/// The demo: its server, its start and its orders.
struct Demo<'a> {
    server: &'a Server,
    start: Instant,
    orders: u32,
}

/// What was seen.
#[derive(Default)]
struct Seen {
    completed: u64,
    /// Results that waited for the server at once, at most.
    waiting: u32,
}

fn play(orders: u32) -> Result<bool, String> {
    let server =
        Server::start(Options::default()).map_err(|error| format!("the development server: {error}"))?;
    example::register(&server, WORKFLOW, &TASKS, &["order", "name"], LEASE)
        .map_err(|refused| refused.to_string())?;
    let url = server.url();
    let scratch = Arc::new(Scratch::new().map_err(|error| error.to_string())?);
    let running = workers(&url, &scratch).start().map_err(|error| error.to_string())?;
    let demo = Demo { server: &server, start: clock::now(), orders };
    let progress = Progress::new(orders);
    progress
        .say(demo.start, &format!("a development server at {url}, and 3 workers with {SLOTS} slots each"));
    progress.say(demo.start, &format!("{orders} orders, each a workflow of {} tasks", TASKS.len()));
    let seen = demo.run(&running.handle(), &progress);
    let took = demo.start.elapsed();
    running.handle().drain();
    let summary = running.join();
    exec::end_all();
    scratch.remove();
    progress.end();
    Ok(demo.tell(&summary, &seen?, took))
}

impl Demo<'_> {
    /// Places the orders, lets the server be away for a while, and watches until every order has ended.
    fn run(&self, handle: &Handle, progress: &Progress) -> Result<Seen, String> {
        let (mut seen, mut outage, mut placed) = (Seen::default(), Outage::Ahead, 0);
        loop {
            placed = self.place(placed)?;
            outage = self.outage(outage, progress);
            let workflows = self.server.workflows();
            seen.completed = workflows.get(&WorkflowStatus::Completed).copied().unwrap_or(0);
            let open = workflows.get(&WorkflowStatus::Running).copied().unwrap_or(0);
            let states = handle.snapshot();
            let running: u32 = states.iter().map(|worker| u32::from(worker.state.running)).sum();
            let held: u32 = states.iter().map(|worker| u32::from(worker.state.held)).sum();
            if outage == Outage::Now {
                seen.waiting = seen.waiting.max(held - running);
            }
            progress.show(self.start, seen.completed, running, held - running);
            let over = placed == self.orders && open == 0 && outage == Outage::Over;
            if over || self.start.elapsed() > PATIENCE {
                return Ok(seen);
            }
            clock::pause(TICK);
        }
    }

    /// Places the orders that are due: they come evenly.
    fn place(&self, mut placed: u32) -> Result<u32, String> {
        let gap = ARRIVALS / self.orders;
        while placed < self.orders && self.start.elapsed() >= gap * placed {
            let input = json!({ "order": placed, "name": "Ada" }).to_string();
            self.server.start_workflow(WORKFLOW, &input).map_err(|refused| refused.to_string())?;
            placed += 1;
        }
        Ok(placed)
    }

    fn outage(&self, outage: Outage, progress: &Progress) -> Outage {
        let elapsed = self.start.elapsed();
        match outage {
            Outage::Ahead if elapsed >= OUTAGE.0 => {
                self.server.faults().add(Fault::new(FaultKind::Down));
                progress.say(self.start, "the server is away: what is done now has to wait");
                Outage::Now
            }
            Outage::Now if elapsed >= OUTAGE.1 => {
                self.server.faults().clear();
                progress.say(self.start, "the server is back");
                Outage::Over
            }
            Outage::Ahead | Outage::Now | Outage::Over => outage,
        }
    }

    /// The last words; whether all went well.
    fn tell(&self, summary: &Summary, seen: &Seen, took: Duration) -> bool {
        let orders = self.orders;
        let completed = seen.completed;
        let lost = u64::from(orders).saturating_sub(completed);
        let Summary { tasks, failed, given_up, .. } = *summary;
        let cut_off = self.server.stats().tasks.timed_out;
        let (seconds, away) = (took.as_secs_f32(), (OUTAGE.1 - OUTAGE.0).as_secs_f32());
        output::out(&format!(
            "\n{completed} of {orders} orders completed in {seconds:.1} s. {} were run; {failed} of them failed and \
             were run again.\nThe server was away for {away:.1} s: {} waited for it, and {}, cut off on the way to a \
             worker, came again.\nLost: {given_up} results, {lost} orders.\n",
            count(tasks, "task"),
            count(u64::from(seen.waiting), "result"),
            count(cut_off, "task"),
        ));
        if lost == 0 {
            output::out(
                &"\nNext: `downbeat dev` is this server to play with, and `downbeat run --help` tells how to make \
                       a worker of a command.\n",
            );
        }
        lost == 0 && given_up == 0
    }
}

fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outage {
    Ahead,
    Now,
    Over,
}

/// Two workers are closures, the third is a command.
fn workers(url: &str, scratch: &Arc<Scratch>) -> Runner {
    let check = |order: Value, context: &Context| {
        context.log("looked into the order");
        work(context, 150)?;
        Ok(json!({ "ok": true, "order": order.get("order") }))
    };
    let pay = |order: Value, context: &Context| {
        work(context, 200)?;
        let number = order.get("order").and_then(Value::as_u64).unwrap_or_default();
        if number.is_multiple_of(DECLINED_EVERY) && context.retry_count() == 0 {
            return Err(TaskError::retryable("the bank did not answer"));
        }
        Ok(json!({ "paid": true }))
    };
    let command = exec::Command {
        program: "sh".into(),
        args: vec!["-c".into(), "sleep 0.1; cat".into()],
        env: std::collections::BTreeMap::new(),
        hidden: Vec::new(),
        cwd: None,
        timeout: Some(Duration::from_secs(5)),
        grace: exec::GRACE,
        output_max: exec::OUTPUT_MAX,
    };
    let ship = run::handler(command, Arc::clone(scratch));
    let [first, second, third] = TASKS;
    // A result that was not accepted is sent again after a second; in earnest the delays are longer.
    let worker = |worker: Worker| {
        worker.slots(SLOTS).policy(|policy| policy.update = [0, 1, 1, 1].map(Duration::from_secs))
    };
    Runner::builder(url)
        .signals(false)
        .worker(worker(Worker::new(first, check)))
        .worker(worker(Worker::new(second, pay)))
        .worker(worker(Worker::new(third, ship)))
}

/// Takes its time.
fn work(context: &Context, millis: u64) -> Result<(), TaskError> {
    if context.wait_cancelled(Duration::from_millis(millis)) { Err(context.give_back()) } else { Ok(()) }
}
