//! Archives: rotated files that were compressed. What was not delivered of the file that an archive
//! was made of is read in it; an archive of a file that was never followed is left alone, unless
//! the paths name such files. One that is still being written, or whose file is still read, waits.

use super::Glob;
use super::archive::Archive;
use super::body::Body;
use super::heads::HEAD_KEPT_BYTES;
use super::identity::{HEAD_BYTES, Key, born_ns, holds};
use super::scanner::Scanner;
use super::tail::{FileTail, Start};
use super::way::open_regular;
use crate::checkpoint::{Entry, FileContent};
use crate::config::FileConfig;
use crate::delivery::{Position, content_hash};
use crate::dormant::Among;
use crate::sync::read;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How many archives are read at a time: each keeps a window of its content in memory.
const ARCHIVES_READ_MAX: usize = 8;
/// An archive to which something was written since then may be half of one.
const QUIET: Duration = Duration::from_secs(2);
/// How the names of archives end that `logrotate` and people make.
const NAMES: [&str; 2] = ["gz", "zst"];

/// Whether a file's name says that it is an archive.
pub(super) fn is_named_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| NAMES.iter().any(|name| extension == *name))
}

impl Scanner {
    /// Whether an archive is being read, or waits until others are: nobody tells when one is done.
    pub(super) fn have_archives_to_read(&self) -> bool {
        !self.archives.is_empty() || self.archives_being_read() > 0
    }

    fn archives_being_read(&self) -> usize {
        let is_read = |tail: &&Arc<FileTail>| tail.is_archive() && !tail.is_archive_done();
        read(&self.tails).values().filter(is_read).count()
    }

    /// Looks into the archives that were found. It comes after all other files have been looked at,
    /// so that no archive takes what belongs to a file that is there.
    pub(super) fn look_into_archives(&mut self) {
        let mut found = std::mem::take(&mut self.archives);
        found.sort_by(|a, b| a.1.cmp(&b.1));
        found.dedup_by(|a, b| a.1 == b.1);
        for (config, path) in found {
            if self.archives_being_read() >= ARCHIVES_READ_MAX {
                self.archives.push((config, path));
                continue;
            }
            match self.look_into(&config, &path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                    self.crowded += 1;
                    self.archives.push((config, path));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.archives.push((config, path));
                }
                Err(error) => {
                    self.refuse(&path, &error);
                    // A disk that fails may not fail for good, and no glob may find the archive again.
                    if error.raw_os_error().is_some() && error.kind() != ErrorKind::PermissionDenied
                    {
                        self.archives.push((config, path));
                    }
                }
            }
        }
    }

    fn look_into(&mut self, config: &Arc<FileConfig>, path: &Path) -> io::Result<()> {
        let slot = self.room().ok_or(ErrorKind::ResourceBusy)?;
        let (file, metadata) = self.open_files.note(open_regular(path, config.follow_links))?;
        let key = Key::of(&metadata);
        let written = metadata.modified().ok().and_then(|written| written.elapsed().ok());
        if written.is_some_and(|ago| ago < QUIET) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let Some(archive) = Archive::open(file)? else {
            self.passed_over.insert(key, metadata.len());
            return Ok(());
        };
        let body = Arc::new(Body::archive(archive, slot));
        let born_ns = born_ns(&metadata);
        let known = self.content_in(&body, path, key, born_ns)?;
        let own = FileContent::new(path, key, born_ns);
        let (content, position) =
            match known.as_ref().and_then(|entry| Some((entry, entry.file()?))) {
                Some((entry, file)) => {
                    let FileContent { device, inode, born_ns, .. } = own;
                    (
                        FileContent { device, inode, born_ns, replaced: false, ..file.clone() },
                        entry.position(),
                    )
                }
                // What is not read of that file when it is let go is read here then.
                None if self.is_of_one_that_is_read(&body, path)? => {
                    return Err(ErrorKind::WouldBlock.into());
                }
                None if names_archives(config, path) => (own, Position::default()),
                None => {
                    self.passed_over.insert(key, metadata.len());
                    return Ok(());
                }
            };
        tracing::info!(
            path = %path.display(),
            of = content.path,
            from = position.offset,
            "reading what an archive holds and was not delivered before"
        );
        let (path, place, body) = (path.to_owned(), path.to_owned(), Some(body));
        let start = Start { key, path, place, body, content, position, undecided: false };
        self.add(config, start, known.as_ref());
        Ok(())
    }

    /// The checkpoint's entry for what an archive holds: of the archive itself, if it was begun
    /// earlier, else of the file that it was made of.
    fn content_in(
        &self,
        body: &Body,
        path: &Path,
        key: Key,
        born_ns: u64,
    ) -> io::Result<Option<Entry>> {
        let checkpoint = &self.context.checkpoint;
        let is_own = |entry: &Entry| {
            entry.file().is_some_and(|file| file.inode == key.inode && file.born_ns == born_ns)
        };
        let mut begins_alike = begins_alike(body, path)?;
        let mut begins_alike = |entry: &Entry| entry.file().is_some_and(&mut begins_alike);
        let mut alike = checkpoint.dormant(|entry| is_own(entry) || begins_alike(entry));
        // In the order of the archive, which can only be read onward.
        alike.sort_by_key(|entry| (!is_own(entry), entry.offset));
        for found in alike {
            if let Some(file) = found.file()
                && holds(body, file, &found.position())?
            {
                let is_found = |entry: &Entry| (entry.source == found.source).then_some(());
                return Ok(checkpoint.claim(Among::All, is_found));
            }
        }
        Ok(None)
    }

    /// Whether an archive is of a file that is still read to its end: one that has left its path, also
    /// if that was not seen yet, or that is about to.
    fn is_of_one_that_is_read(&self, body: &Body, path: &Path) -> io::Result<bool> {
        let mut begins_alike = begins_alike(body, path)?;
        let original = path.with_extension("");
        let leaves = |tail: &FileTail| {
            self.left.contains_key(&tail.key()) || !tail.is_at_its_place() || tail.is_at(&original)
        };
        let tails = read(&self.tails);
        let mut plain = tails.values().filter(|tail| !tail.is_archive());
        Ok(plain.any(|tail| begins_alike(&tail.content()) && leaves(tail)))
    }

    /// An archive of which everything is delivered is looked at no more; it is remembered for as
    /// long as it is there if the paths ask for it, since others of its kind are read whole.
    pub(super) fn look_after_archive(&mut self, tail: &Arc<FileTail>, is_there: bool) {
        if !tail.is_archive_done() {
            return;
        }
        if is_there && names_archives(tail.config(), tail.path()) {
            return tail.close();
        }
        if is_there && let Ok((size, _)) = tail.look() {
            self.passed_over.insert(tail.key(), size);
        }
        self.let_go(tail, false);
        tracing::debug!(path = %tail.path().display(), "an archive is read to its end");
    }
}

