//! The settings of the agent, described: what docs/config.md, the sample and the schema are made of.
//! A test compares it with what the reader asks for; see [`logweir_document::reference`].

use super::integrity::INTERVAL_MIN as HEADS_INTERVAL_MIN;
use super::published::TRIAL_MIN;
use super::sources::{LINE_BYTES_MAX, LINE_BYTES_MIN, SPOOL_BYTES_MIN};
use super::{CHECKPOINT_INTERVAL_MIN, LOG_FORMATS, LOG_LEVELS, PRESET_NAMES};
use logweir_document::DURATION_MAX;
use logweir_document::reference::{Applied, Key, Kind, List, Others, Section, Value, Variant};
use logweir_kafka::properties::{Role, described, keys};
use std::time::Duration;

const ANY_DURATION: Kind = Kind::Duration(Duration::ZERO, DURATION_MAX);
const ANY_SIZE: Kind = Kind::Size(0, u64::MAX);

/// All of it.
pub(crate) static REFERENCE: Section = Section::of(
    "",
    &[
        Key::new("agent", Kind::Section(&AGENT), Value::Inner, "The agent itself."),
        Key::new("kafka", Kind::Section(&KAFKA), Value::Required(""), "Where events go."),
        Key::new(
            "rules",
            Kind::Section(&RULES),
            Value::Inner,
            "The rules that lines are parsed by.",
        ),
        Key::new(
            "metrics",
            Kind::Section(&METRICS),
            Value::Inner,
            "Answers for Prometheus, see [metrics.md](metrics.md). None are given \
without this section.",
        ),
        Key::new("log", Kind::Section(&LOG), Value::Inner, "What the agent says about itself."),
        Key::new(
            "integrity",
            Kind::Section(&INTEGRITY),
            Value::Inner,
            "Seals by which it is found out who altered or removed events afterwards, see \
[integrity.md](integrity.md).",
        ),
        Key::new(
            "sources",
            Kind::List(&SOURCES),
            Value::Required(""),
            "What is read: a list, with at least one entry and at most 1000.",
        ),
    ],
);

static AGENT: Section = Section::of(
    "",
    &[
        Key::new(
            "name",
            Kind::Text,
            Value::Computed("`host_name`", "web1"),
            "`agent.name` in the events",
        ),
        Key::new(
            "host_name",
            Kind::Text,
            Value::Computed("the host's name", "web1"),
            "`host.name` in the events",
        )
        .formerly(&["hostname"]),
        Key::new(
            "state_dir",
            Kind::Text,
            Value::Default(super::STATE_DIR_DEFAULT),
            "an absolute path: agent id, checkpoint, spools; mode 0700, one agent only",
        )
        .formerly(&["data_dir", "path.data", "state_directory"]),
        Key::new(
            "socket_dir",
            Kind::Text,
            Value::Computed(
                "`/run/logweir-agent`, or `state_dir` if that is not `/var/lib/logweir-agent`",
                super::SOCKET_DIR_DEFAULT,
            ),
            "sockets for `status`, `top`, `tap` and `doctor`: whoever may enter it can ask",
        ),
        Key::new(
            "workers",
            Kind::Integer(1, 256),
            Value::Computed("cores", "2"),
            "threads that read and parse; one file or spool keeps at most one busy",
        )
        .formerly(&["threads"]),
        Key::new(
            "checkpoint_interval",
            Kind::Duration(CHECKPOINT_INTERVAL_MIN, DURATION_MAX),
            Value::Default("1s"),
            "after a crash at most what was acknowledged in this time is sent again",
        ),
        Key::new(
            "open_files_max",
            Kind::Integer(16, 1_000_000),
            Value::Default("8192"),
            "log files that are open at a time; fewer where the process may not have so \
many. A file that is read to its end is closed to make room, and opened again when it \
changes; it is then known again by device, inode, birth time and content",
        ),
        Key::new(
            "landlock",
            Kind::Boolean,
            Value::Default("true"),
            "the process can open nothing but what the configuration names, see \
[hardening.md](hardening.md)",
        ),
        Key::new(
            "landlock_read",
            Kind::Texts,
            Value::Apart("[/data/logs]"),
            "directories that may be read besides: where links among the log files lead to",
        ),
        Key::new(
            "limits",
            Kind::Section(&OVERALL_LIMITS),
            Value::Inner,
            "How much may come in from all sources together, besides the limits of each. Changed \
limits are in use within seconds.",
        ),
    ],
);

