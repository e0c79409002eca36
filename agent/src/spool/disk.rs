//! Room on the disk: the spool leaves some to others, so that the checkpoint can always be written.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an answer of the file system holds: others use the disk as well.
const HOLDS: Duration = Duration::from_millis(500);

/// How much of the disk of `directory` may still be written to.
///
/// # Errors
/// The file system does not answer.
pub(crate) fn free(directory: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// What may still be written.
#[derive(Debug)]
pub(crate) struct Room {
    free_min: u64,
    left: u64,
    asked_at: Option<Instant>,
}

impl Room {
    /// So that `free_min` bytes of the disk stay free.
    pub(crate) fn new(free_min: u64) -> Self {
        Self { free_min, left: 0, asked_at: None }
    }

    /// Takes `bytes` if there is room for them on the disk of `directory`.
    ///
    /// # Errors
    /// The file system does not answer.
    pub(crate) fn take(&mut self, bytes: u64, directory: &Path) -> io::Result<bool> {
        if self.left < bytes || self.asked_at.is_none_or(|at| at.elapsed() >= HOLDS) {
            self.left = free(directory)?.saturating_sub(self.free_min);
            self.asked_at = Some(Instant::now());
        }
        let taken = self.left >= bytes;
        if taken {
            self.left -= bytes;
        }
        Ok(taken)
    }
}
