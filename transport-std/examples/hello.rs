//! A worker for the task type `hello`: `{"name": "Ada"}` in, `{"greeting": "Hello, Ada!"}` out.
//!
//! `CONDUCTOR_SERVER_URL=http://localhost:8080/api cargo run --example hello`

use downbeat::{Context, Runner, TaskError, Worker};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Guest {
    name: String,
}

#[derive(Serialize)]
struct Greeting {
    greeting: String,
}

fn hello(guest: Guest, context: &Context) -> Result<Greeting, TaskError> {
    context.log("saying hello");
    if guest.name.is_empty() {
        return Err(TaskError::terminal("nobody to greet: `name` is empty"));
    }
    Ok(Greeting { greeting: format!("Hello, {}!", guest.name) })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let summary = Runner::from_env()?.worker(Worker::new("hello", hello).slots(4)).run()?;
    tracing::info!(?summary, "ended");
    Ok(())
}
