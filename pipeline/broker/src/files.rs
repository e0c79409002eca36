//! Small files that are replaced as a whole: after a crash the old content is there, or the new one.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Replaces the content of `path` durably.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let written = path.with_extension("new");
    let mut file = File::create(&written)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&written, path)?;
    sync_directory_of(path)
}

/// The number that a file holds; `None` if there is no such file.
///
/// # Errors
/// It cannot be read, or holds no number from 0 on.
pub(crate) fn read_number(path: &Path) -> io::Result<Option<i64>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let number = text.trim().parse::<i64>().ok().filter(|number| *number >= 0);
    let message = || format!("{} does not hold a number", path.display());
    number.map(Some).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, message()))
}

/// Makes creation, renaming or removal of `path` durable.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}
