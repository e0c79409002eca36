//! The place where metrics are asked for: plain HTTP/1.0 at a loopback address or a unix socket.
//!
//! One thread has all connections, each bounded in size and time: whoever connects can hold up neither
//! the program nor others who ask, nor fill its memory. Only this host is answered.

use crate::socket::{Socket, TIMEOUT};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const HEAD_BYTES_MAX: usize = 8 << 10;
/// Connections at a time; when one more comes, the oldest goes.
const CONNECTIONS_MAX: usize = 16;
const NAP: Duration = Duration::from_millis(50);

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// A loopback address.
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Listen {
    /// Reads `127.0.0.1:9598`, `[::1]:9598` or `unix:/run/…/metrics.sock`.
    ///
    /// # Errors
    /// What is wrong with it, for a message.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.starts_with('/') && path.len() <= 107 {
                true => Ok(Self::Unix(path.into())),
                false => Err("the path of a socket is absolute and at most 107 bytes long"),
            };
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::Tcp(address)),
            Ok(_) => Err("only this host is answered: it has to be a loopback address"),
            Err(_) => Err("it is no address"),
        }
    }
}

/// A running endpoint, until it is dropped.
#[derive(Debug)]
pub struct Endpoint {
    address: Option<SocketAddr>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(Socket),
}

impl Endpoint {
    /// Answers every `GET /metrics` with what `render` gives.
    ///
    /// # Errors
    /// The address or the socket cannot be bound.
    pub fn start(
        listen: &Listen,
        render: impl Fn() -> String + Send + 'static,
    ) -> io::Result<Self> {
        let (listener, address) = match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                (Listener::Tcp(listener), Some(address))
            }
            Listen::Unix(path) => (Listener::Unix(Socket::bind(path)?), None),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let serve = move || match listener {
            Listener::Tcp(listener) => {
                serve(&stopped, || listener.accept().ok().map(|(stream, _)| stream), render);
            }
            Listener::Unix(socket) => serve(&stopped, || socket.accept(), render),
        };
        let thread = std::thread::Builder::new().name("metrics".into()).spawn(serve)?;
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// The address that the system has made of the one asked for; `None` for a unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection that can be told not to wait.
trait Stream: Read + Write {
    fn never_wait(&self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn never_wait(&self) -> io::Result<()> {
        self.set_nonblocking(true)
    }
}

impl Stream for UnixStream {
    fn never_wait(&self) -> io::Result<()> {
        self.set_nonblocking(true)
    }
}

/// Answers whoever is accepted, until `stop`. Who asks badly or hangs up has only himself to blame.
fn serve<S: Stream>(
    stop: &AtomicBool,
    mut accept: impl FnMut() -> Option<S>,
    render: impl Fn() -> String,
) {
    let mut connections: Vec<Connection<S>> = Vec::new();
    while !stop.load(Ordering::Acquire) {
        for stream in std::iter::from_fn(&mut accept).take(CONNECTIONS_MAX) {
            if connections.len() == CONNECTIONS_MAX {
                connections.remove(0);
            }
            if stream.never_wait().is_ok() {
                connections.push(Connection::new(stream));
            }
        }
        connections.retain_mut(|connection| connection.goes_on(&render));
        std::thread::sleep(NAP);
    }
}

struct Connection<S> {
    stream: S,
    since: Instant,
    /// What was asked so far.
    head: Vec<u8>,
    /// What is still to be written, once all is asked.
    answer: Vec<u8>,
}

impl<S: Stream> Connection<S> {
    fn new(stream: S) -> Self {
        Self { stream, since: Instant::now(), head: Vec::new(), answer: Vec::new() }
    }

    /// Does what can be done without waiting; returns whether there is more to do.
    fn goes_on(&mut self, render: &impl Fn() -> String) -> bool {
        match self.step(render) {
            Ok(()) => false,
            Err(error) => {
                error.kind() == io::ErrorKind::WouldBlock && self.since.elapsed() < TIMEOUT
            }
        }
    }

    fn step(&mut self, render: &impl Fn() -> String) -> io::Result<()> {
        let mut buffer = [0; 1024];
        while self.answer.is_empty() {
            let length = self.stream.read(&mut buffer)?;
            if length == 0 || self.head.len() + length > HEAD_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.head.extend_from_slice(&buffer[..length]);
            if self.head.windows(4).any(|end| end == b"\r\n\r\n") {
                self.answer = answer(&self.head, render);
                self.since = Instant::now();
            }
        }
        while !self.answer.is_empty() {
            let length = self.stream.write(&self.answer)?;
            self.answer.drain(..length);
        }
        Ok(())
    }
}

fn answer(head: &[u8], render: &impl Fn() -> String) -> Vec<u8> {
    let mut words = head.split(|byte| byte.is_ascii_whitespace());
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let (status, kind, body) = match (method, path) {
        (b"GET" | b"HEAD", b"/metrics") => {
            ("200 OK", "text/plain; version=0.0.4; charset=utf-8", render())
        }
        (b"GET" | b"HEAD", _) => ("404 Not Found", "text/plain", "see /metrics\n".to_owned()),
        _ => ("405 Method Not Allowed", "text/plain", "only GET\n".to_owned()),
    };
    let length = body.len();
    let mut text = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    if method != b"HEAD" {
        text.push_str(&body);
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn asked(mut stream: impl Read + Write, request: &str) -> String {
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    }

    #[test]
    fn only_this_host_is_listened_to() {
        for (text, taken) in [
            ("127.0.0.1:9598", true),
            ("[::1]:9598", true),
            ("unix:/run/a/metrics.sock", true),
            ("0.0.0.0:9598", false),
            ("192.0.2.1:9598", false),
            ("unix:relative", false),
            ("localhost", false),
        ] {
            assert_eq!(Listen::parse(text).is_ok(), taken, "{text}");
        }
    }

    #[test]
    fn metrics_are_given_over_tcp_and_over_a_unix_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.sock");
        let listen = Listen::Unix(path.clone());
        let unix = Endpoint::start(&listen, || "x 1\n".into()).unwrap();
        let tcp = Listen::parse("127.0.0.1:0").unwrap();
        let tcp = Endpoint::start(&tcp, || "x 1\n".into()).unwrap();
        let connect = || TcpStream::connect(tcp.address().unwrap()).unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        for text in [asked(connect(), request), asked(UnixStream::connect(&path).unwrap(), request)]
        {
            assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
            assert!(text.ends_with("\r\n\r\nx 1\n"), "{text}");
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, crate::socket::MODE);
        assert!(asked(connect(), "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(asked(connect(), "PUT /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
        let endless = format!("GET /metrics HTTP/1.1\r\nA: {}", "a".repeat(HEAD_BYTES_MAX));
        assert_eq!(asked(connect(), &endless), "", "what has no end is hung up on");
        drop(unix);
        assert!(!path.exists());
    }

    #[test]
    fn who_connects_and_asks_nothing_holds_nobody_up() {
        let tcp = Endpoint::start(&Listen::parse("127.0.0.1:0").unwrap(), || "x 1\n".into());
        let address = tcp.as_ref().unwrap().address().unwrap();
        let idle: Vec<_> =
            (0..3 * CONNECTIONS_MAX).map(|_| TcpStream::connect(address).unwrap()).collect();
        let asking = TcpStream::connect(address).unwrap();
        asking.set_read_timeout(Some(TIMEOUT)).unwrap();
        let text = asked(asking, "GET /metrics HTTP/1.1\r\n\r\n");
        assert!(text.ends_with("\r\n\r\nx 1\n"), "{text}");
        drop(idle);
    }
}
