//! The place that holds the table: whole files, written once, and a put-if-absent. A directory of this
//! machine or a prefix in an object store (S3, Google Cloud Storage, Azure), with the same promises.
//!
//! Owns durability. Once `put_if_absent` has returned `Ok`, its file is there also after a power cut.
//! Files that a log entry is going to name are `seal`ed or `put`, and their folders `sync`ed, before:
//! syncing a folder once for several files halves the time of a commit. Everything above speaks in
//! paths relative to the table.
//!
//! Survives: SIGKILL between any two steps leaves at most a file that nothing refers to.

mod local;
mod objects;

use crate::error::StoreError;
use bytes::Bytes;
use local::{LocalDirectory, LocalFile};
use objects::{ObjectDirectory, ObjectFile};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;
use std::time::SystemTime;

/// Where files are that nothing refers to, such as half-written log entries until they get their name.
pub(crate) const TEMPORARY: &str = "_logweir/tmp";

/// The root of a table.
#[derive(Debug, Clone)]
pub(crate) enum Directory {
    Local(LocalDirectory),
    Objects(ObjectDirectory),
}

/// One file of a listing.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    /// The name within the listed directory.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) modified: SystemTime,
}

/// A file that is being written; [`Directory::seal`] makes it one of the table.
#[derive(Debug)]
pub(crate) enum NewFile {
    Local(File),
    /// Objects are put whole: at most a data file's bytes are held.
    Object(Vec<u8>),
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Local(file) => file.write(bytes),
            Self::Object(held) => held.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Local(file) => file.flush(),
            Self::Object(_) => Ok(()),
        }
    }
}

impl Directory {
    /// `location` is a path or a URL: `file://`, `s3://bucket/prefix`, `gs://…`, `az://…`, `abfss://…`.
    pub(crate) fn at(location: &str) -> Result<Self, StoreError> {
        let path = location.strip_prefix("file://").unwrap_or(location);
        match path.contains("://") {
            true => ObjectDirectory::at(location).map(Self::Objects),
            false if path.is_empty() => Err(StoreError::Location {
                location: location.to_owned(),
                reason: "it is empty".into(),
            }),
            false => Ok(Self::Local(LocalDirectory::new(path.into()))),
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("")
    }

    /// For messages, and for the operating system if it is a local directory.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        match self {
            Self::Local(local) => local.path(relative),
            Self::Objects(objects) => objects.path(relative),
        }
    }

    /// Makes a directory and its parents, durably. Object stores have none.
    pub(crate) fn make(&self, relative: &str) -> Result<(), StoreError> {
        match self {
            Self::Local(local) => local.make(relative),
            Self::Objects(_) => Ok(()),
        }
    }

    /// Creates a file that must not exist; the caller writes and then calls [`Directory::seal`].
    pub(crate) fn create(&self, relative: &str) -> Result<NewFile, StoreError> {
        match self {
            Self::Local(local) => local.create(relative).map(NewFile::Local),
            Self::Objects(_) => Ok(NewFile::Object(Vec::new())),
        }
    }

    /// Makes a created file durable, but for its name; returns its size in bytes.
    pub(crate) fn seal(&self, relative: &str, file: NewFile) -> Result<u64, StoreError> {
        match (self, file) {
            (Self::Local(local), NewFile::Local(file)) => local.seal(relative, &file),
            (Self::Objects(objects), NewFile::Object(bytes)) => {
                let size = bytes.len() as u64;
                objects.put(relative, bytes.into()).map(|()| size)
            }
            _ => unreachable!("a file is sealed in the directory that created it"),
        }
    }

    /// Makes the names of the files in a folder durable.
    pub(crate) fn sync(&self, folder: &str) -> Result<(), StoreError> {
        match self {
            Self::Local(local) => local.sync(folder),
            Self::Objects(_) => Ok(()),
        }
    }

    /// Writes a whole new file, durably but for its name.
    pub(crate) fn put(&self, relative: &str, bytes: &[u8]) -> Result<(), StoreError> {
        match self {
            Self::Local(local) => local.put(relative, bytes),
            Self::Objects(objects) => objects.put(relative, Bytes::copy_from_slice(bytes)),
        }
    }

    /// Writes a whole file unless one of that name is there; `false` if it is. Readers see all of it
    /// or nothing.
    pub(crate) fn put_if_absent(&self, relative: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        match self {
            Self::Local(local) => local.put_if_absent(relative, bytes),
            Self::Objects(objects) => objects.put_if_absent(relative, bytes),
        }
    }

    /// Writes a whole file in place of an old one; readers see one or the other.
    pub(crate) fn replace(&self, relative: &str, bytes: &[u8]) -> Result<(), StoreError> {
        match self {
            Self::Local(local) => local.replace(relative, bytes),
            Self::Objects(objects) => objects.put(relative, Bytes::copy_from_slice(bytes)),
        }
    }

    pub(crate) fn read(&self, relative: &str) -> Result<Vec<u8>, StoreError> {
        match self {
            Self::Local(local) => local.read(relative),
            Self::Objects(objects) => objects.read(relative),
        }
    }

    /// Opens a file for reading anywhere in it, by any number of threads at once.
    pub(crate) fn open(&self, relative: &str) -> Result<ReadFile, StoreError> {
        match self {
            Self::Local(local) => local.open(relative).map(ReadFile::Local),
            Self::Objects(objects) => objects.open(relative).map(ReadFile::Object),
        }
    }

    /// Removes a file; one that is not there is fine.
    pub(crate) fn remove(&self, relative: &str) -> Result<(), StoreError> {
        match self {
            Self::Local(local) => local.remove(relative),
            Self::Objects(objects) => objects.remove(relative),
        }
    }

    /// The files (not directories) directly in a directory; none if it does not exist.
    pub(crate) fn list(&self, relative: &str) -> Result<Vec<Listed>, StoreError> {
        match self {
            Self::Local(local) => local.list(relative),
            Self::Objects(objects) => objects.list(relative).map(|(files, _)| files),
        }
    }

    /// Now, by the clock that dates the files here: a network file system has its own.
    pub(crate) fn now(&self) -> Result<SystemTime, StoreError> {
        let name = format!("{:016x}", unique());
        let path = format!("{TEMPORARY}/{name}");
        self.make(TEMPORARY)?;
        self.put(&path, b"now")?;
        let listed = self.list(TEMPORARY);
        self.remove(&path)?;
        let found = listed?.into_iter().find(|file| file.name == name);
        found.map(|file| file.modified).ok_or_else(|| {
            StoreError::io("find", &self.path(&path), io::ErrorKind::NotFound.into())
        })
    }

    /// The names of the directories directly in a directory.
    pub(crate) fn list_directories(&self, relative: &str) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Local(local) => local.list_directories(relative),
            Self::Objects(objects) => objects.list(relative).map(|(_, directories)| directories),
        }
    }
}

