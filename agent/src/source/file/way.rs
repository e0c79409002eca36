//! The way to a file. Where links are on it, it is walked so that nobody can change it meanwhile: each
//! component is held open before it is looked at, and the next one is looked up in it.
//!
//! Whoever may write to a directory can put a link there. So a link, also one to a directory on the way,
//! is followed only if root, this user or the owner of what it leads to made it.

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

/// How many links one way may lead through: as many as the kernel follows.
const LINKS_MAX: usize = 40;
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A link that neither root nor this user made.
struct Link {
    path: PathBuf,
    owner: u32,
}

enum Step {
    Into(OsString),
    /// Here is what the link leads to.
    EndOf(Link),
}

fn no_file() -> io::Error {
    io::Error::other("it is no regular file")
}

/// Opens a regular file for reading. Without `follow_links` no part of the path may be a link.
///
/// # Errors
/// No regular file, a link that is not followed, or what the kernel says;
/// [`io::ErrorKind::ResourceBusy`] if the system lets no more files be open.
pub(super) fn open_regular(path: &Path, follow_links: bool) -> io::Result<(File, Metadata)> {
    // A pipe or a device is not even opened.
    if !path.metadata()?.is_file() {
        return Err(no_file());
    }
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let opened = match openat2(CWD, path, READ, Mode::empty(), resolve) {
        // There is a link, or a kernel before 5.6 or a sandbox that has no such call.
        Err(Errno::LOOP | Errno::NOSYS | Errno::PERM) => walk(path, follow_links),
        opened => opened.map(File::from).map_err(io::Error::from),
    };
    let file = opened.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::MFILE | Errno::NFILE) => io::ErrorKind::ResourceBusy.into(),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(no_file());
    }
    Ok((file, metadata))
}

/// Whether `path` is a directory, or a link to one.
///
/// # Errors
/// What the kernel says, or a link that is not followed, see [`is_unfollowed`].
pub(super) fn leads_to_directory(path: &Path) -> io::Result<bool> {
    let mut metadata = path.symlink_metadata()?;
    if metadata.is_symlink() {
        metadata = walk(path, true)?.metadata()?;
    }
    Ok(metadata.is_dir())
}

/// Whether it is no error of the kernel's: the way led over a link that is not followed, or to what is not
/// read.
pub(super) fn is_unfollowed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Other
}

/// What the absolute `path` leads to: a regular file open for reading, and anything else only held.
fn walk(path: &Path, follow_links: bool) -> io::Result<File> {
    let trusted = [0, rustix::process::geteuid().as_raw()];
    let mut here = hold(CWD, OsStr::new("/"))?;
    let mut here_path = PathBuf::from("/");
    let mut links = 0;
    let mut ahead: Vec<Step> = steps(path).collect();
    while let Some(step) = ahead.pop() {
        let name = match step {
            Step::Into(name) => name,
            Step::EndOf(link) => {
                link.judge(fstat(&here)?.st_uid)?;
                continue;
            }
        };
        let next = hold(&here, &name)?;
        let found = fstat(&next)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Symlink => {
                let path = here_path.join(name);
                if !follow_links {
                    return Err(io::Error::other(format!("`{}` is a link", path.display())));
                }
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::LOOP.into());
                }
                if !trusted.contains(&found.st_uid) {
                    ahead.push(Step::EndOf(Link { path, owner: found.st_uid }));
                }
                let target = readlinkat(&next, "", Vec::new())?.into_bytes();
                ahead.extend(steps(Path::new(&OsString::from_vec(target))));
                continue;
            }
            // What is opened is not what was looked at if it was replaced just now: what a link is judged
            // by is the owner of what is opened.
            FileType::RegularFile => {
                here = openat(&here, &name, READ | OFlags::NOFOLLOW, Mode::empty())?;
            }
            _ => here = next,
        }
        match name.to_str() {
            Some("..") => _ = here_path.pop(),
            _ => here_path.push(name),
        }
    }
    Ok(here.into())
}

/// What has this name, be it a link, for nothing but a look at it or into it.
fn hold(directory: impl AsFd + Copy, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // As a directory first, so that one is mounted that is when somebody asks for it.
    match openat(directory, name, flags | OFlags::DIRECTORY, Mode::empty()) {
        Err(Errno::NOTDIR) => openat(directory, name, flags, Mode::empty()),
        held => held,
    }
}

/// The components, the last one first; one of an absolute path is `/`.
fn steps(path: &Path) -> impl Iterator<Item = Step> {
    let components = path.components().rev().filter(|component| *component != Component::CurDir);
    components.map(|component| Step::Into(component.as_os_str().to_owned()))
}

