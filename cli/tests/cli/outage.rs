//! The way to the server is cut for longer than a lease, or the server ends a task while its command runs.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use downbeat_server::http::{Server, Status, WorkflowStatus};
use rustix::process::Signal;

use super::harness::{Place, ended, finish, only, server, wait_for, wait_for_tasks};

/// A way to a server, which can be cut.
struct Proxy {
    address: SocketAddr,
    /// The connections that there are, or `None` if the way is cut.
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Proxy {
    fn new(server: &Server) -> Self {
        let authority = server.url().trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Mutex::new(Some(Vec::new())));
        let way = Arc::clone(&open);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Whoever comes while the way is cut is turned away.
                if let Some(open) = &mut *way.lock().unwrap() {
                    let server = TcpStream::connect(&authority).unwrap();
                    for (from, to) in [(&client, &server), (&server, &client)] {
                        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                        std::thread::spawn(move || {
                            drop(io::copy(&mut from, &mut to));
                            drop(to.shutdown(Shutdown::Both));
                        });
                    }
                    open.extend([client, server]);
                }
            }
        });
        Self { address, open }
    }

    fn url(&self) -> String {
        format!("http://{}/api", self.address)
    }

    fn cut(&self) {
        for stream in self.open.lock().unwrap().take().into_iter().flatten() {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    fn mend(&self) {
        *self.open.lock().unwrap() = Some(Vec::new());
    }
}

/// How many results `downbeat store list` shows as waiting.
fn waiting(store: &str) -> usize {
    let (_, out, _) = finish(&["store", "list", "--json", "--store", store]);
    let Ok(list) = serde_json::from_str::<serde_json::Value>(&out) else { return 0 };
    let letters = list["letters"].as_array().map(Vec::as_slice).unwrap_or_default();
    letters.iter().filter(|letter| letter["part"] == "waiting").count()
}

#[test]
fn what_ends_while_the_way_is_cut_for_longer_than_a_lease_is_in_the_store_and_accepted_then() {
    const TASKS: usize = 4;
    let server = server(&["job"]);
    // What the server has timed out is run once more: it cannot know of the results.
    server
        .define_task(r#"{"name":"job","retryCount":1,"retryDelaySeconds":0,"responseTimeoutSeconds":1}"#)
        .unwrap();
    let (place, proxy) = (Place::new(), Proxy::new(&server));
    let (url, store) = (proxy.url(), place.path("store").display().to_string());
    let script = r#"touch up-$$; while [ ! -e go ]; do sleep 0.02; done; echo "{}""#;
    let args = ["run", "--server", &url, "--task", "job", "--slots", "4", "--store", &store];
    let args: Vec<&str> = args.into_iter().chain(["--", "sh", "-c", script]).collect();
    let mut downbeat = place.start(&args, &[]);
    let ids: Vec<String> = (0..TASKS).map(|_| server.schedule("job", "{}").unwrap()).collect();
    wait_for_tasks(&server, &ids, Status::InProgress, TASKS);
    wait_for("all commands", || (place.files("up-").len() == TASKS).then_some(()));
    proxy.cut();
    wait_for("the ends of the leases", || (server.stats().tasks.timed_out >= 4).then_some(()));
    place.write("go", "");
    wait_for("the results in the store", || (waiting(&store) == TASKS).then_some(()));
    // They are there after a crash, too.
    downbeat.signal(Signal::KILL);
    downbeat.wait();
    assert_eq!(waiting(&store), TASKS);
    proxy.mend();
    let mut downbeat = place.start(&args, &[]);
    for id in &ids {
        assert_eq!(ended(&server, id).status, WorkflowStatus::Completed);
    }
    wait_for("an empty store", || (waiting(&store) == 0).then_some(()));
    downbeat.stop();
    // Each was answered well, too late for the server as it was.
    assert!(server.stats().tasks.ignored_reports >= 4, "{:?}", server.stats().tasks);
}

#[test]
fn the_command_of_a_terminated_workflow_gets_sigterm_and_nothing_is_reported() {
    let server = server(&["job"]);
    let (place, url) = (Place::new(), server.url());
    let id = server.schedule("job", "{}").unwrap();
    let script = r#"trap 'echo "{}"; touch stopped; exit 0' TERM; touch up; while :; do sleep 0.02; done"#;
    let args = ["run", "--server", &url, "--task", "job", "--", "sh", "-c", script];
    let mut downbeat = place.start(&args, &[("CONDUCTOR_WORKER_JOB_ASK_INTERVAL", "500ms")]);
    wait_for("the command", || place.path("up").exists().then_some(()));
    server.terminate(&id, "enough").unwrap();
    wait_for("SIGTERM", || place.path("stopped").exists().then_some(()));
    let log = downbeat.stop();
    assert!(log.contains("nobody waits for this task any more"), "{log}");
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    assert_eq!(server.stats().requests_to("update"), 0, "not even what it wrote");
    assert_eq!(server.stats().tasks.ignored_reports, 0);
    assert_eq!(only(&server.workflow(&id).unwrap()).status, Status::Canceled);
}
