//! The embedded broker as a process of its own (`logweir broker`), for tests that need one node.

use crate::{DEADLINE, Process, free_address, wait};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

/// A broker that keeps its address and its data over kills.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    directory: PathBuf,
    process: Option<Process>,
}

impl Broker {
    /// A broker that does not run yet; its address is already known.
    #[must_use]
    pub fn stopped(directory: &Path) -> Self {
        Self { address: free_address(), directory: directory.to_owned(), process: None }
    }

    /// A broker that serves.
    #[must_use]
    pub fn started(directory: &Path) -> Self {
        let mut broker = Self::stopped(directory);
        broker.start();
        broker
    }

    /// Starts it and waits until it serves.
    pub fn start(&mut self) {
        let data = self.directory.join("broker");
        let arguments =
            ["broker", "--listen", &self.bootstrap(), "--data", &data.display().to_string()];
        let mut process =
            Process::start("logweir", &arguments, &self.directory.join("broker.output"));
        let serves = || {
            process.assert_running();
            TcpStream::connect(self.address).ok()
        };
        wait("the broker to accept connections", DEADLINE, serves);
        self.process = Some(process);
    }

    /// SIGKILL; returns when it is gone.
    pub fn kill9(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill9();
        }
    }

    /// SIGSTOP: it stands still, with its connections open, until [`Broker::resume`].
    ///
    /// # Panics
    /// It does not run.
    pub fn pause(&self) {
        self.process.as_ref().expect("the broker runs").pause();
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// It does not run.
    pub fn resume(&self) {
        self.process.as_ref().expect("the broker runs").resume();
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }
}
