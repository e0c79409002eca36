//! The status socket: whoever may enter the state directory can ask how the agent is.
//!
//! `status.sock` in the state directory answers every connection with the snapshot as one JSON
//! object and closes it. It reads nothing, so nothing can be asked of it but that.

use crate::accounting::Snapshot;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

const SOCKET: &str = "status.sock";
/// How long a slow reader is waited for.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait for an agent's answer.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The socket, bound.
#[derive(Debug)]
pub(crate) struct StatusSocket {
    path: PathBuf,
    listener: UnixListener,
}

impl StatusSocket {
    /// Binds the socket; an old one is replaced, as its agent cannot be running.
    ///
    /// # Errors
    /// The socket cannot be bound.
    pub(crate) fn bind(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join(SOCKET);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o660))?;
        listener.set_nonblocking(true)?;
        Ok(Self { path, listener })
    }

    /// Answers whoever asks at the moment.
    pub(crate) fn answer(&self, snapshot: &dyn Fn() -> Snapshot) {
        while let Ok((mut stream, _)) = self.listener.accept() {
            let text = serde_json::to_vec(&snapshot()).unwrap_or_default();
            let answered = stream
                .set_nonblocking(false)
                .and_then(|()| stream.set_write_timeout(Some(WRITE_TIMEOUT)))
                .and_then(|()| stream.write_all(&text));
            if let Err(error) = answered {
                tracing::debug!(%error, "a question for the status was not answered");
            }
        }
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Asks the agent that uses `state_dir`; returns its snapshot as JSON.
///
/// # Errors
/// No agent is there, or it does not answer.
pub(crate) fn ask(state_dir: &Path) -> io::Result<String> {
    let mut stream = UnixStream::connect(state_dir.join(SOCKET))?;
    stream.set_read_timeout(Some(READ_TIMEOUT))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
