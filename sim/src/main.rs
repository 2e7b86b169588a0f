//! The binary `downbeat-sim`.

use std::process::ExitCode;

fn main() -> ExitCode {
    downbeat_sim::cli::main()
}
