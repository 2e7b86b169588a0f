//! The binary `downbeat`: makes any executable a Conductor worker.

mod args;
mod check;
mod clock;
mod config;
mod demo;
mod dev;
mod duration;
mod example;
mod exec;
mod logs;
mod run;
mod say;

use std::process::ExitCode;

fn main() -> ExitCode {
    args::main()
}
