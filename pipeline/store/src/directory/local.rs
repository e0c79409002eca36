//! A table in a directory of this machine, or of a file system that it has mounted.

use super::{Listed, TEMPORARY, unique};
use crate::error::StoreError;
use bytes::Bytes;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The root of a table.
#[derive(Debug, Clone)]
pub(crate) struct LocalDirectory {
    root: PathBuf,
}

impl LocalDirectory {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Makes a directory and its parents, durably.
    pub(super) fn make(&self, relative: &str) -> Result<(), StoreError> {
        let path = self.path(relative);
        if path.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&path).map_err(|e| StoreError::io("create", &path, e))?;
        for ancestor in path.ancestors() {
            sync_directory(ancestor)?;
            if ancestor == self.root {
                break;
            }
        }
        // The root's own name. Its parent may be somebody else's and closed to us; then whoever made
        // the root has to see to it.
        let _ = self.root.parent().map(sync_directory);
        Ok(())
    }

    /// Creates a file that must not exist; the caller writes and then calls [`Directory::seal`].
    pub(super) fn create(&self, relative: &str) -> Result<File, StoreError> {
        let path = self.path(relative);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|e| StoreError::io("create", &path, e))
    }

    /// Makes a created file durable, but for its name; returns its size in bytes.
    pub(super) fn seal(&self, relative: &str, file: &File) -> Result<u64, StoreError> {
        let path = self.path(relative);
        file.sync_all().map_err(|e| StoreError::io("sync", &path, e))?;
        Ok(file.metadata().map_err(|e| StoreError::io("measure", &path, e))?.len())
    }

    /// Makes the names of the files in a folder durable.
    pub(super) fn sync(&self, folder: &str) -> Result<(), StoreError> {
        sync_directory(&self.path(folder))
    }

    /// Writes a whole new file, durably but for its name.
    pub(super) fn put(&self, relative: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let mut file = self.create(relative)?;
        file.write_all(bytes).map_err(|e| StoreError::io("write", &self.path(relative), e))?;
        self.seal(relative, &file).map(|_| ())
    }

    /// Writes a whole file unless one of that name is there; `false` if it is. Readers see all of it
    /// or nothing. The mechanism is link(2), which is atomic and refuses an existing name on every
    /// file system that has hard links, NFS included.
    pub(super) fn put_if_absent(&self, relative: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let temporary = self.put_temporary(bytes)?;
        let target = self.path(relative);
        let linked = fs::hard_link(&temporary, &target);
        let _ = fs::remove_file(&temporary);
        match linked {
            Ok(()) => sync_directory(target.parent().unwrap_or(&self.root)).map(|()| true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(StoreError::io("create", &target, error)),
        }
    }

    /// Writes a whole file in place of an old one; readers see one or the other.
    pub(super) fn replace(&self, relative: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let temporary = self.put_temporary(bytes)?;
        let target = self.path(relative);
        fs::rename(&temporary, &target).map_err(|e| StoreError::io("replace", &target, e))?;
        sync_directory(target.parent().unwrap_or(&self.root))
    }

    fn put_temporary(&self, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let name = format!("{TEMPORARY}/{:016x}", unique());
        self.make(TEMPORARY)?;
        self.put(&name, bytes)?;
        Ok(self.path(&name))
    }

    pub(super) fn read(&self, relative: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.path(relative);
        fs::read(&path).map_err(|e| StoreError::io("read", &path, e))
    }

    /// Opens a file for reading anywhere in it, by any number of threads at once.
    pub(super) fn open(&self, relative: &str) -> Result<LocalFile, StoreError> {
        let path = self.path(relative);
        let failed = |e| StoreError::io("open", &path, e);
        let file = File::open(&path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        Ok(LocalFile { file: Arc::new(file), bytes })
    }

    /// Removes a file; one that is not there is fine.
    pub(super) fn remove(&self, relative: &str) -> Result<(), StoreError> {
        let path = self.path(relative);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(StoreError::io("remove", &path, error))
            }
            _ => Ok(()),
        }
    }

    /// The files (not directories) directly in a directory; none if it does not exist.
    pub(super) fn list(&self, relative: &str) -> Result<Vec<Listed>, StoreError> {
        self.entries(relative, false)
    }

    /// The names of the directories directly in a directory.
    pub(super) fn list_directories(&self, relative: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.entries(relative, true)?.into_iter().map(|entry| entry.name).collect())
    }

    fn entries(&self, relative: &str, directories: bool) -> Result<Vec<Listed>, StoreError> {
        let path = self.path(relative);
        let failed = |e| StoreError::io("list", &path, e);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            // A file may be removed by another process between listing and asking.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() == directories {
                let modified = metadata.modified().map_err(failed)?;
                listed.push(Listed { name, bytes: metadata.len(), modified });
            }
        }
        Ok(listed)
    }
}

/// An open file without a position of its own. (Clones of a [`File`] share one position, so two
/// threads that seek and read would read each other's bytes.)
#[derive(Debug, Clone)]
pub(crate) struct LocalFile {
    file: Arc<File>,
    pub(super) bytes: u64,
}

impl LocalFile {
    pub(super) fn read_some(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let length =
            length.min(usize::try_from(self.bytes.saturating_sub(start)).unwrap_or(usize::MAX));
        let mut bytes = vec![0; length];
        let read = self.file.read_at(&mut bytes, start)?;
        bytes.truncate(read);
        Ok(bytes.into())
    }
}

fn sync_directory(path: &Path) -> Result<(), StoreError> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path).and_then(|file| file.sync_all()).map_err(|e| StoreError::io("sync", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Directory;
    use parquet::file::reader::ChunkReader as _;
    use std::io::Read as _;

    #[test]
    fn put_if_absent_lets_exactly_one_of_many_win_and_readers_see_whole_files() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = LocalDirectory::new(temporary.path().to_owned());
        directory.make("log").unwrap();
        let wins: usize = std::thread::scope(|scope| {
            let attempts: Vec<_> = (0..8u8)
                .map(|n| {
                    let directory = directory.clone();
                    scope.spawn(move || directory.put_if_absent("log/1", &[n; 4096]).unwrap())
                })
                .collect();
            attempts.into_iter().map(|t| usize::from(t.join().unwrap())).sum()
        });
        assert_eq!(wins, 1);
        let bytes = directory.read("log/1").unwrap();
        assert_eq!(bytes.len(), 4096);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        assert!(directory.list(TEMPORARY).unwrap().is_empty());
    }

    #[test]
    fn threads_read_one_file_each_at_its_own_place() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::at(temporary.path().to_str().unwrap()).unwrap();
        let numbers: Vec<u8> = (0..10_000u64).flat_map(u64::to_le_bytes).collect();
        directory.put("numbers", &numbers).unwrap();
        let file = directory.open("numbers").unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let file = file.clone();
                scope.spawn(move || {
                    for n in 0..20_000u64 {
                        let number = (n * 7 + thread * 2500) % 10_000;
                        let mut read = [0; 8];
                        file.get_read(number * 8).unwrap().read_exact(&mut read).unwrap();
                        let bytes = file.get_bytes(number * 8, 8).unwrap();
                        assert_eq!((&read[..], &bytes[..]), (&number.to_le_bytes()[..], &read[..]));
                    }
                });
            }
        });
        assert!(file.get_bytes(79_999, 8).is_err());
        assert!(file.get_bytes(u64::MAX, 8).is_err());
    }
}