/// An open file without a position of its own.
#[derive(Debug, Clone)]
pub(crate) enum ReadFile {
    Local(LocalFile),
    Object(ObjectFile),
}

impl ReadFile {
    /// Up to `length` bytes from `start` on; fewer only where it is cheaper or the file ends.
    fn read_some(&self, start: u64, length: usize) -> io::Result<Bytes> {
        match self {
            Self::Local(file) => file.read_some(start, length),
            Self::Object(file) => file.read_some(start, length),
        }
    }
}

impl Length for ReadFile {
    fn len(&self) -> u64 {
        match self {
            Self::Local(file) => file.bytes,
            Self::Object(file) => file.bytes,
        }
    }
}

impl ChunkReader for ReadFile {
    type T = BufReader<ReadFrom>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::new(ReadFrom { file: self.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let remaining = self.len().saturating_sub(start);
        if length as u64 > remaining {
            return Err(ParquetError::EOF(format!(
                "{length} bytes from {start} on, in a file of {} bytes",
                self.len()
            )));
        }
        let first = self.read_some(start, length)?;
        if first.len() == length {
            return Ok(first);
        }
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&first);
        while bytes.len() < length {
            let more = self.read_some(start + bytes.len() as u64, length - bytes.len())?;
            if more.is_empty() {
                return Err(ParquetError::EOF("the file became shorter".into()));
            }
            bytes.extend_from_slice(&more);
        }
        Ok(bytes.into())
    }
}

/// Reads on from some place in a file.
#[derive(Debug)]
pub(crate) struct ReadFrom {
    file: ReadFile,
    at: u64,
}

impl Read for ReadFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.file.read_some(self.at, buffer.len())?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}

/// A number that no other call, thread or process gets: the standard library's hash keys are drawn
/// from the system's random source once per thread and counted up from there.
pub(crate) fn unique() -> u64 {
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.write_u64(crate::time::now_us().unsigned_abs());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_paths_or_urls_of_stores_that_are_known() {
        for (location, expected) in [
            ("/var/lib/x", Some("/var/lib/x")),
            ("file:///var/lib/x", Some("/var/lib/x")),
            ("relative/x", Some("relative/x")),
            ("s3://bucket/x", Some("s3://bucket/x")),
            ("gs://bucket/x/y/", Some("gs://bucket/x/y")),
            ("ftp://host/x", None),
            ("s3://", None),
            ("", None),
        ] {
            let root = Directory::at(location).ok().map(|d| d.root().display().to_string());
            let root = root.map(|root| root.trim_end_matches('/').to_owned());
            assert_eq!(root.as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn the_clock_of_a_directory_is_that_of_its_files() {
        let temporary = tempfile::tempdir().unwrap();
        let directory = Directory::at(temporary.path().to_str().unwrap()).unwrap();
        let now = directory.now().unwrap();
        let apart = now.duration_since(SystemTime::now()).unwrap_or_else(|error| error.duration());
        assert!(apart.as_secs() < 60, "{apart:?}");
        assert!(directory.list(TEMPORARY).unwrap().is_empty());
    }

    #[test]
    fn unique_numbers_differ() {
        let numbers: std::collections::HashSet<u64> = (0..1000).map(|_| unique()).collect();
        assert_eq!(numbers.len(), 1000);
    }
}
