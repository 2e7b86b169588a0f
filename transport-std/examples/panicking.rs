//! A worker whose handler panics: each of its tasks is reported `FAILED`, with the panic's text as the reason, and
//! the worker goes on.
//!
//! `CONDUCTOR_SERVER_URL=http://localhost:8080/api cargo run --example panicking -- TASK_TYPE`

use downbeat::{Context, RawValue, Runner, TaskError, Worker};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let task = std::env::args().nth(1).ok_or("the task type is the only argument")?;
    let panicking =
        |_: Box<RawValue>, _: &Context| -> Result<(), TaskError> { panic!("panicking on purpose") };
    Runner::from_env()?.worker(Worker::new(task, panicking)).run()?;
    Ok(())
}
