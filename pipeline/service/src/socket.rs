//! A unix socket for the owner and the group (mode 0660), and the simplest thing to do with it: answer
//! every connection with one text.
//!
//! It takes the place of a socket that nobody serves any more, of nothing else, and goes with its
//! value. Whoever connects can hold the program up for [`TIMEOUT`] at most.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The owner and the group may connect.
pub(crate) const MODE: u32 = 0o660;
/// How long whoever has connected may take to read or to write.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks whether someone has come.
const NAP: Duration = Duration::from_millis(50);
/// How long to wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read: some hundred bytes for each of 100,000 sources.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A bound socket, until it is dropped.
#[derive(Debug)]
pub struct Socket {
    path: PathBuf,
    listener: UnixListener,
}

impl Socket {
    /// Binds the socket.
    ///
    /// # Errors
    /// Someone serves it ([`io::ErrorKind::AddrInUse`]), something else is in its place, or it cannot
    /// be bound.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            if UnixStream::connect(path).is_ok() {
                return Err(io::ErrorKind::AddrInUse.into());
            }
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
        listener.set_nonblocking(true)?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// Who has connected, if anyone has; he is waited for with [`TIMEOUT`].
    #[must_use]
    pub fn accept(&self) -> Option<UnixStream> {
        let (stream, _) = self.listener.accept().ok()?;
        let prepared = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_read_timeout(Some(TIMEOUT)))
            .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)));
        prepared.is_ok().then_some(stream)
    }

    /// Answers whoever asks, until `stop`. Who hangs up has only himself to blame.
    pub fn serve(&self, stop: &AtomicBool, text: impl Fn() -> Vec<u8>) {
        while !stop.load(Ordering::Acquire) {
            match self.accept() {
                Some(mut stream) => drop(stream.write_all(&text())),
                None => std::thread::sleep(NAP),
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Asks whoever serves the socket, and returns the answer.
///
/// # Errors
/// No one is there, or there is no whole answer within 10 s.
pub fn ask(path: &Path) -> io::Result<String> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut text = String::new();
    let length = stream.take(ANSWER_BYTES_MAX).read_to_string(&mut text)?;
    if length as u64 == ANSWER_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_takes_the_place_of_a_dead_one_only_and_goes_with_its_value() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let socket = Socket::bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        assert_eq!(Socket::bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.exists());
        // A program that was killed leaves it behind.
        drop(UnixListener::bind(&path).unwrap());
        drop(Socket::bind(&path).unwrap());
        std::fs::write(&path, "a file").unwrap();
        assert!(Socket::bind(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"a file");
    }

    #[test]
    fn whoever_asks_is_answered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let socket = Socket::bind(&path).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| socket.serve(&stop, || b"well".to_vec()));
            assert_eq!(ask(&path).unwrap(), "well");
            stop.store(true, Ordering::Release);
        });
        drop(socket);
        assert!(ask(&path).is_err());
    }
}