static KAFKA: Section = Section {
    about: "Every property of a producer, under the name that Kafka or librdkafka \
gives it. Names of Java's client are translated (`buffer.memory`, `max.request.size`, …); \
those that cannot be are reported with what to write instead. Values are tried when the file \
is read. `acks=all` and `enable.idempotence=true` are fixed: the promise rests on them.",
    keys: &[
        keys::BOOTSTRAP_SERVERS,
        Key::new(
            "topic",
            Kind::Text,
            Value::Default("logweir.events"),
            "the topic of the events; letters, digits, `.`, `_`, `-`, at most 249",
        ),
        keys::SECURITY_PROTOCOL,
        keys::SSL_CA_LOCATION,
        keys::SSL_CERTIFICATE_LOCATION,
        keys::SSL_KEY_LOCATION,
        keys::SASL_MECHANISM,
        keys::SASL_USERNAME,
        keys::SASL_PASSWORD,
        keys::SASL_TOKEN,
    ],
    others: Some(Others {
        about: "Defaults that are not Kafka's own; `delivery.timeout.ms: 0` is without \
end, since the checkpoint decides what is delivered, not a clock:",
        names: || described(Role::Producer),
    }),
};

static RULES: Section = Section::of(
    "",
    &[
        Key::new(
            "directories",
            Kind::Texts,
            Value::Apart("[/etc/logweir/rules.d]"),
            "packs of your own, see [rules.md](rules.md); a rule replaces a shipped one \
of the same id. Changed packs are in use within seconds",
        ),
        Key::new(
            "shipped",
            Kind::Boolean,
            Value::Default("true"),
            "whether the packs inside the program are used",
        ),
        Key::new(
            "published",
            Kind::Section(&PUBLISHED),
            Value::Inner,
            "Rules that come through Kafka, signed, see [rules-publish.md](rules-publish.md). None \
are taken without this section.",
        ),
    ],
);

static PUBLISHED: Section = Section::of(
    "",
    &[
        Key::new(
            "public_key",
            Kind::Text,
            Value::Required("/etc/logweir/rules.pub"),
            "a file with the keys whose signatures are trusted, in PEM, as `logweir rules keygen` \
makes one",
        ),
        Key::new(
            "group",
            Kind::Text,
            Value::Default("default"),
            "the group of hosts whose rules are taken",
        ),
        Key::new(
            "trial",
            Kind::Duration(TRIAL_MIN, DURATION_MAX),
            Value::Default("10m"),
            "how long a new set is watched; one that does harm meanwhile is given up for the last good \
one",
        ),
    ],
);

/// The section `log` of both programs.
pub static LOG: Section = Section::of(
    "",
    &[
        Key::new(
            "format",
            Kind::Choice(&LOG_FORMATS),
            Value::Default("text"),
            "`text`: for a reader, with priorities in the journal; `ecs`: a JSON object \
a line, by the Elastic Common Schema",
        ),
        Key::new(
            "level",
            Kind::Choice(&LOG_LEVELS),
            Value::Default("info"),
            "the least urgent that is said; `LOGWEIR_LOG` goes before it",
        ),
    ],
);

static METRICS: Section = Section::of(
    "",
    &[Key::new(
        "listen",
        Kind::Text,
        Value::Required("'127.0.0.1:9598'"),
        "a loopback address, or `unix:` and the path of a socket",
    )],
);

static INTEGRITY: Section = Section::of(
    "",
    &[
        Key::new(
            "key",
            Kind::Secret,
            Value::Apart("{file: /etc/logweir/seal.key}"),
            "where the agent's key for seals is, 64 hexadecimal digits, see [Secrets](#secrets)",
        ),
        Key::new(
            "signing_key",
            Kind::Secret,
            Value::Apart("{file: /etc/logweir/heads.key}"),
            "where the key is that signs how far each source has come, as `logweir keygen` makes one",
        ),
        Key::new(
            "interval",
            Kind::Duration(HEADS_INTERVAL_MIN, DURATION_MAX),
            Value::Default("1m"),
            "the time between two signed heads: what is removed sooner behind the last one leaves no trace",
        ),
    ],
);

/// What is said of a source, which a reload puts into use.
const fn of_source(name: &'static str, kind: Kind, value: Value, about: &'static str) -> Key {
    Key::new(name, kind, value, about).applied(Applied::Reload)
}

