//! A disk that has of everything what was synced for certain, and of the rest what chance will have.
//!
//! As POSIX has it and no more: `fsync` of a file makes its content certain and not its name, which
//! `fsync` of its directory does. What was not synced may be there or not, each change by itself, in
//! any order; of a write any sectors; of a file its length before its content, with zeros in between.
//! Only a rename is whole: the file has its old name or its new one.

use super::calls::Call;
use logweir_tests::Random;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What a disk takes for done and does not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    None,
    /// `fdatasync` does nothing.
    Data,
    /// `fsync` of a file does nothing.
    Files,
    /// `fsync` of a directory does nothing.
    Directories,
}

/// What is at each path: the content of a file, or a directory.
pub(super) type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

#[derive(Debug)]
enum Node {
    File { synced: Vec<u8>, since: Vec<Change> },
    Directory { synced: Names, since: Vec<Renaming>, now: Names },
}

#[derive(Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    SetLength(usize),
}

type Names = BTreeMap<PathBuf, usize>;

/// A change of a directory: the file loses a name, or gains one, or both at once.
#[derive(Debug)]
struct Renaming {
    lost: Option<PathBuf>,
    gained: Option<(PathBuf, usize)>,
}

impl Renaming {
    fn apply(&self, names: &mut Names) {
        if let Some(lost) = &self.lost {
            names.remove(lost);
        }
        if let Some((gained, node)) = &self.gained {
            names.insert(gained.clone(), *node);
        }
    }
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Disk {
    lie: Lie,
    /// The first is the root.
    nodes: Vec<Node>,
}

impl Disk {
    /// Has all of `image` for certain.
    pub(super) fn of(image: &Image, lie: Lie) -> Self {
        let mut disk = Self { lie, nodes: vec![directory()] };
        // A directory comes before what is in it.
        for (path, content) in image {
            let node = match content {
                Some(content) => Node::File { synced: content.clone(), since: Vec::new() },
                None => directory(),
            };
            disk.add(path, node);
        }
        for node in &mut disk.nodes {
            if let Node::Directory { synced, since, now } = node {
                *synced = now.clone();
                since.clear();
            }
        }
        disk
    }

    fn add(&mut self, path: &Path, node: Node) {
        self.nodes.push(node);
        let node = self.nodes.len() - 1;
        self.rename(path, Renaming { lost: None, gained: Some((name(path), node)) });
    }

    /// Changes the directory that holds `path`.
    fn rename(&mut self, path: &Path, renaming: Renaming) {
        let parent = self.find(path.parent().expect("it is below the root"));
        match parent.map(|parent| &mut self.nodes[parent]) {
            Some(Node::Directory { since, now, .. }) => {
                renaming.apply(now);
                since.push(renaming);
            }
            _ => panic!("{} is in no directory", path.display()),
        }
    }

    fn find(&self, path: &Path) -> Option<usize> {
        path.components().try_fold(0, |at, component| match &self.nodes[at] {
            Node::Directory { now, .. } => now.get(Path::new(component.as_os_str())).copied(),
            Node::File { .. } => None,
        })
    }

    fn found(&mut self, path: &Path) -> &mut Node {
        let found = self.find(path).unwrap_or_else(|| panic!("no {}", path.display()));
        &mut self.nodes[found]
    }

    fn change(&mut self, path: &Path, change: impl FnOnce(usize) -> Change) {
        match self.found(path) {
            Node::File { synced, since } => {
                let length = content(synced, since).len();
                since.push(change(length));
            }
            Node::Directory { .. } => panic!("{} is a directory", path.display()),
        }
    }

    pub(super) fn apply(&mut self, call: &Call) {
        match call {
            Call::MakeDirectory(path) => self.add(path, directory()),
            Call::Create { path, emptied } => {
                if self.find(path).is_none() {
                    self.add(path, Node::File { synced: Vec::new(), since: Vec::new() });
                } else if *emptied {
                    self.change(path, |_| Change::SetLength(0));
                }
            }
            Call::Write { path, at, bytes } => self.change(path, |length| {
                let at = at.map_or(length, |at| at as usize);
                Change::Write { at, bytes: bytes.clone() }
            }),
            Call::SetLength { path, length } => {
                self.change(path, |_| Change::SetLength(*length as usize));
            }
            Call::Rename { from, to } => {
                assert_eq!(from.parent(), to.parent(), "a rename across directories");
                let node = self.find(from).expect("what is renamed is there");
                let renaming = Renaming { lost: Some(name(from)), gained: Some((name(to), node)) };
                self.rename(from, renaming);
            }
            Call::Remove(path) => {
                self.rename(path, Renaming { lost: Some(name(path)), gained: None });
            }
            Call::Sync(path) => self.sync(path, Lie::Files),
            Call::SyncData(path) => self.sync(path, Lie::Data),
        }
    }

