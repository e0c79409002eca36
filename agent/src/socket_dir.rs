//! The directory of the sockets at which the agent is asked: `status.sock` and `tap.sock`.
//!
//! Where the system runs the agent, a group may enter it, so that people may look at the agent who may
//! not touch its state; else it is the state directory, for its user alone. Whoever connects can ask and
//! no more: neither socket changes anything.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// The owner and the group may enter, and the owner alone makes sockets.
const MODE: u32 = 0o750;

/// Why the sockets cannot be made.
#[derive(Debug, thiserror::Error)]
#[error(
    "the sockets for `status` and `tap` cannot be made in `{path}`: {error}; {}",
    remedy(error)
)]
pub struct SocketDirError {
    path: String,
    error: io::Error,
}

impl SocketDirError {
    pub(crate) fn new(path: &Path, error: io::Error) -> Self {
        Self { path: path.display().to_string(), error }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "make it for the user that the agent runs as, or set another `agent.socket_dir`"
        }
        io::ErrorKind::AddrInUse => {
            "another agent answers there: stop it, or set another `agent.socket_dir`"
        }
        _ => "set another `agent.socket_dir`",
    }
}

/// Makes the directory if it is not there; the rights of one that is there are left to who made it.
///
/// # Errors
/// It cannot be made.
pub(crate) fn prepare(path: &Path) -> Result<(), SocketDirError> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(MODE)))
        .map_err(|error| SocketDirError::new(path, error))
}

/// What lets someone ask who may not enter the directory.
pub(crate) fn who_may_ask(path: &Path) -> String {
    let group_may = fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o010 != 0);
    match group_may {
        true => format!("ask as root or in the group that `ls -ld {}` shows", path.display()),
        false => "ask as root or as the user that the agent runs as".to_owned(),
    }
}
