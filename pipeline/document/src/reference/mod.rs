//! What a configuration can say, in one place: of these tables come the sample, the JSON Schema and
//! the page of the documentation, the names that environment variables can override, and which
//! origin a value has. A test of each program compares them with what its reader asks for
//! ([`disagreements`]), so that no key is read that is not described, and none described that is not
//! read.

mod agree;
mod page;
mod sample;
mod schema;

pub use agree::{disagreements, uncommented};

use std::time::Duration;

/// A mapping of the configuration.
#[derive(Debug)]
pub struct Section {
    /// What it is about, in Markdown.
    pub about: &'static str,
    pub keys: &'static [Key],
    /// Keys that somebody else gives names to.
    pub others: Option<Others>,
}

/// Keys of a section that are known, but described elsewhere.
#[derive(Debug)]
pub struct Others {
    pub about: &'static str,
    pub names: fn() -> Vec<Other>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    pub name: String,
    pub default: Option<&'static str>,
    /// The value is shown to no one.
    pub secret: bool,
}

/// A list of mappings that differ by their `type`.
#[derive(Debug)]
pub struct List {
    /// What all of them can have.
    pub common: &'static Section,
    pub variants: &'static [Variant],
}

/// One value of `type`, and the keys that go with it.
#[derive(Debug)]
pub struct Variant {
    pub name: &'static str,
    pub section: &'static Section,
}

/// One setting.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub value: Value,
    /// What it does, in a sentence or two of Markdown, without a full stop at the end.
    pub about: &'static str,
    pub applied: Applied,
    /// Names that it had once, or has in other programs; whoever writes one is told this one.
    pub formerly: &'static [&'static str],
}

/// What is written as a value.
#[derive(Debug)]
pub enum Kind {
    Text,
    Boolean,
    /// From, to.
    Integer(u64, u64),
    /// From, to.
    Duration(Duration, Duration),
    /// In bytes: from, to.
    Size(u64, u64),
    Choice(&'static [&'static str]),
    /// A list of texts, or one.
    Texts,
    /// Names of the user's own, with texts.
    Labels,
    /// `cores`, or a number from 1 to this.
    Cores(u64),
    /// `{file: PATH}` or `{credential: NAME}`.
    Secret,
    Section(&'static Section),
    /// A text, or a section.
    TextOr(&'static Section),
    List(&'static List),
}

/// What holds if nothing is written, and what the sample shows.
#[derive(Debug)]
pub enum Value {
    /// This.
    Default(&'static str),
    /// Something that the machine or another key decides: in words, and an example.
    Computed(&'static str, &'static str),
    /// Nothing: an example.
    Optional(&'static str),
    /// Nothing: an example that does not go together with another key.
    Apart(&'static str),
    /// There must be one: an example; of a section nothing.
    Required(&'static str),
    /// A section that may be left out.
    Inner,
}

/// When a changed value is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Restart,
    /// With `systemctl reload`, or SIGHUP.
    Reload,
    /// Within seconds, by itself.
    Live,
}

impl Applied {
    fn words(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Reload => "reload",
            Self::Live => "by itself",
        }
    }
}

impl Key {
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind, value: Value, about: &'static str) -> Self {
        Self { name, kind, value, about, applied: Applied::Restart, formerly: &[] }
    }

    #[must_use]
    pub const fn applied(mut self, applied: Applied) -> Self {
        self.applied = applied;
        self
    }

    #[must_use]
    pub const fn formerly(mut self, names: &'static [&'static str]) -> Self {
        self.formerly = names;
        self
    }
}

impl Section {
    /// A section whose keys are all its own.
    #[must_use]
    pub const fn of(about: &'static str, keys: &'static [Key]) -> Self {
        Self { about, keys, others: None }
    }

    /// The key of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Every key that has a default, with it; a key that stands in several sections is there more
    /// often.
    #[must_use]
    pub fn defaults(&self) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        for key in self.keys {
            if let Value::Default(text) = key.value {
                found.push((key.name, text));
            }
            key.kind.sections().iter().for_each(|section| found.extend(section.defaults()));
        }
        found
    }

    /// The names of [`Section::others`].
    #[must_use]
    pub fn other_names(&self) -> Vec<Other> {
        self.others.as_ref().map_or_else(Vec::new, |others| (others.names)())
    }

    /// The name that `key` of the section at `path` (`agent`, `sources[2].spool`) has here, if it is
    /// one that it had once.
    #[must_use]
    pub fn renamed(&self, path: &str, key: &str) -> Option<&'static str> {
        let sections = self.at(path);
        let mut keys = sections.iter().flat_map(|section| section.keys);
        keys.find(|known| known.formerly.contains(&key)).map(|known| known.name)
    }

    /// The sections that may stand at `path`: several if an item of a list has many types.
    fn at(&self, path: &str) -> Vec<&Self> {
        let mut found = vec![self];
        for part in path.split('.').filter(|part| !part.is_empty()) {
            let name = part.split('[').next().unwrap_or(part);
            let keys: Vec<&Key> = found.iter().filter_map(|section| section.key(name)).collect();
            found = keys.into_iter().flat_map(|key| key.kind.sections()).collect();
        }
        found
    }
}

impl Kind {
    /// The sections that a value may be.
    fn sections(&self) -> Vec<&'static Section> {
        match self {
            Self::Section(section) | Self::TextOr(section) => vec![section],
            Self::List(list) => {
                let variants = list.variants.iter().map(|variant| variant.section);
                std::iter::once(list.common).chain(variants).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Markdown without what only a page shows: links are their words.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, words, behind)) = link(rest) {
        out.push_str(before);
        out.push_str(words);
        rest = behind;
    }
    out.push_str(rest);
    out.replace('`', "")
}

/// What is before the first link, its words, and what is behind it.
fn link(text: &str) -> Option<(&str, &str, &str)> {
    let middle = text.find("](")?;
    let start = text[..middle].rfind('[')?;
    let end = middle + text[middle..].find(')')?;
    Some((&text[..start], &text[start + 1..middle], &text[end + 1..]))
}
