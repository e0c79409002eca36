//! What the process may still open once it runs, whoever takes it over: what its configuration names.
//!
//! Landlock (Linux 5.13 and newer) takes rights from a process for good, without any of its own. Reading
//! is left where the configuration points and where the system keeps what name resolution, certificates
//! and times need; writing, in the state directory and where sockets are made; running programs,
//! nowhere. Owns one promise: what the configuration named at the start can be read, also where it
//! appears, is replaced or comes back later.

use crate::config::{Loaded, SourceConfig};
use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, PathBeneath, PathFd,
    RestrictionStatus, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _,
    RulesetError, RulesetStatus,
};
use logweir_document::{Node, Value};
use logweir_service::Listen;
use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

/// The newest rights that are known here; an older kernel has fewer, and takes those that it has.
const NEWEST: ABI = ABI::V5;
/// What the C library, OpenSSL and the engine read: names, certificates, zones, the state of the
/// machine. Files of `/etc` are replaced by new ones (`resolv.conf` with every lease), which only a
/// right to their directory outlives.
const SYSTEM: [&str; 10] = [
    "/etc",
    "/usr",
    "/lib",
    "/lib64",
    "/proc",
    "/sys",
    "/dev",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
];
/// Files of the system that are often links to elsewhere.
const SYSTEM_LINKS: [&str; 2] = ["/etc/resolv.conf", "/etc/localtime"];
/// Where the runtime's files are that the links of `/var/log/pods` and `/var/log/containers` lead to.
const CONTAINERS: &str = "/var/lib/docker/containers";
/// Where journald keeps journals.
const JOURNALS: [&str; 2] = ["/var/log/journal", "/run/log/journal"];

static IN_FORCE: OnceLock<Confinement> = OnceLock::new();

/// What became of it: a process is confined once, for good.
#[derive(Debug)]
pub(crate) struct Confinement {
    /// `full`, `partial` (the kernel is older than the newest rights), `none` (it has no Landlock) or
    /// `off`.
    state: &'static str,
    read: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
}

/// Directories, and files that stand for themselves; what is below them is included.
#[derive(Debug, Default)]
struct Reach {
    /// Of the system.
    system: BTreeSet<PathBuf>,
    /// What the configuration names, as far as it is there.
    named: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
}

/// Keys whose paths are not for reading, or are none.
const NOT_READ: [&str; 5] = ["state_dir", "socket_dir", "unix_datagram", "unix_stream", "labels"];

/// Confines the calling thread and those that it starts from now on; `loaded` is the configuration in
/// use. To be called once, before there are threads, when the state directory is there.
pub(crate) fn confine(loaded: &Loaded) {
    let reach = Reach::of(loaded);
    let (read, write) = (reach.read(), reach.write);
    let state = if loaded.config.landlock { enforce(&read, &write) } else { "off" };
    let list = |set: &BTreeSet<PathBuf>| {
        set.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
    };
    match state {
        "full" | "partial" => tracing::info!(
            landlock = state,
            read = list(&read),
            write = list(&write),
            "the process can open nothing else from now on, and run no program"
        ),
        "none" => tracing::warn!(
            "the kernel has no Landlock: what the process may open is left to its user's rights"
        ),
        _ => tracing::info!(landlock = state, "Landlock is off by `agent.landlock`"),
    }
    let _ = IN_FORCE.set(Confinement { state, read, write });
}

/// How the process is confined; `off` where it never was asked to be, as in commands.
pub(crate) fn state() -> &'static str {
    IN_FORCE.get().map_or("off", |confinement| confinement.state)
}

/// Why a file cannot be opened that its mode allows to be: what to do, if it is this.
pub(crate) fn hint(path: &Path) -> &'static str {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match IN_FORCE.get() {
        Some(confinement) if confinement.forbids(&real) => {
            " (it lies outside of what Landlock lets the agent read: name its directory in \
             `agent.landlock_read`, and restart)"
        }
        _ => "",
    }
}

/// What a changed configuration names and a process that is confined cannot open before a restart.
pub(crate) fn out_of_reach(loaded: &Loaded) -> Vec<PathBuf> {
    let Some(confinement) = IN_FORCE.get() else { return Vec::new() };
    let wanted = Reach::of(loaded);
    let mut out: Vec<PathBuf> =
        wanted.named.into_iter().filter(|path| confinement.forbids(path)).collect();
    let is_writable = |path: &PathBuf| confinement.is_within(&confinement.write, path);
    out.extend(wanted.write.into_iter().filter(|path| !is_writable(path)));
    out
}

/// Those of `files` that the process will not open once it is confined: links that lead elsewhere.
pub(crate) fn beyond<'f>(loaded: &Loaded, files: &'f BTreeSet<PathBuf>) -> Vec<&'f PathBuf> {
    if !loaded.config.landlock {
        return Vec::new();
    }
    let reach = Reach::of(loaded).read();
    let is_beyond = |path: &&PathBuf| {
        let real = path.canonicalize();
        real.is_ok_and(|real| !reach.iter().any(|root| real.starts_with(root)))
    };
    files.iter().filter(is_beyond).collect()
}

