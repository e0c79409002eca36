//! A configuration put together: the file, the files of a directory beside it by their names, and
//! what environment variables override.
//!
//! Mappings are merged and lists appended; a key that is given twice by files is a fault which names
//! both places, since nobody could tell which one holds. A variable overrides what the files say:
//! `LOGWEIR_KAFKA__BOOTSTRAP_SERVERS` is `kafka.bootstrap.servers`; two underscores stand between the
//! levels, one stands for every sign that is no letter and no digit. Items of lists cannot be named.

use crate::diagnostic::Diagnostic;
use crate::nearest::nearest;
use crate::node::{Document, Key, Node, Scalar, Source, Span, Style, Value, parse};
use crate::reference::{Kind, Section};
use crate::secret::may_hold_secret;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the variables' names begin with.
const PREFIX: &str = "LOGWEIR_";
/// What the environment is called in messages.
const ENVIRONMENT: &str = "environment";
/// More files in one directory are no configuration that somebody has written.
const PARTS_MAX: usize = 1000;

/// Where a configuration comes from.
#[derive(Debug, Clone, Copy)]
pub struct Layers<'p> {
    pub main: &'p Path,
    /// The name of a directory beside `main`; its `*.yaml` are read after it, ordered by name.
    pub parts: &'static str,
    /// How to come by a first one where `main` is not there, for messages.
    pub first: &'static str,
    pub reference: &'static Section,
}

impl Layers<'_> {
    /// Reads all of it, with the overrides of this process's environment.
    ///
    /// # Errors
    /// Every file that cannot be read or is no YAML, every key that is given twice, every variable
    /// that names no setting.
    pub fn read(&self) -> Result<Document, Vec<Diagnostic>> {
        self.read_with(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        }))
    }

    /// As [`Layers::read`], with these variables.
    ///
    /// # Errors
    /// As for [`Layers::read`].
    pub fn read_with(
        &self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Document, Vec<Diagnostic>> {
        let mut document = read_file(self.main, self.first).map_err(|fault| vec![*fault])?;
        let mut faults = Vec::new();
        match part_files(self.main, self.parts) {
            Ok(parts) => {
                for path in parts {
                    match read_file(&path, self.first) {
                        Ok(part) => document.append(part, &mut faults),
                        Err(fault) => faults.push(*fault),
                    }
                }
            }
            Err(fault) => faults.push(*fault),
        }
        document.override_by(self.reference, variables, &mut faults);
        if faults.is_empty() { Ok(document) } else { Err(faults) }
    }
}

/// The files of the directory `parts` beside `main`, ordered by name; none if there is no such
/// directory.
///
/// # Errors
/// The directory cannot be read, or holds more than a thousand of them.
pub fn part_files(main: &Path, parts: &str) -> Result<Vec<PathBuf>, Box<Diagnostic>> {
    let directory = main.parent().unwrap_or(Path::new("")).join(parts);
    let fault = |message: String, remedy: &str| {
        let name = directory.display().to_string();
        Box::new(Diagnostic::of_file(name, message).with_remedy(remedy))
    };
    let entries = match std::fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let remedy = "let this user read the directory, or remove it";
            return Err(fault(format!("cannot be read: {error}"), remedy));
        }
    };
    let is_part = |path: &PathBuf| {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !hidden
            && path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
    };
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path()).filter(is_part);
    let mut paths: Vec<PathBuf> = paths.take(PARTS_MAX + 1).collect();
    if paths.len() > PARTS_MAX {
        let message = format!("holds more than {PARTS_MAX} files");
        return Err(fault(message, "put several of them into one"));
    }
    paths.sort();
    Ok(paths)
}

fn read_file(path: &Path, first: &str) -> Result<Document, Box<Diagnostic>> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&name, &text).map_err(|mut fault| {
            let line = fault.line.checked_sub(1).and_then(|line| text.lines().nth(line));
            if line.is_some_and(may_hold_secret) {
                fault.snippet = None;
            }
            fault
        }),
        Err(error) => {
            let remedy = match error.kind() {
                std::io::ErrorKind::PermissionDenied => {
                    "run this as a user who may read it, or let this user read it".to_owned()
                }
                std::io::ErrorKind::NotFound => format!("{first}; or name another with --config"),
                _ => "name a file of text with --config".to_owned(),
            };
            let fault = Diagnostic::of_file(name, format!("cannot be read: {error}"));
            Err(Box::new(fault.with_remedy(remedy)))
        }
    }
}

impl Document {
    /// Adds what `part` says.
    fn append(&mut self, mut part: Document, faults: &mut Vec<Diagnostic>) {
        self.more.push(part.source);
        let file = u16::try_from(self.more.len()).expect("there are at most a thousand parts");
        renumber(&mut part.root, file);
        let mut root = std::mem::replace(
            &mut self.root,
            Node { span: Span::default(), value: Value::Mapping(Arc::default()) },
        );
        self.merge(&mut root, part.root, "", faults);
        self.root = root;
    }