static SOURCES: List = List {
    common: &COMMON,
    variants: &[
        Variant { name: "file", section: &FILE },
        Variant { name: "syslog", section: &SYSLOG },
        Variant { name: "journald", section: &JOURNALD },
        Variant { name: "stdin", section: &STDIN },
    ],
};

static COMMON: Section = Section::of(
    "Every source can have:",
    &[
        of_source(
            "type",
            Kind::Choice(&["file", "syslog", "stdin", "journald"]),
            Value::Required("file"),
            "what kind of source it is",
        ),
        of_source(
            "dataset",
            Kind::Text,
            Value::Optional("sshd"),
            "the rules to try first, by the name of their pack, dataset or alias",
        ),
        of_source(
            "labels",
            Kind::Labels,
            Value::Optional("{env: prod}"),
            "constant fields, `labels.<name>`; a name has at most 64 letters, digits, \
`_` and `-`",
        )
        .formerly(&["fields", "tags", "add_fields"]),
        of_source(
            "zone",
            Kind::Text,
            Value::Default("local"),
            "the zone of times that name none: `Europe/Berlin`, `UTC`, `local`, `+02:00`",
        )
        .formerly(&["timezone", "time_zone", "tz"]),
        of_source(
            "line_bytes_max",
            Kind::Size(LINE_BYTES_MIN, LINE_BYTES_MAX),
            Value::Default("64KiB"),
            "longer lines are cut, tagged `truncated`, their length is in \
`logweir.original_bytes`",
        )
        .formerly(&["max_bytes", "max_line_size", "line_max_bytes"]),
        of_source(
            "limits",
            Kind::Section(&LIMITS),
            Value::Inner,
            "How much may come in. Changed limits are in use within seconds.",
        ),
    ],
);

const EVENTS_PER_SECOND: Key = of_source(
    "events_per_second",
    Kind::Integer(1, 1_000_000_000),
    Value::Optional("10000"),
    "files and standard input wait, TCP senders have to wait, datagrams over \
the limit are dropped and counted as `rate_limit`",
)
.applied(Applied::Live);
const BYTES_PER_SECOND: Key = of_source(
    "bytes_per_second",
    Kind::Size(1, u64::MAX),
    Value::Optional("10MiB"),
    "the same, by bytes",
)
.applied(Applied::Live);
const BURST: Key = of_source(
    "burst",
    ANY_DURATION,
    Value::Default("1s"),
    "the unused rate of so long may be spent at once",
)
.applied(Applied::Live);

static OVERALL_LIMITS: Section = Section::of("", &[EVENTS_PER_SECOND, BYTES_PER_SECOND, BURST]);

static LIMITS: Section = Section::of(
    "",
    &[
        EVENTS_PER_SECOND,
        BYTES_PER_SECOND,
        BURST,
        Key::new(
            "per_sender",
            Kind::Section(&SENDER_LIMITS),
            Value::Inner,
            "For each address of a syslog source by itself; 10,000 addresses have books \
of their own at a time, further ones share one.",
        ),
    ],
);

static SENDER_LIMITS: Section = Section::of("", &[EVENTS_PER_SECOND, BYTES_PER_SECOND, BURST]);

const READ_FROM: Key = Key::new(
    "read_from",
    Kind::Choice(&["beginning", "end"]),
    Value::Default("beginning"),
    "`end`: of what was there when this source, or one of its `paths`, was looked at for the first time \
ever, only what is new is read",
)
.formerly(&["start_at", "start_position"]);

static FILE: Section = Section::of(
    "Files, see [agent.md](agent.md).",
    &[
        of_source(
            "paths",
            Kind::Texts,
            Value::Required("['/var/log/*.log']"),
            "absolute globs: `*`, `?`, `[a-z]`, `{a,b}`, and `**` for any number of \
directories",
        )
        .formerly(&["path", "include", "files"]),
        of_source(
            "exclude",
            Kind::Texts,
            Value::Optional("['*.gz']"),
            "globs; without a slash they are for the file's name",
        )
        .formerly(&["exclude_files", "exclude_paths", "exclude_filename"]),
        READ_FROM,
        of_source(
            "follow_links",
            Kind::Boolean,
            Value::Default("true"),
            "`false`: a file is not read if any part of its path is a symbolic link, for directories \
that others may write to; what Kubernetes has in `/var/log/containers` are links",
        ),
        of_source(
            "rotate_wait",
            ANY_DURATION,
            Value::Default("5s"),
            "how long a file that is at its path no more must be quiet until its last \
line counts without a line end, and the file is let go",
        ),
        of_source(
            "ignore_older",
            ANY_DURATION,
            Value::Optional("7d"),
            "a file that nobody wrote to for longer is not begun; when someone does, it \
is read from its beginning",
        )
        .formerly(&["ignore_older_secs", "ignore_older_than"]),
        of_source(
            "encoding",
            Kind::Text,
            Value::Default("utf-8"),
            "of files that do not begin with a byte order mark: `utf-16le`, `utf-16be`, \
`latin1`, `windows-1252`, `gbk`, … (the names that the web uses)",
        )
        .formerly(&["charset"]),
        of_source(
            "multiline",
            Kind::Section(&MULTILINE),
            Value::Inner,
            "Lines that belong together become one event, see \
[agent.md](agent.md#multiline).",
        ),
    ],
);

