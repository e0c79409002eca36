//! Values that stand outside of the document: passwords and keys, in files that not everybody may
//! read, or as credentials that systemd hands over (`LoadCredential=`).
//!
//! A secret that is written into the document itself is refused: documents are shown, copied and
//! kept in version control. No message quotes one, nor the line that it stands in.

use crate::diagnostic::Faults;
use crate::node::{Node, Span, Value};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where systemd puts the credentials of a unit.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// The largest secret: a chain of certificates with its key is some ten kilobytes.
const BYTES_MAX: u64 = 1 << 20;

/// The secret in the file at `path`, without its last line end. What is wrong is noted.
pub fn secret_of_file(path: &Path, span: Span, faults: &mut Faults) -> Option<String> {
    private_file(path, span, faults)?;
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
        Err(error) => {
            unreadable(path, &error, span, faults);
            None
        }
    }
}

/// The file of the secret that `node`, called `name` in messages, points to by `{file: PATH}` or
/// `{credential: NAME}`. What cannot be used is noted.
pub fn secret_path(node: &Node, name: &str, faults: &mut Faults) -> Option<PathBuf> {
    if let Value::Mapping(entries) = &node.value
        && let [(key, value)] = entries.as_slice()
        && let Some(text) = value.text()
    {
        match key.name.as_str() {
            "file" => return Some(text.into()),
            "credential" => return credential(text, value.span, faults),
            _ => {}
        }
    }
    faults.hide_line(node.span);
    let fault = faults.error(node.span, format!("`{name}` is a secret, and is written here"));
    fault.remedy = Some(format!(
        "put it into a file of its own, readable by this user only, and write \
         `{name}: {{file: /etc/logweir/…}}`; or have systemd load it, and write \
         `{name}: {{credential: NAME}}`"
    ));
    None
}

/// Parts of the names of keys whose values are secrets, also where a name is mistyped.
const SECRET_NAMES: [&str; 5] = ["passw", "pwd", "secret", "jaas", "pem"];

/// Whether a line of a configuration has a key that is called like one of a secret, with a value behind it
/// that is no reference to a file: by mistake, or in a document that cannot be read.
pub(crate) fn may_hold_secret(line: &str) -> bool {
    let of_name = |c: char| c.is_alphanumeric() || "._-\"'".contains(c);
    line.match_indices(':').any(|(at, _)| {
        let (before, behind) = (line[..at].trim_end(), line[at + 1..].trim_start());
        let name = before.rsplit(|c| !of_name(c)).next().unwrap_or_default().to_lowercase();
        !behind.is_empty()
            && !behind.starts_with('{')
            && SECRET_NAMES.iter().any(|part| name.contains(part))
    })
}

/// Whether a URL, or one of several with commas between them, has a user in front of its host, and maybe
/// a password.
#[must_use]
pub fn url_has_user(text: &str) -> bool {
    text.split(',').any(|url| {
        let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
        behind.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
    })
}

/// A name, never a path: the document cannot reach beyond the directory of credentials.
fn credential(name: &str, span: Span, faults: &mut Faults) -> Option<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.starts_with('.') || !name.chars().all(plain) {
        faults.error(span, format!("`{name}` is no name of a credential")).remedy =
            Some("use letters, digits, `.`, `_` and `-`".into());
        return None;
    }
    let Some(directory) = std::env::var_os(CREDENTIALS) else {
        let message =
            format!("there are no credentials, `{name}` among them: ${CREDENTIALS} is not set");
        faults.error(span, message).remedy = Some(format!(
            "start it by systemd, with `LoadCredential={name}:/path/of/the/file` in the unit; \
             on a command line set {CREDENTIALS} to a directory with such a file"
        ));
        return None;
    };
    Some(Path::new(&directory).join(name))
}

/// Whether the file at `path` is there and keeps a secret: not everybody may read it. What is wrong
/// is noted.
pub fn private_file(path: &Path, span: Span, faults: &mut Faults) -> Option<()> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => {
            unreadable(path, &error, span, faults);
            return None;
        }
    };
    let shown = path.display();
    if !metadata.is_file() || metadata.len() > BYTES_MAX {
        faults.error(span, format!("`{shown}` is no file with a secret")).remedy =
            Some("name a regular file of at most 1 MiB".into());
        return None;
    }
    if metadata.mode() & 0o007 != 0 {
        let mode = metadata.mode() & 0o777;
        let message = format!("everybody may read or write `{shown}` (mode {mode:03o}), a secret");
        faults.error(span, message).remedy = Some(format!("`chmod o= {shown}`"));
        return None;
    }
    Some(())
}

fn unreadable(path: &Path, error: &std::io::Error, span: Span, faults: &mut Faults) {
    let shown = path.display();
    let remedy = match error.kind() {
        std::io::ErrorKind::PermissionDenied => {
            format!("let this user read it: `chgrp GROUP {shown}` and `chmod 640 {shown}`")
        }
        _ => "name a file that is there".to_owned(),
    };
    faults.error(span, format!("`{shown}` cannot be read: {error}")).remedy = Some(remedy);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_may_hold_a_secret_are_known_by_their_keys() {
        for (line, may) in [
            ("  sasl.password: x", true),
            ("kafka: {a: 1, sasl.passwrd: x, b: 2}", true),
            (r#""ssl.key.pem" : |"#, true),
            ("sasl.jaas.config: a b=\"c\";", true),
            ("sasl.password: {file: /etc/pw}", false),
            ("sasl.password:", false),
            ("# the password is elsewhere", false),
            ("paths: [/var/log/password.log]", false),
        ] {
            assert_eq!(may_hold_secret(line), may, "{line}");
        }
    }
}
