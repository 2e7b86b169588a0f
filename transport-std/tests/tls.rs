//! A server whose certificate nobody knows but the user, over both transports.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a broken assumption ends the test")]

mod support;

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use downbeat::{Context, EventKind, RawValue, Runner, TransportChoice, Worker};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use support::{Queue, Received, Server, Stream, Tls, results, task};

/// A certificate for `localhost` that was issued by itself: what a server needs of it, and a file with it.
fn certificate(name: &str) -> (Arc<Tls>, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let file = std::env::temp_dir().join(format!("downbeat-{name}-{}.pem", std::process::id()));
    std::fs::write(&file, made.cert.pem()).unwrap();
    let config = Arc::new(config);
    let tls = move |stream: TcpStream| -> Box<dyn Stream> {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        Box::new(StreamOwned::new(session, stream))
    };
    (Arc::new(tls), file)
}

fn runner(server: &Server, choice: TransportChoice) -> Runner {
    let echo = Worker::new("echo", |input: Box<RawValue>, _: &Context| Ok(input));
    Runner::builder(server.url()).signals(false).transport(choice).worker(echo)
}

#[test]
fn a_certificate_of_ones_own_is_trusted_where_it_is_named() {
    let (config, file) = certificate("trusted");
    for choice in [TransportChoice::Lean, TransportChoice::Ureq] {
        let queue = Queue::new([task("t", "echo", r#"{"a":1}"#)]);
        let server =
            Server::over(Some(Arc::clone(&config)), move |received: &Received| queue.answer(received));
        let running = runner(&server, choice).ca_file(&file).start().unwrap();
        server.wait("result", |received| results(received).len() == 1);
        running.handle().drain();
        assert_eq!(running.join().completed, 1, "{choice:?}");
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_certificate_that_nobody_has_named_is_not_trusted_and_nothing_is_sent() {
    let (config, file) = certificate("unknown");
    std::fs::remove_file(file).unwrap();
    for choice in [TransportChoice::Lean, TransportChoice::Ureq] {
        let server =
            Server::over(Some(Arc::clone(&config)), |received: &Received| Queue::default().answer(received));
        let mut runner = runner(&server, choice);
        let events = runner.events(100);
        let running = runner.start().unwrap();
        let cause = events.iter().find_map(|event| {
            if let EventKind::PollFailure { cause, .. } = event.kind { Some(cause) } else { None }
        });
        let cause = cause.unwrap();
        assert!(cause.contains("the TLS handshake with the server failed"), "{choice:?}: {cause}");
        assert!(cause.contains("`ca_file`") && cause.contains("nothing was sent"), "{choice:?}: {cause}");
        running.handle().drain();
        let _ = running.join();
        assert!(server.received().is_empty());
    }
}

#[test]
fn the_sdks_variable_names_the_file_too() {
    let (config, file) = certificate("variable");
    let queue = Queue::new([task("t", "echo", "{}")]);
    let server = Server::over(Some(config), move |received: &Received| queue.answer(received));
    let echo = Worker::new("echo", |input: Box<RawValue>, _: &Context| Ok(input));
    let variables = [
        ("CONDUCTOR_SERVER_URL".to_owned(), server.url()),
        ("CONDUCTOR_TLS_CA_PATH".to_owned(), file.display().to_string()),
    ];
    let running = Runner::from_variables(variables).unwrap().signals(false).worker(echo).start().unwrap();
    server.wait("result", |received| results(received).len() == 1);
    running.handle().drain();
    let _ = running.join();
    std::fs::remove_file(file).unwrap();
}
