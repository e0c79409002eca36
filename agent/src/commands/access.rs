//! May the agent read a file? Told from owners, groups and modes, so that root can ask before the
//! agent's own user tries; access control lists are seen only in what this process may do itself.

use rustix::process::{getegid, geteuid, getgroups};
use std::collections::HashSet;
use std::fs::{File, Metadata};
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

    /// `None` if it may read the file; else what is in the way, and the command that clears it.
    pub(super) fn obstacle(&self, path: &Path) -> Option<Obstacle> {
        if self.is_this_process && File::open(path).is_ok() {
            return None;
        }
        for folder in path.ancestors().skip(1).collect::<Vec<_>>().into_iter().rev() {
            match folder.metadata() {
                Ok(metadata) if self.may(&metadata, 0o1) => {}
                _ => return Some(self.told(folder, "entered", "x")),
            }
        }
        match path.metadata() {
            Ok(metadata) if self.may(&metadata, 0o4) => None,
            _ => Some(self.told(path, "read", "r")),
        }
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

    fn told(&self, path: &Path, what: &'static str, bit: &str) -> Obstacle {
        let quoted = format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
        let remedy = match path.metadata() {
            // The group may, so membership is enough, and it also holds for what comes by rotation.
            Ok(of) if of.mode() >> 3 & (if bit == "r" { 4 } else { 1 }) != 0 && of.gid() != 0 => {
                format!("usermod -aG {} {}", group_name(of.gid()), self.name)
            }
            _ => format!("setfacl -m u:{}:{bit} {quoted}", self.name),
        };
        Obstacle { path: path.to_owned(), what, remedy }
    }
}

/// What keeps a reader from a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    /// The file or the folder that is closed.
    pub(super) path: PathBuf,
    /// `read` or `entered`.
    pub(super) what: &'static str,
    /// A command for root.
    pub(super) remedy: String,
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
    }
}