/// Tells whether a file began as the content of an archive does.
fn begins_alike(
    body: &Body,
    archive: &Path,
) -> io::Result<impl FnMut(&FileContent) -> bool + use<>> {
    let mut head = vec![0; HEAD_BYTES as usize];
    let count = body.read_at(&mut head, 0)?;
    head.truncate(count);
    let archive = archive.to_owned();
    let mut hashes: HashMap<u16, u64> = HashMap::new();
    Ok(move |file: &FileContent| {
        let length = usize::from(file.head_length);
        // A short beginning says little; then the archive's name must say it, too.
        let tells =
            length >= HEAD_KEPT_BYTES || (length > 0 && is_named_after(&archive, &file.path));
        let Some(head) = head.get(..length).filter(|_| tells) else { return false };
        *hashes.entry(file.head_length).or_insert_with(|| content_hash(head)) == file.head_hash
    })
}

/// Whether the source's paths ask for archives such as this.
fn names_archives(config: &FileConfig, path: &Path) -> bool {
    archives_asked_for(config).any(|glob| glob.matches(path))
}

/// Whether the source's paths ask for archives.
pub(super) fn asks_for_archives(config: &FileConfig) -> bool {
    archives_asked_for(config).next().is_some()
}

fn archives_asked_for(config: &FileConfig) -> impl Iterator<Item = &Glob> {
    config.paths.iter().filter(|glob| is_named_archive(Path::new(glob.as_str())))
}

fn is_named_after(archive: &Path, original: &str) -> bool {
    let name = |path: &Path| path.file_name().map(|name| name.as_encoded_bytes().to_owned());
    match (name(archive), name(Path::new(original))) {
        (Some(archive), Some(original)) => archive.starts_with(&original),
        _ => false,
    }
}