    fn merge(&self, into: &mut Node, from: Node, path: &str, faults: &mut Vec<Diagnostic>) {
        if from.is_null() {
            return;
        }
        if into.is_null() {
            *into = from;
            return;
        }
        match (&mut into.value, from.value) {
            (Value::Mapping(old), Value::Mapping(new)) => {
                let old = Arc::make_mut(old);
                for (key, node) in Arc::unwrap_or_clone(new) {
                    let place = join(path, &key.name);
                    match old.iter_mut().find(|(known, _)| known.name == key.name) {
                        Some((_, known)) => self.merge(known, node, &place, faults),
                        None => old.push((key, node)),
                    }
                }
            }
            (Value::Sequence(old), Value::Sequence(new)) => {
                Arc::make_mut(old).extend(Arc::unwrap_or_clone(new));
            }
            (old, new) => {
                let what = if path.is_empty() { "the document" } else { path };
                let other = self.place(into.span);
                let same = std::mem::discriminant(old) == std::mem::discriminant(&new);
                let message = if same {
                    format!("`{what}` is given twice")
                } else {
                    format!("`{what}` is given twice, as values of two kinds")
                };
                let fault = Diagnostic::at(self.source_of(from.span), from.span, message);
                faults
                    .push(fault.with_remedy(format!("it is in {other} as well; keep one of them")));
            }
        }
    }

    /// `agent.yaml:12`, or the name of an environment variable.
    #[must_use]
    pub fn place(&self, span: Span) -> String {
        let source = self.source_of(span);
        if source.name == ENVIRONMENT {
            let line = source.line(span.line).unwrap_or_default();
            return format!("${}", line.split('=').next().unwrap_or_default());
        }
        format!("{}:{}", source.name, span.line)
    }

    fn override_by(
        &mut self,
        reference: &'static Section,
        variables: impl Iterator<Item = (String, String)>,
        faults: &mut Vec<Diagnostic>,
    ) {
        let mut names = Vec::new();
        settings(reference, &[], &mut names);
        let mut found: Vec<(String, String)> = variables
            .filter(|(name, _)| name.starts_with(PREFIX))
            .filter(|(name, _)| {
                name.contains("__") || names.iter().any(|set| set.variable == *name)
            })
            .collect();
        if found.is_empty() {
            return;
        }
        found.sort();
        let setting = |name: &str| names.iter().find(|setting| setting.variable == name);
        let shown = |(name, value): &(String, String)| {
            // A secret must not come into a message by the way of the line that it stands in.
            let hidden = setting(name).is_none_or(|setting| setting.secret);
            let value = if hidden { "(hidden)" } else { value };
            format!("{name}={}\n", value.replace(['\r', '\n'], " "))
        };
        let text = found.iter().map(shown).collect();
        let source = Arc::new(Source { name: ENVIRONMENT.into(), text });
        self.more.push(source.clone());
        let file = u16::try_from(self.more.len()).expect("there are at most a thousand parts");
        for (index, (name, value)) in found.into_iter().enumerate() {
            let column = name.chars().count() + 2;
            let span = Span { file, line: index + 1, column, width: usize::MAX };
            match setting(&name) {
                Some(setting) => match node_of(&value, span) {
                    Ok(node) => put(&mut self.root, &setting.path, node),
                    Err(reason) => faults.push(
                        Diagnostic::at(&source, span, format!("`{name}` is no YAML: {reason}"))
                            .with_remedy("a value that begins with `[` or `{` is read as YAML"),
                    ),
                },
                None => {
                    let near =
                        nearest(&name, names.iter().map(|setting| setting.variable.as_str()));
                    let remedy = near.map_or_else(
                        || "unset it; `config show --origin` tells what can be set".to_owned(),
                        |near| format!("did you mean `{near}`?"),
                    );
                    let at = Span { column: 1, width: name.chars().count(), ..span };
                    let message = format!("the variable `{name}` names no setting");
                    faults.push(Diagnostic::at(&source, at, message).with_remedy(remedy));
                }
            }
        }
    }
}

/// A setting that a variable can override.
struct Setting {
    variable: String,
    path: Vec<String>,
    secret: bool,
}