impl Confinement {
    fn forbids(&self, path: &Path) -> bool {
        !self.is_within(&self.read, path) && !self.is_within(&self.write, path)
    }

    /// Whether `path` lies in one of `roots`; without Landlock everything does.
    fn is_within(&self, roots: &BTreeSet<PathBuf>, path: &Path) -> bool {
        !matches!(self.state, "full" | "partial") || roots.iter().any(|root| path.starts_with(root))
    }
}

impl Reach {
    fn of(loaded: &Loaded) -> Self {
        let config = &loaded.config;
        let mut reach = Self::default();
        reach.system();
        config.path.iter().for_each(|path| reach.name(path));
        // Whatever looks like a path: globs, packs, certificates, files with secrets.
        reach.names(&loaded.document.root);
        for source in &config.sources {
            match source {
                SourceConfig::Journald(journald) if journald.directories.is_empty() => {
                    JOURNALS.iter().for_each(|path| reach.name(Path::new(path)));
                }
                SourceConfig::Syslog(syslog) => {
                    let sockets = [&syslog.listen.unix_datagram, &syslog.listen.unix_stream];
                    sockets.into_iter().flatten().for_each(|unix| reach.socket(&unix.path));
                }
                _ => {}
            }
        }
        if reach.named.iter().any(|path| path.starts_with("/var/log")) {
            reach.system.extend(Path::new(CONTAINERS).canonicalize());
        }
        if let Some(Listen::Unix(path)) = &config.metrics {
            reach.socket(path);
        }
        let made = [&config.state_dir, &config.socket_dir];
        reach.write.extend(made.into_iter().filter_map(|path| path.canonicalize().ok()));
        reach.write.insert("/dev/null".into());
        reach
    }

    fn system(&mut self) {
        self.system.extend(SYSTEM.iter().filter_map(|path| Path::new(path).canonicalize().ok()));
        for path in SYSTEM_LINKS.iter().filter_map(|path| Path::new(path).canonicalize().ok()) {
            self.system.extend(path.parent().map(Path::to_owned));
        }
        let named = ["CREDENTIALS_DIRECTORY", "SSL_CERT_FILE", "SSL_CERT_DIR"];
        let named = named.iter().filter_map(std::env::var_os);
        self.system.extend(named.filter_map(|path| Path::new(&path).canonicalize().ok()));
    }

    /// What may be read. For a directory that is named to be removed and made again, the one above is
    /// taken, unless that is one of the first below the root.
    fn read(&self) -> BTreeSet<PathBuf> {
        let lasting = |path: &PathBuf| match path.parent() {
            Some(above) if path.is_dir() && path.components().count() > 3 => above.to_owned(),
            _ => path.clone(),
        };
        let all: BTreeSet<PathBuf> =
            self.system.iter().cloned().chain(self.named.iter().map(lasting)).collect();
        // What is below another needs no rule.
        let is_below = |path: &Path| path.ancestors().skip(1).any(|above| all.contains(above));
        all.iter().filter(|path| !is_below(path)).cloned().collect()
    }

    /// All texts of a configuration that are absolute paths, or name something in the directory in
    /// which the agent was started.
    fn names(&mut self, node: &Node) {
        match &node.value {
            Value::Mapping(entries) => {
                let read = |key: &str| !NOT_READ.contains(&key);
                let entries = entries.iter().filter(|(key, _)| read(&key.name));
                entries.for_each(|(_, node)| self.names(node));
            }
            Value::Sequence(nodes) => nodes.iter().for_each(|node| self.names(node)),
            Value::Scalar(scalar) => {
                let text = scalar.text.strip_prefix("file://").unwrap_or(&scalar.text);
                let path = Path::new(text);
                if path.is_absolute() || path.exists() {
                    self.name(path);
                }
            }
        }
    }

    /// A path or glob that is named: the directory that is fixed in it. What is not there yet will
    /// appear in what is there.
    fn name(&mut self, path: &Path) {
        let Ok(path) = std::path::absolute(path) else { return };
        let fixed = fixed(&path);
        let mut directories = vec![fixed.as_path()];
        // A link leads to a file in another directory.
        let target = fixed.canonicalize().ok().filter(|target| target.is_file());
        if fixed == path && !fixed.is_dir() {
            directories = fixed.parent().into_iter().collect();
            directories.extend(target.iter().filter_map(|target| target.parent()));
        }
        let there = |path: &Path| path.ancestors().find_map(|path| path.canonicalize().ok());
        self.named.extend(directories.into_iter().filter_map(there));
    }

    /// A socket that is made in a directory.
    fn socket(&mut self, path: impl AsRef<Path>) {
        let path = path.as_ref();
        // One of systemd's has no path.
        if let Some(directory) = path.parent().filter(|_| path.is_absolute()) {
            self.write.extend(directory.canonicalize());
        }
    }
}