impl Link {
    fn judge(&self, target_owner: u32) -> io::Result<()> {
        let Self { path, owner } = self;
        if *owner == target_owner {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "user {owner} made the link `{}` to what belongs to user {target_owner} (name what it leads to, \
             or let root make the link)",
            path.display()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{RenameFlags, renameat_with};
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, lchown, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A directory with a file in `own` and in `theirs`, and these links.
    fn stage(links: &[(&str, &str)]) -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let at = move |name: &str| root.join(name);
        fs::create_dir_all(at("own/below")).unwrap();
        fs::create_dir(at("theirs")).unwrap();
        fs::write(at("own/file"), "").unwrap();
        fs::write(at("theirs/file"), "").unwrap();
        for (link, target) in links {
            symlink(target.replace("ROOT", &at("").display().to_string()), at(link)).unwrap();
        }
        (directory, at)
    }

    /// Makes these another user's, if this is root.
    fn give(paths: impl Iterator<Item = PathBuf>) -> bool {
        let is_given = paths.into_iter().all(|path| lchown(path, Some(65534), None).is_ok());
        if !is_given {
            println!("SKIPPED: only root gives files away");
        }
        is_given
    }

    #[test]
    fn links_lead_where_the_kernel_says() {
        let (_directory, at) = stage(&[
            ("absolute", "ROOT/own/file"),
            ("relative", "own/./below/../file"),
            ("chain", "relative"),
            ("directory", "own/"),
            ("own/below/up", "../../directory"),
            ("circle", "circle"),
            ("dangling", "nowhere"),
            ("proc", "/proc/self/../self/status"),
        ]);
        for n in 0..41 {
            let target = if n == 0 { "own/file".to_owned() } else { format!("many{}", n - 1) };
            symlink(target, at(&format!("many{n}"))).unwrap();
        }
        for name in [
            "own/file",
            "absolute",
            "relative",
            "chain",
            "directory/file",
            "own/below/up/below/up/file",
            "own/file/file",
            "circle",
            "dangling",
            "dangling/file",
            "many39",
            "many40",
            "proc",
        ] {
            let ours = walk(&at(name), true).and_then(|file| file.metadata());
            match (File::open(at(name)).and_then(|file| file.metadata()), ours) {
                (Ok(theirs), Ok(ours)) if name != "proc" => {
                    assert_eq!((theirs.dev(), theirs.ino()), (ours.dev(), ours.ino()), "{name}");
                }
                (Ok(_), Ok(_)) => {}
                (Err(theirs), Err(ours)) => assert_eq!(theirs.kind(), ours.kind(), "{name}"),
                outcome => panic!("{name}: {outcome:?}"),
            }
            let is_followed = open_regular(&at(name), false).is_ok();
            assert_eq!(is_followed, name == "own/file", "{name}");
        }
        assert!(leads_to_directory(&at("own/below/up")).unwrap());
        assert!(!leads_to_directory(&at("chain")).unwrap());
    }

    #[test]
    fn a_link_of_another_user_is_followed_to_what_is_that_users_only() {
        let links = [
            ("theirs/file_of_own", "ROOT/own/file"),
            ("theirs/own", "../own"),
            ("theirs/own_and_back", "../own/../theirs"),
            ("theirs/by_trusted", "../trusted"),
            ("theirs/here", "."),
            ("theirs/file_of_theirs", "file"),
            ("own/to_theirs", "../theirs/file_of_theirs"),
            ("own/to_own", "../theirs/file_of_own"),
            ("trusted", "own/file"),
        ];
        let (_directory, at) = stage(&links);
        let given = links.iter().map(|(link, _)| *link).filter(|link| link.starts_with("theirs"));
        if !give(given.chain(["theirs", "theirs/file"]).map(&at)) {
            return;
        }
        for (name, refused) in [
            ("theirs/file_of_own", Some("theirs/file_of_own")),
            ("theirs/own/file", Some("theirs/own")),
            ("theirs/here/own/file", Some("theirs/own")),
            ("theirs/own_and_back/file", None),
            ("theirs/by_trusted", Some("theirs/by_trusted")),
            ("theirs/here/file_of_theirs", None),
            ("own/to_theirs", None),
            ("own/to_own", Some("theirs/file_of_own")),
            ("trusted", None),
        ] {
            let told = open_regular(&at(name), true).err().map(|error| error.to_string());
            assert_eq!(told.is_some(), refused.is_some(), "{name}: {told:?}");
            if let (Some(told), Some(link)) = (told, refused) {
                let link = at(link);
                assert!(told.contains(&format!("the link `{}`", link.display())), "{name}: {told}");
            }
        }
        assert!(leads_to_directory(&at("theirs/here")).unwrap());
        let refused = leads_to_directory(&at("theirs/own")).unwrap_err();
        assert!(is_unfollowed(&refused), "{refused}");
    }

    #[test]
    fn links_that_are_exchanged_meanwhile_open_nothing_that_they_must_not() {
        let (_directory, at) = stage(&[("bad", "own/file"), ("good", "theirs/file")]);
        if !give(["bad", "good", "theirs/file"].into_iter().map(&at)) {
            return;
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    renameat_with(CWD, at("bad"), CWD, at("good"), RenameFlags::EXCHANGE).unwrap();
                }
            });
            let opened: Vec<u32> = (0..5_000)
                .filter_map(|_| open_regular(&at("good"), true).ok())
                .map(|(_, metadata)| metadata.uid())
                .collect();
            done.store(true, Ordering::Relaxed);
            assert!(opened.iter().all(|owner| *owner == 65534));
        });
    }
}