fn settings(section: &'static Section, path: &[&str], found: &mut Vec<Setting>) {
    let mut add = |name: &str, secret: bool| {
        let path: Vec<String> = path.iter().copied().chain([name]).map(str::to_owned).collect();
        let levels: Vec<String> = path.iter().map(|part| folded(part)).collect();
        let variable = format!("{PREFIX}{}", levels.join("__"));
        found.push(Setting { variable, path, secret });
    };
    for key in section.keys {
        match &key.kind {
            Kind::Section(_) | Kind::List(_) => {}
            kind => add(key.name, matches!(kind, Kind::Secret)),
        }
    }
    for other in section.other_names() {
        add(&other.name, other.secret);
    }
    for key in section.keys {
        if let Kind::Section(section) = &key.kind {
            let path: Vec<&str> = path.iter().copied().chain([key.name]).collect();
            settings(section, &path, found);
        }
    }
}

fn folded(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(letter).collect()
}

fn node_of(value: &str, span: Span) -> Result<Node, String> {
    let mut node = if value.starts_with(['[', '{']) {
        parse(ENVIRONMENT, value).map_err(|fault| fault.message)?.root
    } else {
        let scalar = Scalar { text: value.to_owned(), style: Style::Plain };
        Node { span, value: Value::Scalar(scalar) }
    };
    relocate(&mut node, &|_| span);
    Ok(node)
}

/// Puts `node` where `path` leads to; what is in its way is replaced.
fn put(root: &mut Node, path: &[String], node: Node) {
    let Some((name, rest)) = path.split_first() else {
        *root = node;
        return;
    };
    if !matches!(root.value, Value::Mapping(_)) {
        root.value = Value::Mapping(Arc::default());
    }
    let Value::Mapping(entries) = &mut root.value else { return };
    let entries = Arc::make_mut(entries);
    let index = entries.iter().position(|(key, _)| key.name == *name).unwrap_or_else(|| {
        let key = Key { name: name.clone(), span: node.span };
        entries.push((key, Node { span: node.span, value: Value::Mapping(Arc::default()) }));
        entries.len() - 1
    });
    put(&mut entries[index].1, rest, node);
}

fn renumber(node: &mut Node, file: u16) {
    relocate(node, &|span| Span { file, ..span });
}

