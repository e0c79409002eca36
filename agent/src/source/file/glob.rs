//! Globs for paths: `*`, `?`, `[a-z]` and `{a,b}` within one component, `**` across components.

use super::way::{is_unfollowed, leads_to_directory};
use globset::{GlobBuilder, GlobMatcher};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

/// How deep `**` looks.
const DEPTH_MAX: usize = 32;

/// One pattern, taken apart by path components.
#[derive(Debug, Clone)]
pub(crate) struct Glob {
    text: String,
    whole: GlobMatcher,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Name(String),
    Pattern(GlobMatcher),
    Recursive,
}

/// How far a directory was looked into.
#[derive(Debug)]
pub(crate) enum Look {
    /// For all of its names.
    Listed,
    /// For one name.
    Asked,
    /// This process has no right to.
    Refused,
    /// It is a link that is not followed.
    Unfollowed(io::Error),
}

impl Look {
    fn of<T>(outcome: &io::Result<T>, allowed: Self) -> Self {
        let refused =
            outcome.as_ref().is_err_and(|error| error.kind() == ErrorKind::PermissionDenied);
        if refused { Self::Refused } else { allowed }
    }
}

impl Glob {
    /// # Errors
    /// What is wrong with the pattern.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let matcher = |text: &str| {
            let glob =
                GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
            glob.map(|glob| glob.compile_matcher()).map_err(|error| error.kind().to_string())
        };
        let whole = matcher(text)?;
        let mut parts = Vec::new();
        for component in Path::new(text).components() {
            let Component::Normal(name) = component else { continue };
            let name = name.to_str().ok_or("it is not UTF-8")?;
            parts.push(match name {
                "**" => Part::Recursive,
                name if name.contains(['*', '?', '[', '{', '\\']) => Part::Pattern(matcher(name)?),
                name => Part::Name(name.to_owned()),
            });
        }
        Ok(Self { text: text.to_owned(), whole, parts })
    }

    /// The pattern that is for this path alone.
    ///
    /// # Errors
    /// As for [`Glob::new`].
    pub(crate) fn literal(path: &str) -> Result<Self, String> {
        Self::new(&globset::escape(path))
    }

    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern is for `path`; one without a slash looks at the name only.
    #[must_use]
    pub(crate) fn matches(&self, path: &Path) -> bool {
        if self.text.contains('/') {
            return self.whole.is_match(path);
        }
        path.file_name().is_some_and(|name| self.whole.is_match(name))
    }

    /// Calls `file` for every path that matches, and `directory` for every directory that was
    /// looked into or could not be.
    pub(crate) fn expand(
        &self,
        file: &mut dyn FnMut(PathBuf),
        directory: &mut dyn FnMut(&Path, Look),
    ) {
        descend(Path::new("/"), &self.parts, 0, file, directory);
    }
}

fn descend(
    base: &Path,
    parts: &[Part],
    depth: usize,
    file: &mut dyn FnMut(PathBuf),
    directory: &mut dyn FnMut(&Path, Look),
) {
    let Some((part, rest)) = parts.split_first() else { return };
    match part {
        Part::Name(name) => {
            let path = base.join(name);
            if rest.is_empty() {
                let there = path.symlink_metadata();
                directory(base, Look::of(&there, Look::Asked));
                if there.is_ok() {
                    file(path);
                }
            } else {
                let there = may_enter(&path, directory);
                if matches!(there, Ok(true)) {
                    descend(&path, rest, depth, file, directory);
                } else {
                    // It may come: then the watch on what is above it tells.
                    directory(base, Look::of(&there, Look::Asked));
                }
            }
        }
        Part::Pattern(matcher) => {
            for (path, is_directory) in entries(base, directory) {
                let name = path.file_name().unwrap_or_default();
                if !matcher.is_match(name) {
                    continue;
                }
                if rest.is_empty() {
                    file(path);
                } else if is_directory || may_enter(&path, directory).unwrap_or(false) {
                    descend(&path, rest, depth, file, directory);
                }
            }
        }
        Part::Recursive => {
            if rest.is_empty() {
                for (path, is_directory) in entries(base, directory) {
                    if is_directory && depth < DEPTH_MAX {
                        descend(&path, parts, depth + 1, file, directory);
                    } else if !is_directory {
                        file(path);
                    }
                }
                return;
            }
            descend(base, rest, depth, file, directory);
            // Links to directories are not followed here: they may lead in a circle.
            for (path, is_directory) in entries(base, directory) {
                if is_directory && depth < DEPTH_MAX {
                    descend(&path, parts, depth + 1, file, directory);
                }
            }
        }
    }
}

/// Whether there is a directory, be it behind a link that is followed.
fn may_enter(path: &Path, directory: &mut dyn FnMut(&Path, Look)) -> io::Result<bool> {
    leads_to_directory(path).or_else(|error| {
        if !is_unfollowed(&error) {
            return Err(error);
        }
        directory(path, Look::Unfollowed(error));
        Ok(false)
    })
}

/// The entries of a directory with whether they are directories themselves, in order of name.
fn entries(base: &Path, directory: &mut dyn FnMut(&Path, Look)) -> Vec<(PathBuf, bool)> {
    let found = std::fs::read_dir(base);
    let look = Look::of(&found, Look::Listed);
    if found.is_ok() || matches!(look, Look::Refused) {
        directory(base, look);
    }
    let Ok(found) = found else { return Vec::new() };
    let mut entries: Vec<(PathBuf, bool)> = found
        .filter_map(Result::ok)
        .map(|entry| (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir())))
        .collect();
    entries.sort();
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_glob_finds_what_it_says_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        for path in ["a.log", "b.log", "c.txt", "x/a.log", "x/y/a.log", "x/y/z/b.log"] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        for (pattern, expected) in [
            ("*.log", vec!["a.log", "b.log"]),
            ("a.log", vec!["a.log"]),
            ("{a,c}.*", vec!["a.log", "c.txt"]),
            ("[b-z].*", vec!["b.log", "c.txt"]),
            ("*/a.log", vec!["x/a.log"]),
            ("**/a.log", vec!["a.log", "x/a.log", "x/y/a.log"]),
            ("x/**", vec!["x/a.log", "x/y/a.log", "x/y/z/b.log"]),
            ("none/*.log", vec![]),
        ] {
            let glob = Glob::new(&format!("{}/{pattern}", root.path().display())).unwrap();
            let mut found = Vec::new();
            glob.expand(&mut |path| found.push(path), &mut |_, _| {});
            found.sort();
            let expected: Vec<PathBuf> =
                expected.iter().map(|path| root.path().join(path)).collect();
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_without_a_slash_is_for_the_name() {
        for (pattern, path, expected) in [
            ("*.gz", "/var/log/a.gz", true),
            ("*.gz", "/var/log/a.log", false),
            ("/var/*/a.gz", "/var/log/a.gz", true),
            ("/var/*", "/var/log/a.gz", false),
            ("/var/**", "/var/log/a.gz", true),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().matches(Path::new(path)), expected, "{pattern}");
        }
        assert!(Glob::new("/a[").is_err());
    }
}
