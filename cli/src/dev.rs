//! `dev`: a development server on loopback, with an example workflow and the commands to try it.

use std::net::SocketAddr;

use downbeat_server::http::{Options, Server};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{example, logs, output};

const HELP: &str = "\
The server is a model of Conductor that keeps everything in memory: task and workflow definitions, queues, leases,
retries. It is for development; nothing survives it.

Examples:
  downbeat dev
  downbeat dev --listen 127.0.0.1:0

Exit codes: 0 ended by a signal, 1 the address cannot be listened on, 2 the command line cannot be used.";

/// Options of `dev`.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Address and port; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

const WORKFLOW: &str = "hello";
const TASK: &str = "greet";

pub(crate) fn run(args: &Args, logs: &logs::Args) -> u8 {
    logs::start(logs, "warn");
    // Taken before anything is told, so that a signal that comes at once ends the server well.
    let signals = Signals::new([SIGINT, SIGTERM]);
    let mut signals = match signals {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("signals cannot be waited for: {error}")),
    };
    let server = match Server::start(Options { listen: args.listen, ..Options::default() }) {
        Ok(server) => server,
        Err(error) => {
            let hint = "another program may have the port: `--listen 127.0.0.1:0` takes a free one";
            return fail(&format!("{} cannot be listened on: {error}; {hint}", args.listen));
        }
    };
    let url = server.url();
    if let Err(refused) = example::register(&server, WORKFLOW, &[TASK], &["name"], 30) {
        return fail(&refused);
    }
    output::out(&guide(&url));
    // Any of them ends the wait.
    let _signal = signals.forever().next();
    server.stop();
    output::DONE
}

fn fail(what: &dyn std::fmt::Display) -> u8 {
    output::error(what);
    output::FAILED
}

fn guide(url: &str) -> String {
    format!(
        r#"listening on {url}
Workflow `{WORKFLOW}` has one task, `{TASK}`. In another terminal, a worker for it:

  downbeat run --server {url} --task {TASK} -- sh -c 'echo "{{\"greeting\":\"Hello\"}}"'

In a third one, start the workflow, and see how it ended:

  id=$(curl -s {url}/workflow/{WORKFLOW} -H 'Content-Type: application/json' -d '{{"name":"Ada"}}')
  curl -s {url}/workflow/$id

Ctrl-C ends the server, and with it everything that it knows.
"#
    )
}
