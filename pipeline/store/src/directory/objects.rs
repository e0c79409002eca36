//! A table in an object store: S3 and what speaks like it, Google Cloud Storage, Azure.
//!
//! The store gives what a directory gives: whole objects that are durable and listed once put (all
//! three are strongly consistent), and a conditional put. Credentials and endpoints come from the
//! environment under the names that the vendors' own tools use (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`,
//! `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME`, …).
//!
//! A conditional put whose answer was lost and that is tried again meets its own object and looks like
//! one that came too late. Whoever commits sees then that the table already stands where the batch
//! ends, gives the batch up and reads on from there: nothing is lost or doubled.

use super::Listed;
use crate::error::StoreError;
use bytes::Bytes;
use object_store::path::Path as ObjectPath;
use object_store::{
    ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, parse_url_opts,
};
use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};
use tokio::runtime::{Builder, Runtime};

/// What is fetched at once of a file, and how much of it is kept: readers go forward.
const BLOCK_BYTES: u64 = 4 << 20;
const BLOCKS_KEPT: usize = 16;

/// Carries the requests; those who ask wait on threads of their own.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .thread_name("object-store")
        .build()
        .expect("a thread can be started")
});

/// A prefix in a bucket.
#[derive(Debug, Clone)]
pub(crate) struct ObjectDirectory {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    /// The URL, for messages.
    shown: PathBuf,
}

impl ObjectDirectory {
    pub(super) fn at(location: &str) -> Result<Self, StoreError> {
        let refused =
            |reason: String| StoreError::Location { location: location.to_owned(), reason };
        let url = reqwest::Url::parse(location).map_err(|error| refused(error.to_string()))?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refused("it names no bucket".into()));
        }
        // Names that no store knows are left alone; values are read when the first request is made.
        let settings = std::env::vars_os().filter_map(|(name, value)| {
            let name = name.into_string().ok()?.to_ascii_lowercase();
            let known = ["aws_", "google_", "azure_"].iter().any(|prefix| name.starts_with(prefix));
            Some((name, value.into_string().ok()?)).filter(|_| known)
        });
        let (store, prefix) =
            parse_url_opts(&url, settings).map_err(|error| refused(error.to_string()))?;
        Ok(Self { store: store.into(), prefix, shown: location.into() })
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.shown.join(relative)
    }

    fn object(&self, relative: &str) -> ObjectPath {
        relative
            .split('/')
            .filter(|part| !part.is_empty())
            .fold(self.prefix.clone(), |path, part| path.join(part))
    }

    fn run<T>(
        &self,
        action: &'static str,
        relative: &str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        RUNTIME
            .block_on(request)
            .map_err(|error| StoreError::io(action, &self.path(relative), io_error(error)))
    }

    pub(super) fn put(&self, relative: &str, bytes: Bytes) -> Result<(), StoreError> {
        let path = self.object(relative);
        self.run("write", relative, self.store.put(&path, PutPayload::from(bytes))).map(|_| ())
    }

    pub(super) fn put_if_absent(&self, relative: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let path = self.object(relative);
        let payload = PutPayload::from(Bytes::copy_from_slice(bytes));
        let options = PutOptions::from(PutMode::Create);
        let put = self.run("create", relative, self.store.put_opts(&path, payload, options));
        match put {
            Ok(_) => Ok(true),
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn read(&self, relative: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.object(relative);
        let read = async { self.store.get(&path).await?.bytes().await };
        self.run("read", relative, read).map(Vec::from)
    }

    pub(super) fn open(&self, relative: &str) -> Result<ObjectFile, StoreError> {
        let path = self.object(relative);
        let meta = self.run("open", relative, self.store.head(&path))?;
        Ok(ObjectFile { directory: self.clone(), path, bytes: meta.size, kept: Arc::default() })
    }

    pub(super) fn remove(&self, relative: &str) -> Result<(), StoreError> {
        let path = self.object(relative);
        match self.run("remove", relative, self.store.delete(&path)) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// The files and the directories directly in a directory.
    pub(super) fn list(&self, relative: &str) -> Result<(Vec<Listed>, Vec<String>), StoreError> {
        let path = self.object(relative);
        let listed = self.run("list", relative, self.store.list_with_delimiter(Some(&path)))?;
        let name = |path: &ObjectPath| path.filename().map(str::to_owned);
        let files = listed.objects.iter().filter_map(|object| {
            let modified = object.last_modified.into();
            Some(Listed { name: name(&object.location)?, bytes: object.size, modified })
        });
        let directories = listed.common_prefixes.iter().filter_map(name).collect();
        Ok((files.collect(), directories))
    }
}

/// What the rest of the crate asks of an error: was it there, was it allowed, can trying again help.
fn io_error(error: object_store::Error) -> io::Error {
    use object_store::Error as E;
    let kind = match &error {
        E::NotFound { .. } => io::ErrorKind::NotFound,
        E::AlreadyExists { .. } | E::Precondition { .. } => io::ErrorKind::AlreadyExists,
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => io::ErrorKind::PermissionDenied,
        E::InvalidPath { .. } | E::UnknownConfigurationKey { .. } => io::ErrorKind::InvalidInput,
        E::NotSupported { .. } | E::NotImplemented { .. } => io::ErrorKind::Unsupported,
        // What a network or a busy server may do; the client has tried again by itself before.
        _ => io::ErrorKind::TimedOut,
    };
    io::Error::new(kind, error)
}

/// An object that is read here and there. Clones share what has been fetched.
#[derive(Debug, Clone)]
pub(crate) struct ObjectFile {
    directory: ObjectDirectory,
    path: ObjectPath,
    pub(super) bytes: u64,
    kept: Arc<Mutex<VecDeque<(u64, Bytes)>>>,
}

impl ObjectFile {
    /// From `start` to the end of its block, at most `length`.
    pub(super) fn read_some(&self, start: u64, length: usize) -> io::Result<Bytes> {
        if start >= self.bytes || length == 0 {
            return Ok(Bytes::new());
        }
        let number = start / BLOCK_BYTES;
        let block = self.block(number)?;
        let from = (start % BLOCK_BYTES) as usize;
        let to = from.saturating_add(length).min(block.len());
        Ok(block.slice(from.min(to)..to))
    }

    fn block(&self, number: u64) -> io::Result<Bytes> {
        let kept = || self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((_, block)) = kept().iter().find(|(at, _)| *at == number) {
            return Ok(block.clone());
        }
        let from = number * BLOCK_BYTES;
        let to = (from + BLOCK_BYTES).min(self.bytes);
        let fetch = self.directory.store.get_range(&self.path, from..to);
        let block = RUNTIME.block_on(fetch).map_err(io_error)?;
        let mut kept = kept();
        if kept.len() >= BLOCKS_KEPT {
            kept.pop_front();
        }
        kept.push_back((number, block.clone()));
        Ok(block)
    }
}