/// Takes all other rights from this thread; returns the state.
fn enforce(read: &BTreeSet<PathBuf>, write: &BTreeSet<PathBuf>) -> &'static str {
    match restrict(read, write).map(|status| status.ruleset) {
        Ok(RulesetStatus::FullyEnforced) => "full",
        Ok(RulesetStatus::PartiallyEnforced) => "partial",
        Ok(RulesetStatus::NotEnforced) => "none",
        Err(error) => {
            tracing::warn!(%error, "Landlock takes no rules");
            "none"
        }
    }
}

fn restrict(
    read: &BTreeSet<PathBuf>,
    write: &BTreeSet<PathBuf>,
) -> Result<RestrictionStatus, RulesetError> {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .create()?;
    let ruleset = allow(ruleset, read, AccessFs::ReadFile | AccessFs::ReadDir)?;
    let all = AccessFs::from_all(NEWEST) & !BitFlags::from_flag(AccessFs::Execute);
    allow(ruleset, write, all)?.restrict_self()
}

/// What is not there any more needs no right.
fn allow(
    mut ruleset: RulesetCreated,
    paths: &BTreeSet<PathBuf>,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    for path in paths {
        let Ok(place) = PathFd::new(path) else { continue };
        let of_file = AccessFs::from_file(NEWEST);
        let access = if path.is_dir() { access } else { access & of_file };
        ruleset = ruleset.add_rule(PathBeneath::new(place, access))?;
    }
    Ok(ruleset)
}

/// What stands before the first component of a glob that is a pattern.
fn fixed(path: &Path) -> PathBuf {
    let is_pattern = |part: &Component<'_>| {
        part.as_os_str().as_encoded_bytes().iter().any(|byte| b"*?[{\\".contains(byte))
    };
    path.components().take_while(|part| !is_pattern(part)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(path: &Path) -> Vec<PathBuf> {
        let mut reach = Reach::default();
        reach.name(path);
        reach.read().into_iter().collect()
    }

    #[test]
    fn a_glob_reaches_what_is_fixed_in_it_and_the_directory_above() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("a/b/file"), "").unwrap();
        for (name, expected) in [
            ("a/b/*.log", "a"),
            ("a/b/**/x-{1,2}.log", "a"),
            ("a/b/file", "a"),
            ("a/b/new/not/there/*.log", "a"),
            ("a/*/c.log", ""),
        ] {
            let expected = root.join(expected).components().collect::<PathBuf>();
            assert_eq!(reach(&root.join(name)), [expected], "{name}");
        }
        // Not all of the root for what stands below it, nor all of /var for /var/log.
        assert_eq!(
            reach(Path::new("/usr/lib/*.log")),
            [Path::new("/usr/lib").canonicalize().unwrap()]
        );
        assert_eq!(reach(Path::new("Cargo.toml")), reach(&std::path::absolute("x").unwrap()));
        assert_eq!(reach(Path::new("/not-there/*.log")), [Path::new("/")]);
    }

    #[test]
    fn a_link_reaches_also_where_it_leads() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for name in ["logs", "data"] {
            std::fs::create_dir_all(root.join(name).join("app")).unwrap();
        }
        std::fs::write(root.join("data/app/log"), "").unwrap();
        std::os::unix::fs::symlink(root.join("data/app/log"), root.join("logs/app/log")).unwrap();
        let found = reach(&root.join("logs/app/log"));
        assert_eq!(found, [root.join("data"), root.join("logs")]);
    }

    #[test]
    fn what_a_link_behind_a_glob_leads_to_is_beyond_until_it_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for name in ["a/b/logs", "c/d/elsewhere"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        let (log, link) = (root.join("c/d/elsewhere/x.log"), root.join("a/b/logs/x.log"));
        std::fs::write(&log, "").unwrap();
        std::os::unix::fs::symlink(&log, &link).unwrap();
        let path = root.join("e/f/agent.yaml");
        std::fs::create_dir_all(root.join("e/f")).unwrap();
        for (agent, count) in [
            (String::new(), 1),
            (format!("landlock_read: ['{}']", root.join("c/d/elsewhere").display()), 0),
            ("landlock: false".to_owned(), 0),
        ] {
            let text = format!(
                "agent: {{state_dir: '{0}/a/state', {agent}}}\nkafka: {{bootstrap.servers: 'a:1'}}\nrules: {{shipped: false}}\nsources: [{{type: file, paths: ['{0}/a/b/logs/*.log']}}]\n",
                root.display()
            );
            std::fs::write(&path, text).unwrap();
            let (loaded, _) = Loaded::from_file(&path).unwrap();
            assert_eq!(beyond(&loaded, &[link.clone()].into()).len(), count, "{agent}");
        }
    }

    #[test]
    fn a_file_that_is_named_as_an_address_is_reached_as_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("run/tokens")).unwrap();
        let path = root.join("run/tokens/kafka");
        std::fs::write(&path, "").unwrap();
        let text = format!("kafka: {{x: 'file://{}', y: 'https://idp.example/t'}}", path.display());
        let mut named = Reach::default();
        named.names(&logweir_document::parse("agent.yaml", &text).unwrap().root);
        assert_eq!(named.read().into_iter().collect::<Vec<_>>(), reach(&path));
    }
}