static MULTILINE: Section = Section::of(
    "One of `start`, `continue`, `end` and `preset` is given.",
    &[
        of_source(
            "start",
            Kind::Text,
            Value::Apart("'^\\d{4}-\\d\\d-\\d\\d '"),
            "a pattern of the lines that begin a record",
        ),
        of_source(
            "continue",
            Kind::Text,
            Value::Apart("'^[ \\t]'"),
            "a pattern of the lines that belong to the one before",
        ),
        of_source(
            "end",
            Kind::Text,
            Value::Apart("';$'"),
            "a pattern of the lines that end a record",
        ),
        of_source(
            "preset",
            Kind::Choice(&PRESET_NAMES),
            Value::Optional("java"),
            "a pattern by its name, of lines that belong to the one before; `container`: what a container \
runtime has divided",
        ),
        of_source(
            "negate",
            Kind::Boolean,
            Value::Default("false"),
            "the pattern says so where it does not match",
        ),
        of_source(
            "timeout",
            ANY_DURATION,
            Value::Default("1s"),
            "a record to which so long no line came is whole",
        ),
        of_source(
            "lines_max",
            Kind::Integer(1, 100_000),
            Value::Default("500"),
            "a record of more lines is divided",
        )
        .formerly(&["max_lines"]),
        of_source(
            "bytes_max",
            ANY_SIZE,
            Value::Computed("`line_bytes_max`", "64KiB"),
            "a record of more bytes is divided; at most `line_bytes_max`",
        )
        .formerly(&["max_bytes"]),
    ],
);

static SPOOL: Section = Section::of(
    "",
    &[
        Key::new(
            "bytes_max",
            Kind::Size(SPOOL_BYTES_MIN, u64::MAX),
            Value::Default("1GiB"),
            "of all shards together",
        )
        .formerly(&["max_bytes", "max_size"]),
        Key::new(
            "when_full",
            Kind::Choice(&["block", "drop_newest"]),
            Value::Default("block"),
            "`block`: senders over streams wait, datagrams are dropped; `drop_newest`: \
all that comes is dropped. Drops are counted as `spool_full`",
        ),
        Key::new(
            "disk_free_min",
            ANY_SIZE,
            Value::Default("64MiB"),
            "so much of the disk is left free; at less the spool is full, and the \
checkpoint can still be written",
        ),
        Key::new(
            "sync_interval",
            ANY_DURATION,
            Value::Default("1s"),
            "a power cut takes at most what came in this time …",
        ),
        Key::new(
            "sync_bytes",
            Kind::Size(1, u64::MAX),
            Value::Default("16MiB"),
            "… or somewhat more than so many bytes, whichever is less",
        ),
        Key::new(
            "shards",
            Kind::Integer(1, 64),
            Value::Computed("cores, for standard input 1", "2"),
            "spools that the senders are spread over, each a source of its own; a \
sender stays in one",
        ),
    ],
);

const SPOOL_KEY: Key = Key::new(
    "spool",
    Kind::Section(&SPOOL),
    Value::Inner,
    "What comes in is on disk before it is delivered on, see [spool.md](spool.md).",
);