    fn sync(&mut self, path: &Path, lie_of_files: Lie) {
        let lie = self.lie;
        match self.found(path) {
            Node::File { synced, since } if lie != lie_of_files => {
                *synced = content(synced, since);
                since.clear();
            }
            Node::Directory { synced, since, now } if lie != Lie::Directories => {
                *synced = now.clone();
                since.clear();
            }
            _ => {}
        }
    }

    /// What the disk may hold if the power is cut now.
    pub(super) fn cut(&self, random: &mut Random) -> Image {
        let mut image = Image::new();
        self.collect(0, Path::new(""), random, &mut image);
        image
    }

    fn collect(&self, node: usize, path: &Path, random: &mut Random, image: &mut Image) {
        match &self.nodes[node] {
            Node::File { synced, since } => {
                image.insert(path.to_owned(), Some(left(synced, since, random)));
            }
            Node::Directory { synced, since, .. } => {
                if node > 0 {
                    image.insert(path.to_owned(), None);
                }
                let mut names = synced.clone();
                let fate = Fate::drawn(since.len(), random);
                let kept = since.iter().enumerate().filter(|(at, _)| fate.keeps(*at, random));
                kept.for_each(|(_, renaming)| renaming.apply(&mut names));
                for (name, node) in names {
                    self.collect(node, &path.join(name), random, image);
                }
            }
        }
    }
}

/// What becomes of the changes of a file or a directory that were not synced.
enum Fate {
    /// Those before this one are there.
    Beginning(usize),
    /// Each is there by so many chances in four.
    Some(usize),
}

impl Fate {
    fn drawn(changes: usize, random: &mut Random) -> Self {
        match random.below(4) {
            0 => Self::Beginning(0),
            1 => Self::Beginning(changes),
            2 => Self::Beginning(random.below(changes + 1)),
            _ => Self::Some(random.below(4)),
        }
    }

    fn keeps(&self, at: usize, random: &mut Random) -> bool {
        match self {
            Self::Beginning(end) => at < *end,
            Self::Some(chances) => random.below(4) < *chances,
        }
    }
}

/// What of a file is left. With [`Fate::Some`] it has its full length, and zeros where nothing came.
fn left(synced: &[u8], since: &[Change], random: &mut Random) -> Vec<u8> {
    let fate = Fate::drawn(since.len(), random);
    let mut content = synced.to_vec();
    for (at, change) in since.iter().enumerate() {
        match (change, &fate) {
            (Change::SetLength(length), Fate::Some(_)) => content.resize(*length, 0),
            (Change::SetLength(length), _) if fate.keeps(at, random) => content.resize(*length, 0),
            (Change::Write { at, bytes }, Fate::Some(_)) => {
                content.resize(content.len().max(at + bytes.len()), 0);
                // By the sectors of the file, not by those of the write.
                let mut from = 0;
                while from < bytes.len() {
                    let to = (from + SECTOR - (at + from) % SECTOR).min(bytes.len());
                    if fate.keeps(from, random) {
                        content[at + from..at + to].copy_from_slice(&bytes[from..to]);
                    }
                    from = to;
                }
            }
            (Change::Write { at: place, bytes }, Fate::Beginning(end)) if at <= *end => {
                // The last one is torn.
                let kept = if at < *end { bytes.len() } else { random.below(bytes.len() + 1) };
                if kept > 0 {
                    write(&mut content, *place, &bytes[..kept]);
                }
            }
            _ => {}
        }
    }
    content
}

fn content(synced: &[u8], since: &[Change]) -> Vec<u8> {
    let mut content = synced.to_vec();
    for change in since {
        match change {
            Change::Write { at, bytes } => write(&mut content, *at, bytes),
            Change::SetLength(length) => content.resize(*length, 0),
        }
    }
    content
}

fn write(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    content.resize(content.len().max(at + bytes.len()), 0);
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

fn directory() -> Node {
    Node::Directory { synced: Names::new(), since: Vec::new(), now: Names::new() }
}

fn name(path: &Path) -> PathBuf {
    path.file_name().expect("it is below the root").into()
}

/// Makes `directory` what `image` says.
pub(super) fn lay_out(image: &Image, directory: &Path) {
    let _ = fs::remove_dir_all(directory);
    fs::create_dir_all(directory).expect("the test's directory can be written");
    for (path, content) in image {
        let path = directory.join(path);
        let made = match content {
            Some(content) => fs::write(path, content),
            None => fs::create_dir(path),
        };
        made.expect("the test's directory can be written");
    }
}
