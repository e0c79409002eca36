//! The status socket: whoever may enter the state directory can ask how the agent is.
//!
//! `status.sock` in the state directory answers every connection with the snapshot as one JSON
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
    pub(crate) fn bind(state_dir: &Path) -> io::Result<Self> {
        Socket::bind(&state_dir.join(SOCKET)).map(Self)
    }

    /// Answers whoever asks, until `stop`.
    pub(crate) fn serve(&self, stop: &AtomicBool, snapshot: impl Fn() -> Snapshot) {
        self.0.serve(stop, || serde_json::to_vec(&snapshot()).unwrap_or_default());
    }
}

/// Asks the agent that uses `state_dir`; returns its snapshot as JSON.
///
/// # Errors
/// No agent is there, or it does not answer.
pub(crate) fn ask(state_dir: &Path) -> io::Result<String> {
    logweir_service::ask(&state_dir.join(SOCKET))
}
