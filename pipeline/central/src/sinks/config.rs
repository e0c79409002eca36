//! The section `sinks` of the configuration.

use super::bulk::Bulk;
use super::clickhouse::ClickHouse;
use super::http::Client;
use super::ndjson::Ndjson;
use super::stdout::Stdout;
use super::{Guarantee, Origin, Sink};
use logweir_document::{Faults, Node, Table, secret_of_file, secret_path, url_has_user};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

const STREAM_DEFAULT: &str = "logs-logweir-default";
const ROTATE_DEFAULT: u64 = 256 << 20;
/// How long an event may wait for others in a batch.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1);
const BATCH_BYTES_DEFAULT: u64 = 8 << 20;
pub(crate) const BATCH_BYTES_MAX: u64 = 64 << 20;
pub(crate) const WORKERS_MAX: u64 = 64;

/// One sink as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkConfig {
    /// Names the consumer group, after a dot behind that of the ingest.
    pub name: String,
    pub kind: SinkKind,
    /// Consumers, each with a batch of its own.
    pub workers: usize,
    pub interval: Duration,
    /// A batch is written earlier once it holds this much.
    pub batch_bytes: u64,
}

/// Where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    Bulk { server: Server, stream: String },
    ClickHouse { server: Server, database: String, table: String },
    Ndjson { directory: PathBuf, rotate_bytes: u64 },
    Stdout,
}

/// How to reach a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// At least one, without a slash at the end.
    pub urls: Vec<String>,
    pub credentials: Option<Credentials>,
    /// A certificate in PEM that is trusted instead of those of the system.
    pub ca: Option<Vec<u8>>,
}

/// A user and a password; the password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with a password", self.user)
    }
}

impl SinkConfig {
    /// Reads the list `sinks`; none if there is no such section.
    pub(crate) fn read_all(root: &mut Table<'_>, faults: &mut Faults) -> Vec<Self> {
        let nodes = root.sequence("sinks", faults).unwrap_or_default();
        let mut sinks: Vec<Self> = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let Some(sink) = Self::read(node, index, faults) else { continue };
            if sinks.iter().any(|other| other.name == sink.name) {
                let message = format!("two sinks are called `{}`", sink.name);
                faults.error(node.span, message).remedy =
                    Some("give each a `name`: it is part of its consumer group".into());
                continue;
            }
            sinks.push(sink);
        }
        sinks
    }

    fn read(node: &Node, index: usize, faults: &mut Faults) -> Option<Self> {
        let mut table = Table::open(node, format!("sinks[{index}]"), faults)?;
        table.required("type", faults)?;
        let words = ["opensearch", "elasticsearch", "clickhouse", "ndjson", "stdout"];
        let word = table.choice("type", &words, faults)?;
        let name = table.string("name", faults).unwrap_or(words[word]).to_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            faults.error(table.span(), format!("`name` is `{name}`")).remedy =
                Some("use letters, digits, `-` and `_`".into());
        }
        let kind = match word {
            0 | 1 => SinkKind::Bulk {
                server: Server::read(&mut table, faults)?,
                stream: identifier(&mut table, "data_stream", STREAM_DEFAULT, faults),
            },
            2 => SinkKind::ClickHouse {
                server: Server::read(&mut table, faults)?,
                database: identifier(&mut table, "database", "default", faults),
                table: identifier(&mut table, "table", "logweir_events", faults),
            },
            3 => SinkKind::Ndjson {
                directory: table.required_path("path", faults)?,
                rotate_bytes: table.byte_size("rotate.bytes", faults).unwrap_or(ROTATE_DEFAULT),
            },
            _ => SinkKind::Stdout,
        };
        let workers = table.integer("workers", 1..=WORKERS_MAX, faults).unwrap_or(1);
        let batch_bytes = table
            .byte_size_within("batch.bytes", 1..=BATCH_BYTES_MAX, faults)
            .unwrap_or(BATCH_BYTES_DEFAULT);
        let interval = table.duration("batch.interval", faults).unwrap_or(INTERVAL_DEFAULT);
        table.finish(faults);
        Some(Self {
            name,
            kind,
            workers: usize::try_from(workers).unwrap_or(1),
            interval,
            batch_bytes,
        })
    }

    /// The sink, for one worker.
    ///
    /// # Errors
    /// The certificate cannot be used.
    pub(super) fn open(&self, origin: &Origin) -> Result<Box<dyn Sink>, String> {
        Ok(match &self.kind {
            SinkKind::Bulk { server, stream } => {
                Box::new(Bulk::new(server.client()?, stream.clone()))
            }
            SinkKind::ClickHouse { server, database, table } => Box::new(ClickHouse::new(
                server.client()?,
                origin.clone(),
                database.clone(),
                table.clone(),
            )),
            SinkKind::Ndjson { directory, rotate_bytes } => {
                Box::new(Ndjson::new(directory.clone(), *rotate_bytes, origin.clone()))
            }
            SinkKind::Stdout => Box::new(Stdout),
        })
    }

    /// What a reader of it may rely on.
    ///
    /// # Errors
    /// The certificate cannot be used.
    pub fn guarantee(&self) -> Result<Guarantee, String> {
        Ok(self.open(&Origin::default())?.guarantee())
    }
}

