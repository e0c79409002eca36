//! Numbers for idempotent producers, none of which is ever given out twice.
//!
//! The numbers are reserved in blocks, on disk before the first one of a block is given out. What is
//! left of a block at shutdown is lost; there are enough.

use crate::files;
use std::io;
use std::path::{Path, PathBuf};

const FILE: &str = "producer-ids";
const BLOCK: i64 = 1000;

#[derive(Debug)]
pub(crate) struct ProducerIds {
    path: PathBuf,
    next: i64,
    /// The first number that is not reserved.
    reserved_end: i64,
}

impl ProducerIds {
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(FILE);
        let reserved_end = files::read_number(&path)?.unwrap_or(0);
        Ok(Self { path, next: reserved_end, reserved_end })
    }

    /// A number that no producer has had.
    ///
    /// # Errors
    /// A new block cannot be reserved.
    pub(crate) fn next(&mut self) -> io::Result<i64> {
        if self.next == self.reserved_end {
            let end = self.reserved_end + BLOCK;
            files::replace(&self.path, end.to_string().as_bytes())?;
            self.reserved_end = end;
        }
        self.next += 1;
        Ok(self.next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_number_is_given_out_twice_over_restarts() {
        let directory = tempfile::tempdir().unwrap();
        let mut given = HashSet::new();
        for numbers in [1, 0, 5, 999, 1000, 1001, 2500] {
            let mut ids = ProducerIds::open(directory.path()).unwrap();
            for _ in 0..numbers {
                assert!(given.insert(ids.next().unwrap()));
            }
        }
    }
}
