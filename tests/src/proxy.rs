//! A proxy in front of a broker, on another address of this machine: slow, cut, or firewalled.
//!
//! The broker names itself in its answers, and a client would go past the proxy from then on. So the
//! address is changed in what passes, into another one or a name, of the same length and with the same port.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

const REAL: &[u8] = b"127.0.0.1";

/// See the module's description.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    broker: SocketAddr,
    /// As the client sees it; of the length of [`REAL`].
    name: Vec<u8>,
    bytes_per_second: AtomicU64,
    stopped: AtomicBool,
    /// Nothing passes.
    held: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// In front of the broker at `broker`, which listens at 127.0.0.1, on 127.0.0.`last`.
    ///
    /// # Panics
    /// The address cannot be listened at.
    #[must_use]
    pub fn start(broker: &str, last: u8) -> Self {
        Self::named(broker, last, &format!("127.0.0.{last}"))
    }

    /// The same; the broker is called `name` in its answers, nine letters.
    ///
    /// # Panics
    /// The address cannot be listened at.
    #[must_use]
    pub fn named(broker: &str, last: u8, name: &str) -> Self {
        assert_eq!(name.len(), REAL.len(), "lengths of answers stay");
        let broker: SocketAddr = broker.parse().expect("an address");
        let address = SocketAddr::from(([127, 0, 0, last], broker.port()));
        let listener = TcpListener::bind(address).expect("all of 127.0.0.0/8 is this machine");
        let shared = Arc::new(Shared {
            broker,
            name: name.as_bytes().to_owned(),
            bytes_per_second: AtomicU64::new(u64::MAX),
            stopped: AtomicBool::new(false),
            held: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::Acquire) {
                    return;
                }
                accepting.clone().connect(&client);
            }
        });
        Self { address, shared }
    }

    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// From now on so many bytes pass to the broker per second and connection.
    pub fn limit(&self, bytes_per_second: u64) {
        self.shared.bytes_per_second.store(bytes_per_second, Ordering::Release);
    }

    /// As a firewall that drops what comes does: connections stay, and nothing passes until
    /// [`Proxy::release`].
    pub fn hold(&self) {
        self.shared.held.store(true, Ordering::Release);
    }

    pub fn release(&self) {
        self.shared.held.store(false, Ordering::Release);
    }

    /// Cuts all connections, wherever they are in what they say; new ones are taken.
    pub fn cut(&self) {
        let connections = &self.shared.connections;
        for stream in connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.cut();
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn connect(self: Arc<Self>, client: &TcpStream) {
        let Ok(server) = TcpStream::connect(self.broker) else { return };
        let (Ok(client_out), Ok(server_out)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        let Ok(client) = client.try_clone() else { return };
        let kept = [client_out.try_clone(), server_out.try_clone()];
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.extend(kept.into_iter().flatten());
        drop(connections);
        let (there, back) = (self.clone(), self);
        std::thread::spawn(move || there.pump(client, server_out, false));
        std::thread::spawn(move || back.pump(server, client_out, true));
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream, answers: bool) {
        let mut buffer = [0; 16 << 10];
        let mut ready_at = Instant::now();
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let bytes = &mut buffer[..length];
            while self.held.load(Ordering::Acquire) && !self.stopped.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(5));
            }
            if answers {
                self.rename(bytes);
            } else {
                let rate = self.bytes_per_second.load(Ordering::Acquire).max(1);
                ready_at = ready_at.max(Instant::now());
                ready_at += Duration::from_secs_f64(length as f64 / rate as f64);
                std::thread::sleep(ready_at - Instant::now());
            }
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }

    /// An answer with the address in it is short and comes in one piece.
    fn rename(&self, bytes: &mut [u8]) {
        for at in 0..bytes.len().saturating_sub(REAL.len() - 1) {
            if bytes[at..].starts_with(REAL) {
                bytes[at..at + REAL.len()].copy_from_slice(&self.name);
            }
        }
    }
}