impl Server {
    fn read(table: &mut Table<'_>, faults: &mut Faults) -> Option<Self> {
        table.required("url", faults)?;
        let node = table.node("url")?;
        let text = node.text().unwrap_or_default();
        let urls: Vec<String> =
            text.split(',').map(|url| url.trim().trim_end_matches('/').to_owned()).collect();
        if url_has_user(text) {
            faults.hide_line(node.span);
            faults.error(node.span, "`url` holds a user, and maybe a password").remedy = Some(
                "write `user: NAME` and `password: {file: /etc/logweir/…}` beside it; a URL is shown in \
                 logs"
                    .into(),
            );
            return None;
        }
        if !urls.iter().all(|url| url.starts_with("http://") || url.starts_with("https://")) {
            faults.error(node.span, format!("`url` is `{text}`")).remedy =
                Some("write `https://host:9200`, several separated by commas".into());
            return None;
        }
        let credentials = credentials(table, faults)?;
        let ca = match table.node("ca_file") {
            Some(file) => Some(file_text(file, faults)?.into_bytes()),
            None => None,
        };
        Some(Self { urls, credentials, ca })
    }

    fn client(&self) -> Result<Client, String> {
        Client::new(&self.urls, self.credentials.as_ref(), self.ca.as_deref())
    }
}

/// The user and the password, if there are any; `None` if they cannot be used.
fn credentials(table: &mut Table<'_>, faults: &mut Faults) -> Option<Option<Credentials>> {
    let user = table.string("user", faults);
    let path = match (table.node("password"), table.node("password_file")) {
        (Some(node), None) => Some((secret_path(node, "password", faults)?, node.span)),
        (None, Some(node)) => Some((node.text().unwrap_or_default().into(), node.span)),
        (None, None) => None,
        (Some(node), Some(_)) => {
            faults.error(node.span, "`password` and `password_file` are given").remedy =
                Some("keep one of them".into());
            return None;
        }
    };
    let password = match path {
        Some((path, span)) => Some(secret_of_file(&path, span, faults)?),
        None => None,
    };
    match (user, password) {
        (None, None) => Some(None),
        (Some(user), Some(password)) => Some(Some(Credentials { user: user.to_owned(), password })),
        _ => {
            faults.error(table.span(), "`user` and `password` belong together").remedy =
                Some("give both or none".into());
            None
        }
    }
}

fn file_text(node: &Node, faults: &mut Faults) -> Option<String> {
    let path = node.text().unwrap_or_default();
    std::fs::read_to_string(path)
        .map_err(|error| {
            faults.error(node.span, format!("`{path}` cannot be read: {error}")).remedy =
                Some("name a file that this user may read".into());
        })
        .ok()
}

/// A name that goes into paths and statements as it is.
fn identifier(table: &mut Table<'_>, key: &str, default: &str, faults: &mut Faults) -> String {
    let Some(node) = table.node(key) else { return default.to_owned() };
    let text = node.text().unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if text.is_empty() || text.starts_with(['-', '_', '.']) || !text.chars().all(plain) {
        faults.error(node.span, format!("`{key}` is `{text}`")).remedy =
            Some("use lower-case letters, digits, `-`, `_` and `.`".into());
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use logweir_document::{parse, render_all};

    fn read(text: &str) -> (Vec<SinkConfig>, String) {
        let document = parse("ingest.yaml", text).unwrap();
        let mut faults = Faults::new(document.source.clone());
        let mut root = Table::open(&document.root, "", &mut faults).unwrap();
        let sinks = SinkConfig::read_all(&mut root, &mut faults);
        root.finish(&mut faults);
        (sinks, render_all(&faults.into_list(), false))
    }

    #[test]
    fn every_kind_is_read_and_states_its_guarantee() {
        let (sinks, faults) = read(
            "sinks:\n- {type: opensearch, url: 'http://a:9200/, http://b:9200'}\n\
             - {type: clickhouse, url: 'http://a:8123', table: t}\n\
             - {type: ndjson, path: /x, rotate.bytes: 1MiB}\n- type: stdout\n",
        );
        assert_eq!(faults, "");
        let guarantees: Vec<_> = sinks.iter().map(|sink| sink.guarantee().unwrap()).collect();
        let (exactly, least) = (Guarantee::ExactlyOnce, Guarantee::AtLeastOnce);
        assert_eq!(guarantees, [Guarantee::Idempotent, Guarantee::Idempotent, exactly, least]);
        let SinkKind::Bulk { server, .. } = &sinks[0].kind else { panic!() };
        assert_eq!(server.urls, ["http://a:9200", "http://b:9200"]);
    }

    #[test]
    fn a_password_in_a_url_is_refused_and_not_shown() {
        for url in [
            "http://bob:hush@a:9200",
            "https://a,http://bob:hush@b/x",
            "bob:hush@a",
            "ftp://hush@a",
        ] {
            let (sinks, faults) = read(&format!("sinks:\n- {{type: opensearch, url: '{url}'}}\n"));
            assert!(sinks.is_empty() && !faults.contains("hush"), "{faults}");
            assert!(
                faults.contains("ingest.yaml:2:") && faults.contains("password: {file:"),
                "{faults}"
            );
        }
        let (sinks, faults) = read("sinks:\n- {type: opensearch, url: 'http://a:9200/x?y=@z'}\n");
        assert_eq!((sinks.len(), faults.as_str()), (1, ""));
    }

    #[test]
    fn faults_are_told_with_their_remedies() {
        for (text, fault) in [
            ("sinks:\n- type: kafka\n", "kafka"),
            ("sinks:\n- {type: opensearch, url: 'a:9200'}\n", "https://host:9200"),
            ("sinks:\n- {type: clickhouse, url: 'http://a', table: 'x; drop'}\n", "lower-case"),
            ("sinks:\n- {type: opensearch, url: 'http://a', user: u}\n", "belong together"),
            ("sinks:\n- type: stdout\n- type: stdout\n", "two sinks are called `stdout`"),
            ("sinks:\n- {type: ndjson, path: /x, rotate: 1}\n", "rotate.bytes"),
            ("sinks:\n- {type: ndjson, path: ''}\n", "`path` is empty"),
        ] {
            assert!(read(text).1.contains(fault), "{text}: {}", read(text).1);
        }
    }
}