static SYSLOG: Section = Section::of(
    "Listeners, see [syslog.md](syslog.md). At least one of `udp`, `tcp`, \
`tls`, `unix_datagram`, `unix_stream` is given. Addresses are `127.0.0.1:5514`, `[::]:514`, \
or `systemd:NAME`.",
    &[
        of_source("udp", Kind::Text, Value::Optional("'127.0.0.1:5514'"), "address for datagrams"),
        of_source("tcp", Kind::Text, Value::Optional("'127.0.0.1:5514'"), "address for streams"),
        of_source("tls", Kind::Section(&TLS), Value::Inner, "Streams over TLS."),
        of_source(
            "unix_datagram",
            Kind::TextOr(&UNIX),
            Value::Optional("/run/logweir-agent/dev-log"),
            "the path of a socket, or `systemd:NAME`, or a section",
        ),
        of_source(
            "unix_stream",
            Kind::TextOr(&UNIX),
            Value::Optional("/run/logweir-agent/syslog.sock"),
            "the same, for streams",
        ),
        of_source(
            "sockets",
            Kind::Integer(1, 64),
            Value::Default("1"),
            "UDP sockets, each with a thread; the kernel spreads senders over them",
        ),
        of_source(
            "allow",
            Kind::Texts,
            Value::Optional("[10.0.0.0/8, 127.0.0.1]"),
            "who may send, everyone if left out; datagrams of others are dropped as \
`not_allowed`, connections closed and counted as `senders_refused`",
        ),
        of_source(
            "connections_max",
            Kind::Integer(1, 100_000),
            Value::Default("1000"),
            "streams over it are closed at once and counted as `connections_refused`",
        )
        .formerly(&["max_connections", "connection_limit"]),
        of_source(
            "connections_per_sender_max",
            Kind::Integer(1, 100_000),
            Value::Computed("`connections_max`", "100"),
            "the same for one address",
        ),
        of_source(
            "idle_timeout",
            ANY_DURATION,
            Value::Default("10m"),
            "a silent stream is closed and counted as `idle_closed`",
        ),
        SPOOL_KEY,
    ],
);

static TLS: Section = Section::of(
    "",
    &[
        of_source("listen", Kind::Text, Value::Required("'0.0.0.0:6514'"), "address"),
        of_source(
            "certificate",
            Kind::Text,
            Value::Required("/etc/logweir/tls/server.pem"),
            "the chain, PEM, own certificate first; a changed file is in use within seconds",
        ),
        of_source(
            "key",
            Kind::Text,
            Value::Required("/etc/logweir/tls/server.key"),
            "its key; not everybody may be able to read the file",
        ),
        of_source(
            "client_ca",
            Kind::Text,
            Value::Optional("/etc/logweir/tls/clients.pem"),
            "clients must show a certificate of these",
        ),
        of_source(
            "client_crl",
            Kind::Text,
            Value::Optional("/etc/logweir/tls/clients.crl"),
            "lists of revoked certificates, PEM, one of each authority in `client_ca`; a list whose time \
is over lets no client in",
        ),
        of_source(
            "client_names",
            Kind::Texts,
            Value::Optional("['*.example.net', fw1]"),
            "one of which must be a name in it; any will do if left out",
        ),
        of_source(
            "handshake_timeout",
            ANY_DURATION,
            Value::Default("10s"),
            "a handshake that takes longer is given up",
        ),
    ],
);

static UNIX: Section = Section::of(
    "",
    &[
        of_source(
            "path",
            Kind::Text,
            Value::Required("/run/logweir-agent/dev-log"),
            "absolute, at most 107 bytes; or `systemd:NAME`",
        ),
        of_source("mode", Kind::Text, Value::Default("'0660'"), "octal"),
        of_source("owner", Kind::Text, Value::Optional("root"), "name or number"),
        of_source("group", Kind::Text, Value::Optional("adm"), "name or number"),
    ],
);

static JOURNALD: Section = Section::of(
    "The systemd journal, see [journald.md](journald.md).",
    &[
        of_source(
            "directories",
            Kind::Texts,
            Value::Computed("where journald keeps it", "[/var/log/journal]"),
            "where the journal is",
        ),
        READ_FROM,
        of_source(
            "units",
            Kind::Texts,
            Value::Optional("[ssh.service]"),
            "only entries of these units",
        ),
        of_source(
            "identifiers",
            Kind::Texts,
            Value::Optional("[sudo]"),
            "only entries of these programs",
        ),
        of_source(
            "priority",
            Kind::Choice(&["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]),
            Value::Optional("info"),
            "the least urgent that is read",
        ),
        of_source(
            "boot",
            Kind::Choice(&["all", "current"]),
            Value::Default("all"),
            "`current`: only what was written since the machine has started",
        ),
    ],
);

static STDIN: Section = Section::of(
    "Lines of standard input, at most one such source. When it ends and there \
is no other source, the agent delivers what is left and ends.",
    &[SPOOL_KEY],
);
