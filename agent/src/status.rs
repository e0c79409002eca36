//! The status socket: whoever may enter its directory can ask how the agent is.
//!
//! `status.sock`, see [`crate::socket_dir`], answers every connection with the snapshot as one JSON
//! object and closes it. It reads nothing, so nothing can be asked of it but that.

use crate::accounting::Snapshot;
use logweir_service::Socket;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;

const SOCKET: &str = "status.sock";

/// The socket, bound.
#[derive(Debug)]
pub(crate) struct StatusSocket(Socket);

impl StatusSocket {
    /// Binds the socket.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub(crate) fn bind(socket_dir: &Path) -> io::Result<Self> {
        Socket::bind(&socket_dir.join(SOCKET)).map(Self)
    }

    /// Answers whoever asks, until `stop`.
    pub(crate) fn serve(&self, stop: &AtomicBool, snapshot: impl Fn() -> Snapshot) {
        self.0.serve(stop, || serde_json::to_vec(&snapshot()).unwrap_or_default());
    }
}

/// Asks the agent whose sockets are in `socket_dir`; returns its snapshot as JSON.
///
/// # Errors
/// No agent is there, or it does not answer.
pub(crate) fn ask(socket_dir: &Path) -> io::Result<String> {
    logweir_service::ask(&socket_dir.join(SOCKET))
}
