//! May the agent read its files, and see them? Told from owners, groups and modes, so that root can ask
//! before the agent's own user tries; access control lists are seen only in what this process may do itself.

use crate::config::FileConfig;
use crate::source::file::Look;
use rustix::process::{getegid, geteuid, getgroups};
use std::collections::{BTreeSet, HashSet};
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The user that the packages make.
const USER: &str = "logweir-agent";
/// Groups that the unit adds, where they exist.
const UNIT_GROUPS: [&str; 2] = ["adm", "systemd-journal"];

/// Somebody who reads.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) name: String,
    uid: u32,
    gids: HashSet<u32>,
    is_this_process: bool,
}

impl Reader {
    /// The agent's user if it exists, else who runs this.
    pub(super) fn of_agent() -> Self {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let group = std::fs::read_to_string("/etc/group").unwrap_or_default();
        Self::named(USER, &passwd, &group).unwrap_or_else(|| {
            let groups = getgroups().unwrap_or_default();
            let mut gids: HashSet<u32> = groups.iter().map(|gid| gid.as_raw()).collect();
            gids.insert(getegid().as_raw());
            let uid = geteuid().as_raw();
            let name = passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                let name = fields.next()?;
                (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
            });
            let name = name.unwrap_or_else(|| uid.to_string());
            Self { name, uid, gids, is_this_process: true }
        })
    }

    fn named(user: &str, passwd: &str, group: &str) -> Option<Self> {
        let fields: Vec<&str> = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|f| f[0] == user)?;
        let uid = fields.get(2)?.parse().ok()?;
        let mut gids = HashSet::from([fields.get(3)?.parse().ok()?]);
        for line in group.lines() {
            let mut fields = line.split(':');
            let (Some(name), Some(gid), members) = (fields.next(), fields.nth(1), fields.next())
            else {
                continue;
            };
            let is_member = members.is_some_and(|m| m.split(',').any(|member| member == user));
            if is_member || UNIT_GROUPS.contains(&name) {
                gids.extend(gid.parse::<u32>());
            }
        }
        let is_this_process = geteuid().as_raw() == uid;
        Some(Self { name: user.to_owned(), uid, gids, is_this_process })
    }

    /// What the globs of a source find, and what of it this reader may not see or read.
    pub(super) fn look(&self, source: &FileConfig) -> Found {
        let (mut files, mut folders) = (BTreeSet::new(), BTreeSet::new());
        for glob in &source.paths {
            glob.expand(&mut |path| files.extend([path]), &mut |folder, look| {
                if matches!(look, Look::Listed | Look::Refused) {
                    folders.insert(folder.to_owned());
                }
            });
        }
        files.retain(|path| {
            may_be_file(path) && !source.exclude.iter().any(|glob| glob.matches(path))
        });
        let mut told = BTreeSet::new();
        let mut closed: Vec<Obstacle> =
            files.iter().filter_map(|path| self.obstacle(path)).collect();
        closed.retain(|obstacle| told.insert(obstacle.path.clone()));
        let mut hidden: Vec<Obstacle> =
            folders.iter().filter_map(|folder| self.obstacle_of_folder(folder)).collect();
        hidden.retain(|obstacle| told.insert(obstacle.path.clone()));
        Found { files, closed, hidden }
    }

    /// `None` if it may read the file, or if there is none; else what is in the way, and the command
    /// that clears it.
    pub(super) fn obstacle(&self, path: &Path) -> Option<Obstacle> {
        if !may_be_file(path) || self.is_this_process && File::open(path).is_ok() {
            return None;
        }
        self.obstacle_above(path).or_else(|| match path.metadata() {
            Ok(metadata) if self.may(&metadata, 0o4) => None,
            _ => Some(self.told(path, "read", 0o4)),
        })
    }

    /// As [`Reader::obstacle`], for a folder in which files are looked for.
    pub(super) fn obstacle_of_folder(&self, folder: &Path) -> Option<Obstacle> {
        let is_open = || folder.read_dir().is_ok() && folder.join(".").metadata().is_ok();
        if self.is_this_process && is_open() {
            return None;
        }
        self.obstacle_above(folder).or_else(|| match folder.metadata() {
            Ok(metadata) if self.may(&metadata, 0o4) && self.may(&metadata, 0o1) => None,
            _ => Some(self.told(folder, "looked through", 0o5)),
        })
    }

    /// The first folder on the way to `path` that may not be entered.
    fn obstacle_above(&self, path: &Path) -> Option<Obstacle> {
        let folders: Vec<&Path> = path.ancestors().skip(1).collect();
        let is_closed =
            |folder: &&Path| folder.metadata().map_or(true, |metadata| !self.may(&metadata, 0o1));
        // It is opened for listing, too: patterns need that.
        let closed = folders.into_iter().rev().find(is_closed);
        closed.map(|folder| self.told(folder, "entered", 0o5))
    }

    fn may(&self, metadata: &Metadata, bit: u32) -> bool {
        let class = match metadata {
            _ if self.uid == 0 => return true,
            of if of.uid() == self.uid => 6,
            of if self.gids.contains(&of.gid()) => 3,
            _ => 0,
        };
        metadata.mode() >> class & bit != 0
    }

    /// `bits` are the rights that are needed, as others have them in a mode.
    fn told(&self, path: &Path, what: &'static str, bits: u32) -> Obstacle {
        let quoted = format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
        let remedy = match path.metadata() {
            // The group may, so membership is enough, and it also holds for what comes by rotation.
            Ok(of) if of.mode() >> 3 & bits == bits && of.gid() != 0 => {
                format!("usermod -aG {} {}", group_name(of.gid()), self.name)
            }
            _ => {
                let rights = if bits == 0o4 { "r" } else { "rx" };
                format!("setfacl -m u:{}:{rights} {quoted}", self.name)
            }
        };
        Obstacle { path: path.to_owned(), what, remedy }
    }
}

