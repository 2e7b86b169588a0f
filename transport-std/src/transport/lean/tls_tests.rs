//! TLS over a real socket, with a certificate that is made for the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use downbeat_core::machine::Clock as _;
use downbeat_core::ports::{
    Cause, Content, Failure, Head, Method, Reach, Request, Sink, TooLarge, Transport as _,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use super::LeanTransport;
use super::dial::Target;
use crate::clock::StdClock;

#[derive(Default)]
struct Body(Vec<u8>);

impl Sink for Body {
    fn head(&mut self, _: &Head) {}

    fn chunk(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// A server that answers so many requests on each of its connections, and then closes them without a word.
fn serve(connections: usize, requests: usize) -> (u16, CertificateDer<'static>, JoinHandle<()>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        for _ in 0..connections {
            let (tcp, _) = listener.accept().unwrap();
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = BufReader::new(StreamOwned::new(session, tcp));
            for _ in 0..requests {
                let mut line = String::new();
                // A client that trusts nobody ends here.
                let Ok(1..) = stream.read_line(&mut line) else { break };
                while line != "\r\n" {
                    line.clear();
                    stream.read_line(&mut line).unwrap();
                }
                let mut body = [0; 7];
                stream.read_exact(&mut body).unwrap();
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                stream.get_mut().write_all(answer).unwrap();
            }
        }
    });
    (port, certificate, thread)
}

fn transport(port: u16, roots: RootCertStore) -> LeanTransport {
    let target = Target::trusting(&format!("https://localhost:{port}/api"), || roots).unwrap();
    LeanTransport::to(Arc::new(target), StdClock::new())
}

fn post(transport: &mut LeanTransport) -> Result<u16, Failure> {
    let request = Request {
        method: Method::Post,
        target: "/tasks",
        content: Content::Json,
        body: b"{\"a\":1}",
        token: Some("secret"),
    };
    let deadline = transport.clock.now().saturating_add(Duration::from_secs(20));
    let mut body = Body::default();
    let head = transport.exchange(&request, deadline, &mut body)?;
    assert_eq!(body.0, b"ok");
    Ok(head.status)
}

#[test]
fn calls_share_a_session_and_a_close_between_them_costs_nothing() {
    let (port, certificate, server) = serve(2, 3);
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut lean = transport(port, roots);
    for _ in 0..3 {
        assert_eq!(post(&mut lean), Ok(200));
    }
    // The server closes now; whether that is seen in time decides what this call says, and nothing is lost by it.
    let fourth = post(&mut lean);
    let unknown = Failure { reach: Reach::Sent, cause: Cause::Closed };
    assert!(fourth == Ok(200) || fourth == Err(unknown), "{fourth:?}");
    while post(&mut lean) == Ok(200) {}
    drop(lean);
    server.join().unwrap();
}

#[test]
fn a_server_that_nobody_vouches_for_is_told_nothing() {
    let (port, _, server) = serve(1, 1);
    let mut lean = transport(port, RootCertStore::empty());
    assert_eq!(post(&mut lean), Err(Failure { reach: Reach::NotSent, cause: Cause::Tls }));
    server.join().unwrap();
}
