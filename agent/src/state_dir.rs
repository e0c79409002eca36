//! The state directory: one agent at a time, nobody else's.
//!
//! It holds the agent's id, the checkpoint and the spools. Mode 0700; an owner
//! other than the user that runs the agent is refused, and so is a second agent, by a lock that the
//! kernel gives up with the process.

use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    #[error("the state directory `{path}` cannot be used: {error}{}", remedy(error))]
    Io { path: String, error: io::Error },
    #[error(
        "the state directory `{path}` belongs to user {owner}, and this is user {user}; \
         run as that user, or change the owner with `chown`"
    )]
    ForeignOwner { path: String, owner: u32, user: u32 },
    #[error(
        "another agent (process {pid}) uses the state directory `{path}`; \
         stop it, or set another `agent.state_dir`"
    )]
    Busy { path: String, pid: String },
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; run as the user that it belongs to, or set another `agent.state_dir`"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some room, or set `agent.state_dir` to another disk"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; set `agent.state_dir` to a disk that can be written"
        }
        _ => "",
    }
}

/// The directory while this process has it to itself.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    agent_id: String,
    /// The lock is held as long as this is open.
    _lock: File,
}

impl StateDir {
    /// Creates the directory if need be and takes it.
    ///
    /// # Errors
    /// See [`StateDirError`].
    pub(crate) fn open(path: &Path) -> Result<Self, StateDirError> {
        prepare(path)?;
        let io_error = |error| StateDirError::Io { path: path.display().to_string(), error };
        let lock = take_lock(path)?;
        let agent_id = agent_id(&path.join("agent.id")).map_err(io_error)?;
        Ok(Self { path: path.to_owned(), agent_id, _lock: lock })
    }

    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes another id, which takes the place of the one that this machine has from the machine that it is a
    /// copy of.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn renew_agent_id(&mut self) -> Result<(), StateDirError> {
        let path = self.path.join("agent.id");
        self.agent_id = new_agent_id(&path)
            .map_err(|error| StateDirError::Io { path: path.display().to_string(), error })?;
        Ok(())
    }

    /// A UUID, made at the first start.
    #[must_use]
    pub(crate) fn agent_id(&self) -> &str {
        &self.agent_id
    }
}

/// Creates the directory if need be, for this user alone; another agent may use it.
///
/// # Errors
/// It cannot be created, or belongs to another user.
pub(crate) fn prepare(path: &Path) -> Result<(), StateDirError> {
    let io_error = |error| StateDirError::Io { path: path.display().to_string(), error };
    fs::create_dir_all(path).map_err(io_error)?;
    let owner = fs::metadata(path).map_err(io_error)?.uid();
    let user = rustix::process::geteuid().as_raw();
    if owner != user {
        let path = path.display().to_string();
        return Err(StateDirError::ForeignOwner { path, owner, user });
    }
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(io_error)
}

fn take_lock(directory: &Path) -> Result<File, StateDirError> {
    let path = || directory.display().to_string();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = options
        .open(directory.join("lock"))
        .map_err(|error| StateDirError::Io { path: path(), error })?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _ = file.read_to_string(&mut pid);
        let pid = if pid.trim().is_empty() { "unknown" } else { pid.trim() };
        return Err(StateDirError::Busy { path: path(), pid: pid.to_owned() });
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(|error| StateDirError::Io { path: path(), error })?;
    Ok(file)
}

/// Reads the id, or makes one that is on disk before it is used.
fn agent_id(path: &Path) -> io::Result<String> {
    if let Ok(text) = fs::read_to_string(path)
        && is_agent_id(text.trim())
    {
        return Ok(text.trim().to_owned());
    }
    if path.exists() {
        tracing::error!(path = %path.display(), "this is no agent id; a new one is made");
    }
    new_agent_id(path)
}

fn new_agent_id(path: &Path) -> io::Result<String> {
    let hex = random_hex();
    // Version 4, variant 1 (RFC 9562).
    let variant = ['8', '9', 'a', 'b'][usize::from(hex.as_bytes()[16]) % 4];
    let id = format!(
        "{}-{}-4{}-{variant}{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    );
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    writeln!(file, "{id}")?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(id)
}

/// What tells this machine from those that are copies of it, if it can be known: a hash of the id that systemd
/// gives it at its first boot, which is not to be shown around (machine-id(5)). A container has none.
pub(crate) fn machine() -> Option<String> {
    let id = fs::read_to_string("/etc/machine-id").ok()?;
    let id = id.trim();
    let known = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    known
        .then(|| blake3::derive_key("logweir machine", id.as_bytes()))
        .map(|key| key[..16].iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether a text is such an id: a UUID.
#[must_use]
pub fn is_agent_id(text: &str) -> bool {
    text.len() == 36
        && text.char_indices().all(|(at, c)| match at {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        })
}

/// 32 random hexadecimal digits, from the kernel.
pub(crate) fn random_hex() -> String {
    let mut bytes = [0; 16];
    let random = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if random.is_err() {
        // Without the device: what differs between any two runs.
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let seed = format!("{}-{}", since.as_nanos(), std::process::id());
        bytes.copy_from_slice(&blake3::hash(seed.as_bytes()).as_bytes()[..16]);
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stays_and_a_second_agent_is_refused_by_the_pid_of_the_first() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        let first = StateDir::open(&path).unwrap();
        assert!(is_agent_id(first.agent_id()), "{}", first.agent_id());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        let busy = StateDir::open(&path).unwrap_err().to_string();
        assert!(busy.contains(&format!("process {}", std::process::id())), "{busy}");
        let id = first.agent_id().to_owned();
        drop(first);
        assert_eq!(StateDir::open(&path).unwrap().agent_id(), id);
    }
}