/// What keeps a reader from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// The file or the folder that is closed.
    pub(super) path: PathBuf,
    /// `read`, `entered` or `looked through`.
    pub(super) what: &'static str,
    /// A command for root.
    pub(super) remedy: String,
}

/// What a reader meets where a source points.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) files: BTreeSet<PathBuf>,
    /// What keeps it from some of them, each once.
    pub(super) closed: Vec<Obstacle>,
    /// Folders that may hold more of them.
    pub(super) hidden: Vec<Obstacle>,
}

/// Whether there is a file behind a path, as far as this process can tell. A link that leads nowhere is
/// none, and neither are folders and pipes: a pipe would not even open before somebody writes.
fn may_be_file(path: &Path) -> bool {
    match path.metadata() {
        Ok(metadata) => metadata.is_file(),
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    }
}

fn group_name(gid: u32) -> String {
    let group = std::fs::read_to_string("/etc/group").unwrap_or_default();
    let name = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| gid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::file::Glob;
    use std::os::unix::fs::PermissionsExt as _;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nlogweir-agent:x:4711:4711::/:/bin/false\n";
    const GROUP: &str =
        "adm:x:4:syslog\nlogweir-agent:x:4711:\nweb:x:4712:a,logweir-agent\nwww:x:4713:b\n";

    #[test]
    fn the_agents_user_has_its_own_groups_and_those_of_the_unit() {
        let reader = Reader::named("logweir-agent", PASSWD, GROUP).unwrap();
        assert_eq!((reader.uid, reader.gids), (4711, HashSet::from([4711, 4, 4712])));
        assert!(Reader::named("nobody", PASSWD, GROUP).is_none());
    }

    #[test]
    fn what_is_closed_is_told_with_the_command_that_opens_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("it's.log");
        std::fs::write(&file, "x").unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        // Somebody else's user, whoever runs the tests.
        let reader = Reader {
            name: "logweir-agent".into(),
            uid: 4711,
            gids: HashSet::new(),
            is_this_process: false,
        };
        set(directory.path(), 0o755);
        set(&file, 0o644);
        assert_eq!(reader.obstacle(&file), None);
        set(&file, 0o600);
        let obstacle = reader.obstacle(&file).unwrap();
        assert_eq!((obstacle.path.as_path(), obstacle.what), (file.as_path(), "read"));
        assert!(obstacle.remedy.starts_with("setfacl -m u:logweir-agent:r '"), "{obstacle:?}");
        assert!(obstacle.remedy.contains(r"it'\''s.log"), "{obstacle:?}");
        set(directory.path(), 0o700);
        let obstacle = reader.obstacle(&file).unwrap();
        assert_eq!((obstacle.path.as_path(), obstacle.what), (directory.path(), "entered"));
        // To enter alone would not show what is in it.
        assert!(obstacle.remedy.starts_with("setfacl -m u:logweir-agent:rx '"), "{obstacle:?}");
        set(directory.path(), 0o711);
        set(&file, 0o644);
        assert_eq!(reader.obstacle(&file), None);
        let obstacle = reader.obstacle_of_folder(directory.path()).unwrap();
        assert_eq!(obstacle.what, "looked through");
        set(directory.path(), 0o755);
        assert_eq!(reader.obstacle_of_folder(directory.path()), None);
    }

    #[test]
    fn folders_that_may_hold_more_are_told_beside_the_files_that_are_closed() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(directory.path(), 0o755);
        for (name, mode) in [("open", 0o755), ("named", 0o711), ("listed", 0o711)] {
            std::fs::create_dir(at(name)).unwrap();
            std::fs::write(at(name).join("a.log"), "x").unwrap();
            set(&at(name), mode);
            set(&at(name).join("a.log"), 0o644);
        }
        set(&at("open").join("a.log"), 0o600);
        // Somebody else's user, whoever runs the tests.
        let reader = Reader {
            name: "logweir-agent".into(),
            uid: 4711,
            gids: HashSet::new(),
            is_this_process: false,
        };
        let glob = |text: &str| Glob::new(&at(text).display().to_string()).unwrap();
        let source = FileConfig {
            paths: vec![glob("open/*.log"), glob("named/a.log"), glob("listed/*.log")],
            ..FileConfig::default()
        };
        let paths = |obstacles: &[Obstacle]| -> Vec<PathBuf> {
            obstacles.iter().map(|obstacle| obstacle.path.clone()).collect()
        };
        let found = reader.look(&source);
        assert_eq!(found.files.len(), 3);
        assert_eq!(paths(&found.closed), [at("open/a.log")]);
        assert_eq!(paths(&found.hidden), [at("listed")]);
    }

    #[test]
    fn what_is_no_file_is_no_obstacle() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::os::unix::fs::symlink("nowhere", at("dangling.log")).unwrap();
        std::os::unix::fs::symlink("circle.log", at("circle.log")).unwrap();
        let mode = rustix::fs::Mode::RUSR;
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe.log"), rustix::fs::FileType::Fifo, mode, 0)
            .unwrap();
        std::fs::create_dir(at("folder.log")).unwrap();
        let reader = Reader::of_agent();
        for name in ["dangling.log", "circle.log", "pipe.log", "folder.log", "not-there.log"] {
            assert_eq!(reader.obstacle(&at(name)), None, "{name}");
        }
    }
}