fn relocate(node: &mut Node, to: &impl Fn(Span) -> Span) {
    node.span = to(node.span);
    match &mut node.value {
        Value::Scalar(_) => {}
        Value::Sequence(items) => {
            Arc::make_mut(items).iter_mut().for_each(|item| relocate(item, to));
        }
        Value::Mapping(entries) => {
            for (key, node) in Arc::make_mut(entries) {
                key.span = to(key.span);
                relocate(node, to);
            }
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::{Other, Others, Value as Given};
    use crate::{Faults, Shown, Table, render_all, show};
    use std::fs;

    const TEXT: Given = Given::Optional("x");

    static INNER: Section = Section {
        about: "",
        keys: &[
            crate::reference::Key::new("flush_bytes", Kind::Text, Given::Default("64MiB"), ""),
            crate::reference::Key::new("password", Kind::Secret, TEXT, ""),
            crate::reference::Key::new("zone", Kind::Text, TEXT, "").formerly(&["timezone"]),
        ],
        others: Some(Others {
            about: "",
            names: || vec![Other { name: "linger.ms".into(), default: Some("50"), secret: false }],
        }),
    };
    static REFERENCE: Section = Section::of(
        "",
        &[
            crate::reference::Key::new("topic", Kind::Text, TEXT, ""),
            crate::reference::Key::new("inner", Kind::Section(&INNER), Given::Inner, ""),
            crate::reference::Key::new("list", Kind::Texts, TEXT, ""),
        ],
    );

    const FIRST: &str = "`program init` writes a first one";

    /// Puts a configuration together of files by name and text, and of variables.
    fn read(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<String, String> {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("conf.d")).unwrap();
        for (name, text) in files {
            fs::write(at(name), text).unwrap();
        }
        let main = at("main.yaml");
        let layers = Layers { main: &main, parts: "conf.d", first: FIRST, reference: &REFERENCE };
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let prefix = format!("{}/", directory.path().display());
        match layers.read_with(variables.iter().map(pair)) {
            Ok(document) => Ok(show(&document, &REFERENCE, Shown::Origins).replace(&prefix, "")),
            Err(faults) => Err(render_all(&faults, false).replace(&prefix, "")),
        }
    }

    #[test]
    fn parts_are_merged_by_name_and_variables_override_them() {
        let shown = read(
            &[
                ("main.yaml", "topic: a\nlist: [one]\ninner: {zone: UTC}\n"),
                ("conf.d/20.yml", "list:\n  - three\n"),
                ("conf.d/10.yaml", "list: [two]\ninner:\n  linger.ms: 5\n"),
                ("conf.d/.hidden.yaml", "topic: ["),
                ("conf.d/note.txt", "topic: ["),
            ],
            &[
                ("LOGWEIR_INNER__ZONE", "local"),
                ("LOGWEIR_TOPIC", "b"),
                ("LOGWEIR_LOG", "debug"),
                ("LOGWEIR_INNER__PASSWORD", "{file: /x}"),
                ("PATH", "x"),
            ],
        )
        .unwrap();
        let squeezed: Vec<String> = shown
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            squeezed,
            [
                "topic: b # $LOGWEIR_TOPIC",
                "inner:",
                "flush_bytes: 64MiB # default",
                "password: {file: /x} # $LOGWEIR_INNER__PASSWORD",
                "zone: local # $LOGWEIR_INNER__ZONE",
                "linger.ms: 5 # conf.d/10.yaml:3",
                "list: [one, two, three] # main.yaml:2",
            ]
        );
    }

    #[test]
    fn what_is_given_twice_or_names_nothing_is_told_with_every_place() {
        let faults = read(
            &[
                ("main.yaml", "topic: a\ninner: {zone: UTC}\n"),
                ("conf.d/10.yaml", "inner:\n  zone: local\n"),
                ("conf.d/20.yaml", "topic: [b]\n"),
                ("conf.d/30.yaml", "topic: [\n"),
            ],
            &[("LOGWEIR_INNER__ZON", "canary"), ("LOGWEIR_INNER__PASSWORD", "{file")],
        )
        .unwrap_err();
        for expected in [
            "conf.d/10.yaml:2:9: error: `inner.zone` is given twice\n",
            "help: it is in main.yaml:2 as well; keep one of them",
            "conf.d/20.yaml:1:8: error: `topic` is given twice, as values of two kinds",
            "conf.d/30.yaml:",
            "environment:1:25: error: `LOGWEIR_INNER__PASSWORD` is no YAML",
            "environment:2:1: error: the variable `LOGWEIR_INNER__ZON` names no setting",
            "did you mean `LOGWEIR_INNER__ZONE`?",
        ] {
            assert!(faults.contains(expected), "{expected:?} is not in\n{faults}");
        }
        assert!(!faults.contains("canary"), "{faults}");
    }

    #[test]
    fn where_there_is_none_it_is_told_how_to_come_by_one() {
        let faults = read(&[], &[]).unwrap_err();
        assert_eq!(
            faults,
            "main.yaml: error: cannot be read: No such file or directory (os error 2)\n  \
             help: `program init` writes a first one; or name another with --config\n1 error\n"
        );
    }

    #[test]
    fn a_fault_in_a_part_is_told_with_its_line_there_and_by_the_new_name() {
        let directory = tempfile::tempdir().unwrap();
        let main = directory.path().join("main.yaml");
        fs::create_dir(directory.path().join("conf.d")).unwrap();
        fs::write(&main, "topic: a\n").unwrap();
        fs::write(directory.path().join("conf.d/a.yaml"), "inner:\n  timezone: UTC\n").unwrap();
        let layers = Layers { main: &main, parts: "conf.d", first: FIRST, reference: &REFERENCE };
        let document = layers.read_with(std::iter::empty()).unwrap();
        let mut faults = Faults::of(&document, &REFERENCE);
        let mut root = Table::open(&document.root, "", &mut faults).unwrap();
        let mut inner = root.table("inner", &mut faults).unwrap();
        inner.string("zone", &mut faults);
        inner.finish(&mut faults);
        let shown = render_all(&faults.into_list(), false);
        assert!(shown.contains("a.yaml:2:3: error: unknown key `timezone` in `inner`"), "{shown}");
        assert!(shown.contains(" 2 |   timezone: UTC"), "{shown}");
        assert!(shown.contains("help: it is called `zone` here"), "{shown}");
    }

    #[test]
    fn no_fault_shows_a_line_that_may_hold_a_secret() {
        let directory = tempfile::tempdir().unwrap();
        let main = directory.path().join("main.yaml");
        let layers = Layers { main: &main, parts: "conf.d", first: FIRST, reference: &REFERENCE };
        fs::write(&main, "topic: a\nsasl.passwrd: Sup3r\n").unwrap();
        let document = layers.read_with(std::iter::empty()).unwrap();
        let mut faults = Faults::of(&document, &REFERENCE);
        let root = Table::open(&document.root, "", &mut faults).unwrap();
        root.finish(&mut faults);
        let shown = render_all(&faults.into_list(), false);
        assert!(shown.contains("topic: a") && shown.contains("`sasl.passwrd`"), "{shown}");
        assert!(!shown.contains("Sup3r"), "{shown}");
        fs::write(&main, "topic: a\nsasl.password: @Sup3r\n").unwrap();
        let fault = layers.read_with(std::iter::empty()).unwrap_err();
        let shown = render_all(&fault, false);
        assert!(shown.contains("main.yaml:2:") && !shown.contains("Sup3r"), "{shown}");
    }
}
